"""Fetching a selection from a server that somebody names, in the place of a mirror's origins."""

from dataclasses import replace

import click

from proxy.cli.fetching import Shown, carried_out, order_of
from proxy.cli.going_on import go_on_text
from proxy.cli.rehearsing import open_apart
from proxy.cli.running import COMPLETE, FAILED, REFUSED, run_as_owner
from proxy.cli.show import tell
from proxy.config.config import Config
from proxy.documents.rollback import AnotherStream, RollbackError
from proxy.documents.vetting import DocumentRefused
from proxy.jobs.plan import Wanted
from proxy.jobs.prefetch import Order, Prefetch
from proxy.jobs.selection import Selection
from proxy.jobs.watching import FetchReport
from proxy.readable import counted, first_few, printable, size
from proxy.runtime import open_runtime
from proxy.service.cache import Cache
from proxy.sources.addresses import shown_url
from proxy.store.storage import open_store_to_foresee

_MOST_TOLD = 1000
_IF_ALL_IS_THERE = (
    "nothing is written; an import would come to this, if the server has all that its lists name:"
)


def fetch_from(
    config: Config, mirror: str, url: str, selection: Selection, *, accept_older: bool, as_json: bool
) -> int:
    """Fetch what is selected from a server in the place of a mirror's origins; return the exit code.

    Its lists are verified first, as the origins' are, and so they may be refused. It is asked also while
    the proxy is offline, which is about upstream: somebody has named this server.
    """
    elsewhere = _with_origin(config, mirror, url)
    order = order_of(elsewhere, [mirror], selection, config.upstream.background_transfers)

    async def run() -> int:
        async with open_runtime(elsewhere, asked_offline=(mirror,)) as cache:
            code = await _accept_lists(cache, mirror, accept_older=accept_older)
            if code != COMPLETE:
                return code
            return await carried_out(cache, order, _ShownOfServer(order, url, as_json=as_json))

    return run_as_owner(elsewhere, run, go_on_text())


def rehearse_from(
    config: Config, mirror: str, url: str, selection: Selection, *, accept_older: bool, as_json: bool
) -> int:
    """Tell what `fetch_from` would fetch if the server has all that its lists name; return the exit code."""
    elsewhere = _with_origin(config, mirror, url)
    order = order_of(elsewhere, [mirror], selection, config.upstream.background_transfers)

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


class _ShownOfServer(Shown):
    """A prefetch from a server that may have a part of what the lists name, and is not to blame for it."""

    def __init__(self, order: Order, url: str, *, as_json: bool) -> None:
        super().__init__(order, as_json=as_json)
        self._url = url

    def absent(self, wanted: Wanted, problem: str) -> None:  # noqa: ARG002 - all are told of at once
        """Show that an item will not come."""
        if self.view is not None:
            self.view.not_there(wanted)

    def summary(self, report: FetchReport) -> None:
        """Show what came, and how much is not there."""
        absent = {one.item.path: one.item.size_bytes for one in report.absent}
        failures = [one for one in report.failures if one[0] not in report.absent]
        where, names, absent_bytes = shown_url(self._url), sorted(absent), sum(absent.values())
        if self.as_json and absent:
            event = {"event": "absent", "url": where, "files": len(names), "bytes": absent_bytes}
            tell({**event, "paths": names[:_MOST_TOLD]})
        super().summary(replace(report, failures=failures))
        if absent and not self.as_json:
            click.echo(
                printable(
                    f"not complete: {counted(len(names), 'file')} that the lists name ({size(absent_bytes)}) "
                    f"{'is' if len(names) == 1 else 'are'} not at {where}: {first_few(names)}; "
                    "filters select what is wanted of them"
                ),
                err=True,
            )
