"""Joining the parts: from a Config to a Cache that works.

The one place that knows all concrete classes.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import NamedTuple

from proxy.bundles.lockfile import Lockfile
from proxy.config.config import Config
from proxy.config.keyrings import Keyrings, open_keyrings
from proxy.counting.counters import Counters
from proxy.counting.subjects import OriginMeter
from proxy.documents.assembling import Assembler
from proxy.documents.documents import Documents
from proxy.documents.freshness import FreshnessPolicy
from proxy.documents.mirror_records import MirrorRecords
from proxy.documents.reading import Reading
from proxy.documents.records import documents_in_use
from proxy.documents.reverification import Reverifier
from proxy.documents.shared_facts import SharedFacts
from proxy.documents.vetting import Vetting
from proxy.fills.demand import Demand
from proxy.fills.facilities import Facilities
from proxy.fills.failures import Failures
from proxy.fills.first_bytes import FirstBytes
from proxy.fills.flights import Flights
from proxy.fills.pace import Background
from proxy.fills.places import Places, places_by_files
from proxy.fills.wrong_bytes import WrongBytes
from proxy.jobs.rulebook import RuleBook
from proxy.mirror import Mirror, Trust
from proxy.recordings.board import Board
from proxy.recordings.folder import RecordingFolder
from proxy.recordings.recorder import Recorder
from proxy.reporting.snapshot import Observer
from proxy.service.beyond_lock import BeyondLock
from proxy.service.cache import Cache
from proxy.service.delivery import Delivery
from proxy.service.locked import check_flawless, verified
from proxy.service.locked_delivery import LockedDelivery, LockedFiles
from proxy.service.usage import UsageNotes
from proxy.signatures.keyring import Keyring
from proxy.sources.addresses import folder_of, is_folder, shown_url
from proxy.sources.carried.import_origin import ImportOrigin
from proxy.sources.folder.origin import FolderOrigin
from proxy.sources.folder.reader import Readers
from proxy.sources.http.origins import HttpOrigins, Redirects, load_http
from proxy.sources.limits.limits import Limits
from proxy.sources.limits.opened import OpenLimits
from proxy.sources.loops import Loops
from proxy.sources.offline import AskedAnyway, NeverAsked, Offline, OfflineSwitch
from proxy.sources.origin import Origin
from proxy.sources.route import Route
from proxy.sources.segments.hosts import Hosts
from proxy.store.ledger import Ledger
from proxy.store.storage import Storage, listings_folder, open_store
from proxy.system.descriptors import most_open_files
from proxy.system.instance import instance_token
from proxy.system.threads import Threads


class _Asked(NamedTuple):
    """Who is asked in the place of configured origins, or though the proxy is offline."""

    carried: Mapping[str, Origin]
    """By mirror: what was carried here."""
    lockfile: Lockfile | None
    mirrors_offline: Collection[str]
    """The mirrors whose origins are asked also while the proxy is offline."""


class _Parts(NamedTuple):
    """What every mirror of a runtime shares."""

    config: Config
    clock: Callable[[], float]
    storage: Storage
    reading: Reading
    servers: HttpOrigins
    loops: Loops
    readers: Readers
    offline: OfflineSwitch
    limits: OpenLimits
    asked: _Asked


@contextlib.asynccontextmanager
async def open_runtime(
    config: Config,
    clock: Callable[[], float] = time.time,
    keyrings: Keyrings | None = None,
    carried: Mapping[str, Origin] | None = None,
    lockfile: Lockfile | None = None,
    asked_offline: Collection[str] = (),
    sharing: int = 1,
) -> AsyncIterator[Cache]:
    """Open the store and all mirrors; everything stops when the context ends.

    `clock` gives Unix seconds and decides what is fresh. `keyrings` are opened
    unless given. `carried` are asked in the place of a mirror's configured origins,
    also while the proxy is offline; so are the origins of the mirrors `asked_offline`. With a
    `lockfile` clients get exactly what it names, of each mirror that is configured. `sharing` is how many
    processes like this one use the machine's CPUs. Raises what `open_keyrings` raises, and LockRefused.
    """
    async with contextlib.AsyncExitStack() as stack:
        threads = Threads(sharing)
        stack.push_async_callback(threads.close)
        storage = await _open_storage(config, threads, clock, stack)
        asked = _Asked(carried or {}, lockfile, asked_offline)
        parts = await _open_parts(config, clock, storage, asked, stack)
        if keyrings is None:
            keyrings = await threads.slow(open_keyrings, config)
        documents = await _open_mirrors(parts, keyrings, stack)
        flights = await _open_flights(parts, stack)
        usage = UsageNotes(storage)
        _watch(usage, documents, stack)
        delivery = await _open_delivery(parts, documents, flights, usage, stack)
        recorder = await _open_recorder(config, documents, storage, clock, stack)
        yield Cache(
            documents, parts.reading, storage, flights, parts.offline, delivery, parts.loops, recorder
        )


def load_servers() -> None:
    """Load what asking servers takes, so that processes that are forked afterwards share it."""
    load_http()


async def _open_storage(
    config: Config, threads: Threads, clock: Callable[[], float], stack: contextlib.AsyncExitStack
) -> Storage:
    """Open the store, its ledger and the counters; the stack closes them."""
    store = await threads.disk(open_store, config.data_dir)
    ledger = await threads.ledger(Ledger, config.data_dir / "ledger", clock)
    threads.when_ended(ledger.close)
    counters = await threads.disk(
        lambda: Counters(config.data_dir / "stats", clock, remembers_clients=config.clients.remember)
    )
    stack.callback(counters.close)
    in_use = partial(documents_in_use, ledger)
    parts = (config.data_dir, store, ledger, config.cache, threads, counters, in_use)
    storage = await threads.disk(Storage.of, *parts)
    threads.when_ended(storage.health.close)
    return storage


async def _open_parts(
    config: Config,
    clock: Callable[[], float],
    storage: Storage,
    asked: _Asked,
    stack: contextlib.AsyncExitStack,
) -> _Parts:
    """Open what all mirrors share over a storage; the stack closes it."""
    threads = storage.threads
    reading = Reading(storage.store, listings_folder(config.data_dir))
    stack.callback(reading.stop)
    loops = Loops(await threads.disk(_instance_token, config))
    servers = await stack.enter_async_context(HttpOrigins(config.upstream, loops))
    readers = Readers()
    stack.callback(readers.close)
    offline = await threads.disk(
        lambda: OfflineSwitch(_boards(config) / ".offline", is_configured=config.offline)
    )
    stack.callback(offline.close)
    limits = OpenLimits(_boards(config), config.worker_count(), time.monotonic)
    stack.callback(limits.close)
    await threads.disk(limits.limit_all, config.upstream.limit_bytes_s)
    return _Parts(config, clock, storage, reading, servers, loops, readers, offline, limits, asked)


async def _open_mirrors(
    parts: _Parts, keyrings: Keyrings, stack: contextlib.AsyncExitStack
) -> dict[str, Documents]:
    """Open what each mirror serves, by its name; the stack closes it."""
    documents: dict[str, Documents] = {}
    for mirror in parts.config.mirrors:
        documents[mirror.name] = one = await _open_documents(mirror, keyrings.get(mirror.name), parts)
        stack.push_async_callback(one.close)
    return documents


async def _open_documents(mirror: Mirror, keyring: Keyring | None, parts: _Parts) -> Documents:
    """Open what one mirror serves, with the route to its origins."""
    storage, reading, clock = parts.storage, parts.reading, parts.clock
    limits = await storage.threads.disk(parts.limits.of_mirror, mirror.name, mirror.limit_bytes_s)
    reverifier = Reverifier(mirror.name, mirror.trust.value, keyring, storage.store)
    return Documents(
        mirror,
        _route(mirror, parts, limits),
        Assembler(mirror.trust, Vetting(keyring, storage, reading, clock)),
        MirrorRecords(mirror.name, reverifier, storage, reading),
        await storage.threads.disk(SharedFacts, _boards(parts.config) / mirror.name),
        _freshness(mirror, parts),
        clock,
        _offline(mirror, parts),
    )


def _freshness(mirror: Mirror, parts: _Parts) -> FreshnessPolicy:
    """Return the policy of a mirror: nobody is about to publish what something carried here lacks."""
    policy = parts.config.freshness
    return replace(policy, hold_back_s=0.0) if mirror.name in parts.asked.carried else policy


def _offline(mirror: Mirror, parts: _Parts) -> Offline:
    """Return what says whether a mirror's origins may be asked."""
    carried = parts.asked.carried.get(mirror.name)
    if mirror.name in parts.asked.mirrors_offline:
        return AskedAnyway()
    if carried is None:
        return parts.offline if parts.asked.lockfile is None else NeverAsked()
    return carried if isinstance(carried, ImportOrigin) else AskedAnyway()


