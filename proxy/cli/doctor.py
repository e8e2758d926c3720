"""`doctor`: go through a mirror as a client does, and say what would fail there and how to mend it."""

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Self
from urllib.parse import urlsplit

import click

from proxy.cli.options import GivenPath, UsageFault, config_option, load, option_once
from proxy.cli.running import COMPLETE, FAILED, INTERRUPTED
from proxy.config.own_urls import own_urls
from proxy.doctor.bounds import Bounds
from proxy.doctor.clients import CLIENTS, Client
from proxy.doctor.examination import examine
from proxy.doctor.exchange import Exchange, without_credentials
from proxy.doctor.findings import Finding, Report, Severity
from proxy.doctor.gpgv import Gpgv, KeyringUnusable, open_gpgv, read_keyring
from proxy.doctor.wire.asking import Asker, NoAuthorities
from proxy.mirror import Trust
from proxy.readable import counted, printable, size
from proxy.signatures.keyring import keyring_file

_DEFAULT_KEYRING = "ubuntu-cloudimage"
_BOUNDS = Bounds()
_FULL_REQUESTS = 100_000
_MOST_LOAD = 500


class _Where(NamedTuple):
    """A mirror to be examined."""

    url: str
    keyring: Path | None
    """None where the client is not to check signatures."""
    connect_to: str = ""


@click.command(short_help="Say what a client would fail by at a mirror.")
@click.argument("url", required=False, metavar="[URL]")
@option_once(
    "--as",
    "client_name",
    metavar="CLIENT",
    help=f"Which client to be: {', '.join(CLIENTS)}.  [required]",
)
@option_once(
    "--keyring",
    type=GivenPath(path_type=Path),
    help="The keyring file that the client has; else the one of Ubuntu's images, or of our own mirror.",
)
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object (without URL: a list of them).")
@option_once(
    "--ca",
    type=GivenPath(path_type=Path, exists=True, dir_okay=False),
    help="PEM file with the authorities that the client trusts; else this machine's.",
)
@click.option("--full", is_flag=True, help="Read every file that the client would fetch to its end.")
@option_once(
    "--load",
    "crowd",
    type=click.IntRange(0, _MOST_LOAD),
    default=0,
    metavar="N",
    help=f"Ask for one small file N times at once, too ({_MOST_LOAD} at most); MAAS does so with 100.",
)
@config_option
def doctor(
    url: str | None,
    client_name: str | None,
    keyring: Path | None,
    as_json: bool,
    ca: Path | None,
    full: bool,
    crowd: int,
    config_file: Path | None,
) -> None:
    """Go through the mirror at URL as CLIENT does, and say what would fail and how to mend it.

    URL is any mirror of simplestreams, as the client is given it; without one
    it is this proxy as configured here, every mirror of it. Nothing is changed
    anywhere, and what a mirror sends is not believed.

    \b
      sstream-proxy doctor http://mirror.lan/images/ephemeral-v3/stable/ --as maas
      sstream-proxy doctor https://images.lan:8443 --as lxd --ca site-ca.crt

    At most 300 requests, 64 MiB of each list, 48 MiB of items (those up to
    16 MiB are read to their end, of others the beginning and the end), 8
    requests at once and 2 minutes; --full and --load set that aside.

    Exit codes: 0 the client would be content, 1 it would not: a line for each
    fault, 2 wrong usage, 130 interrupted. Warnings and notes do not count.
    """  # noqa: D301 - click wants the backspace that \b is
    client = _client(client_name)
    bounds = replace(_BOUNDS, load=crowd, requests=_BOUNDS.requests + crowd)
    if full:
        bounds = replace(bounds, is_full=True, requests=_FULL_REQUESTS)
    places = [_place(url, keyring)] if url is not None else list(_own_places(client, config_file, keyring))
    try:
        with contextlib.ExitStack() as stack, _Line(is_shown=sys.stderr.isatty() and not as_json) as line:
            is_given = keyring is not None
            judged = [(place, stack.enter_context(_judge(client, place.keyring))) for place in places]
            reports = asyncio.run(_examined(client, judged, bounds, ca, line, is_given=is_given))
    except NoAuthorities as error:
        raise UsageFault(f"--ca {ca}: {error}") from error
    except KeyboardInterrupt:
        click.echo("interrupted", err=True)
        raise SystemExit(INTERRUPTED) from None
    if as_json:
        found = [report.as_json() for report in reports]
        click.echo(json.dumps(found if url is None else found[0], indent=1))
    else:
        for report in reports:
            click.echo("\n".join(_lines(client, report)))
    raise SystemExit(COMPLETE if all(report.is_content for report in reports) else FAILED)


