"""What an operator can do to a running cache; the same words on the command line and over HTTP.

pin, unpin, evict, purge, refresh, scrub, prefetch, offline. All processes on
the data directory notice at once. Each action is written down with who asked.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from proxy.digest import Digest
from proxy.documents.generation import Generation
from proxy.errors import ProxyError
from proxy.fills.records import forget_absence, forget_item
from proxy.jobs.audit import Audit, Done
from proxy.jobs.choosing_apart import choose_wanted
from proxy.jobs.requested import note_request
from proxy.jobs.rulebook import RuleBook
from proxy.jobs.rules import Rule
from proxy.jobs.scrub import Scrubber
from proxy.jobs.selection import Selection
from proxy.readable import counted, date, meant
from proxy.service.cache import Cache
from proxy.store.eviction_order import Usage

BY_HAND = "by hand"
"""What a pin is called unless somebody names it."""
_IS_CONFIGURED = "the proxy was told to be offline by its configuration or `serve --offline`: change that"
_ASKED_AGAIN = "origins are asked again, but not by a server that was started with --offline"
_LONGEST_NAME = 200


class NotPossible(ProxyError):
    """An action that makes no sense as it was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Aim:
    """Which blobs are meant: what a selection names in some mirrors, and digests."""

    mirrors: tuple[str, ...] = ()
    selection: Selection | None = None
    digests: tuple[Digest, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it names nothing."""
        return self.selection is None and not self.digests

    def __str__(self) -> str:
        parts = [] if self.selection is None else [f"{' '.join(self.mirrors)}: {self.selection}"]
        return ", ".join([*parts, *self.digests])


class _Found(NamedTuple):
    """What an aim means."""

    blobs: dict[Digest, Usage]
    paths: set[str]
    """Of what its selection names."""

    @property
    def usages(self) -> list[Usage]:
        """The blobs, each once."""
        return list(self.blobs.values())


class Actions:
    """Does what an operator asks for."""

    def __init__(
        self,
        cache: Cache,
        rules: Sequence[Rule],
        book: RuleBook,
        scrubber: Scrubber,
        asked_by: str,
    ) -> None:
        self._cache = cache
        self._storage = cache.storage
        self._rules = {rule.name: rule for rule in rules}
        self._book = book
        self._scrubber = scrubber
        self._audit = Audit(cache.storage.threads, cache.storage.data_dir, asked_by)

    async def pin(self, aim: Aim, name: str = BY_HAND) -> Done:
        """Keep blobs from eviction, those that are still to come included."""
        if not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
            shown = name if len(name) <= _LONGEST_NAME else f"{name[:_LONGEST_NAME]}…"
            raise NotPossible(
                f"{shown!r} is no name for a pin: write 1 to {_LONGEST_NAME} letters, no control characters"
            )
        usages = (await self._find(aim)).usages

        digests = [usage.digest for usage in usages]
        await self._storage.threads.ledger(self._storage.pins.pin_all, name, digests)
        return await self._done("pin", f"pinned as {name!r}", usages, aim)

    async def unpin(self, aim: Aim, name: str = BY_HAND) -> Done:
        """Let go of blobs that a pin of that name keeps: all of them unless some are aimed at."""
        wanted = None if aim.is_empty else set((await self._find(aim)).blobs)

        def unpin() -> list[Usage]:
            ledger, pins = self._storage.ledger, self._storage.pins
            there = {name for names in pins.names().values() for name in names}
            if name not in there:
                named = ", ".join(map(repr, sorted(there)))
                others = (
                    f"there are: {named} (--name says which is meant)"
                    if named
                    else "there are no pins at all"
                )
                raise NotPossible(f"there is no pin {name!r}; {others}{meant(name, there)}")
            with ledger.transaction():
                pinned = pins.pinned_by(name)
                released = pinned if wanted is None else pinned & wanted
                if not released:
                    raise NotPossible(_keeps_none(name, wanted or (), pins.names()))
                for digest in released:
                    pins.unpin(digest, name)
                sizes = self._storage.blobs.sizes(released)
                return [Usage(digest, sizes.get(digest, 0), 0.0) for digest in released]

        released = await self._storage.threads.ledger(unpin)
        return await self._done("unpin", f"let go of by {name!r}", released, aim)

    async def evict(self, aim: Aim) -> Done:
        """Remove blobs that no pin keeps and nobody reads; they come back when somebody asks for them."""
        usages = (await self._find(aim)).usages

        def evict() -> tuple[list[Usage], int, list[str]]:
            gone, kept = self._remove(usages, self._storage.eviction.protected)
            pins = self._storage.pins.names() if kept else {}
            return gone, kept, sorted({name for one in usages for name in pins.get(one.digest, ())})

        gone, kept, pins = await self._storage.threads.removal(evict)
        told = f"{counted(kept, 'is', 'are')} pinned or being read; " if kept else ""
        return await self._done("evict", "gone", gone, aim, pins, first=told)

    async def purge(self, aim: Aim) -> Done:
        """Remove blobs, their pins, beginnings of transfers, and the memory of failures."""
        found = await self._find(aim)
        usages = found.usages
        named = filter(None, map(self._cache.find_digest, aim.digests))
        paths = found.paths | {item.path for _, item, _ in named}

        def purge() -> tuple[list[Usage], int]:
            ledger, store = self._storage.ledger, self._storage.store
            with ledger.lasting_transaction():
                for usage in usages:
                    self._storage.pins.forget(usage.digest)
            for usage in usages:
                forget_item(ledger, usage.digest)
                if store.drop_partial(usage.digest):
                    self._storage.reservations.give_back_without_file(usage.digest)
            for path in paths:
                forget_absence(ledger, path)
            # What is served offline cannot be had again.
            spared = self._storage.eviction.documents_in_use if self._cache.offline.is_on else set
            return self._remove(usages, spared)

        gone, kept = await self._storage.threads.removal(purge)
        told = f"{counted(kept, 'is', 'are')} being read; " if kept else ""
        return await self._done("purge", "gone", gone, aim, first=told)

    async def refresh(self, mirrors: Sequence[str]) -> Done:
        """Check mirrors with their origins now."""
        if self._cache.offline.is_on:
            raise self._offline_now()
        found = await asyncio.gather(*(self._cache.refresh(mirror) for mirror in mirrors))
        problems = [f"{name}: {why}" for name, why in zip(mirrors, found, strict=True) if why is not None]
        text = "; ".join(problems) or f"checked {', '.join(mirrors)}"
        done = Done(action="refresh", text=text, problem="\n".join(problems))
        return await self._write_down(done, " ".join(mirrors))

    async def accept_older(self, mirrors: Sequence[str]) -> Done:
        """Check mirrors, and let what their origins publish replace what was accepted, older or not, once."""
        if self._cache.offline.is_on:
            raise self._offline_now()
        if not mirrors:
            raise NotPossible("say which mirrors may go back to what is older")
        told, problems = [], []
        for mirror in mirrors:
            before = await self._cache.recorded(mirror)
            why = await self._cache.refresh(mirror, accept_older=True)
            told.append(f"{mirror}: {_what_became(before, await self._cache.recorded(mirror))}")
            problems += [] if why is None else [f"{mirror}: {why}"]
        done = Done(action="refresh", text="; ".join([*told, *problems]), problem="\n".join(problems))
        return await self._write_down(done, f"{' '.join(mirrors)}, older ones accepted")

    async def scrub(self) -> Done:
        """Have every blob hashed again by the server's keeper."""
        await self._scrubber.ask()
        usage = await self._storage.threads.slow(self._storage.usage.read)
        text = "all blobs will be hashed again, by a running server"
        return await self._write_down(
            Done(action="scrub", text=text, blobs=usage.blobs, bytes=usage.bytes), "all"
        )

    async def prefetch(self, rule: str) -> Done:
        """Have a rule run by the server's keeper as soon as it can."""
        if rule not in self._rules:
            there = ", ".join(self._rules) or "none"
            raise NotPossible(
                f"there is no [[prefetch]] rule {rule!r}; there are: {there}{meant(rule, self._rules)}"
            )
        await self._storage.threads.ledger(self._book.ask, rule)
        text = f"rule {rule} will be run by a running server"
        return await self._write_down(Done(action="prefetch", text=text), rule)

    async def fetch(self, aim: Aim) -> Done:
        """Have the server's keeper fetch what a selection means, and keep it, as soon as it can."""
        if aim.selection is None or aim.digests:
            raise NotPossible("say what is to be fetched: a rule, filters, or MAAS releases")
        if self._cache.offline.is_on:
            raise self._offline_now()
        wanted = await choose_wanted(self._cache, aim.mirrors, aim.selection)
        store, ledger = self._storage.store, self._storage.ledger
        missing = [one.item for one in wanted if not store.has(one.item.digest)]
        pin = await self._storage.threads.ledger(
            note_request, ledger, aim.mirrors, aim.selection, ledger.clock()
        )
        text = (
            f"{counted(len(missing), 'file')} of {len(wanted)} will be fetched by a running server"
            if missing
            else f"{counted(len(wanted), 'file is', 'files are')} here already, and kept from now on"
        )
        total_bytes = sum(item.size_bytes for item in missing)
        done = Done(action="prefetch", text=text, blobs=len(missing), bytes=total_bytes, pins=(pin,))
        return await self._write_down(done, str(aim))

    async def offline(self, *, on: bool) -> Done:
        """Stop or resume asking origins, in all processes."""
        if self._cache.offline.is_configured:
            raise NotPossible(_IS_CONFIGURED)
        self._cache.offline.turn(on=on)
        text = "no origin is asked any more" if on else _ASKED_AGAIN
        return await self._write_down(Done(action="offline", text=text), "on" if on else "off")

    def _offline_now(self) -> NotPossible:
        is_configured = self._cache.offline.is_configured
        return NotPossible(
            _IS_CONFIGURED if is_configured else "the proxy is offline: sstream-proxy offline off, first"
        )

    async def _find(self, aim: Aim) -> _Found:
        """Return what an aim means, here or not. Raises NothingMatches or NotPossible."""
        found = _Found({}, set())
        if aim.selection is not None:
            for wanted in await choose_wanted(self._cache, aim.mirrors, aim.selection):
                item = wanted.item
                found.blobs[item.digest] = Usage(item.digest, item.size_bytes, 0.0)
                found.paths.add(item.path)
        if aim.digests:
            sizes = await self._storage.threads.ledger(self._storage.blobs.sizes, aim.digests)
            found.blobs.update((one, Usage(one, sizes.get(one, 0), 0.0)) for one in aim.digests)
        if not found.blobs:
            raise NotPossible("say which items are meant: filters, or digests")
        return found

    def _remove(self, usages: Iterable[Usage], spared: Callable[[], set[Digest]]) -> tuple[list[Usage], int]:
        """Remove blobs but for the spared; return those that are gone now, and how many were kept. Blocks."""
        store = self._storage.store
        here = [usage for usage in usages if store.has(usage.digest)]
        self._storage.eviction.evict(here, spared=spared)
        gone = [usage for usage in here if not store.has(usage.digest)]
        return gone, len(here) - len(gone)

    async def _done(
        self,
        action: str,
        what: str,
        usages: Iterable[Usage],
        aim: Aim,
        pins: Sequence[str] = (),
        *,
        first: str = "",
    ) -> Done:
        """Tell of the blobs last, for their size is told behind them."""
        sizes = [usage.size_bytes for usage in usages]
        text = f"{first}{counted(len(sizes), 'blob')} {what}"
        done = Done(action=action, text=text, blobs=len(sizes), bytes=sum(sizes), pins=tuple(pins))
        return await self._write_down(done, str(aim))

    async def _write_down(self, done: Done, what: str) -> Done:
        await self._audit.write_down(done, what)
        return done


def _keeps_none(name: str, wanted: Iterable[Digest], pins: Mapping[Digest, Collection[str]]) -> str:
    """Say that a pin keeps nothing of what is wanted, and which pins do."""
    others = sorted({other for digest in wanted for other in pins.get(digest, ())})
    kept = f"it is kept by: {', '.join(map(repr, others))}" if others else "no pin does"
    return f"the pin {name!r} keeps nothing of what is meant; {kept}"


def _what_became(before: Generation | None, after: Generation | None) -> str:
    if after is None:
        return "there are no lists yet"
    if before is None or before.number == after.number:
        return f"nothing had to be replaced, the index is of {date(after.updated)}"
    return f"the index of {date(before.updated)} was replaced by that of {date(after.updated)}"


ActionsFor = Callable[[str], Actions]
"""Makes the actions for somebody, who is named in the log."""
