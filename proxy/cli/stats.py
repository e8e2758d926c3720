"""`stats`: what the cache holds, saves and lacks, on a terminal."""

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import click
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from proxy.cli.console import PlainConsole
from proxy.cli.options import config_option, load, stored_data_dir_option
from proxy.cli.running import run_with_stored
from proxy.readable import counted, duration, share, size
from proxy.reporting.mirror_state import mirror_state
from proxy.reporting.snapshot import Observer
from proxy.runtime import open_observer
from proxy.service.cache import Cache

_WATCH_EVERY_S = 2.0


@click.command(short_help="Show what the cache holds, saves and lacks.")
@config_option
@stored_data_dir_option
@click.option("--watch", is_flag=True, help="Show it again every two seconds, until Ctrl-C.")
@click.option(
    "--json", "as_json", is_flag=True, help="Write what /-/stats has; with --watch a line each time."
)
def stats(config_file: Path | None, data_dir: Path | None, watch: bool, as_json: bool) -> None:
    """Show what the cache holds and saves, and how fresh and healthy each mirror is.

    \b
      sstream-proxy stats --watch

    Reads the data directory; works with a running server and without one.
    Upstream is not asked.
    """  # noqa: D301 - click wants the backspace that \b is
    is_offline = load(config_file, data_dir=data_dir).offline
    config = load(config_file, data_dir=data_dir, offline=True)

    async def work(cache: Cache) -> None:
        # Looking asks no origin; that does not make the proxy one that asks none.
        observer = await open_observer(
            config, cache, time.time, lambda: is_offline or cache.offline.is_switched
        )
        view = _View(observer, config.data_dir)
        await _show(view, is_watching=watch, as_json=as_json)

    run_with_stored(config, work)


class _View(NamedTuple):
    """The cache as `stats` shows it."""

    observer: Observer
    data_dir: Path

    async def stats(self) -> dict[str, Any]:
        """Return what `/-/stats` says."""
        return (await self.observer.snapshot()).stats

    async def rendered(self) -> Group:
        """Return everything as a person reads it."""
        return Group(*_parts(await self.stats(), self.data_dir))


async def _show(view: _View, *, is_watching: bool, as_json: bool) -> None:
    console = PlainConsole()
    if not is_watching:
        if as_json:
            click.echo(json.dumps(await view.stats(), indent=2))
        else:
            console.print(await view.rendered())
    elif as_json:
        while True:
            click.echo(json.dumps(await view.stats()))
            await asyncio.sleep(_WATCH_EVERY_S)
    elif not console.is_terminal:
        while True:
            console.print(await view.rendered(), "")
            await asyncio.sleep(_WATCH_EVERY_S)
    else:
        with Live(await view.rendered(), console=console, screen=True, auto_refresh=False) as live:
            while True:
                await asyncio.sleep(_WATCH_EVERY_S)
                live.update(await view.rendered(), refresh=True)


def _parts(known: dict[str, Any], data_dir: Path) -> Iterator[Text | Table]:
    state = ", offline" if known["offline"] else ""
    yield Text(f"sstream-proxy {known['version']}{state}, storing in {data_dir}", style="bold")
    yield _totals(known)
    yield _mirrors(known)
    if known["fills"]:
        yield _fills(known["fills"])
    if known["prefetch"]:
        yield _rules(known)
    for problem in known["problems"]:
        style = "red" if problem["severity"] == "error" else "yellow"
        yield Text(f"{problem['subject']} {problem['text']}\n  -> {problem['advice']}", style=style)


def _totals(known: dict[str, Any]) -> Table:
    total, store, scrub = known["total"], known["store"], known["scrub"]
    limit = "no limit" if store["limit_bytes"] is None else f"of {size(store['limit_bytes'])}"
    table = Table.grid(padding=(0, 2))
    table.add_row(
        "store",
        f"{size(store['bytes'])} ({limit}), {counted(store['blobs'], 'blob')}, "
        f"{size(store['pinned_bytes'])} pinned, {size(store['free_bytes'])} free on disk",
    )
    for recording in known["recordings"]:
        until = recording["until"]
        ending = "" if until is None else f", for {duration(until - known['now'])} more"
        table.add_row("recording", f"{recording['name']}{ending}")
    ratios = total["hit_ratio"]
    table.add_row("hits", ", ".join(f"{share(ratios[key])} {key.replace('_', ' ')}" for key in ratios))
    sent = sum(total["sent_bytes"].values())
    table.add_row(
        "bytes",
        f"{size(sent)} sent, {size(total['fetched_bytes'])} fetched, {size(total['saved_bytes'])} saved",
    )
    cuts = known["cuts"]["total"]
    if any(cuts.values()):
        told = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in cuts.items() if count)
        table.add_row("cut", f"{counted(sum(cuts.values()), 'reply', 'replies')}: {told}")
    for name, pin in store["pins"].items():
        awaited = f", {pin['awaited_blobs']} more not here yet" if pin["awaited_blobs"] else ""
        shown = name if name.isprintable() else repr(name)
        table.add_row("pin", f"{shown}: {counted(pin['blobs'], 'blob')}, {size(pin['bytes'])}{awaited}")
    transfers = known["transfers"]
    if transfers["running"] or transfers["waiting"]:
        table.add_row("transfers", f"{transfers['running']} running, {transfers['waiting']} waiting")
    table.add_row("scrub", _scrub_line(known["now"], scrub))
    return table


def _scrub_line(now: float, scrub: dict[str, Any]) -> str:
    if scrub["due_blobs"]:
        return f"{counted(scrub['due_blobs'], 'blob')} ({size(scrub['due_bytes'])}) to go"
    done = "never" if scrub["completed_at"] is None else f"{duration(now - scrub['completed_at'])} ago"
    return f"complete {done}, {scrub['damaged_blobs']} damaged, {scrub['repaired_blobs']} fetched again"


def _mirrors(known: dict[str, Any]) -> Table:
    table = Table("mirror", "state", "index age", "checked", "hits/day", "sent", "fetched", box=None)
    for name, mirror in known["mirrors"].items():
        state = mirror_state(mirror, known["lockfile"]).text
        age, checked = mirror.get("index_age_s"), mirror.get("checked_s_ago")
        table.add_row(
            name,
            state,
            "-" if age is None else duration(age),
            "-" if checked is None else f"{duration(checked)} ago",
            share(mirror["hit_ratio"]["day"]),
            size(sum(mirror["sent_bytes"].values())),
            size(mirror["fetched_bytes"]),
        )
    return table


def _fills(fills: list[dict[str, Any]]) -> Table:
    table = Table("arriving", "done", "rate", "remaining", box=None)
    for one in fills:
        remaining = "-" if one["remaining_s"] is None else duration(one["remaining_s"])
        done = share(one["filled_bytes"] / one["size_bytes"] if one["size_bytes"] else 1.0)
        table.add_row(one["path"], done, f"{size(one['rate_bytes_s'])}/s", remaining)
    return table


def _rules(known: dict[str, Any]) -> Table:
    table = Table("rule", "last run", "next", box=None)
    now = known["now"]
    for rule in known["prefetch"]:
        last = rule["last"]
        told = "never" if last is None else f"{last['outcome']} {duration(now - last['ended_at'])} ago"
        due = rule["next_at"]
        next_run = rule["schedule"] or "by sync only"
        if due is not None:
            next_run = f"in {duration(due - now)}" if due > now else "overdue"
        table.add_row(rule["name"], "running" if rule["is_running"] else told, next_run)
    return table
