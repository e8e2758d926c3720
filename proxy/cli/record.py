"""`record`: which documents and items clients really ask for, from now on and until somebody ends it."""

import json
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click

from proxy.bundles.lockfile import write_lockfile
from proxy.cli.lock_files import LockOutput, lock_output_option
from proxy.cli.options import (
    UsageFault,
    chosen_mirrors,
    config_option,
    data_dir_option,
    load,
    stored_data_dir_option,
)
from proxy.cli.running import check_stored, run_with_cache
from proxy.cli.who import operator, user
from proxy.config.addresses import network_problem
from proxy.config.config import Config
from proxy.config.quantities import parse_duration
from proxy.jobs.locking import make_lock
from proxy.jobs.recording import Recordings, Shown
from proxy.readable import counted, printable, size
from proxy.recordings.asked import Asked, Kind
from proxy.recordings.recording import LARGEST_MOST_FILES, MOST_FILES, Recording, RecordingRefused
from proxy.runtime import open_recording_folder
from proxy.service.cache import Cache

_Result = TypeVar("_Result")

_DAY = timedelta(days=1)


@click.group(short_help="Record what clients ask for, to replay it offline.")
def record() -> None:
    """Record which documents and images clients really ask for, and write them into a lockfile.

    \b
      sstream-proxy record start lab
      sstream-proxy record stop --lock lab.lock
      sstream-proxy ready --lock lab.lock
      sstream-proxy serve --lock lab.lock --offline

    It works beside a running server, which notices at once. What a recording names is kept from
    eviction until the recording is deleted.
    """  # noqa: D301 - click wants the backspace that \b is


@record.command(short_help="Begin a recording.")
@config_option
@data_dir_option
@click.argument("name")
@click.option(
    "--client",
    "clients",
    multiple=True,
    metavar="NETWORK",
    help="Only what clients with such addresses ask for: 10.0.0.0/24, 10.0.0.7.",
)
@click.option("--mirror", "mirrors", multiple=True, metavar="NAME", help="Only of these. Default: of all.")
@click.option("--for", "lasting", metavar="TIME", help="How long, such as 2h; else until `record stop`.")
@click.option("--from", "since", metavar="WHEN", help="Begin later: 14:30, or 2026-11-29T14:30.")
@click.option("--until", metavar="WHEN", help="End then.")
@click.option(
    "--most",
    type=click.IntRange(1, LARGEST_MOST_FILES),
    default=MOST_FILES,
    show_default=True,
    help="Record no more files than so many.",
)
def start(
    config_file: Path | None,
    data_dir: Path | None,
    name: str,
    clients: tuple[str, ...],
    mirrors: tuple[str, ...],
    lasting: str | None,
    since: str | None,
    until: str | None,
    most: int,
) -> None:
    """Begin to record, as NAME, which documents and images clients ask for.

    \b
      sstream-proxy record start lab
      sstream-proxy record start rack7 --client 10.0.7.0/24 --for 2h

    All that is answered counts: what was in the cache, what was fetched for it, and parts of files. What
    was asked for by HEAD alone, and what was not there, is listed apart.
    """  # noqa: D301 - click wants the backspace that \b is
    config = load(config_file, data_dir=data_dir)
    now = time.time()
    begins = now if since is None else _moment("--from", since, now)
    if begins < now:
        raise UsageFault(f"--from {since!r} is past, and what was asked for until now was not noted")
    ends = None if until is None else _moment("--until", until, begins)
    if lasting is not None:
        if until is not None:
            raise UsageFault("--for and --until both say when it ends: give one of them")
        ends = begins + _duration(lasting)
    if ends is not None and ends <= max(begins, now):
        raise UsageFault("it would end before it begins")
    recording = _usable(
        lambda: Recording(
            name=name,
            since=begins,
            until=ends,
            clients=tuple(map(_network, clients)),
            mirrors=tuple(chosen_mirrors(config, mirrors)) if mirrors else (),
            most_files=most,
            begun_at=now,
            begun_by=user(),
        )
    )
    _act(config, lambda recordings, _: recordings.begin(recording))
    ending = f"until {_shown(ends)}" if ends is not None else f"until: sstream-proxy record stop {name}"
    beginning = "" if since is None else f"from {_shown(begins)} "
    click.echo(f"recording {recording} {beginning}{ending}")


