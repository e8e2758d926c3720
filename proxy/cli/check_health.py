"""`check-health`: the state of the proxy for Nagios, Icinga and whoever reads their form."""

import asyncio
import json
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

import click

from proxy.cli.options import GivenPath, config_option, load, option_once, stored_data_dir_option
from proxy.cli.running import run_with_stored
from proxy.config.addresses import url_problem
from proxy.config.quantities import parse_duration, parse_size
from proxy.doctor.bounds import MIB, Bounds
from proxy.doctor.exchange import Ask, Exchange, Patience, Trouble
from proxy.doctor.wire.asking import Asker, NoAuthorities
from proxy.readable import printable
from proxy.reporting.health import (
    Health,
    Limit,
    Limits,
    health,
    health_of_readiness,
    unknown,
    unreachable,
)
from proxy.runtime import open_observer
from proxy.service.cache import Cache

_OK, _NOT_READY = 200, 503
_ABSENT = 404
_DENIED = frozenset({401, 403, _ABSENT})
_OTHER_SCHEME = {
    ("http", Trouble.CLOSED): "; if it speaks https, write https://",
    ("http", Trouble.NOT_HTTP): "; if it speaks https, write https://",
    ("https", Trouble.TLS): ", which is no TLS that works; if it speaks plain http, write http://",
}
"""What may be wrong with a URL that gets no reply, by its scheme and by what happened."""
_MOST_BYTES = 16 * MIB


class Plugin(click.Command):
    """A command that says UNKNOWN (3) where others say wrong usage (2), which here means critical."""

    def make_context(self, *arguments: Any, **more: Any) -> click.Context:
        """Read the command line."""
        try:
            return super().make_context(*arguments, **more)
        except click.ClickException as fault:
            _end(unknown(fault.format_message()))

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, OSError) as fault:
            said = fault.format_message() if isinstance(fault, click.ClickException) else str(fault)
            _end(unknown(" ".join(said.split())))


class _Limit(click.ParamType):  # type: ignore[type-arg]  # click 8.1's is not generic
    """WARNING,CRITICAL; where the second is the smaller one, it is too little that is bad."""

    name = "WARN,CRIT"

    def __init__(self, read: Callable[[object], float]) -> None:
        self._read = read

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Limit:
        """Return the limit."""
        if isinstance(value, Limit):
            return value
        warning, comma, critical = str(value).partition(",")
        if not comma:
            self.fail(f"{value!r} is one value: write WARNING,CRITICAL with a comma between them", param, ctx)
        try:
            return Limit(self._read(warning.strip()), self._read(critical.strip()))
        except ValueError as error:
            self.fail(f"{value!r}: {error}", param, ctx)


def _percent(text: object) -> float:
    try:
        return float(str(text).removesuffix("%"))
    except ValueError:
        raise ValueError(f"write a percentage such as 50%, not {text!r}") from None


@click.command("check-health", cls=Plugin, short_help="Say how it is, for Nagios and the like.")
@click.argument("url", required=False, metavar="[URL]")
@config_option
@stored_data_dir_option
@click.option("--mirror", "mirrors", multiple=True, metavar="NAME", help="It has to be there and have lists.")
@option_once("--index-age", type=_Limit(parse_duration), help="Age of an index, such as 10d,30d.")
@option_once(
    "--unchecked", type=_Limit(parse_duration), help="Since an origin was asked with success, such as 6h,2d."
)
@option_once("--free", type=_Limit(parse_size), help="Free space, such as 50GiB,10GiB.")
@option_once("--hit-ratio", type=_Limit(_percent), help="Hits of the last day, such as 50%,20%.")
@option_once(
    "--token-file",
    type=GivenPath(path_type=Path, exists=True, dir_okay=False),
    help="With URL: a file that holds the token of an admin.",
)
@option_once(
    "--ca",
    type=GivenPath(path_type=Path, exists=True, dir_okay=False),
    help="With an https URL: PEM file with the authorities to trust.",
)
@option_once("--timeout", type=click.FloatRange(0.1, 300), default=10, show_default=True, help="In seconds.")
def check_health(
    url: str | None,
    config_file: Path | None,
    data_dir: Path | None,
    mirrors: tuple[str, ...],
    index_age: Limit | None,
    unchecked: Limit | None,
    free: Limit | None,
    hit_ratio: Limit | None,
    token_file: Path | None,
    ca: Path | None,
    timeout: float,
) -> None:
    """Say in one line how the proxy is, with figures to plot, in the form of monitoring plugins.

    With URL, such as http://proxy.lan:8080, a running server is asked (its
    /-/stats; where that is for admins only and there is no token, /-/ready).
    Without one the data directory is read, whether or not a server runs.

    \b
      sstream-proxy check-health http://proxy.lan:8080 --unchecked 6h,2d
      sstream-proxy check-health --mirror maas-stable --free 50GiB,10GiB

    What the proxy calls an error is critical, what it calls a warning a warning;
    the limits add to that.

    Exit codes: 0 OK, 1 warning, 2 critical, 3 unknown (also wrong usage).
    """  # noqa: D301 - click wants the backspace that \b is
    limits = Limits(index_age, unchecked, free, hit_ratio)
    if url is None:
        _end(health(_local_stats(config_file, data_dir), limits, mirrors))
    _end(_asked(url, limits, mirrors, token_file=token_file, ca=ca, within_s=timeout))


