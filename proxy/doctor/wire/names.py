"""The addresses of a name, and which of them answer."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from proxy.doctor.exchange import Trouble
from proxy.doctor.wire.reading import Broken

_LOOKUP_S = 8.0
_MOST_ADDRESSES = 8


@dataclass(frozen=True, slots=True)
class Address:
    """One address of a name, and what became of a connection to it."""

    text: str
    trouble: Trouble | None = None
    detail: str = ""


async def look_up(host: str, port: int) -> list[str]:
    """Return the addresses of a name, in the order in which clients try them. Raises Broken."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def settle(found: list[str] | None, problem: str) -> None:
        if not answer.done():
            if found is None:
                answer.set_exception(Broken(Trouble.NAME, problem))
            else:
                answer.set_result(found)

    def ask() -> None:
        try:
            infos = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            found, problem = list(dict.fromkeys(str(info[4][0]) for info in infos)), ""
        except (OSError, UnicodeError) as error:
            found, problem = None, (error.strerror if isinstance(error, OSError) else "") or str(error)
        with contextlib.suppress(RuntimeError):  # The loop has ended meanwhile.
            loop.call_soon_threadsafe(settle, found, problem)

    # A thread that nobody waits for: name servers that are silent would hold up the end of the program.
    threading.Thread(target=ask, name="look-up", daemon=True).start()
    try:
        async with asyncio.timeout(_LOOKUP_S):
            return (await answer)[:_MOST_ADDRESSES]
    except TimeoutError:
        raise Broken(Trouble.NAME, f"no name server answered within {_LOOKUP_S:g} s") from None


async def try_addresses(addresses: Sequence[str], port: int, within_s: float) -> list[Address]:
    """Connect to each address, and close the connection again."""
    return list(await asyncio.gather(*(_tried(address, port, within_s) for address in addresses)))


async def _tried(address: str, port: int, within_s: float) -> Address:
    try:
        _, writer = await connect(address, port, within_s)
    except Broken as broken:
        return Address(address, broken.trouble, broken.detail)
    writer.transport.abort()
    return Address(address)


async def connect(
    address: str, port: int, within_s: float, limit: int = 64 * 1024
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Open a TCP connection. Raises Broken."""
    try:
        async with asyncio.timeout(within_s):
            return await asyncio.open_connection(address, port, limit=limit)
    except TimeoutError:
        raise Broken(Trouble.CONNECT_TIMEOUT, f"{address} took no connection in {within_s:g} s") from None
    except ConnectionRefusedError:
        raise Broken(Trouble.REFUSED, f"{address} refuses connections to port {port}") from None
    except OSError as error:
        raise Broken(Trouble.UNREACHABLE, f"{address}: {error.strerror or error}") from None
