"""`check-config`: say everything that is wrong with a configuration."""

import os
from pathlib import Path

import click

from proxy.cli.options import UsageFault, config_option, load
from proxy.config import find_config_file
from proxy.exposure import exposures
from proxy.tls import BadCertificate, tls_context
from proxy.upstream.origin import shown_url


@click.command("check-config", short_help="Name every fault of a configuration.")
@config_option
def check_config(config_file: Path | None) -> None:
    """Check the configuration and say everything that is wrong with it, by key."""
    config = load(config_file)
    path = find_config_file(config_file, os.environ)
    try:
        tls_context(config.tls)
    except BadCertificate as error:
        raise UsageFault(f"{path}: {error}") from error
    click.echo(f"{path or 'built-in defaults'}: good, {len(config.mirrors)} mirrors")
    for mirror in config.mirrors:
        click.echo(f"  {mirror.name:20} {mirror.mount}  from {', '.join(map(shown_url, mirror.origins))}")
    for rule in config.prefetch:
        click.echo(
            f"  prefetch {rule.name:11} {rule.mirror}: {rule.selection()}, {rule.schedule or 'by hand'}"
        )
    for problem in exposures(config, path):
        click.echo(f"warning: {problem}", err=True)
