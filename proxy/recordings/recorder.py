"""Noting what clients ask of this process, for the recordings that run.

A request is noted in memory, which costs a client nothing that could be measured; what is new is
written down a quarter of a second later, in a thread. So a process that is killed takes
that much with it.
"""

import asyncio
import contextlib
import logging
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from proxy.digest import Digest
from proxy.documents.generation import Edition, Generation
from proxy.recordings.asked import (
    MOST_ABSENT,
    Asked,
    FileKey,
    Kind,
    Request,
    Taken,
    asked_line,
    generation_line,
    unnoted_line,
)
from proxy.recordings.folder import LINGERING_S, RecordingFolder
from proxy.recordings.recording import Recording
from proxy.simplestreams.listing import ListingDamaged
from proxy.simplestreams.model import Item
from proxy.store.files import StoreFault
from proxy.store.pins import Pins
from proxy.system.threads import Threads

log = logging.getLogger(__name__)

_WRITTEN_EVERY_S = 0.25
_TRIED_AGAIN_AFTER_S = 5.0
"""Where it could not be written."""
_MOST_NOTED = 50_000
"""Requests that wait to be written down; different ones."""
_MOST_NAMED = 50_000


@dataclass(slots=True)
class _Noted:
    """A request of one client, made once or more often."""

    request: Request
    client: str
    first: float
    last: float


class Recorder:
    """Notes requests. For the thread of the event loop."""

    def __init__(
        self,
        folder: RecordingFolder,
        threads: Threads,
        pins: Pins,
        naming: Callable[[str, Item], Edition | None],
        clock: Callable[[], float],
        *,
        remembers_clients: bool,
    ) -> None:
        """`naming` returns the newest generation of a mirror that names an item and is loaded here.

        Where clients are not to be remembered, nothing says who asked.
        """
        self._folder = folder
        self._board = folder.board
        self._threads = threads
        self._pins = pins
        self._naming = naming
        self._clock = clock
        self._noted: dict[object, _Noted] = {}
        self._unnoted = 0
        self._absent = 0
        """How many of those noted were not there: no client may fill the memory with what it makes up."""
        self._turn = 0
        """Of the board, when something was noted first since it was written down last."""
        self._named: dict[object, Edition] = {}
        self._writing: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._journal = _Journal(folder, clock, remembers_clients=remembers_clients)
        self._unpinned: dict[str, set[Digest]] = defaultdict(set)
        """What each pin is to keep and does not yet."""
        self._is_writable = True
        self._alone = asyncio.Lock()

    @property
    def is_on(self) -> bool:
        """Whether requests are to be noted: asked before each, so that nothing else need be done."""
        return self._board.is_on

    def running(self) -> list[Recording]:
        """Return the recordings that run. Blocks."""
        return self._folder.running(self._clock()) if self.is_on else []

    def note(self, request: Request, client: str) -> None:
        """Note a request that a client makes now."""
        key, now = (request.key, client), self._clock()
        known = self._noted.get(key)
        if known is not None:
            known.last = now
            return
        if request.kind is Kind.ABSENT:
            self._absent += 1
            if self._absent > MOST_ABSENT:
                return
        if len(self._noted) >= _MOST_NOTED:
            self._unnoted += 1
            return
        if not self._noted:
            self._turn = self._board.hold()
            if self._timer is None and self._writing is None:
                self._write_in(_WRITTEN_EVERY_S)
        self._noted[key] = _Noted(request, client, now, now)

    async def write_down(self) -> None:
        """Write down what was noted."""
        if not self._noted:
            return
        async with self._alone:
            turn, unnoted, before = self._turn, self._unnoted, self._noted
            self._noted, self._unnoted, self._absent = {}, 0, 0
            for one in before.values():
                one.request = self._with_generation(one.request)
            try:
                kept = await self._threads.disk(self._journal.take, list(before.values()), unnoted)
                for pin, digests in kept.items():
                    self._unpinned[pin] |= digests
                await self._pin()
                self._is_writable = True
            except (StoreFault, OSError) as error:
                log.warning("recording.not_written problem=%s", error)
                self._is_writable = False
                self._note_again(before, unnoted if isinstance(error, OSError) else 0)
            finally:
                self._board.let_go(turn)

    async def close(self) -> None:
        """Write down the rest."""
        if self._timer is not None:
            self._timer.cancel()
        if self._writing is not None:
            await asyncio.wait([self._writing])
        await self.write_down()

    async def _pin(self) -> None:
        """Keep what was recorded from eviction, whether it is here or still to come. Raises StoreFault."""
        for pin, digests in list(self._unpinned.items()):
            await self._threads.ledger(self._pins.pin_all, pin, digests)
            del self._unpinned[pin]

    def _note_again(self, before: dict[object, _Noted], unnoted: int) -> None:
        """Keep what could not be written down, as far as there is room, for the next time."""
        if not self._noted:
            self._turn = self._board.hold()
        both = before | self._noted
        self._noted = dict(islice(both.items(), _MOST_NOTED))
        self._unnoted += unnoted + len(both) - len(self._noted)

    def _write_in(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._begin_writing)

    def _begin_writing(self) -> None:
        self._timer = None
        self._writing = asyncio.create_task(self.write_down(), name="recorder")
        self._writing.add_done_callback(self._end_writing)

    def _end_writing(self, _: asyncio.Task[None]) -> None:
        self._writing = None
        if self._noted:
            self._write_in(_WRITTEN_EVERY_S if self._is_writable else _TRIED_AGAIN_AFTER_S)

    def _with_generation(self, request: Request) -> Request:
        """Return a request with the generation that names its item."""
        if request.item is None or request.edition is not None:
            return request
        edition = self._named.get(request.key)
        if edition is None:
            with contextlib.suppress(ListingDamaged):
                edition = self._naming(request.mirror, request.item)
            if edition is None:
                return request
            if len(self._named) >= _MOST_NAMED:
                self._named.clear()
            self._named[request.key] = edition
        return request._replace(edition=edition)


