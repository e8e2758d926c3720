"""A worker process: serves clients on the shared sockets until it is told to stop."""

import asyncio
import gc
import logging
import os
import time
from collections.abc import Callable, Sequence
from functools import partial

from proxy.config.config import Config
from proxy.jobs.actions import Actions
from proxy.jobs.scrub import Scrubber
from proxy.logs.handler import LineHandler
from proxy.processes.listeners import Listeners
from proxy.processes.loaded_config import LoadedConfig
from proxy.processes.supervisor_link import SupervisorLink
from proxy.runtime import open_observer, open_rulebook, open_runtime
from proxy.service.cache import Cache
from proxy.system.host_names import own_names
from proxy.web.access.gate import Gate
from proxy.web.app import Listening, Operator, create_app, create_operators_app
from proxy.web.log_line import RequestLog

log = logging.getLogger(__name__)


async def open_operator(config: Config, cache: Cache, clock: Callable[[], float]) -> Operator:
    """Return what the operator's pages need."""
    book = await open_rulebook(config, cache)
    scrubber = Scrubber(cache, config.scrub, clock)
    return Operator(
        observer=await open_observer(config, cache, clock),
        actions_for=partial(Actions, cache, config.prefetch, book, scrubber),
        options=config.admin,
        clients_port=config.addresses[0][1] if config.admin.listen else None,
        own_names=await cache.storage.threads.disk(own_names) | config.listening_names,
    )


async def serve(loaded: LoadedConfig, listeners: Listeners, link: SupervisorLink, lines: LineHandler) -> None:
    """Serve until told to stop; then let running replies end, within the configured time if it is urgent."""
    config = loaded.config
    async with (
        link.held(),
        open_runtime(
            config, time.time, loaded.keyrings, lockfile=loaded.lockfile, sharing=config.worker_count()
        ) as cache,
        lines.dropped_lines_counted(cache.storage.counters.log.dropped),
    ):
        operator = await open_operator(config, cache, time.time)
        gate = Gate(config.access, config.users, config.mirrors)
        requests = RequestLog(logging.getLogger("proxy.access"), lines)
        listening = await _listen(config, listeners, cache, gate, operator, requests)
        # What is here by now stays; without this the collector would look through all of it again and again.
        gc.collect()
        gc.freeze()
        log.info("worker.ready pid=%d", os.getpid())
        await link.told_to_stop()
        for one in listening:
            one.refuse()
        log.info("worker.draining pid=%d", os.getpid())
        draining = asyncio.create_task(_drain(listening), name="drain")
        hastened = asyncio.create_task(link.hastened(), name="haste")
        await asyncio.wait([draining, hastened], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait([draining], timeout=config.clients.drain_timeout_s)
        for task in (draining, hastened):
            task.cancel()
        for one in listening:
            await one.stop()
        gate.close()
    log.info("worker.stopped pid=%d", os.getpid())


async def _listen(
    config: Config,
    listeners: Listeners,
    cache: Cache,
    gate: Gate,
    operator: Operator,
    requests: RequestLog,
) -> list[Listening]:
    """Begin to listen, with the operator's pages apart if they have sockets of their own."""
    if listeners.admins:
        parts = [
            (create_app(cache, config.mirrors, gate, None), listeners.clients, listeners.share),
            (create_operators_app(cache, config.mirrors, operator), listeners.admins, None),
        ]
    else:
        parts = [(create_app(cache, config.mirrors, gate, operator), listeners.clients, listeners.share)]
    listening = []
    for app, sockets, share in parts:
        one = Listening(app, config.clients, requests, share)
        await one.start(sockets, listeners.tls, listeners.plain)
        listening.append(one)
    return listening


async def _drain(listening: Sequence[Listening]) -> None:
    for one in listening:
        await one.drain()
