"""The command line: what a person types, and the exit code that comes back.

Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, 3 done in part,
4 refused, 130 interrupted, 143 the same by SIGTERM.
"""

import gc
from collections.abc import Sequence
from importlib import import_module
from keyword import iskeyword
from types import ModuleType
from typing import Any

import click

from proxy import __version__
from proxy.cli.entry import ended_plainly, mind_interruptions, mind_modes, open_standard_streams
from proxy.readable import meant

_COMMANDS = {
    "serve": "proxy.cli.serve",
    "connect": "proxy.cli.connect",
    "prefetch": "proxy.cli.prefetch",
    "sync": "proxy.cli.sync",
    "ready": "proxy.cli.ready",
    "export": "proxy.cli.export",
    "inventory": "proxy.cli.inventory",
    "import": "proxy.cli.import_",
    "record": "proxy.cli.record",
    "query": "proxy.cli.query",
    "stats": "proxy.cli.stats",
    "pin": "proxy.cli.actions",
    "unpin": "proxy.cli.actions",
    "evict": "proxy.cli.actions",
    "purge": "proxy.cli.actions",
    "refresh": "proxy.cli.actions",
    "scrub": "proxy.cli.actions",
    "offline": "proxy.cli.actions",
    "doctor": "proxy.cli.doctor",
    "check-health": "proxy.cli.check_health",
    "check-config": "proxy.cli.check_config",
    "dns": "proxy.cli.dns",
    "hash-password": "proxy.cli.secrets",
    "new-token": "proxy.cli.secrets",
    "completion": "proxy.cli.completion",
}
"""In the order in which `--help` shows them: each is a module with a command of that name."""


class Commands(click.Group):
    """Imports a command when it is asked for, so that none waits for what another needs."""

    def main(self, args: Sequence[str] | None = None, *others: Any, **more: Any) -> Any:
        """Run the program."""
        open_standard_streams()
        mind_modes()
        mind_interruptions()
        return super().main(args, *others, **more)

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        """Read the command line; `--help` ends here."""
        with ended_plainly():
            return super().make_context(*arguments, **more)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for."""
        with ended_plainly():
            return super().invoke(ctx)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that is asked for, or say which one was meant."""
        name = args[0]
        if name not in _COMMANDS and not name.startswith("-") and not ctx.resilient_parsing:
            raise click.UsageError(f"there is no command {name!r}{meant(name, _COMMANDS)}", ctx)
        return super().resolve_command(ctx, args)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Return the names of all commands."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Return a command, None for a name that is none."""
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        name = cmd_name.replace("-", "_")
        command = getattr(_imported(module), f"{name}_" if iskeyword(name) else name)
        assert isinstance(command, click.Command)  # noqa: S101 - a mistake in the table above
        return command


@click.command(
    cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(__version__, prog_name="sstream-proxy")
def main() -> None:
    """Serve simplestreams mirrors (boot images for MAAS, LXD, Incus) from a verified cache.

    \b
    Start it, and make MAAS use it:
      sstream-proxy serve
      sstream-proxy connect maas http://MAAS:5240/MAAS --key-file KEY

    Without configuration it serves the MAAS mirrors of images.maas.io. Other
    mirrors and all limits are set in a TOML file; config.example.toml shows
    every key with its default.
    """  # noqa: D301 - click wants the backspace that \b is


def _imported(module: str) -> ModuleType:
    """Import a module. Little of what that makes is garbage: to look for it takes a tenth of the time."""
    gc.disable()
    try:
        return import_module(module)
    finally:
        gc.freeze()
        gc.enable()
