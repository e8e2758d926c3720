"""`prefetch`: fetch what a selection wants, before anybody asks for it."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path

import click

from proxy.cli.going_on import go_on_text
from proxy.cli.lock_files import LockInput, lock_option
from proxy.cli.maas_access import MaasAccess, maas_at, maas_options
from proxy.cli.options import (
    Asked,
    UsageFault,
    config_option,
    data_dir_option,
    load,
    option_once,
    selection_options,
)
from proxy.cli.rehearsing import open_apart
from proxy.cli.running import COMPLETE, FAILED, PARTIAL, REFUSED, run_as_owner, run_with_cache
from proxy.cli.show import FetchView, plan_event, plan_lines, summary_event, summary_lines, tell
from proxy.config.config import Config
from proxy.connect.maas_api.model import Site
from proxy.documents.rollback import AnotherStream, RollbackError
from proxy.documents.vetting import DocumentRefused
from proxy.errors import ProxyError
from proxy.jobs.choosing import Chosen, choose_items
from proxy.jobs.pins import unpin_if_nothing_came
from proxy.jobs.plan import Forecast, Plan, Wanted
from proxy.jobs.prefetch import Order, Prefetch
from proxy.jobs.prefetch_lock import LockChooser, accept_if_newer, newest_documents
from proxy.jobs.requested import pin_of
from proxy.jobs.selected_in_maas import choices_of
from proxy.jobs.selection import Selection
from proxy.jobs.watching import FetchReport, Watcher
from proxy.readable import counted, first_few, printable, size
from proxy.runtime import open_runtime
from proxy.service.cache import Cache
from proxy.sources.addresses import shown_url
from proxy.store.storage import open_store_to_foresee


@click.command(short_help="Fetch a selection before anybody asks for it.")
@config_option
@data_dir_option
@selection_options
@click.option("--dry-run", is_flag=True, help="Show the plan and stop.")
@click.option("--jobs", type=click.IntRange(1, 256), help="Items at a time. [upstream.background_transfers]")
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines: plan, items, summary.")
@option_once("--from-maas", metavar="URL", help="What is selected in this MAAS; its key by --key-file.")
@maas_options
@lock_option("Exactly what this lockfile names, as `record` writes it, whatever upstream publishes now.")
def prefetch(
    config_file: Path | None,
    data_dir: Path | None,
    asked: Asked,
    dry_run: bool,
    jobs: int | None,
    as_json: bool,
    from_maas: str | None,
    access: MaasAccess,
    lock: LockInput | None,
) -> None:
    """Fetch and verify everything that the FILTERs select, and keep it.

    Filters are those of sstream-mirror, so its command lines can be pasted: KEY=VALUE,
    KEY!=VALUE, KEY~REGEX, KEY!~REGEX. An item must pass them all; `query --json` shows its keys.
    A FILTER without = or ~ names a mirror. Without any filter, all that its lists name is selected:
    --dry-run says how much that is.

    \b
      sstream-proxy prefetch 'arch=amd64' 'release~(noble|jammy)' --max=1
      sstream-proxy prefetch --maas noble,jammy --arch amd64
      sstream-proxy prefetch --from-maas http://MAAS:5240/MAAS --key-file KEY
      sstream-proxy prefetch --dry-run 'os~(grub*|pxelinux)'
      sstream-proxy prefetch --lock lab.lock

    It works beside a running server on the same data directory, and without
    one. Nothing that another prefetch brought is removed. An interrupted run
    goes on where it stopped.

    Exit codes: 0 complete, 1 failed, 2 wrong usage, 3 not complete: items
    failed, or the lists could not be checked; 130 interrupted.
    """  # noqa: D301 - click wants the backspace that \b is
    config = load(config_file, data_dir=data_dir)
    asked = asked.naming_mirrors()
    if lock is not None:
        lock.check(config, asked, from_maas)
        raise SystemExit(fetch_lock(config, lock, jobs, dry_run=dry_run, as_json=as_json))
    selection, names = asked.selection(), asked.of_mirrors(config)
    if from_maas is None and access.is_given:
        raise UsageFault("--key-file, --user and --ca go with --from-maas")
    if from_maas is not None:
        if selection.is_maas:
            raise UsageFault("--maas and --from-maas are two different things: give one of them")
        selection = _as_in_maas(config, selection, from_maas, access)
    order = _order(config, names, selection, jobs or config.upstream.background_transfers)
    raise SystemExit(_carry_out(config, order, dry_run=dry_run, as_json=as_json))


def fetch_what_maas_has(config: Config, mirrors: list[str], site: Site, base: str) -> int:
    """Fetch what is selected in a MAAS; return the exit code."""
    selection = Selection(from_maas=base, choices=choices_of(site))
    order = _order(config, mirrors, selection, config.upstream.background_transfers)
    return _carry_out(config, order, dry_run=False, as_json=False)


def fetch_from(
    config: Config, mirror: str, url: str, selection: Selection, *, accept_older: bool, as_json: bool
) -> int:
    """Fetch what is selected from a server in the place of a mirror's origins; return the exit code.

    Its lists are verified first, as the origins' are, and so they may be refused. It is asked also while
    the proxy is offline, which is about upstream: somebody has named this server.
    """
    elsewhere = _with_origin(config, mirror, url)
    order = _order(elsewhere, [mirror], selection, config.upstream.background_transfers)

    async def run() -> int:
        async with open_runtime(elsewhere, asked_offline=(mirror,)) as cache:
            code = await _accept_lists(cache, mirror, accept_older=accept_older)
            if code != COMPLETE:
                return code
            return await _carried_out(cache, order, _ShownOfServer(order, url, as_json=as_json))

    return run_as_owner(elsewhere, run, go_on_text())


_IF_ALL_IS_THERE = (
    "nothing is written; an import would come to this, if the server has all that its lists name:"
)


def rehearse_from(
    config: Config, mirror: str, url: str, selection: Selection, *, accept_older: bool, as_json: bool
) -> int:
    """Tell what `fetch_from` would fetch if the server has all that its lists name; return the exit code."""
    elsewhere = _with_origin(config, mirror, url)
    order = _order(elsewhere, [mirror], selection, config.upstream.background_transfers)

    async def run() -> int:
        async with open_apart(elsewhere, {}, asked_offline=(mirror,)) as cache:
            code = await _accept_lists(cache, mirror, accept_older=accept_older)
            if code == COMPLETE:
                if not as_json:
                    click.echo(_IF_ALL_IS_THERE)
                shown = _ShownOfServer(order, url, as_json=as_json)
                await Prefetch(cache, order, shown).rehearse_for(open_store_to_foresee(config.data_dir))
            return code

    return run_as_owner(elsewhere, run, "nothing was written")


def _with_origin(config: Config, mirror: str, url: str) -> Config:
    """Return a configuration in which a mirror has this origin alone."""
    mirrors = (replace(one, origins=(url,)) if one.name == mirror else one for one in config.mirrors)
    return replace(config, mirrors=tuple(mirrors))


async def _accept_lists(cache: Cache, mirror: str, *, accept_older: bool) -> int:
    """Accept the lists of a server that is asked in the place of a mirror's origins; return the exit code."""
    try:
        # Or what is wrong with this server would be held against upstream.
        await cache.examine(mirror, accept_older=accept_older)
    except (DocumentRefused, RollbackError) as error:
        is_older = isinstance(error, RollbackError) and not isinstance(error, AnotherStream)
        hint = "; if that is meant: --accept-older" if is_older else ""
        click.echo(f"REFUSED {printable(str(error))}{hint}", err=True)
        return REFUSED
    problem = await cache.refresh(mirror, accept_older=accept_older)
    if problem is not None:
        click.echo(f"FAILED {printable(problem)}", err=True)
        return FAILED
    return COMPLETE