def _route(mirror: Mirror, parts: _Parts, limits: Limits) -> Route:
    """Return the way to a mirror's origins, servers and folders alike, or to what was carried here."""
    if mirror.name in parts.asked.carried:
        return Route([parts.asked.carried[mirror.name]], time.monotonic)
    servers = [url for url in mirror.origins if not is_folder(url)]
    redirects = Redirects(servers, mirror.redirect_hosts, tls_only=mirror.trust is Trust.TLS)
    counters = parts.storage.counters
    of_mirror = counters.mirror(mirror.name)
    origins: list[Origin] = []
    for url in mirror.origins:
        name = shown_url(url)
        meter = OriginMeter(counters.origin(name), of_mirror, counters.limits)
        if is_folder(url):
            folder = folder_of(url)
            reader, options = parts.readers.of(folder), parts.config.upstream
            origins.append(FolderOrigin(name, folder, reader, options, meter, parts.clock, limits))
        else:
            behind = parts.loops.behind(mirror.name)
            origins.append(parts.servers.origin(url, redirects, meter, limits, behind))
    return Route(origins, time.monotonic, is_spread=mirror.spread, is_joined=mirror.join_origins)


async def _open_flights(parts: _Parts, stack: contextlib.AsyncExitStack) -> Flights:
    """Return what brings items into the store, at the configured pace; the stack closes it."""
    config, storage, clock = parts.config, parts.storage, parts.clock
    upstream = config.upstream
    demand = await storage.threads.disk(Demand, _boards(config) / ".demand")
    stack.callback(demand.close)
    first_bytes = await storage.threads.disk(FirstBytes, _boards(config) / ".first-bytes")
    stack.callback(first_bytes.close)
    limit_bytes_s = upstream.background_limit_bytes_s
    background = await storage.threads.disk(parts.limits.of_background, limit_bytes_s)
    pace = Background(demand, background, time.monotonic)
    failures = Failures(storage, clock)
    most = places_by_files(upstream.transfers, most_open_files())
    places = Places(most, upstream.give_up_after_s, storage.counters.transfers)
    facilities = Facilities(
        storage=storage,
        failures=failures,
        wrong_bytes=WrongBytes(storage, failures, clock),
        places=places,
        demand=demand,
        first_bytes=first_bytes,
        upstream=upstream,
        feed=config.feed,
        random=Random(),  # noqa: S311 - spreads retries, guards nothing
        hosts=Hosts(upstream.connections_per_item, time.monotonic, storage.counters.parts),
    )
    flights = Flights(facilities, pace)
    stack.push_async_callback(flights.close)
    return flights


