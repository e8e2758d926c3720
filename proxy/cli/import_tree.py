"""`import --tree`: what sstream-mirror, rsync or wget left, or what another server has, as cache content."""

from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import click

from proxy.cli.fetching_from_server import fetch_from, rehearse_from
from proxy.cli.going_on import go_on_text
from proxy.cli.import_options import How
from proxy.cli.options import Asked, UsageFault, chosen_mirrors
from proxy.cli.progress import open_progress
from proxy.cli.rehearsing import open_apart
from proxy.cli.running import COMPLETE, FAILED, PARTIAL, REFUSED, Refused, run_as_owner
from proxy.cli.show import tell
from proxy.config.addresses import url_problem
from proxy.config.config import Config
from proxy.jobs.audit import Audit
from proxy.jobs.importing.audited import write_down
from proxy.jobs.prefetch import NoSpace
from proxy.jobs.selection import Selection
from proxy.jobs.trees.folder import TreeFolder
from proxy.jobs.trees.importing import TreeImport, TreeImportOrder
from proxy.jobs.trees.report import TreeImportReport
from proxy.jobs.trees.telling import event, lines, problem_lines
from proxy.mirror import Mirror, Trust
from proxy.progress import Unwatched
from proxy.runtime import open_runtime
from proxy.sources.addresses import folder_of, is_folder
from proxy.sources.carried.import_origin import ImportOrigin
from proxy.store.storage import open_store_to_foresee
from proxy.trees.errors import TreeRefused


def import_tree(
    config: Config, tree: str, words: tuple[str, ...], mirror: str | None, by: str, how: How
) -> int:
    """Take what is in a folder, or at a URL; return the exit code. `by` is who does it, for the audit log."""
    given = Asked(filters=words, mirrors=(mirror,) if mirror else (), newest=None, maas=(), arch=())
    asked = given.naming_mirrors()
    names = chosen_mirrors(config, asked.mirrors)
    if len(names) != 1:
        raise UsageFault(f"a tree is of one mirror, and {len(names)} are named: {', '.join(names)}")
    (meant,) = (one for one in config.mirrors if one.name == names[0])
    selection = asked.selection() if asked.is_selecting else None
    folder = _folder_of(tree)
    if folder is None:
        return _take_from_server(config, meant, tree, selection or Selection(), how)
    order = TreeImportOrder(
        mirror=meant.name,
        trust=meant.trust,
        selection=selection,
        most_document_bytes=config.upstream.document_limit_bytes,
        accepts_older=how.accept_older,
        activates=how.activate,
        hold_s=config.freshness.retain_s,
    )
    work = _Work(config, folder, order, by, as_json=how.as_json)
    if how.dry_run:
        return _done(config, work.rehearse, "nothing was written")
    return _done(config, work.run, go_on_text())


def _take_from_server(config: Config, mirror: Mirror, url: str, selection: Selection, how: How) -> int:
    if mirror.trust is Trust.TLS:
        raise UsageFault(f"mirror {mirror.name} trusts its own servers alone: add {url} to its origins")
    carry_out = rehearse_from if how.dry_run else fetch_from
    return carry_out(
        config, mirror.name, _root_of(url), selection, accept_older=how.accept_older, as_json=how.as_json
    )


def _folder_of(tree: str) -> Path | None:
    """Return the folder that is meant, None for a URL of a server. Raises UsageFault."""
    if is_folder(tree):
        try:
            return folder_of(tree)
        except ValueError as error:
            raise UsageFault(f"--tree {tree!r} {error}") from error
    if tree.lower().startswith(("http:", "https:")):
        if problem := url_problem(tree):
            raise UsageFault(f"--tree: {problem}")
        return None
    if "://" in tree or tree.startswith("//"):
        raise UsageFault(f"{tree}: a tree is a folder, or at an address with http:// or https://")
    return Path(tree)


def _root_of(url: str) -> str:
    """Return the root of the tree of which a URL names the root, or the index, or a folder between."""
    base = url.rstrip("/")
    for end in ("/index.sjson", "/index.json", "/v1", "/streams"):
        base = base.removesuffix(end)
    return f"{base}/"


@dataclass(frozen=True)
class _Work:
    """A folder with a tree that is to be imported, and how."""

    config: Config
    path: Path
    order: TreeImportOrder
    by: str
    """Who wants it, as the audit log names them."""
    _: KW_ONLY
    as_json: bool

    async def run(self) -> int:
        """Import it, and write down what came of it; return the exit code. Raises TreeRefused."""
        origins = self._origins()
        with closing(self._folder()) as folder:
            async with open_runtime(self.config, carried=origins) as cache:
                with open_progress("importing", as_json=self.as_json) as progress:
                    run = TreeImport(cache, origins, folder, self.order, progress)
                    try:
                        await run.run()
                    finally:
                        audit = Audit(cache.storage.threads, self.config.data_dir, self.by)
                        older = self.order.accepts_older
                        await write_down(audit, run.report.generation, accepts_older=older)
                return _told(run.report, folder, as_json=self.as_json)

    async def rehearse(self) -> int:
        """Tell what an import would come to; return the exit code. Raises TreeRefused."""
        origins, data_dir = self._origins(), self.config.data_dir
        with closing(self._folder()) as folder:
            async with open_apart(self.config, origins) as cache:
                run = TreeImport(cache, origins, folder, self.order, Unwatched())
                await run.rehearse(open_store_to_foresee(data_dir), data_dir)
                if not self.as_json:
                    click.echo("nothing is written; an import would come to this:")
                return _told(run.report, folder, as_json=self.as_json)

    def _origins(self) -> dict[str, ImportOrigin]:
        return {one.name: ImportOrigin() for one in self.config.mirrors}

    def _folder(self) -> TreeFolder:
        return TreeFolder(self.path, self.config.upstream.stall_timeout_s)


def _done(config: Config, work: Callable[[], Awaitable[int]], if_interrupted: str) -> int:
    """Do some work as the owner of the data directory; return the exit code. Raises Refused."""

    async def refusing() -> int | Refused:
        try:
            return await work()
        except TreeRefused as error:
            return Refused(str(error))

    code = run_as_owner(config, refusing, if_interrupted)
    if isinstance(code, Refused):
        raise code
    return code


def _told(report: TreeImportReport, folder: TreeFolder, *, as_json: bool) -> int:
    """Tell what came of it; return the exit code."""
    is_refused = report.generation.is_refused or (report.is_refused and report.is_nothing)
    code = REFUSED if is_refused else PARTIAL if report.is_incomplete or report.is_refused else COMPLETE
    forecast = report.generation.forecast
    lacks_room = forecast is not None and forecast.missing_bytes > 0
    code = FAILED if lacks_room else code
    if as_json:
        tell(event(report, str(folder.root), code))
    else:
        for line in lines(report):
            click.echo(line)
        for line in problem_lines(report):
            click.echo(line, err=True)
    if forecast is not None and lacks_room:
        raise NoSpace(forecast)
    return code