def _as_in_maas(config: Config, selection: Selection, url: str, access: MaasAccess) -> Selection:
    """Return the selection with what is selected in a MAAS."""
    try:
        base, access = maas_at(url), access.read()

        async def look() -> Site:
            async with access.open(base) as maas:
                return await maas.look()

        site = run_as_owner(config, look, "nothing was fetched")
        choices = choices_of(site)
    except ProxyError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"selected in MAAS {site.version.text}: {'; '.join(one.shown for one in choices)}", err=True)
    return replace(selection, from_maas=base, choices=choices)


def _carry_out(config: Config, order: Order, *, dry_run: bool, as_json: bool) -> int:
    return run_with_cache(
        config,
        lambda cache: _fetch(cache, order, dry_run=dry_run, as_json=as_json),
        if_interrupted=go_on_text(),
    )


async def _fetch(cache: Cache, order: Order, *, dry_run: bool, as_json: bool) -> int:
    shown = _Shown(order, as_json=as_json)
    if dry_run:
        await Prefetch(cache, order, shown).rehearse()
        return COMPLETE
    return await _carried_out(cache, order, shown)


async def _carried_out(cache: Cache, order: Order, shown: "_Shown") -> int:
    run = Prefetch(cache, order, shown)
    try:
        await run.run()
    finally:
        if run.report is not None:
            shown.summary(run.report)
            if not run.is_complete:
                await asyncio.shield(unpin_if_nothing_came(cache, order.pin))
    return COMPLETE if run.is_complete else PARTIAL


