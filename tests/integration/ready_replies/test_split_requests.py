"""Requests that come in pieces, several at once, or faster than they are answered."""

import asyncio
import random
from typing import Any

import pytest
from support.ready_replies import INDEX, Slow, comparable, warm
from support.running import MOUNT, RunningProxy
from support.tree import TreeItem
from support.wire import Wire, request

from proxy.web.wire.connection import Connection


async def test_the_rest_of_a_half_sent_request_is_no_request(wire: Wire, item: TreeItem) -> None:
    """Bytes that are hot by themselves may be the end of another request's header."""
    head = request(MOUNT + item.path)
    await warm(wire, head)
    await wire.send(request(f"{MOUNT}nothing").removesuffix(b"\r\n") + b"X-Half: ")
    await asyncio.sleep(0.05)  # So that the halves arrive one by one.
    await wire.send(head)

    assert (await wire.reply()).status in {400, 404}


async def test_requests_in_one_piece_are_answered_in_their_order(wire: Wire, item: TreeItem) -> None:
    hot, cold = request(MOUNT + item.path), request(f"{MOUNT}nothing")
    await warm(wire, hot)
    await wire.send(hot + cold + hot)
    statuses = [(await wire.reply()).status for _ in range(3)]
    await wire.send(cold)
    await wire.send(hot)
    statuses += [(await wire.reply()).status for _ in range(2)]
    assert statuses == [200, 404, 200, 404, 200]


async def test_a_stray_marker_after_a_ready_reply_is_dropped(
    proxy: RunningProxy, wire: Wire, item: TreeItem
) -> None:
    """What MAAS 3.5 sends after each image request."""
    head = request(MOUNT + item.path)
    await warm(wire, head)
    slow = Slow(proxy)
    replies = []
    for _ in range(3):
        await wire.send(head)
        replies.append(await wire.reply())
        await wire.send(b"0\r\n\r\n")
        await asyncio.sleep(0.02)  # So that it comes by itself.
    replies.append(await wire.ask(INDEX))

    assert [reply.status for reply in replies] == [200] * 4
    assert slow.times == 1


@pytest.mark.usefixtures("wire")
async def test_mixed_and_split_requests_are_answered_like_single_ones(
    proxy: RunningProxy, item: TreeItem
) -> None:
    """By 40 random mixes of heads, pipelined and split at random places."""
    targets = [MOUNT + item.path, INDEX, f"{MOUNT}nothing"]
    choices = [("GET", {}), ("GET", {"Range": "bytes=1-7"}), ("HEAD", {}), ("GET", {"X_A": "b"})]
    expected = {}
    for target in targets:
        for method, headers in choices:
            async with Wire.to(proxy.base) as single:
                head = request(target, method, **headers)
                expected[head] = (method, comparable(await single.ask(target, method, **headers)))
    for seed in range(40):
        mix = random.Random(seed)
        heads = mix.choices(list(expected), k=12)
        data = b"".join(heads)
        cuts = sorted(mix.sample(range(1, len(data)), mix.choice([0, 0, 3, 11])))
        if mix.random() < 0.5:
            cuts = [sum(map(len, heads[:n])) for n in range(1, len(heads))]
        async with Wire.to(proxy.base) as mixed:
            for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
                await mixed.send(data[start:end])
                if mix.random() < 0.7:
                    await asyncio.sleep(0.001)
            for head in heads:
                method, wanted = expected[head]
                got = comparable(await mixed.reply(method))
                assert without_ids(got) == without_ids(wanted), (seed, head)


def without_ids(reply: tuple[int, list[tuple[str, str]], bytes]) -> tuple[int, list[tuple[str, str]], bytes]:
    status, headers, body = reply
    return status, [(name, value) for name, value in headers if name != "X-Request-Id"], body


async def test_a_request_that_comes_before_the_last_ones_task_has_ended_is_answered_from_memory(
    proxy: RunningProxy, wire: Wire, item: TreeItem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the connections of fast clients would stay with the slow way."""
    head = request(MOUNT + item.path)
    await warm(wire, head)
    handle, early = Connection._handle_request, [head]

    async def handle_and_receive(connection: Connection, *arguments: Any) -> Any:
        handled = await handle(connection, *arguments)
        if early:
            connection._loop.call_soon(connection.data_received, early.pop())
        return handled

    monkeypatch.setattr(Connection, "_handle_request", handle_and_receive)
    slow = Slow(proxy)
    await wire.send(request(MOUNT + item.path, X_Other="1"))

    replies = [await wire.reply() for _ in range(2)]

    assert [reply.body for reply in replies] == [item.read()] * 2
    assert slow.times == 1


async def test_what_comes_in_two_pieces_right_after_a_reply_is_one_request(
    wire: Wire, item: TreeItem
) -> None:
    head = request(MOUNT + item.path)
    for cut in (1, 20, len(head) - 1):
        await wire.send(head + head[:cut])
        assert (await wire.reply()).body == item.read()
        await wire.send(head[cut:] + head)
        assert (await wire.reply()).body == item.read()
        assert (await wire.reply()).body == item.read()


async def test_a_client_that_does_not_read_is_not_answered_without_end(
    proxy: RunningProxy, wire: Wire, item: TreeItem
) -> None:
    head = request(MOUNT + item.path)
    await warm(wire, head)
    slow = Slow(proxy)
    for _ in range(10_000):
        wire.writer.write(head)
        if slow.times:
            break
        await asyncio.sleep(0)
    else:
        pytest.fail("40 MB were queued for a client that does not read")