class _Open(NamedTuple):
    """A recording that runs, and what it has taken, as far as this process knows."""

    recording: Recording
    taken: Taken


class _Journal:
    """The recordings that run, and what of them is written down. For one thread at a time; blocks."""

    def __init__(
        self, folder: RecordingFolder, clock: Callable[[], float], *, remembers_clients: bool
    ) -> None:
        self._folder = folder
        self._clock = clock
        self._remembers_clients = remembers_clients
        self._turn = -1
        self._open: list[_Open] = []

    def take(self, noted: Sequence[_Noted], unnoted: int) -> dict[str, set[Digest]]:
        """Write down what is new, and return what each pin is to keep. Raises OSError."""
        now = self._clock()
        turn = self._folder.board.turn
        if turn != self._turn:
            running = self._folder.running(now, LINGERING_S)
            self._open = [self._opened(one) for one in running]
            self._turn = turn
        kept: dict[str, set[Digest]] = defaultdict(set)
        for one in self._open:
            kept[one.recording.pin] |= self._add(one, noted, unnoted)
        if all(one.recording.has_ended(now - LINGERING_S) for one in self._open):
            self._folder.settle(now)
        return {pin: digests for pin, digests in kept.items() if digests}

    def _opened(self, recording: Recording) -> _Open:
        known = (one for one in self._open if one.recording.name == recording.name)
        before = next((one for one in known if one.recording.begun_at == recording.begun_at), None)
        return _Open(recording, self._folder.taken(recording) if before is None else before.taken)

    def _add(self, one: _Open, noted: Sequence[_Noted], unnoted: int) -> set[Digest]:
        """Add to a recording what it has not yet; return what that consists of."""
        recording, taken = one
        lines: list[bytes] = []
        files: dict[FileKey, Asked] = {}
        generations: dict[tuple[str, int], Generation] = {}
        absent = taken.absent
        for noting in noted:
            request, client = noting.request, noting.client
            if not recording.takes(request.mirror, client, noting.first, noting.last):
                continue
            told = client if self._remembers_clients else ""
            asked = _asked(request, told, max(noting.first, recording.since))
            if asked.key in taken.files or asked.key in files:
                continue
            absent += asked.kind is Kind.ABSENT
            if asked.kind is Kind.ABSENT and absent > MOST_ABSENT:
                continue
            if len(taken.files) + len(files) >= recording.most_files:
                unnoted += 1
                continue
            files[asked.key] = asked
            lines.append(asked_line(asked))
            if request.edition is not None:
                generation = request.edition.generation
                place = request.mirror, generation.number
                if place not in taken.generations and place not in generations:
                    generations[place] = generation
                    lines.append(generation_line(request.mirror, generation))
        if unnoted:
            lines.append(unnoted_line(unnoted))
        if lines:
            self._folder.add(recording.name, lines)
        taken.files |= files
        taken.absent = min(absent, MOST_ABSENT)
        taken.generations |= generations
        digests = {Digest(asked.sha256) for asked in files.values() if asked.sha256}
        documents = (one for generation in generations.values() for one in generation.documents.values())
        return digests | {digest for document in documents for digest in (document.digest, document.text)}


def _asked(request: Request, client: str, at: float) -> Asked:
    item, edition = request.item, request.edition
    return Asked(
        kind=request.kind,
        mirror=request.mirror,
        path=request.path,
        sha256="" if item is None else item.digest,
        size=0 if item is None else item.size_bytes,
        generation=0 if edition is None else edition.generation.number,
        is_document=edition is not None and edition.document(request.path) == item,
        at=at,
        client=client,
    )
