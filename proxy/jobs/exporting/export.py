"""An export step by step: see what is here, prove it, hold it, sign, and write part after part.

Nothing is written before everything that is to be carried is proved: a manifest that names what
does not come would be a lie. What is missing or damaged is told of, and ends the export
unless the order allows a bundle without it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from proxy.bundles.bundle import Blob, Part
from proxy.bundles.destination import Destination, DestinationFault
from proxy.digest import Digest
from proxy.errors import ProxyError
from proxy.jobs.exporting.recipes import Missing, Recipe, Survey, chosen_parts
from proxy.jobs.proving import problems
from proxy.progress import Progress
from proxy.readable import size
from proxy.service.cache import Cache
from proxy.store.protocols import DAMAGED
from proxy.system.file_systems import free_bytes
from proxy.system.same_bytes import Way
from proxy.system.threads import unless_cancelled

_Result = TypeVar("_Result")

_LEAST_HOLD_S = 3600.0
_SLOWEST_BYTES_S = 2_000_000
"""A slow stick: so long what is to be written stays, however little room there is."""


class DocumentsMissing(ProxyError):
    """Documents without which nobody can import anything."""


class _Stopped(Exception):
    """The export was interrupted."""


@dataclass(slots=True)
class Report:
    """What an export came to."""

    survey: Survey
    is_written: bool = False
    written: list[str] = field(default_factory=list)
    """The parts."""
    ways: dict[Way, int] = field(default_factory=dict)
    """How many bytes came there how."""
    reused_files: int = 0
    """Those that an earlier run had written."""

    @property
    def missing(self) -> tuple[Missing, ...]:
        """What was selected and is not carried."""
        return self.survey.missing

    @property
    def is_complete(self) -> bool:
        """Whether all that is selected is carried, or on the far side."""
        return self.is_written and not self.missing


class Export:
    """One run of the recipe."""

    def __init__(self, cache: Cache, recipe: Recipe, only_part: int | None, progress: Progress) -> None:
        self._cache = cache
        self._recipe = recipe
        self._only_part = only_part
        self._progress = progress
        self._damaged: dict[Digest, str] = {}
        self._is_stopped = False

    async def survey(self) -> Survey:
        """Return what would be written; nothing is hashed. Raises DoesNotFit and NoSuchPart."""
        return await self._cache.storage.threads.slow(self._recipe.survey, self._problem, self._only_part)

    async def run(self, destination: Callable[[Part], Destination]) -> Report:
        """Write what is ordered, to where `destination` says.

        Raises DestinationFault, DoesNotFit, DocumentsMissing and StoreFault, and what signing raises.
        """
        survey = await self.survey()
        await self._prove(survey)
        if self._damaged:
            survey = await self.survey()
        _check_documents(survey)
        report = Report(survey)
        if survey.missing and not self._recipe.allows_missing:
            return report
        slow = self._cache.storage.threads.slow
        parts = chosen_parts(await slow(self._recipe.bundle, survey), self._only_part)
        destinations = [destination(part) for part in parts]
        await slow(_check_room, destinations)
        await self._hold(parts)
        self._progress.begun(sum(len(one.blobs) for one in parts), sum(one.blob_bytes for one in parts))
        for part, place in zip(parts, destinations, strict=True):
            await self._write(part, place, report)
            report.written.append(place.name)
        report.is_written = True
        return report

    def _problem(self, digest: Digest, size_bytes: int) -> str | None:
        """Return why a file cannot be carried, as far as one look tells."""
        known = self._damaged.get(digest)
        return known or self._cache.storage.store.problem(digest, size_bytes, deep=False)

    async def _prove(self, survey: Survey) -> None:
        """See that everything that is to be carried is good; what is not is set aside."""
        wanted = self._recipe.to_prove(survey)
        for digest, problem in (await problems(self._cache.storage, wanted, deep=False)).items():
            self._damaged[digest] = f"{problem}; it was set aside" if problem == DAMAGED else problem

    async def _hold(self, parts: Sequence[Part]) -> None:
        """Keep from eviction what is to be written, for as long as that takes to a slow stick."""
        digests = {blob.digest for part in parts for blob in part.blobs}
        hold_s = max(_LEAST_HOLD_S, sum(part.blob_bytes for part in parts) / _SLOWEST_BYTES_S)
        await self._cache.storage.threads.ledger(self._cache.storage.pins.hold, digests, hold_s)

    async def _write(self, part: Part, place: Destination, report: Report) -> None:
        storage = self._cache.storage
        try:
            await self._in_thread(place, place.begin)
            touched: dict[Digest, int] = {}
            for blob in part.blobs:
                before_ns = await storage.threads.disk(storage.store.changed_ns, blob.digest)
                way = await self._in_thread(place, partial(self._put, place, blob))
                self._progress.ended(blob.name, mirror=blob.mirror)
                if way is None:
                    report.reused_files += 1
                    continue
                report.ways[way] = report.ways.get(way, 0) + blob.size_bytes
                if way is Way.LINKED and before_ns is not None:
                    touched[blob.digest] = before_ns
            await storage.threads.ledger(storage.proofs.carry_over, touched)
            await self._in_thread(place, place.finish)
        finally:
            await storage.threads.slow(place.close)

    def _put(self, place: Destination, blob: Blob) -> Way | None:
        opened = self._cache.storage.store.open(blob.digest, blob.size_bytes)
        if opened is None:
            raise DestinationFault(
                f"{blob.mirror} {blob.name} was removed here meanwhile: run the same again"
            )
        with opened:
            return place.put(blob, opened.fd, lambda count: self._moved(blob, count))

    def _moved(self, blob: Blob, count: int) -> None:
        if self._is_stopped:
            raise _Stopped
        self._progress.moved(blob.name, count)

    async def _in_thread(self, place: Destination, work: Callable[[], _Result]) -> _Result:
        """Run what blocks; whoever is cancelled meanwhile has it stop soon, and waits for that."""

        def stop() -> None:
            self._is_stopped = True
            place.stop()

        return await unless_cancelled(self._cache.storage.threads.slow(work), stop)


def _check_documents(survey: Survey) -> None:
    """Raise DocumentsMissing unless all documents that are to be carried are here."""
    for one in survey.missing:
        if one.is_document:
            raise DocumentsMissing(
                f"{one.mirror} {one.file.path} {one.problem}: without its documents nobody can import"
                f" anything; `sstream-proxy refresh --mirror {one.mirror}` fetches them"
            )


def _check_room(destinations: Sequence[Destination]) -> None:
    """Raise DestinationFault if something else is there, or not enough room for all parts."""
    needed_bytes = sum(one.check() for one in destinations)
    where = next((one.path for one in destinations if one.path is not None), None)
    if where is None:
        return
    try:
        free = free_bytes(where)
    except OSError:
        return  # Whoever writes there tells.
    if needed_bytes > free:
        raise DestinationFault(
            f"{where}: {size(needed_bytes)} are to be written there, and {size(free)} are free: free space"
            " there, or divide the bundle with --part-size and write one part at a time with --only-part"
        )
