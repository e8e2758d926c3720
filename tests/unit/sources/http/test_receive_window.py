"""How much the kernel takes ahead of a reader that is limited: on real connections."""

import contextlib
import math
import socket
from collections.abc import Iterator

import pytest

from proxy.sources.http.receive_window import bound_window

KIB = 1024
MIB = 1024 * KIB


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Return a connection that sends without waiting, and the one that it reaches."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        receiver = socket.create_connection(server.getsockname())
        receiver.setblocking(False)
        sender, _ = server.accept()
    with receiver, sender:
        sender.setblocking(False)
        # What it keeps itself must not be taken for what has arrived.
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16 * KIB)
        yield sender, receiver


def taken_ahead(sender: socket.socket, receiver: socket.socket) -> int:
    """Return how much goes out while the receiver reads a MiB and then nothing more."""
    sent = received = idle = 0
    while idle < 100:
        try:
            sent += sender.send(bytes(64 * KIB))
            idle = 0
        except BlockingIOError:
            idle += 1
            if received < MIB:
                with contextlib.suppress(BlockingIOError):
                    received += len(receiver.recv(64 * KIB))
    return sent - received


def buffer_of(receiver: socket.socket) -> int:
    return receiver.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def test_a_limited_connection_brings_little_ahead(pair: tuple[socket.socket, socket.socket]) -> None:
    sender, receiver = pair
    bound_window(receiver, 100_000)
    assert taken_ahead(sender, receiver) <= MIB


def test_a_window_has_room_for_what_the_rate_needs(pair: tuple[socket.socket, socket.socket]) -> None:
    _, receiver = pair
    bound_window(receiver, 50e6)
    assert buffer_of(receiver) >= 1_000_000


def test_without_a_limit_the_kernel_sizes_it_again(pair: tuple[socket.socket, socket.socket]) -> None:
    sender, receiver = pair
    bound_window(receiver, 100_000)
    before = buffer_of(receiver)
    bound_window(receiver, math.inf)
    taken_ahead(sender, receiver)
    assert buffer_of(receiver) > before