@record.command(short_help="End a recording.")
@config_option
@stored_data_dir_option
@click.argument("name", required=False)
@lock_output_option
def stop(config_file: Path | None, data_dir: Path | None, name: str | None, lock: LockOutput | None) -> None:
    """End the recording NAME, or the only one that runs; --lock writes what it took into a lockfile.

    \b
      sstream-proxy record stop lab --lock lab.lock
    """  # noqa: D301 - click wants the backspace that \b is
    config = load(config_file, data_dir=data_dir)

    async def end(recordings: Recordings, cache: Cache) -> Shown:
        shown = await recordings.end(name)
        await _write_lock(cache, shown, lock)
        return shown

    _tell(_act_on_stored(config, end), [])


@record.command(short_help="Show what a recording has taken.")
@config_option
@stored_data_dir_option
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="Write it as one JSON object.")
@lock_output_option
def show(
    config_file: Path | None, data_dir: Path | None, name: str, as_json: bool, lock: LockOutput | None
) -> None:
    """Show what the recording NAME has taken, while it runs or later; --lock writes it into a lockfile.

    A lockfile names every file by path, size and sha256, with the documents' own bytes, so that upstream
    may move on. `prefetch`, `ready`, `export` and `serve` take it by --lock.

    \b
      sstream-proxy record show lab
      sstream-proxy record show lab --lock lab.lock
    """  # noqa: D301 - click wants the backspace that \b is
    config = load(config_file, data_dir=data_dir)

    async def look(recordings: Recordings, cache: Cache) -> Shown:
        shown = await recordings.show(name)
        await _write_lock(cache, shown, lock)
        return shown

    shown = _act_on_stored(config, look)
    if as_json:
        click.echo(json.dumps(_as_json(shown), indent=1, ensure_ascii=False))
    elif lock is None or not lock.is_standard_output:
        _tell(shown, list(_files(shown)))


@record.command("list", short_help="List recordings.")
@config_option
@stored_data_dir_option
def list_(config_file: Path | None, data_dir: Path | None) -> None:
    """List all recordings, the newest last.

    \b
      sstream-proxy record list
    """  # noqa: D301 - click wants the backspace that \b is
    found = _act_on_stored(load(config_file, data_dir=data_dir), lambda recordings, _: recordings.all())
    for one in found:
        click.echo(_summary(one))
    if not found:
        click.echo("there are no recordings: sstream-proxy record start NAME", err=True)


@record.command(short_help="Delete a recording.")
@config_option
@stored_data_dir_option
@click.argument("name")
def delete(config_file: Path | None, data_dir: Path | None, name: str) -> None:
    """Delete the recording NAME, whether it runs or not; eviction may take again what it kept.

    \b
      sstream-proxy record delete lab
    """  # noqa: D301 - click wants the backspace that \b is
    _act_on_stored(load(config_file, data_dir=data_dir), lambda recordings, _: recordings.delete(name))
    click.echo(f"deleted the recording {name}")


def _act_on_stored(config: Config, act: Callable[[Recordings, Cache], Awaitable[_Result]]) -> _Result:
    check_stored(config)
    return _act(config, act)


def _act(config: Config, act: Callable[[Recordings, Cache], Awaitable[_Result]]) -> _Result:
    async def work(cache: Cache) -> _Result:
        folder = await cache.storage.threads.disk(open_recording_folder, config)
        try:
            return await act(Recordings(cache, folder, time.time, operator()), cache)
        finally:
            folder.board.close()

    return run_with_cache(config, work)


