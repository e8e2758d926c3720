"""`import --tree`: what sstream-mirror, rsync or wget left, or what another server has, as cache content."""

from pathlib import Path
from urllib.parse import unquote, urlsplit

import click

from proxy.cli.going_on import go_on_text
from proxy.cli.options import Asked, UsageFault, chosen_mirrors
from proxy.cli.prefetch import fetch_from
from proxy.cli.progress import open_progress
from proxy.cli.running import COMPLETE, PARTIAL, REFUSED, Refused, run_as_owner
from proxy.cli.show import tell
from proxy.config.config import Config
from proxy.jobs.audit import Audit
from proxy.jobs.importing.audited import write_down
from proxy.jobs.selection import Selection
from proxy.jobs.trees.folder import TreeFolder
from proxy.jobs.trees.importing import TreeImport, TreeImportOrder
from proxy.jobs.trees.report import TreeImportReport
from proxy.jobs.trees.telling import event, lines, problem_lines
from proxy.mirror import Mirror, Trust
from proxy.runtime import open_runtime
from proxy.sources.carried.import_origin import ImportOrigin
from proxy.trees.errors import TreeRefused


def import_tree(
    config: Config,
    tree: str,
    words: tuple[str, ...],
    mirror: str | None,
    by: str,
    *,
    activate: bool,
    accept_older: bool,
    as_json: bool,
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
        if meant.trust is Trust.TLS:
            raise UsageFault(f"mirror {meant.name} trusts its own servers alone: add {tree} to its origins")
        return fetch_from(
            config,
            meant.name,
            _root_of(tree),
            selection or Selection(),
            accept_older=accept_older,
            as_json=as_json,
        )
    return _take_folder(
        config, meant, folder, selection, by, activate=activate, accept_older=accept_older, as_json=as_json
    )


def _folder_of(tree: str) -> Path | None:
    """Return the folder that is meant, None for a URL of a server."""
    parts = urlsplit(tree)
    if parts.scheme in {"http", "https"} and parts.netloc:
        return None
    if parts.netloc and parts.scheme != "file":
        raise UsageFault(f"{tree}: a tree is a folder, or at an address with http:// or https://")
    return Path(unquote(parts.path)) if parts.scheme == "file" else Path(tree)


def _root_of(url: str) -> str:
    """Return the root of the tree of which a URL names the root, or the index, or a folder between."""
    base = url.rstrip("/")
    for end in ("/index.sjson", "/index.json", "/v1", "/streams"):
        base = base.removesuffix(end)
    return f"{base}/"


def _take_folder(
    config: Config,
    mirror: Mirror,
    path: Path,
    selection: Selection | None,
    by: str,
    *,
    activate: bool,
    accept_older: bool,
    as_json: bool,
) -> int:
    order = TreeImportOrder(
        mirror=mirror.name,
        trust=mirror.trust,
        selection=selection,
        most_document_bytes=config.upstream.document_limit_bytes,
        accepts_older=accept_older,
        activates=activate,
        hold_s=config.freshness.retain_s,
    )

    async def work() -> int | Refused:
        try:
            return await take()
        except TreeRefused as error:
            return Refused(str(error))

    async def take() -> int:
        origins = {one.name: ImportOrigin() for one in config.mirrors}
        folder = TreeFolder(path, config.upstream.stall_timeout_s)
        try:
            async with open_runtime(config, carried=origins) as cache:
                with open_progress("importing", as_json=as_json) as progress:
                    run = TreeImport(cache, origins, folder, order, progress)
                    try:
                        await run.run()
                    finally:
                        audit = Audit(cache.storage.threads, config.data_dir, by)
                        await write_down(audit, run.report.generation, accepts_older=accept_older)
                return _told(run.report, folder, as_json=as_json)
        finally:
            folder.close()

    code = run_as_owner(config, work, go_on_text())
    if isinstance(code, Refused):
        raise code
    return code


def _told(report: TreeImportReport, folder: TreeFolder, *, as_json: bool) -> int:
    """Tell what came of it; return the exit code."""
    is_nothing = not report.ways and not report.held_files
    is_refused = report.generation.is_refused or (report.is_refused and is_nothing)
    code = REFUSED if is_refused else PARTIAL if report.is_incomplete or report.is_refused else COMPLETE
    if as_json:
        tell(event(report, str(folder.root), code))
        return code
    for line in lines(report):
        click.echo(line)
    for line in problem_lines(report):
        click.echo(line, err=True)
    return code
