"""Ports that a reload adds, moves, or takes back: whoever connects is answered or refused, at once."""

import asyncio
import errno
import os
import signal
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from support.certificates import make_certificate
from support.exchange import Exchange
from support.faults import Fault
from support.origin import Origin
from support.serving import write_config
from support.tree import SignedTree, TreeItem
from support.wire import request
from support.workers import Workers, ended, frozen, run_workers

from proxy.mirror import Mirror

MIB = 1024 * 1024
PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX = "/images/test/streams/v1/index.sjson"
AT_ONCE_S = 5.0
REFUSED = "refused"


@pytest.fixture(autouse=True)
def item(tree: SignedTree) -> TreeItem:
    item = tree.add_item(PRODUCT, "20250718", "squashfs", size=4 * MIB)
    tree.publish()
    return item


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        return int(one.getsockname()[1])


def configure(folder: Path, mirror: Mirror, *listen: str, settings: str = "") -> None:
    config = write_config(folder, mirror, settings=settings)
    text = config.read_text().replace('"127.0.0.1:0"', ", ".join(f'"{one}"' for one in listen))
    config.write_text(text)


async def answer(address: str, tls: ssl.SSLContext | None = None) -> str:
    """Return the status of a GET, or that it is refused; fail if neither comes at once."""
    host, _, port = address.rpartition(":")
    async with asyncio.timeout(AT_ONCE_S):
        try:
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port), ssl=tls)
        except OSError:
            return REFUSED
        try:
            writer.write(request(INDEX, Connection="close"))
            line = await reader.readline()
        except ConnectionError:
            line = b""
        finally:
            writer.transport.abort()
    return line.split(b" ")[1].decode() if line else REFUSED


async def answers(*addresses: str) -> list[str]:
    return [await answer(address) for address in addresses]


async def reload(workers: Workers, word: str = "config.accepted") -> None:
    """Have the configuration read again, and see what comes of it."""
    before = len(workers.log.having(word))
    workers.service.process.send_signal(signal.SIGHUP)
    await workers.log.seen(word, before + 1)


def address_of(workers: Workers) -> str:
    return workers.service.base.removeprefix("http://")


@asynccontextmanager
async def transfer(workers: Workers, origin: Origin, item: TreeItem) -> AsyncIterator[Exchange]:
    """Yield a reply that has begun; let it go on at the end, and see it whole."""
    stall = origin.fault(item.path, Fault(stall_after=2 * MIB))
    (running,) = await workers.ask(workers.pids[0], item.path)
    assert await running.begin() == 200
    yield running
    stall.remove()
    reply = await running.rest()
    assert reply.body == item.read()


