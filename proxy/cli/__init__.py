"""The command line: what a person types, and the exit code that comes back.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 done in part,
130 interrupted.
"""

import click

from proxy import __version__
from proxy.cli.prefetch import prefetch
from proxy.cli.query import query
from proxy.cli.ready import ready
from proxy.cli.serve import check_config, serve


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="sstream-proxy")
def main() -> None:
    """Serve simplestreams mirrors (boot images for MAAS, LXD, Incus) from a verified cache.

    \b
    Start it, and point MAAS at it:
      sstream-proxy serve
      maas admin boot-sources create \\
        url=http://THIS-HOST:8080/images/ephemeral-v3/stable/ \\
        keyring_filename=/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg

    Without configuration it serves the MAAS mirrors of images.maas.io. Other
    mirrors and all limits are set in a TOML file; config.example.toml shows
    every key with its default.
    """  # noqa: D301 - click wants the backspace that \b is


for command in (serve, prefetch, ready, query, check_config):
    main.add_command(command)