def _client(name: str | None) -> Client:
    if name is None:
        raise UsageFault(
            f"say by --as which client to be, such as --as maas; there are: {', '.join(CLIENTS)}"
        )
    if name not in CLIENTS:
        raise UsageFault(f"there is no client {name!r}; there are: {', '.join(CLIENTS)}")
    return CLIENTS[name]


def _place(url: str, keyring: Path | None) -> _Where:
    if not _is_url(url):
        raise UsageFault(
            f"{url!r} is no URL of a mirror: write it as http://HOST/PATH/ or https://HOST/PATH/"
        )
    if any(not letter.isprintable() or letter == " " for letter in url):
        raise UsageFault(f"{url!r} holds a blank or a control character")
    return _Where(url, keyring or keyring_file(_DEFAULT_KEYRING))


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _own_places(client: Client, config_file: Path | None, keyring: Path | None) -> Iterator[_Where]:
    config = load(config_file)
    places = list(own_urls(config, wants_tls=client.needs_https))
    if not places:
        raise UsageFault("listen has port 0, which only the running server knows: give the URL")
    for mirror, url, connect_to in places:
        own = keyring_file(mirror.keyring) if mirror.trust is Trust.GPG else None
        yield _Where(url, keyring or own, connect_to)


async def _examined(
    client: Client,
    places: Sequence[tuple[_Where, Gpgv | None]],
    bounds: Bounds,
    ca: Path | None,
    line: "_Line",
    *,
    is_given: bool,
) -> list[Report]:
    reports = []
    for place, judge in places:
        asker = Asker(
            bounds,
            environ=os.environ,
            authority=ca,
            connect_to=place.connect_to,
            progress=line.show,
        )
        report = await examine(client, place.url, asker, judge, bounds, is_keyring_given=is_given)
        reports.append(report)
    return reports


@contextlib.contextmanager
def _judge(client: Client, keyring: Path | None) -> Iterator[Gpgv | None]:
    if not client.is_signed or keyring is None:
        yield None
        return
    try:
        file = read_keyring(keyring.absolute())
    except KeyringUnusable as error:
        raise UsageFault(f"--keyring {keyring}: {error}") from error
    with open_gpgv(file) as judge:
        yield judge


def _lines(client: Client, report: Report) -> Iterator[str]:
    """Return a report in words: a line for each finding, faults first, and a summary."""
    for one in report.findings:
        yield f"{one.severity}: {_told(one)}"
    faults, warnings = len(report.of(Severity.FAULT)), len(report.of(Severity.WARNING))
    verdict = "would be content" if report.is_content else "would not be content"
    tried = report.tried
    yield (
        f"{client.title} {verdict} with {printable(report.url)}: {counted(faults, 'fault')}, "
        f"{counted(warnings, 'warning')}; tried {counted(int(tried['requests']), 'request')}, "
        f"{counted(int(tried['lists']), 'list')}, {tried['items']} of {tried['named_items']} files "
        f"({tried['whole_items']} to their end), {size(tried['bytes'])}, {report.took_s:.1f} s"
    )


def _told(one: Finding) -> str:
    also = f", also {', '.join(one.others)}" if one.others else ""
    times = one.evidence.get("times")
    more = f", {times} in all" if times else ""
    where = one.evidence.get("url", "")
    seen = f" [{where}{also}{more}]" if where else ""
    return f"{one.code}: {one.says}. {one.who}: {one.mend}{seen}"


class _Line:
    """A line on a terminal that says what is being tried, and goes away again."""

    def __init__(self, *, is_shown: bool) -> None:
        self._is_shown = is_shown
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown and self._count:
            click.echo("\r\x1b[K", nl=False, err=True)

    def show(self, exchange: Exchange) -> None:
        """Show which request was made last."""
        self._count += 1
        if self._is_shown:
            url = printable(without_credentials(exchange.url))[-80:]
            click.echo(f"\r\x1b[K{self._count} {url}", nl=False, err=True)
