"""An export step by step: see what is here, prove it, hold it, sign, and write part after part.

Nothing is written before everything that is to be carried is proved: a manifest that names what
does not come would be a lie. What is missing or damaged is told of, and ends the export
unless the order allows a bundle without it.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from proxy.bundles.bundle import Blob, Bundle, Part, Sign, divided
from proxy.bundles.contents import Contents, File
from proxy.bundles.destination import Destination, DestinationFault, free_bytes
from proxy.bundles.inventory import NOTHING_KNOWN, Known
from proxy.digest import Digest
from proxy.errors import ProxyError
from proxy.jobs.proving import problems
from proxy.progress import Progress
from proxy.readable import counted, size
from proxy.service.cache import Cache
from proxy.store.protocols import DAMAGED
from proxy.system.same_bytes import Way
from proxy.system.threads import ended

_Result = TypeVar("_Result")

_LEAST_HOLD_S = 3600.0
_SLOWEST_BYTES_S = 2_000_000
"""A slow stick: so long what is to be written stays, however little room there is."""


class DocumentsMissing(ProxyError):
    """Documents without which nobody can import anything."""


class NoSuchPart(ProxyError):
    """A part beyond the last one."""

    def __init__(self, number: int, parts: int) -> None:
        super().__init__(f"there is no part {number}: the bundle has {counted(parts, 'part')}")


class _Stopped(Exception):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is exported, and how."""

    contents: tuple[Contents, ...]
    """What is selected; every file counts as carried."""
    known: Known = NOTHING_KNOWN
    """What the far side has."""
    since: str = ""
    """Who says so, in words."""
    part_bytes: int | None = None
    only_part: int | None = None
    importer: bytes = b""
    sign: Sign | None = None
    like: Bundle | None = None
    """An earlier bundle, of which parts are made again: nothing is left out of those, and nothing signed."""
    allows_missing: bool = False


@dataclass(frozen=True, slots=True)
class Missing:
    """A file that is selected and cannot be carried."""

    mirror: str
    file: File
    problem: str
    is_document: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What an export would write. Sizes in bytes."""

    contents: tuple[Contents, ...]
    """With what is not carried, and the part of everything else."""
    missing: tuple[Missing, ...]
    known_files: int
    known_bytes: int
    """What is left out because the far side has it."""

    parts: tuple[Part, ...]
    """As they would be without a signature."""

    @property
    def carried_files(self) -> int:
        """How many different files are to be carried."""
        return len(self._carried)

    @property
    def carried_bytes(self) -> int:
        """How large they are."""
        return sum(self._carried.values())

    @property
    def _carried(self) -> dict[Digest, int]:
        return {blob.digest: blob.size_bytes for part in self.parts for blob in part.blobs}


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

    def __init__(self, cache: Cache, order: Order, progress: Progress) -> None:
        self._cache = cache
        self._order = order
        self._progress = progress
        self._damaged: dict[Digest, str] = {}
        self._is_stopped = False

    async def survey(self) -> Survey:
        """Return what would be written; nothing is hashed. Raises DoesNotFit."""
        survey = self._survey if self._order.like is None else self._survey_again
        return await self._cache.storage.threads.slow(survey)

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
        if survey.missing and not (self._order.allows_missing and self._order.like is None):
            return report
        slow = self._cache.storage.threads.slow
        bundle = await slow(self._bundle, survey)
        parts = self._chosen(bundle)
        destinations = [destination(part) for part in parts]
        await slow(_check_room, destinations)
        await self._hold(parts)
        self._progress.begun(sum(len(one.blobs) for one in parts), sum(one.blob_bytes for one in parts))
        for part, place in zip(parts, destinations, strict=True):
            await self._write(part, place, report)
            report.written.append(place.name)
        report.is_written = True
        return report

    def _survey(self) -> Survey:
        order = self._order
        missing: list[Missing] = []
        known: dict[Digest, int] = {}

        def judged(mirror: str, file: File, *, is_document: bool) -> File:
            if file.sha256 in order.known:
                known[file.sha256] = file.size
                return replace(file, is_carried=False)
            problem = self._problem(file.sha256, file.size)
            if problem is None:
                return file
            missing.append(Missing(mirror, file, problem, is_document))
            return replace(file, is_carried=False, is_missing=True)

        contents = [
            replace(
                one,
                since=order.since,
                documents=tuple(judged(one.mirror, file, is_document=True) for file in one.documents),
                items=tuple(judged(one.mirror, file, is_document=False) for file in one.items),
            )
            for one in order.contents
        ]
        of_parts = divided(contents, order.part_bytes, order.importer, is_signed=order.sign is not None)
        return Survey(
            contents=of_parts,
            parts=self._chosen(Bundle.of(of_parts, order.importer)),
            missing=tuple(missing),
            known_files=len(known),
            known_bytes=sum(known.values()),
        )

    def _survey_again(self) -> Survey:
        assert self._order.like is not None  # noqa: S101 - whoever calls this has looked
        bundle = self._order.like
        parts = self._chosen(bundle)
        blobs = [blob for part in parts for blob in part.blobs]
        missing = [
            Missing(one.mirror, File(path=one.name, sha256=one.digest, size=one.size_bytes), problem, False)
            for one in blobs
            if (problem := self._problem(one.digest, one.size_bytes)) is not None
        ]
        return Survey(
            contents=bundle.contents, parts=parts, missing=tuple(missing), known_files=0, known_bytes=0
        )

    def _problem(self, digest: Digest, size_bytes: int) -> str | None:
        """Return why a file cannot be carried, as far as one look tells."""
        known = self._damaged.get(digest)
        return known or self._cache.storage.store.problem(digest, size_bytes, deep=False)

    async def _prove(self, survey: Survey) -> None:
        """See that everything that is to be carried is good; what is not is set aside."""
        wanted = {blob.digest: blob.size_bytes for part in survey.parts for blob in part.blobs}
        if self._order.like is None:  # Every part names what all of them carry.
            files = [file for one in survey.contents for file in one.files()]
            wanted = {file.sha256: file.size for file in files if file.is_carried}
        for digest, problem in (await problems(self._cache.storage, wanted, deep=False)).items():
            self._damaged[digest] = f"{problem}; it was set aside" if problem == DAMAGED else problem

    def _bundle(self, survey: Survey) -> Bundle:
        """Return what is written, signed if that is ordered. Blocks while a person types a password."""
        if self._order.like is not None:
            return self._order.like
        return Bundle.of(survey.contents, self._order.importer, self._order.sign)

    def _chosen(self, bundle: Bundle) -> tuple[Part, ...]:
        """Return the parts that are ordered. Raises NoSuchPart."""
        number = self._order.only_part
        if number is None:
            return tuple(bundle.all_parts())
        if number > bundle.parts:
            raise NoSuchPart(number, bundle.parts)
        return (bundle.part(number),)

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
        running = asyncio.ensure_future(self._cache.storage.threads.slow(work))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            self._is_stopped = True
            place.stop()
            await ended(running)
            raise


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
    free = None if where is None else free_bytes(where)
    if free is not None and needed_bytes > free:
        raise DestinationFault(
            f"{where}: {size(needed_bytes)} are to be written there, and {size(free)} are free: free space"
            " there, or divide the bundle with --part-size and write one part at a time with --only-part"
        )
