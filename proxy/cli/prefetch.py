"""`prefetch`: fetch what a selection wants, before anybody asks for it."""

import asyncio
import time
from pathlib import Path

import click
import uvloop

from proxy.cache.service import Cache
from proxy.cli.options import (
    chosen_mirrors,
    config_option,
    data_dir_option,
    load,
    make_selection,
    selection_options,
)
from proxy.cli.show import make_watcher, plan_event, plan_lines, summary_lines, tell
from proxy.config import Config
from proxy.errors import ProxyError
from proxy.jobs.choosing import Chosen, choose
from proxy.jobs.plan import Plan
from proxy.jobs.prefetch import NoSpace, add_to_pin, keep, plan_prefetch, plan_space
from proxy.jobs.prefetch import prefetch as run_prefetch
from proxy.jobs.progress import Summary
from proxy.jobs.selection import Selection
from proxy.runtime import open_runtime

PARTIAL = 3
INTERRUPTED = 130


@click.command()
@config_option
@data_dir_option
@selection_options
@click.option("--dry-run", is_flag=True, help="Show the plan and stop.")
@click.option("--jobs", type=click.IntRange(1, 256), help="Items at a time. [upstream.background_transfers]")
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines: plan, items, summary.")
def prefetch(
    config_file: Path | None,
    data_dir: Path | None,
    filters: tuple[str, ...],
    mirrors: tuple[str, ...],
    newest: int | None,
    maas: str | None,
    arch: str | None,
    dry_run: bool,
    jobs: int | None,
    as_json: bool,
) -> None:
    """Fetch and verify everything that the FILTERs select, and keep it.

    Filters are those of sstream-mirror, so its command lines can be pasted:

    \b
      sstream-proxy prefetch 'arch=amd64' 'release~(noble|jammy)' --max=1
      sstream-proxy prefetch --maas noble,jammy --arch amd64
      sstream-proxy prefetch --dry-run 'os~(grub*|pxelinux)'

    It works beside a running server on the same data directory, and without
    one. Nothing that another prefetch brought is removed. An interrupted run
    goes on where it stopped.

    Exit codes: 0 complete, 1 failed, 2 wrong usage, 3 some items failed,
    130 interrupted.
    """  # noqa: D301 - click wants the backspace that \b is
    config = load(config_file, data_dir=data_dir)
    selection = make_selection(filters, newest, maas, arch)
    names = chosen_mirrors(config, mirrors)
    transfers = jobs or config.upstream.background_transfers
    job = _Job(config, names, selection, transfers, is_dry=dry_run, as_json=as_json)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            raise SystemExit(runner.run(job.run()))
    except KeyboardInterrupt:
        click.echo("interrupted; what has arrived is kept, the next run goes on from there", err=True)
        raise SystemExit(INTERRUPTED) from None
    except ProxyError as error:
        raise click.ClickException(str(error)) from error


class _Job:
    """One run of the command."""

    def __init__(
        self,
        config: Config,
        mirrors: list[str],
        selection: Selection,
        transfers: int,
        *,
        is_dry: bool,
        as_json: bool,
    ) -> None:
        self._config = config
        self._mirrors = mirrors
        self._selection = selection
        self._transfers = transfers
        self._is_dry = is_dry
        self._as_json = as_json

    async def run(self) -> int:
        """Plan, fetch and keep; return the exit code."""
        async with open_runtime(self._config) as cache:
            await asyncio.gather(*(cache.refresh(mirror) for mirror in self._mirrors))
            chosen = await choose(cache, self._mirrors, self._selection)
            for warning in chosen.warnings:
                click.echo(f"warning: {warning}", err=True)
            plan = await self._show_plan(cache, chosen)
            if self._is_dry:
                return 0
            summary = await self._fetch(cache, plan)
            if summary.is_complete:
                await keep(cache, self._pin, plan.digests)
                return 0
            await add_to_pin(cache, self._pin, plan.digests)
            return PARTIAL

    @property
    def _pin(self) -> str:
        return f"prefetch {' '.join(self._mirrors)}: {self._selection}"

    async def _show_plan(self, cache: Cache, chosen: Chosen) -> Plan:
        plan = await plan_prefetch(cache, chosen.wanted)
        space = await plan_space(cache, plan)
        if self._as_json:
            tell(plan_event(plan, space))
        else:
            click.echo(
                "\n".join([f"from {', '.join(self._mirrors)}: {self._selection}", *plan_lines(plan, space)])
            )
        if space.missing_bytes > 0:
            raise NoSpace(space.missing_bytes)
        return plan

    async def _fetch(self, cache: Cache, plan: Plan) -> Summary:
        started = time.monotonic()
        watcher = make_watcher(as_json=self._as_json)
        try:
            summary = await run_prefetch(cache, plan, self._transfers, watcher)
        finally:
            watcher.close()
        seconds = time.monotonic() - started
        if self._as_json:
            tell(
                {
                    "event": "summary",
                    "fetched_bytes": summary.fetched_bytes,
                    "fetched_items": summary.fetched_items,
                    "reused_bytes": summary.reused_bytes,
                    "shared_bytes": summary.shared_bytes,
                    "seconds": round(seconds, 3),
                    "failures": [
                        {"mirror": one.mirror, "path": one.item.path, "problem": problem}
                        for one, problem in summary.failures
                    ],
                }
            )
        else:
            click.echo("\n".join(summary_lines(summary, seconds)))
        return summary
