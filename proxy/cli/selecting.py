"""What a command line selects, as the contents of a bundle, once a cache is open."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

from proxy.cli.options import Asked, UsageFault, chosen_mirrors, chosen_rules
from proxy.config.config import Config
from proxy.jobs.exporting.selecting import Origins, Selected, select_contents, select_held
from proxy.runtime import open_rulebook
from proxy.service.cache import Cache
from proxy.sources.addresses import shown_url

Select = Callable[[Cache], Awaitable[Selected]]
"""Says what is selected in the mirrors' lists of now."""


def naming_mirrors(asked: Asked) -> Asked:
    """Return what is asked with the words that are no filters as names of mirrors."""
    names = tuple(one for one in asked.filters if not {"=", "~"} & set(one))
    filters = tuple(one for one in asked.filters if one not in names)
    return replace(asked, filters=filters, mirrors=(*asked.mirrors, *names))


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


def origins_of(config: Config, names: tuple[str, ...]) -> Origins:
    """Return the URLs of the mirrors named, or of the first one. Raises UsageFault."""
    chosen = chosen_mirrors(config, names)
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
