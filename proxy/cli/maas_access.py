"""How a command gets into a MAAS: which API, and a key or password that is never on a command line."""

import contextlib
import functools
import os
import stat
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from proxy.cli.options import Command, GivenPath, UsageFault
from proxy.connect.addresses import maas_base
from proxy.connect.errors import MaasFault
from proxy.connect.maas_api.access import ApiKey
from proxy.connect.maas_api.http import MaasHttp
from proxy.connect.maas_api.protocol import Maas
from proxy.connect.maas_api.v2 import MaasV2
from proxy.connect.maas_api.v3 import MaasV3

_VARIABLE = "SSTREAM_PROXY_MAAS_KEY"
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def maas_at(url: str) -> str:
    """Return the URL below which a MAAS answers; raises UsageFault for what is no URL of one."""
    try:
        return maas_base(url)
    except MaasFault as error:
        raise UsageFault(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class MaasAccess:
    """What lets us in."""

    key_file: Path | None
    user: str | None
    ca: Path | None
    secret: str = field(default="", repr=False)

    @property
    def is_given(self) -> bool:
        """Whether the command line says anything of it."""
        return any((self.key_file, self.user, self.ca))

    def read(self) -> "MaasAccess":
        """Return it with the key or password: from the file, the environment, or whoever sits here."""
        return replace(self, secret=self._secret())

    def _secret(self) -> str:
        what = f"password of {self.user!r}" if self.user else "API key"
        if self.key_file is not None:
            try:
                text = self.key_file.read_text(encoding="utf-8-sig")
                is_open = bool(self.key_file.stat().st_mode & _OTHERS)
            except (OSError, UnicodeDecodeError) as error:
                reason = error.strerror if isinstance(error, OSError) else "it is no text"
                raise UsageFault(f"--key-file {self.key_file} cannot be read: {reason}") from error
            if is_open:
                click.echo(f"warning: others can read {self.key_file}: chmod 600 {self.key_file}", err=True)
            return text.strip()
        given = os.environ.get(_VARIABLE, "").strip()
        if given:
            return given
        if not sys.stdin.isatty():
            raise UsageFault(f"the {what} is missing: give it by --key-file FILE or in ${_VARIABLE}")
        return str(click.prompt(f"MAAS {what}", hide_input=True)).strip()

    @asynccontextmanager
    async def open(self, base: str) -> AsyncIterator[Maas]:
        """Enter the MAAS. Raises MaasFault."""
        async with contextlib.AsyncExitStack() as stack:
            key = None if self.user else ApiKey.parse(self.secret)
            http = await stack.enter_async_context(MaasHttp(base, self.ca))
            maas: Maas = MaasV2(http, key) if key is not None else MaasV3(http, self.user or "", self.secret)
            await maas.enter()
            yield maas


def maas_options(command: Command) -> Command:
    """Add the options that let a command into a MAAS; it gets them as `access`."""

    @functools.wraps(command)
    def with_access(*, key_file: Path | None, user: str | None, ca: Path | None, **others: Any) -> Any:
        return command(access=MaasAccess(key_file=key_file, user=user, ca=ca), **others)

    options: list[Callable[[Command], Command]] = [
        click.option(
            "--key-file",
            type=GivenPath(path_type=Path),
            help=f"The file of an administrator's API key.  [${_VARIABLE}, else asked for]",
        ),
        click.option("--user", metavar="NAME", help="Use version 3 of the API, with this user's password."),
        click.option(
            "--ca", type=GivenPath(path_type=Path), help="Authorities (PEM) for MAAS's certificate."
        ),
    ]
    extended: Command = with_access
    for option in reversed(options):
        extended = option(extended)
    return extended
