"""`completion`: what a shell needs to complete commands and options."""

import click
from click.shell_completion import get_completion_class


@click.command(short_help="Print the completion script for a shell.")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script for a shell.

    \b
      sstream-proxy completion bash > /etc/bash_completion.d/sstream-proxy
    """  # noqa: D301 - click wants the backspace that \b is
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click knows all three
    root = context.find_root()
    click.echo(kind(root.command, {}, "sstream-proxy", "_SSTREAM_PROXY_COMPLETE").source())
