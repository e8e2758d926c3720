"""`import` of bundles: found as whoever typed it, imported as the owner of the data directory, told of."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import closing
from dataclasses import KW_ONLY, dataclass
from pathlib import Path

import click

from proxy.bundles.oci import LayoutUnreadable
from proxy.bundles.reading.errors import ArchiveCut, ArchiveRefused, MediumFault, NoBundle
from proxy.bundles.reading.finding import Findings
from proxy.bundles.reading.layouts import Layout
from proxy.bundles.reading.pipe import Pipe
from proxy.cli.going_on import go_on_text
from proxy.cli.options import UsageFault
from proxy.cli.progress import open_progress
from proxy.cli.rehearsing import open_apart
from proxy.cli.running import COMPLETE, FAILED, PARTIAL, REFUSED, run_as_owner
from proxy.cli.show import tell
from proxy.config.config import Config
from proxy.config.keyrings import HOMES
from proxy.jobs.audit import Audit
from proxy.jobs.importing.audited import write_down
from proxy.jobs.importing.importing import Import, Order
from proxy.jobs.importing.outcomes import Report
from proxy.jobs.importing.telling import event, lines
from proxy.jobs.importing.trust import Operators
from proxy.jobs.prefetch import NoSpace
from proxy.progress import Unwatched
from proxy.runtime import open_runtime
from proxy.service.cache import Cache
from proxy.signatures.keyring import Keyring
from proxy.sources.carried.import_origin import ImportOrigin
from proxy.store.storage import open_store_to_foresee
from proxy.system.threads import ended

_PIPE = Path("-")


def import_bundles(
    config: Config,
    paths: Sequence[Path],
    order: Order,
    keyring: Path | None,
    user: str,
    *,
    ignores_signatures: bool,
    is_rehearsal: bool,
    as_json: bool,
) -> int:
    """Take bundles at some paths into the cache, or tell what that would come to; return the exit code.

    Without any path what earlier imports brought is served as far as it is complete by now.
    `keyring` counts instead of the configured one; `user` is who wants it, as the audit log names them.
    """
    if is_rehearsal and _PIPE in paths:
        raise UsageFault("a pipe passes by once: give --dry-run files or folders")
    report = Report()
    with closing(Findings()) as findings:
        # Before this becomes the owner of the data directory, who may not get there.
        _find(findings, paths, report)
        work = _Work(
            config, order, keyring, user, report, findings.layouts, ignores_signatures=ignores_signatures
        )
        if is_rehearsal:
            run_as_owner(config, work.rehearse, "nothing was written")
        elif not paths:
            run_as_owner(config, lambda: work.resume(as_json=as_json), go_on_text())
        else:
            has_pipe = _PIPE in paths
            kept = "what has arrived is kept" + (", send the same once more" if has_pipe else "")
            run_as_owner(config, lambda: work.run(as_json=as_json, pipe=has_pipe), go_on_text(kept))
    if not paths and not report.outcomes and not as_json:
        click.echo("nothing that was imported waits")
        return COMPLETE
    return _told(report, as_json=as_json, is_rehearsal=is_rehearsal)


@dataclass(frozen=True)
class _Work:
    """What is to be imported, and how."""

    config: Config
    order: Order
    keyring: Path | None
    user: str
    """Who wants it, as the audit log names them."""
    report: Report
    layouts: Sequence[Layout]
    _: KW_ONLY
    ignores_signatures: bool

    async def run(self, *, as_json: bool, pipe: bool) -> None:
        """Import, and write down what came of it."""

        async def take(importing: Import, cache: Cache) -> None:
            if self.layouts:
                await importing.take(self.layouts)
            if pipe:
                await self._take_from_pipe(importing, cache)

        await self._import(take, as_json=as_json)

    async def resume(self, *, as_json: bool) -> None:
        """Serve what waits and is complete by now, and write down what came of it."""
        renamed = self.order.renamed
        mirrors = [one.name for one in self.config.mirrors] if renamed is None else [renamed]
        await self._import(lambda importing, _: importing.resume(mirrors), as_json=as_json)

    async def _import(self, work: Callable[[Import, Cache], Awaitable[None]], *, as_json: bool) -> None:
        origins = {one.name: ImportOrigin() for one in self.config.mirrors}
        async with open_runtime(self.config, carried=origins) as cache:
            slow = cache.storage.threads.slow
            operators = await slow(self._operators, self.config.data_dir)
            with open_progress("importing", as_json=as_json) as progress:
                importing = Import(cache, origins, operators, self.order, progress, self.report)
                try:
                    await work(importing, cache)
                finally:
                    audit = Audit(cache.storage.threads, self.config.data_dir, self.user)
                    await write_down(audit, self.report, accepts_older=self.order.accepts_older)

    async def rehearse(self) -> None:
        """Find out what an import would do: it does it in a folder that is removed again."""
        origins = {one.name: ImportOrigin() for one in self.config.mirrors}
        async with open_apart(self.config, origins) as cache:
            operators = await cache.storage.threads.slow(self._operators, cache.storage.data_dir)
            importing = Import(cache, origins, operators, self.order, Unwatched(), self.report)
            await importing.rehearse(self.layouts, open_store_to_foresee(self.config.data_dir))

    async def _take_from_pipe(self, importing: Import, cache: Cache) -> None:
        """Take what comes by standard input, one bundle after the other."""
        slow = cache.storage.threads.slow
        with closing(Pipe("standard input", 0, self.config.data_dir)) as pipe:

            async def take() -> None:
                layouts = pipe.layouts()
                while (layout := await slow(next, layouts, None)) is not None:
                    await importing.take([layout])

            taking = asyncio.create_task(take())
            try:
                await asyncio.shield(taking)
            except asyncio.CancelledError:
                pipe.stop()  # Whatever waits for bytes that may never come.
                taking.cancel()
                await ended(taking)
                raise
            except (ArchiveRefused, LayoutUnreadable) as error:
                self.report.problems.append(("standard input", str(error)))
            except (ArchiveCut, MediumFault) as error:
                self.report.cut.append(("standard input", str(error)))

    def _operators(self, data_dir: Path) -> Operators:
        """Return whom this site believes. Blocks; raises what `Keyring.open` raises."""
        path = self.keyring or self.config.bundles.keyring
        return Operators(
            keyring=None if path is None else Keyring.open(path, data_dir / HOMES),
            trusts={one.name: one.trust for one in self.config.mirrors},
            ignores_signatures=self.ignores_signatures,
        )


def _find(findings: Findings, paths: Sequence[Path], report: Report) -> None:
    """Find what there is at some paths; what is wrong with one stops no other."""
    for path in paths:
        if path == _PIPE:
            if sys.stdin.isatty():
                raise UsageFault("- stands for a bundle that comes through a pipe, and this is a terminal")
            continue
        try:
            findings.add(path)
        except FileNotFoundError as error:
            raise UsageFault(f"there is no {path}") from error
        except (NoBundle, ArchiveRefused, LayoutUnreadable) as error:
            report.problems.append((str(path), str(error)))
        except MediumFault as error:
            report.cut.append((str(path), str(error)))
    report.problems += [(where, str(error)) for where, error in findings.problems]


def _told(report: Report, *, as_json: bool, is_rehearsal: bool) -> int:
    """Tell what came of it; return the exit code."""
    code = REFUSED if report.is_refused else PARTIAL if report.is_incomplete else COMPLETE
    if report.forecast is not None and report.forecast.missing_bytes > 0:
        code = FAILED
    if as_json:
        tell(event(report, code, is_rehearsal=is_rehearsal))
    else:
        if is_rehearsal:
            click.echo("nothing is written; an import would come to this:")
        for line in lines(report):
            click.echo(line)
    if report.forecast is not None and report.forecast.missing_bytes > 0:
        raise click.ClickException(str(NoSpace(report.forecast)))
    return code