def _watch(usage: UsageNotes, documents: Mapping[str, Documents], stack: contextlib.AsyncExitStack) -> None:
    """Begin what goes on beside all requests; the stack ends it."""
    tasks = [
        asyncio.create_task(usage.run(), name="usage"),
        *(asyncio.create_task(one.checks.watch(), name=f"watch {name}") for name, one in documents.items()),
    ]
    stack.push_async_callback(_cancel, tasks)


async def _open_delivery(
    parts: _Parts,
    documents: Mapping[str, Documents],
    flights: Flights,
    usage: UsageNotes,
    stack: contextlib.AsyncExitStack,
) -> Delivery:
    """Return what delivers documents and items: those of the lockfile alone, if there is one."""
    lockfile = parts.asked.lockfile
    all_parts = documents, flights, parts.storage, usage, parts.offline, parts.clock
    if lockfile is None:
        return Delivery(*all_parts)
    delivery = LockedDelivery(*all_parts)
    beyond = BeyondLock(parts.storage.counters.limits)
    stack.callback(beyond.close)
    await _lock(lockfile, documents, delivery, beyond)
    return delivery


async def _lock(
    lockfile: Lockfile, documents: Mapping[str, Documents], delivery: LockedDelivery, beyond: BeyondLock
) -> None:
    """Have the lockfile's generations served, once they are verified. Raises LockRefused."""
    files = {name: LockedFiles() for name in documents}
    for one in lockfile.locked:
        of_mirror = documents[one.contents.mirror]
        found = await verified(of_mirror, one, lockfile.data)
        check_flawless((found,))
        of_mirror.fix(found.edition)
        files[found.mirror].add(found)
    recording = f" of the recording {lockfile.recording}" if lockfile.recording else ""
    delivery.lock(f"the lockfile{recording}", files, lockfile.data, beyond)


