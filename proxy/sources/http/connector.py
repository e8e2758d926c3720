"""How connections to origins are opened: by aiohttp, but for TLS, whose sessions are ours.

Owns what of an error in the handshake becomes aiohttp's error. What is verified, and how, says the
context that aiohttp would have used. A connection through a parent proxy's tunnel is aiohttp's own.
"""

import asyncio
import ssl
from functools import partial
from typing import Any, cast

from aiohttp import (
    ClientConnectorCertificateError,
    ClientConnectorError,
    ClientConnectorSSLError,
    TCPConnector,
)
from aiohttp.client_proto import ResponseHandler

from proxy.sources.awake_timeout import AwakeTimeout
from proxy.sources.http.tls_transport import TlsProtocol


class Connector(TCPConnector):
    """Opens connections, and keeps those that may be used again."""

    async def _wrap_create_connection(
        self,
        *args: Any,
        req: Any,
        timeout: Any,  # noqa: ASYNC109 - aiohttp's
        client_error: type[Exception] = ClientConnectorError,
        **kwargs: Any,
    ) -> tuple[asyncio.Transport, ResponseHandler]:
        """Connect to an address; a connection to a parent proxy is told by its error."""
        open_one = partial(
            super()._wrap_create_connection, req=req, timeout=timeout, client_error=client_error
        )
        context = kwargs.get("ssl")
        if context is None or client_error is not ClientConnectorError:
            return await open_one(*args, **kwargs)
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout.sock_connect
        (make,) = args
        protocol = TlsProtocol(make, context, kwargs.get("server_hostname"))
        tcp, _ = await open_one(lambda: protocol, addr_infos=kwargs["addr_infos"])
        try:
            async with AwakeTimeout(max(0.0, until - loop.time())):
                opened = await protocol.opened()
        except BaseException as error:
            tcp.abort()
            if not isinstance(error, OSError) or isinstance(error, TimeoutError):
                raise
            raise _as_aiohttp_says_it(error, req.connection_key) from error
        return cast("tuple[asyncio.Transport, ResponseHandler]", opened)


def _as_aiohttp_says_it(error: OSError, key: Any) -> ClientConnectorError | ClientConnectorCertificateError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return ClientConnectorCertificateError(key, error)
    if isinstance(error, ssl.SSLError):
        return ClientConnectorSSLError(key, error)
    return ClientConnectorError(key, error)
