"""`prefetch`: fetch what a selection wants, before anybody asks for it."""

from dataclasses import replace
from pathlib import Path

import click

from proxy.cli.fetching import Shown, carried_out, order_of
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
from proxy.cli.running import COMPLETE, run_as_owner, run_with_cache
from proxy.config.config import Config
from proxy.connect.maas_api.model import Site
from proxy.errors import ProxyError
from proxy.jobs.prefetch import Order, Prefetch
from proxy.jobs.prefetch_lock import LockChooser, accept_if_newer, newest_documents
from proxy.jobs.selected_in_maas import choices_of
from proxy.jobs.selection import Selection
from proxy.runtime import open_runtime
from proxy.service.cache import Cache


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
    order = order_of(config, names, selection, jobs or config.upstream.background_transfers)
    raise SystemExit(_carry_out(config, order, dry_run=dry_run, as_json=as_json))


def fetch_what_maas_has(config: Config, mirrors: list[str], site: Site, base: str) -> int:
    """Fetch what is selected in a MAAS; return the exit code."""
    selection = Selection(from_maas=base, choices=choices_of(site))
    order = order_of(config, mirrors, selection, config.upstream.background_transfers)
    return _carry_out(config, order, dry_run=False, as_json=False)


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
    shown = Shown(order, as_json=as_json)
    if dry_run:
        await Prefetch(cache, order, shown).rehearse()
        return COMPLETE
    return await carried_out(cache, order, shown)


def fetch_lock(config: Config, lock: LockInput, jobs: int | None, *, dry_run: bool, as_json: bool) -> int:
    """Fetch what a lockfile names, and keep it; return the exit code."""
    carried = newest_documents(lock.lockfile, config.mirrors)
    choose = LockChooser(lock.lockfile)
    unsigned = tuple(name for name in lock.lockfile.mirrors if name not in carried)
    order = replace(
        order_of(config, list(unsigned), Selection(), jobs or config.upstream.background_transfers),
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