async def _open_recorder(
    config: Config,
    documents: Mapping[str, Documents],
    storage: Storage,
    clock: Callable[[], float],
    stack: contextlib.AsyncExitStack,
) -> Recorder:
    """Return what notes what clients ask for; the stack has it write down the rest, and closes it."""
    folder = await storage.threads.disk(open_recording_folder, config)
    stack.callback(folder.board.close)
    await storage.threads.disk(folder.settle, clock())
    recorder = Recorder(
        folder,
        storage.threads,
        storage.pins,
        lambda mirror, item: documents[mirror].naming(item),
        clock,
        remembers_clients=config.clients.remember,
    )
    stack.push_async_callback(recorder.close)
    return recorder


def open_recording_folder(config: Config) -> RecordingFolder:
    """Return the recordings of a data directory, for those who begin and end some. Blocks."""
    return RecordingFolder(config.data_dir / "recordings", Board(_boards(config) / ".recordings"))


def _instance_token(config: Config) -> str:
    _boards(config).mkdir(parents=True, exist_ok=True)
    return instance_token(_boards(config) / ".instance")


def _boards(config: Config) -> Path:
    """Return the folder of the small files by which the processes tell each other what is new."""
    return config.data_dir / "boards"


async def open_rulebook(config: Config, cache: Cache) -> RuleBook:
    """Return what is known of the runs of prefetch rules."""
    return await cache.storage.threads.disk(RuleBook, cache.storage.ledger, config.data_dir / "rules")


async def open_observer(
    config: Config,
    cache: Cache,
    clock: Callable[[], float],
    is_offline: Callable[[], bool] | None = None,
) -> Observer:
    """Return who takes snapshots of the cache's state.

    `is_offline` says whether the server that is looked at may ask no origin, unless it is this process.
    """
    if is_offline is None:

        def is_offline() -> bool:
            return cache.offline.is_on

    book = await open_rulebook(config, cache)
    limit_bytes_s = config.upstream.limit_bytes_s
    counts = config.data_dir / "stats"
    return Observer(cache, config.prefetch, book, counts, limit_bytes_s, clock, is_offline)


async def _cancel(tasks: list[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