def _end(found: Health) -> NoReturn:
    click.echo("\n".join(map(printable, found.text.split("\n"))))
    raise SystemExit(int(found.status))


def _local_stats(config_file: Path | None, data_dir: Path | None) -> dict[str, Any]:
    is_offline = load(config_file, data_dir=data_dir).offline
    config = load(config_file, data_dir=data_dir, offline=True)

    async def work(cache: Cache) -> dict[str, Any]:
        # Looking asks no origin; that does not make the proxy one that asks none.
        observer = await open_observer(
            config, cache, time.time, lambda: is_offline or cache.offline.is_switched
        )
        return (await observer.snapshot()).stats

    return run_with_stored(config, work)


def _asked(
    url: str,
    limits: Limits,
    mirrors: tuple[str, ...],
    *,
    token_file: Path | None,
    ca: Path | None,
    within_s: float,
) -> Health:
    try:
        if url_problem(url) is not None:
            return unknown(f"{url!r} is no URL such as http://proxy.lan:8080")
        asker = Asker(Bounds(seconds=2 * within_s), environ=os.environ, authority=ca)
    except (ValueError, NoAuthorities) as error:
        return unknown(str(error))
    token = "" if token_file is None else token_file.read_text().strip()

    async def ask(path: str) -> Exchange:
        patience = Patience(connect_s=within_s, first_byte_s=within_s, gap_s=within_s, total_s=within_s)
        headers = (("Accept", "application/json"), ("Authorization", f"Bearer {token}" if token else ""))
        base = url.rstrip("/").removesuffix("/-")
        return await asker.ask(
            Ask(url=f"{base}/-/{path}", headers=headers, most_bytes=_MOST_BYTES, patience=patience)
        )

    exchange = asyncio.run(ask("stats"))
    if exchange.status in _DENIED and not token:
        exchange = asyncio.run(ask("ready"))
    if distrust := asker.distrust(url):
        return unreachable(
            f"the certificate is not trusted: {distrust.detail}; name the authority to trust by --ca"
        )
    return _judged(exchange, limits, mirrors)


def _judged(exchange: Exchange, limits: Limits, mirrors: tuple[str, ...]) -> Health:
    if exchange.trouble is not None:
        advice = _OTHER_SCHEME.get((exchange.url.partition("://")[0], exchange.trouble), "")
        return unreachable(f"{exchange.url}: {exchange.detail}{advice}")
    told: Any = None
    with suppress(ValueError):
        told = json.loads(exchange.body)
    if isinstance(told, dict) and "mirrors" in told and exchange.status == _OK:
        return health(told, limits, mirrors)
    if isinstance(told, dict) and "ready" in told and exchange.status in {_OK, _NOT_READY}:
        return health_of_readiness(told)
    if exchange.status in _DENIED:
        advice = "give the right --token-file, or ask from the proxy's machine"
        if exchange.status == _ABSENT and exchange.url.endswith("/-/ready"):  # Which is for everybody.
            advice = "there is no sstream-proxy at this address"
        return unknown(f"{exchange.url} answers {exchange.status}: {advice}")
    if exchange.status != _OK:
        return unreachable(f"{exchange.url} answers {exchange.status} {exchange.reason}")
    return unknown(f"{exchange.url} is no figures of sstream-proxy")
