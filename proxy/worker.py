"""A worker process: serves clients on the shared sockets until it is told to stop."""

import asyncio
import logging
import os
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from functools import partial

from proxy.cache.service import Cache
from proxy.config import Config
from proxy.errors import ProxyError
from proxy.jobs.actions import Actions
from proxy.jobs.scrub import Scrubber
from proxy.lifeline import Lifeline
from proxy.runtime import open_observer, open_rulebook, open_runtime
from proxy.web.app import Listening, Operator, create_app

log = logging.getLogger(__name__)


class BadCertificate(ProxyError):
    """A certificate or key that cannot be used."""


def tls_context(config: Config) -> ssl.SSLContext | None:
    """Return the TLS context of the listeners, None without a certificate. Raises BadCertificate."""
    if config.tls.certificate is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        # An encrypted key would ask whoever sits at the terminal.
        context.load_cert_chain(config.tls.certificate, config.tls.key, password=lambda: "")
    except (OSError, ValueError) as error:
        files = f"{config.tls.certificate} and {config.tls.key}"
        raise BadCertificate(f"[tls] {files} cannot be used: {error}") from error
    return context


async def open_operator(config: Config, cache: Cache, clock: Callable[[], float]) -> Operator:
    """Return what the operator's pages need."""
    book = await open_rulebook(config, cache)
    scrubber = Scrubber(cache, config.scrub, clock)
    return Operator(
        observer=await open_observer(config, cache, clock),
        actions_for=partial(Actions, cache, config.prefetch, book, scrubber),
        options=config.admin,
    )


async def serve(config: Config, sockets: Sequence[socket.socket], lifeline: Lifeline) -> None:
    """Serve until told to stop; then let running replies end, within the configured time if it is urgent."""
    async with lifeline.held(), open_runtime(config) as cache:
        operator = await open_operator(config, cache, time.time)
        listening = Listening(
            create_app(cache, config.mirrors, operator),
            config.clients,
        )
        await listening.start(sockets, tls_context(config))
        log.info("worker.ready pid=%d", os.getpid())
        await lifeline.told_to_stop()
        listening.refuse()
        log.info("worker.draining pid=%d", os.getpid())
        draining = asyncio.create_task(listening.drain(), name="drain")
        hastened = asyncio.create_task(lifeline.hastened(), name="haste")
        await asyncio.wait([draining, hastened], return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait([draining], timeout=config.clients.drain_timeout_s)
        for task in (draining, hastened):
            task.cancel()
        await listening.stop()
    log.info("worker.stopped pid=%d", os.getpid())