async def test_a_port_that_is_left_refuses_clients_and_can_be_taken_back(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    """While the old processes send what they have begun."""
    async with run_workers(tmp_path, mirror) as workers:
        first, second = address_of(workers), f"127.0.0.1:{free_port()}"
        async with transfer(workers, origin, item):
            seen = []
            for listen in ((second,), (first,), (first, second), (second,), (second, first)):
                configure(tmp_path, mirror, *listen)
                await reload(workers)
                seen.append(await answers(first, second))
        assert seen == [
            [REFUSED, "200"],
            ["200", REFUSED],
            ["200", "200"],
            [REFUSED, "200"],
            ["200", "200"],
        ]
        assert not workers.log.having("config.rejected")


async def test_the_operators_port_can_be_left_and_taken_back(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    """And change places with the clients' port."""
    async with run_workers(tmp_path, mirror) as workers:
        first, second = address_of(workers), f"127.0.0.1:{free_port()}"
        async with transfer(workers, origin, item):
            seen = []
            for clients, admins in (
                (first, second),
                (second, first),
                (first, None),
                (first, second),
                (second, None),
            ):
                settings = f'[admin]\nlisten = ["{admins}"]\n' if admins else ""
                configure(tmp_path, mirror, clients, settings=settings)
                await reload(workers)
                for pid in _old(workers):
                    await _refuses(pid, workers)
                seen.append(await answers(first, second))
        assert seen == [
            ["200", "404"],
            ["404", "200"],
            ["200", REFUSED],
            ["200", "404"],
            [REFUSED, "200"],
        ]


def _old(workers: Workers) -> list[int]:
    """Return the workers of which a newer group of processes has taken the place."""
    ready = [int(line.rpartition("pid=")[2]) for line in workers.log.having("worker.ready")]
    return [pid for pid in ready[:-2] if Path(f"/proc/{pid}").exists()]


async def _refuses(pid: int, workers: Workers) -> None:
    """Return once a worker accepts nobody any more."""
    await workers.log.seen(f"worker.draining pid={pid}")


@pytest.mark.parametrize(
    ("before", "after", "others"),
    [
        ("0.0.0.0", "127.0.0.1", "127.0.0.2"),
        ("127.0.0.1", "0.0.0.0", "127.0.0.2"),
        ("0.0.0.0", "localhost", "127.0.0.2"),
        ("127.0.0.1", "localhost", "127.0.0.2"),
        ("[::]", "[::1]", "127.0.0.1"),
        ("[::1]", "[::]", "127.0.0.1"),
        ("[::1]", "[0:0:0:0:0:0:0:1]", "127.0.0.1"),
        ("0.0.0.0", "[::]", "127.0.0.1"),
    ],
)
async def test_the_same_port_at_another_host(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem, before: str, after: str, others: str
) -> None:
    """The kernel takes some of these for the address that is in use; there and back again."""
    port = free_port()

    def reached(host: str) -> dict[str, str]:
        """Say who is to be reached when this host is listened at."""
        names = {"0.0.0.0": "127.0.0.1 127.0.0.2", "localhost": "127.0.0.1", "[::]": "[::1]"}
        at = {"[0:0:0:0:0:0:0:1]": "[::1]", **names}.get(host, host).split()
        return {one: "200" if one in at else REFUSED for one in ("127.0.0.1", others, "[::1]")}

    async with run_workers(tmp_path, mirror) as workers:
        configure(tmp_path, mirror, f"{before}:{port}")
        async with transfer(workers, origin, item):
            for host in (before, after, before, after):
                configure(tmp_path, mirror, f"{host}:{port}")
                await reload(workers)
                expected = reached(host)
                assert {one: await answer(f"{one}:{port}") for one in expected} == expected
        assert not workers.log.having("config.rejected")


async def test_what_cannot_be_bound_changes_nothing(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    """Not even if another address of the configuration could be, or if part of ours is to be left for it."""
    async with run_workers(tmp_path, mirror) as workers:
        first, free = address_of(workers), f"127.0.0.1:{free_port()}"
        port = first.rpartition(":")[2]
        async with transfer(workers, origin, item):
            with socket.create_server(("127.0.0.1", 0)) as foreign:
                taken = f"127.0.0.1:{foreign.getsockname()[1]}"
                for listen in ((free, taken), (f"0.0.0.0:{port}", taken), ("192.0.2.1:8080",)):
                    configure(tmp_path, mirror, *listen)
                    await reload(workers, "config.rejected")
                    assert await answers(first, free, f"127.0.0.2:{port}") == ["200", REFUSED, REFUSED]
            assert [f"cannot listen on {taken}" in line for line in workers.log.having("rejected")] == [
                True,
                True,
                False,
            ]
            with pytest.raises(OSError, match=os.strerror(errno.EADDRINUSE)):
                socket.create_server(("127.0.0.1", int(port)))
            configure(tmp_path, mirror, taken, free)
            await reload(workers)
            assert await answers(first, free, taken) == [REFUSED, "200", "200"]


async def test_a_port_of_processes_that_do_not_come_to_life_refuses_clients(
    tmp_path: Path, mirror: Mirror
) -> None:
    """Also before it is known that they do not."""
    async with run_workers(tmp_path, mirror) as workers:
        first = address_of(workers)
        port = first.rpartition(":")[2]
        elsewhere = tmp_path / "other"
        (elsewhere / "boards" / mirror.name).mkdir(parents=True)  # Where a file has to be.
        for wanted in (f"127.0.0.1:{free_port()}", f"0.0.0.0:{port}"):
            configure(tmp_path, mirror, wanted)
            config = tmp_path / "config.toml"
            config.write_text(config.read_text().replace(str(tmp_path / "data"), str(elsewhere)))
            reloading = asyncio.create_task(reload(workers, "config.rejected"))
            while not reloading.done():
                assert await answers(first, f"127.0.0.2:{port}") == ["200", REFUSED]
                assert await answer(wanted.replace("0.0.0.0", "127.0.0.2")) == REFUSED
            await reloading
            assert await answers(first, f"127.0.0.2:{port}") == ["200", REFUSED]


async def test_a_process_that_stands_still_keeps_no_port_open(tmp_path: Path, mirror: Mirror) -> None:
    async with run_workers(tmp_path, mirror) as workers:
        first, second = address_of(workers), f"127.0.0.1:{free_port()}"
        configure(tmp_path, mirror, second)
        with frozen(workers.pids):
            await reload(workers)
            assert await answers(first, second) == [REFUSED, "200"]
            configure(tmp_path, mirror, first)
            await reload(workers)
            assert await answers(first, second) == ["200", REFUSED]


async def test_a_stop_refuses_clients_while_transfers_end(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    """Also those of a reload before; a reload that is asked for then changes nothing."""
    async with run_workers(tmp_path, mirror) as workers:
        first, second = address_of(workers), f"127.0.0.1:{free_port()}"
        async with transfer(workers, origin, item):
            configure(tmp_path, mirror, first, second)
            await reload(workers)
            workers.service.process.send_signal(signal.SIGTERM)
            await workers.log.seen("worker.draining", 4)
            assert await answers(first, second) == [REFUSED, REFUSED]
            workers.service.process.send_signal(signal.SIGHUP)
            with socket.create_server(("127.0.0.1", int(first.rpartition(":")[2]))):
                assert await answer(second) == REFUSED
        assert await asyncio.to_thread(workers.service.process.wait, 20) == 0
        assert len(workers.log.having("config.")) == len(workers.log.having("config.accepted")) == 1


async def test_a_stop_while_a_reload_is_under_way(tmp_path: Path, mirror: Mirror) -> None:
    async with run_workers(tmp_path, mirror) as workers:
        first, second = address_of(workers), f"127.0.0.1:{free_port()}"
        configure(tmp_path, mirror, second)
        workers.service.process.send_signal(signal.SIGHUP)
        await workers.log.seen("keeper.ready", 2)
        workers.service.process.send_signal(signal.SIGTERM)
        assert await asyncio.to_thread(workers.service.process.wait, 20) == 0
        assert await answers(first, second) == [REFUSED, REFUSED]
        assert not workers.log.having("config.rejected")


async def test_nobody_waits_in_vain_while_ports_come_and_go(
    tmp_path: Path, mirror: Mirror, origin: Origin, item: TreeItem
) -> None:
    """Two reloads in a row count as well; a port that stays refuses nobody."""
    port = free_port()
    async with run_workers(tmp_path, mirror) as workers:
        lasting, other = address_of(workers), f"127.0.0.1:{port}"
        over = asyncio.Event()

        async def keep_asking(address: str) -> set[str]:
            seen = set()
            while not over.is_set():
                seen.add(await answer(address))
            return seen

        async with transfer(workers, origin, item):
            asking = [asyncio.create_task(keep_asking(one)) for one in (lasting, lasting, other, other)]
            for listen in ([other], [], [f"0.0.0.0:{port}"], [other], []):
                configure(tmp_path, mirror, lasting, *listen)
                workers.service.process.send_signal(signal.SIGHUP)
                await reload(workers)
            over.set()
            seen = await asyncio.gather(*asking)
        assert seen[:2] == [{"200"}, {"200"}]
        assert seen[2] | seen[3] == {"200", REFUSED}


async def test_one_port_changes_between_http_and_https(tmp_path: Path, mirror: Mirror) -> None:
    certificate = make_certificate(tmp_path)
    secure = f'[tls]\ncertificate = "{certificate.chain}"\nkey = "{certificate.key}"\n'
    async with run_workers(tmp_path, mirror) as workers:
        first = address_of(workers)
        for settings in (secure, "", secure):
            before = workers.pids
            configure(tmp_path, mirror, first, settings=settings)
            await reload(workers)
            for pid in before:
                await ended(pid)
            plain, encrypted = await answer(first), await answer(first, certificate.client)
            assert (plain == "200", encrypted == "200") == (not settings, bool(settings))


async def test_a_handshake_that_has_begun_before_a_reload_is_brought_to_its_end(
    tmp_path: Path, mirror: Mirror
) -> None:
    certificate = make_certificate(tmp_path)
    secure = f'[tls]\ncertificate = "{certificate.chain}"\nkey = "{certificate.key}"\n'
    async with run_workers(tmp_path, mirror, workers=1, settings=secure) as workers:
        host, port = workers.service.base.removeprefix("https://").split(":")
        (before,) = workers.pids
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        client = certificate.client.wrap_bio(incoming, outgoing, server_hostname=host)
        reader, writer = await asyncio.open_connection(host, int(port))
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        writer.write(outgoing.read())
        incoming.write(await reader.read(MIB))  # It was accepted.
        await reload(workers)
        await workers.log.seen(f"worker.draining pid={before}")

        async with asyncio.timeout(AT_ONCE_S):
            client.do_handshake()
            client.write(request(INDEX))
            writer.write(outgoing.read())
            told = b""
            while not told:
                incoming.write(await reader.read(MIB))
                try:
                    told = client.read()
                except ssl.SSLWantReadError:
                    continue
        writer.close()

        assert told.startswith(b"HTTP/1.1 200 ")
        await ended(before)
