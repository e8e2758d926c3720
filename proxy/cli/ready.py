"""`ready`: prove that a selection can be served with upstream gone."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from proxy.bundles.contents import File
from proxy.cli.lock_files import LockInput, lock_option
from proxy.cli.options import (
    Asked,
    UsageFault,
    chosen_rules,
    config_option,
    load,
    option_once,
    selection_options,
    stored_data_dir_option,
)
from proxy.cli.running import FAILED, run_with_stored
from proxy.documents.documents import NoGeneration
from proxy.jobs.choosing import choose_known_items
from proxy.jobs.importing.lacking import lacking
from proxy.jobs.importing.waiting import Waiting, all_waiting
from proxy.jobs.readiness import Flaw, ReadinessReport, inspect_documents, inspect_items, inspect_lock
from proxy.jobs.selection import Selection, UnknownNames
from proxy.readable import counted, date, printable, size
from proxy.runtime import open_rulebook
from proxy.service.cache import Cache


@click.command(short_help="Prove that a selection can be served offline.")
@config_option
@stored_data_dir_option
@selection_options
@option_once("--rule", metavar="NAME", help="What this [[prefetch]] rule selects, instead of filters.")
@lock_option("What this lockfile names, instead of filters.")
@click.option("--deep", is_flag=True, help="Hash every file again, however lately it was hashed.")
def ready(
    config_file: Path | None,
    data_dir: Path | None,
    asked: Asked,
    rule: str | None,
    lock: LockInput | None,
    deep: bool,
) -> None:
    """Prove that everything the FILTERs select is here and verified.

    A FILTER without = or ~ names a mirror. Without any filter, all that its lists name is selected.

    \b
      sstream-proxy ready --maas noble,jammy --arch amd64
      sstream-proxy ready maas-candidate 'release=noble'
      sstream-proxy ready --rule lab --deep
      sstream-proxy ready --lock lab.lock

    Upstream is not asked. A file counts as verified if it was hashed in the
    last 30 days and not touched since; otherwise it is hashed now.

    Exit code 0: `serve --offline` can answer a complete import of it. Exit
    code 1: the list of what is missing or wrong stands on standard output.
    """  # noqa: D301 - click wants the backspace that \b is
    config = load(config_file, data_dir=data_dir, offline=True)
    asked = asked.naming_mirrors()
    if lock is not None:
        lock.check(config, asked, rule)
        selection, names = Selection(), list[str]()
    elif rule is None:
        selection, names = asked.selection(), asked.of_mirrors(config)
    else:
        if asked.is_selecting or asked.arch or asked.mirrors:
            raise UsageFault("--rule says it all: leave filters and other selections out")
        (found,) = chosen_rules(config, (rule,))
        selection, names = found.selection(), [found.mirror]

    async def inspect(cache: Cache) -> ReadinessReport:
        if lock is not None:
            return await inspect_lock(cache, lock.lockfile, deep=deep)
        wanted = selection
        if wanted.from_maas and rule is not None:
            book = await open_rulebook(config, cache)
            wanted = replace(wanted, choices=(await cache.storage.threads.ledger(book.page, rule)).selected)
        return await _inspect(cache, names, wanted, deep=deep)

    inspection = run_with_stored(config, inspect)
    _tell_details(inspection)
    if not inspection.is_good:
        count = len(inspection.flaws)
        problems = [
            *inspection.unknown,
            *([f"{counted(count, 'file is', 'files are')} missing or wrong"] if count else []),
        ]
        click.echo(f"not ready: {'; '.join(problems)}", err=True)
        if count:
            again = "`prefetch` with the same words" if rule is None else f"`sync {rule} --anytime`"
            again = again if lock is None else f"`prefetch --lock {lock.path}`"
            click.echo(f"{again} fetches what can be had; without a network, `import` brings it", err=True)
        raise SystemExit(FAILED)
    click.echo(
        f"ready: {counted(inspection.files, 'file')}, {'all hashed again' if deep else 'all verified'}"
    )


def _tell_details(inspection: ReadinessReport) -> None:
    for told in inspection.waiting:
        click.echo(f"note: {told}", err=True)
    for flaw in inspection.flaws:
        click.echo(printable(f"{flaw.mirror} {flaw.path} {flaw.problem}"))


async def _inspect(cache: Cache, mirrors: list[str], selection: Selection, *, deep: bool) -> ReadinessReport:
    found = [await inspect_documents(cache, mirror, deep=deep) for mirror in mirrors]
    unknown: tuple[str, ...] = ()
    try:
        chosen = await choose_known_items(cache, mirrors, selection)
    except NoGeneration:
        # Its documents are among the flaws: nobody can say which items it needs.
        if not any(one.flaws for one in found):
            raise
    else:
        found.append(await inspect_items(cache, chosen.wanted, deep=deep))
        unprovable = [Flaw(*one) for one in chosen.unprovable]
        found.append(ReadinessReport(len(unprovable), tuple(unprovable)))
        if chosen.unknown:
            unknown = (str(UnknownNames(chosen.unknown, chosen.about_lists)),)
    flaws = tuple(flaw for one in found for flaw in one.flaws)
    waiting = await cache.storage.threads.ledger(all_waiting, cache.storage.ledger)
    store, slow = cache.storage.store, cache.storage.threads.slow
    told = tuple(
        [
            _waits(mirror, one, await slow(lacking, store, one))
            for mirror in mirrors
            for one in waiting.get(mirror, ())
        ]
    )
    return ReadinessReport(sum(one.files for one in found), flaws, unknown, told)


def _waits(mirror: str, one: Waiting, files: Sequence[File]) -> str:
    name = f"generation {one.generation} of {mirror} of {date(one.updated)}"
    if not files:
        return f"{name} was imported, and is complete by now: `import --waiting` serves it"
    sizes = {file.sha256: file.size for file in files}
    lacks = f"{counted(len(sizes), 'file')} ({size(sum(sizes.values()))})"
    return f"{name} waits for {lacks}, and is not served yet: `import --waiting` names what it lacks"
