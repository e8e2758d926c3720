"""What a command line selects, as the contents of a bundle, once a cache is open."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from proxy.cli.lock_files import LockInput
from proxy.cli.options import MEANT_RELEASE, Asked, UsageFault, chosen_mirrors, chosen_rules
from proxy.cli.who import operator
from proxy.config.config import Config
from proxy.jobs.exporting.selecting import Origins, Selected, select_contents, select_held, select_locked
from proxy.jobs.locking import make_lock
from proxy.jobs.recording import Recordings
from proxy.runtime import open_recording_folder, open_rulebook
from proxy.service.cache import Cache
from proxy.service.locked import check_flawless
from proxy.sources.addresses import shown_url

Select = Callable[[Cache], Awaitable[Selected]]
"""Says what is selected in the mirrors' lists of now."""


def selected_by(config: Config, asked: Asked, rule: str | None) -> Select:
    """Return what selects: filters and --maas, a rule, or without any of them all that is here.

    Raises UsageFault.
    """
    if rule is not None:
        return _by_rule(config, asked, rule)
    origins = origins_of(config, asked.mirrors)
    selection = asked.selection()
    if not asked.is_selecting:
        return lambda cache: select_held(cache, origins)
    return lambda cache: select_contents(cache, origins, selection)


def selected_by_lock(config: Config, asked: Asked, lock: LockInput) -> Select:
    """Return what selects what a lockfile names, once that is verified. Raises UsageFault."""
    lock.check(config, asked)

    async def select(cache: Cache) -> Selected:
        check_flawless(await cache.verify(lock.lockfile))
        return select_locked(lock.lockfile)

    return select


def selected_by_recording(config: Config, asked: Asked, name: str) -> Select:
    """Return what selects what a recording has taken until now. Raises UsageFault."""
    if asked.is_selecting or asked.arch or asked.mirrors:
        raise UsageFault("--record says it all: leave filters and other selections out")

    async def select(cache: Cache) -> Selected:
        folder = await cache.storage.threads.disk(open_recording_folder, config)
        try:
            shown = await Recordings(cache, folder, time.time, operator()).show(name)
        finally:
            folder.board.close()
        made = await make_lock(cache, shown.recording, shown.taken)
        selected = select_locked(made.lockfile)
        unproved = (f"{one.mirror} {one.path}: no list gives its sha256" for one in made.unprovable)
        return replace(selected, warnings=(*selected.warnings, *unproved))

    return select


def origins_of(config: Config, names: tuple[str, ...]) -> Origins:
    """Return the URLs of the mirrors named, or of the first one. Raises UsageFault."""
    chosen = chosen_mirrors(config, names, MEANT_RELEASE)
    known = {mirror.name: mirror for mirror in config.mirrors}
    return {name: tuple(map(shown_url, known[name].origins)) for name in chosen}


def _by_rule(config: Config, asked: Asked, name: str) -> Select:
    if asked.is_selecting or asked.arch or asked.mirrors:
        raise UsageFault("--rule says it all: leave filters and other selections out")
    (rule,) = chosen_rules(config, (name,))
    origins = origins_of(config, (rule.mirror,))

    async def select(cache: Cache) -> Selected:
        selection = rule.selection()
        if selection.from_maas:
            book = await open_rulebook(config, cache)
            choices = (await cache.storage.threads.ledger(book.page, name)).selected
            selection = replace(selection, choices=choices)
        return await select_contents(cache, origins, selection)

    return select