async def _write_lock(cache: Cache, shown: Shown, lock: LockOutput | None) -> None:
    if lock is None:
        return
    made = await make_lock(cache, shown.recording, shown.taken)
    await cache.storage.threads.slow(lambda: lock.write(write_lockfile(made.lockfile)))
    for one in made.unprovable:
        text = f"warning: {one.mirror} {one.path} is not in the lockfile: no list gives its sha256"
        click.echo(printable(text), err=True)


def _tell(shown: Shown, lines: list[str]) -> None:
    click.echo("\n".join([_summary(shown), *lines]))
    if shown.taken.unnoted:
        more = counted(shown.taken.unnoted, "more request")
        click.echo(f"warning: {more} could not be recorded: the recording is full", err=True)
    if not shown.is_whole:
        click.echo(
            "warning: a process has not written down in time what it knew: show the recording again", err=True
        )


def _summary(shown: Shown) -> str:
    recording, taken = shown.recording, shown.taken
    got = taken.of_kind(Kind.GOT)
    items = {one.sha256: one.size for one in got if not one.is_document}
    documents = {one.sha256 for one in got if one.is_document}
    looked, absent = (len(taken.of_kind(kind)) for kind in (Kind.LOOKED_AT, Kind.ABSENT))
    apart = [
        *([f"{looked} by HEAD"] if looked else []),
        *([f"{absent} not there"] if absent else []),
    ]
    state = "runs" if not recording.has_ended(time.time()) else f"ended {_shown(recording.until)}"
    return (
        f"{recording.name}: {recording}, since {_shown(recording.since)}, {state}: "
        f"{counted(len(documents), 'document')}, {counted(len(items), 'item')} of {size(sum(items.values()))}"
        + (f" ({', '.join(apart)})" if apart else "")
    )


def _files(shown: Shown) -> Iterator[str]:
    for title, kind in (("asked for", Kind.GOT), ("by HEAD", Kind.LOOKED_AT), ("not there", Kind.ABSENT)):
        for one in shown.taken.of_kind(kind):
            told = f"generation {one.generation}" if one.is_document else ""
            about = "" if kind is Kind.ABSENT else f"{size(one.size):>10}  "
            yield printable(f"{title:9}  {about}{one.mirror} {one.path} {told}".rstrip())


def _as_json(shown: Shown) -> dict[str, Any]:
    recording, taken = shown.recording, shown.taken
    files = [one for kind in Kind for one in taken.of_kind(kind)]
    return {
        **asdict(recording),
        "is_running": not recording.has_ended(time.time()),
        "unnoted": taken.unnoted,
        "files": [_file(one) for one in files],
    }


def _file(one: Asked) -> dict[str, Any]:
    return {**asdict(one), "kind": one.kind.value}


def _moment(option: str, text: str, after: float) -> float:
    """Return the moment that somebody means, of the local clock unless they say otherwise."""
    try:
        if len(text) <= len("HH:MM:SS"):
            day = datetime.fromtimestamp(after).astimezone()
            found = datetime.combine(day.date(), datetime.strptime(text, "%H:%M").time()).astimezone()  # noqa: DTZ007
            return (found if found.timestamp() > after else found + _DAY).timestamp()
        return datetime.fromisoformat(text).astimezone().timestamp()
    except (ValueError, OverflowError):
        raise UsageFault(f"{option} {text!r}: write 14:30, or 2026-11-29T14:30, of the local clock") from None


def _network(text: str) -> str:
    problem = network_problem(text)
    if problem:
        raise UsageFault(f"--client {text!r} {problem}")
    return text


def _duration(text: str) -> float:
    return _usable(lambda: parse_duration(text), "--for: ")


def _usable(make: Callable[[], _Result], about: str = "") -> _Result:
    """Return what can be made of what was given; raises UsageFault."""
    try:
        return make()
    except (ValueError, RecordingRefused) as error:
        _refuse(f"{about}{error}")


def _refuse(problem: str) -> NoReturn:
    raise UsageFault(problem)


def _shown(moment: float | None) -> str:
    return "" if moment is None else f"{datetime.fromtimestamp(moment).astimezone():%F %T}"
