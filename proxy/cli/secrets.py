"""`hash-password`, `new-token`: what stands in the configuration in place of secrets."""

import hashlib
import secrets
import sys

import click

from proxy.cli.options import UsageFault
from proxy.web.access.passwords import SALT_BYTES, PasswordHash

_TOKEN_BYTES = 32
_LONGEST = 256


@click.command("hash-password", short_help="Hash a client's password, for [[user]].")
def hash_password() -> None:
    """Ask for a password, without showing it, and print its hash for [[user]] password_hash.

    \b
      sstream-proxy hash-password

    From a pipe the first line is taken. Letters and digits are best: MAAS is
    given the password in a URL, http://USER:PASSWORD@HOST:8080/..., where
    anything else must be percent-encoded.
    """  # noqa: D301 - click wants the backspace that \b is
    try:
        if sys.stdin.isatty():
            password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        else:
            password = sys.stdin.readline().rstrip("\r\n")
        secret = password.encode()
    except UnicodeError:
        raise UsageFault("the password is no UTF-8 text: have it converted, with iconv for example") from None
    if not 0 < len(password) <= _LONGEST:
        raise UsageFault(f"a password has 1 to {_LONGEST} characters")
    hashed = str(PasswordHash.of(secret, secrets.token_bytes(SALT_BYTES)))
    _label("for password_hash of a [[user]] in the configuration")
    click.echo(hashed)


@click.command("new-token", short_help="Make a token for admins, for [admin].")
def new_token() -> None:
    """Make a token and print it, with the line for [admin] that knows only its hash.

    \b
      sstream-proxy new-token

    The first line is the header that admins send, and is to be kept secret: pages and
    --token-file want what follows "Bearer". The second line goes into the configuration, below
    [admin], and does not tell the token.
    """  # noqa: D301 - click wants the backspace that \b is
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    _label("for admins, who keep it secret: a header; pages and --token-file want what follows Bearer")
    click.echo(f"Authorization: Bearer {token}")
    _label("for the configuration, below [admin]; it does not tell the token")
    click.echo(f'token_sha256 = "{hashlib.sha256(token.encode()).hexdigest()}"')


def _label(what: str) -> None:
    """Say to a person what the next line is for; a program that reads the lines gets them alone."""
    if sys.stderr.isatty():
        click.echo(f"# {what}:", err=True)