def fetch_lock(config: Config, lock: LockInput, jobs: int | None, *, dry_run: bool, as_json: bool) -> int:
    """Fetch what a lockfile names, and keep it; return the exit code."""
    carried = newest_documents(lock.lockfile, config.mirrors)
    choose = LockChooser(lock.lockfile)
    unsigned = tuple(name for name in lock.lockfile.mirrors if name not in carried)
    order = replace(
        _order(config, list(unsigned), Selection(), jobs or config.upstream.background_transfers),
        choose=choose,
        pin=lock.pin,
        about=lock.shown,
    )

    async def work() -> int:
        if not dry_run:
            async with open_runtime(config, carried=carried) as cache:
                await accept_if_newer(cache, lock.lockfile, carried)
        async with open_runtime(config) as cache:
            status = await _fetch(cache, order, dry_run=dry_run, as_json=as_json)
            if not dry_run:
                pins, kept = cache.storage.pins, choose.document_digests
                await cache.storage.threads.ledger(pins.pin_all, order.pin, kept)
            return status

    return run_as_owner(config, work, go_on_text())


def _order(config: Config, mirrors: list[str], selection: Selection, transfers: int) -> Order:
    return Order(
        mirrors=tuple(mirrors),
        selection=selection,
        choose=choose_items,
        pin=pin_of(tuple(mirrors), selection),
        hold_s=config.freshness.retain_s,
        transfers=transfers,
    )


_MOST_TOLD = 1000


class _Shown(Watcher):
    """A prefetch as whoever typed the command sees it."""

    def __init__(self, order: Order, *, as_json: bool) -> None:
        self._order = order
        self._as_json = as_json
        self._began: float | None = None
        self._view: FetchView | None = None

    def unchecked(self, mirror: str, problem: str) -> None:
        """Warn."""
        _warn(f"mirror {mirror}: its lists could not be checked: {problem}")

    def chosen(self, chosen: Chosen) -> None:
        """Warn of what is surprising, and of what cannot be had."""
        for problem in chosen.warnings:
            _warn(problem)
        for one in chosen.unprovable:
            _warn(f"{one.mirror} {one.path} {one.problem}")

    def planned(self, plan: Plan, forecast: Forecast) -> None:
        """Show the plan."""
        if self._as_json:
            tell(plan_event(plan, forecast))
        else:
            click.echo(self._order.about or f"from {', '.join(self._order.mirrors)}: {self._order.selection}")
            click.echo("\n".join(plan_lines(plan, forecast)))

    def begun(self, plan: Plan) -> None:
        """Show progress from now on."""
        self._began = time.monotonic()
        self._view = FetchView(as_json=self._as_json)
        self._view.begun(plan)

    def moved(self, wanted: Wanted, filled_bytes: int) -> None:
        """Show how far an item is."""
        if self._view is not None:
            self._view.moved(wanted, filled_bytes)

    def ended(self, wanted: Wanted, problem: str | None) -> None:
        """Show what has become of an item."""
        if self._view is not None:
            self._view.ended(wanted, problem)

    def summary(self, report: FetchReport) -> None:
        """Show what the transfers came to, in the progress's stead."""
        if self._view is not None:
            self._view.close()
        seconds = 0.0 if self._began is None else time.monotonic() - self._began
        if self._as_json:
            tell(summary_event(report, seconds))
        else:
            told = {} if self._view is None else self._view.told
            click.echo("\n".join(summary_lines(report, seconds, told)))
        if report.untried is not None:
            _warn(report.untried)


class _ShownOfServer(_Shown):
    """A prefetch from a server that may have a part of what the lists name, and is not to blame for it."""

    def __init__(self, order: Order, url: str, *, as_json: bool) -> None:
        super().__init__(order, as_json=as_json)
        self._url = url

    def absent(self, wanted: Wanted, problem: str) -> None:  # noqa: ARG002 - all are told of at once
        """Show that an item will not come."""
        if self._view is not None:
            self._view.not_there(wanted)

    def summary(self, report: FetchReport) -> None:
        """Show what came, and how much is not there."""
        absent = {one.item.path: one.item.size_bytes for one in report.absent}
        failures = [one for one in report.failures if one[0] not in report.absent]
        where, names, absent_bytes = shown_url(self._url), sorted(absent), sum(absent.values())
        if self._as_json and absent:
            event = {"event": "absent", "url": where, "files": len(names), "bytes": absent_bytes}
            tell({**event, "paths": names[:_MOST_TOLD]})
        super().summary(replace(report, failures=failures))
        if absent and not self._as_json:
            click.echo(
                printable(
                    f"not complete: {counted(len(names), 'file')} that the lists name ({size(absent_bytes)}) "
                    f"{'is' if len(names) == 1 else 'are'} not at {where}: {first_few(names)}; "
                    "filters select what is wanted of them"
                ),
                err=True,
            )


def _warn(problem: str) -> None:
    click.echo(f"warning: {printable(problem)}", err=True)
