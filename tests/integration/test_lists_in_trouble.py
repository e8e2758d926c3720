"""One list of several that cannot be had, or not be believed, costs only itself."""

from dataclasses import replace
from pathlib import Path

import pytest
from support.faults import Fault
from support.generations import HOUR_S, INDEX, LIST, PRODUCT, SECOND_LIST, STALE_S, bodies, on_disk, stats
from support.origin import Origin
from support.running import Clock, RunningProxy, make_config, run_proxy
from support.tree import MAAS_CONTENT_ID, SignedTree

from proxy.documents import stragglers
from proxy.jobs.readiness import inspect_documents
from proxy.mirror import Mirror
from proxy.sources.options import UpstreamOptions

TROUBLE = {
    **{str(status): Fault(status=status) for status in (400, 401, 402, 403, 405, 406, 407, 408, 421, 429)},
    **{str(status): Fault(status=status) for status in (451, 204, 206, 300, 500, 501, 502, 503, 504, 511)},
    "redirects in a circle": Fault(redirect_to="?again"),
    "redirect to a private address": Fault(redirect_to="http://127.0.0.1:9/login"),
    "redirect to nowhere": Fault(redirect_to="http://[]@/"),
    "closed before the head": Fault(refuse=True),
    "reset within the body": Fault(cut_after=100),
    "closed within the body": Fault(close_after=100),
    "silent": Fault(stall_after=0),
    "silent before the head": Fault(head=b"", stall_after=0),
    "slow drip": Fault(rate_bytes_s=20),
    "no HTTP at all": Fault(head=b"SSH-2.0-OpenSSH_9.6\r\n", close_after=0),
    "garbage for headers": Fault(head=b"HTTP/1.1 200 OK\r\nContent-Length : many\r\n\x00: \x02\r\n\r\n"),
    "says compressed, is not": Fault(content_encoding="gzip"),
    "login page with 200": Fault(body=b"<html>log in</html>"),
    "one byte wrong": Fault(corrupt_at=300),
    "over the limit": Fault(headers={"Content-Length": "999999999"}),
    "empty": Fault(body=b""),
}
IMPATIENT = UpstreamOptions(connect_timeout_s=2, stall_timeout_s=1.5, document_timeout_s=3, give_up_after_s=2)
OTHER = "other"

in_trouble = pytest.mark.parametrize("fault", TROUBLE.values(), ids=TROUBLE.keys())


def add_two_lists(tree: SignedTree, version: str) -> tuple[str, str]:
    """List an item in each of two lists; return their paths."""
    first = tree.add_item(PRODUCT, version, "squashfs")
    second = tree.add_item(OTHER, version, "squashfs", content_id="second")
    tree.publish()
    return first.path, second.path


async def problems(proxy: RunningProxy) -> list[str]:
    """Return what is told to be wrong."""
    async with proxy.get("/-/stats") as response:
        return [problem["text"] for problem in (await response.json())["problems"]]


@in_trouble
async def test_the_first_generation_does_without_a_list_in_trouble(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin, clock: Clock, fault: Fault
) -> None:
    """Who asks for that list is told why; it is taken in soon after it can be had."""
    good, lost = add_two_lists(tree, "20250701")
    trouble = origin.fault(SECOND_LIST, fault)
    config = make_config(tmp_path / "data", mirror, upstream=IMPATIENT)
    async with run_proxy(config, clock) as proxy:
        assert await bodies(proxy, INDEX, LIST, good) == on_disk(tree, INDEX, LIST, good)
        replies = [await proxy.read(SECOND_LIST), await proxy.read(SECOND_LIST.replace(".sjson", ".json"))]
        said = await stats(proxy)
        assert {reply.status for reply in replies} <= {502, 503}
        assert [reply.body.decode().strip() for reply in replies] == [said["refused"][SECOND_LIST]] * 2
        assert origin.url in said["refused"][SECOND_LIST]
        assert said["failures"] == 0
        assert SECOND_LIST in " ".join(await problems(proxy))

        trouble.remove()
        clock.advance(16)
        await proxy.read(INDEX)
        await proxy.documents.checks.revalidate()
        assert await bodies(proxy, SECOND_LIST, lost) == on_disk(tree, SECOND_LIST, lost)
        assert (await stats(proxy))["refused"] == {}


async def test_a_list_that_only_drips_in_keeps_no_client_from_the_others(
    tmp_path: Path,
    mirror: Mirror,
    tree: SignedTree,
    origin: Origin,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The next check has all the time that it needs, for nobody waits for that."""
    monkeypatch.setattr(stragglers, "STRAGGLER_LIMIT_S", 0.5)
    good, lost = add_two_lists(tree, "20250701")
    dripping = origin.fault(SECOND_LIST, Fault(rate_bytes_s=200))
    options = UpstreamOptions(stall_timeout_s=20, document_timeout_s=30)
    config = make_config(tmp_path / "data", mirror, upstream=options)
    async with run_proxy(config, clock) as proxy:
        assert await bodies(proxy, INDEX, LIST, good) == on_disk(tree, INDEX, LIST, good)
        reply = await proxy.read(SECOND_LIST)
        assert (reply.status, b"takes longer than 0.5 s" in reply.body) == (503, True)
        assert dripping.hits == 1

        await proxy.documents.checks.revalidate()

        assert dripping.hits == 2
        assert await bodies(proxy, SECOND_LIST, lost) == on_disk(tree, SECOND_LIST, lost)


async def test_where_all_lists_are_slow_they_are_waited_for(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stragglers, "STRAGGLER_LIMIT_S", 0.1)
    add_two_lists(tree, "20250701")
    origin.fault("streams/v1/*com*", Fault(latency_s=0.5))
    origin.fault(SECOND_LIST, Fault(latency_s=0.5))

    [first] = await bodies(proxy, INDEX)

    assert [first] == on_disk(tree, INDEX)
    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, LIST, SECOND_LIST) == on_disk(tree, LIST, SECOND_LIST)


@in_trouble
async def test_a_list_that_gets_into_trouble_holds_a_new_index_back_for_a_while(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin, clock: Clock, fault: Fault
) -> None:
    """Then the index is taken without it, and what it named stays served for a day."""
    old_good, old_lost = add_two_lists(tree, "20250701")
    config = make_config(tmp_path / "data", mirror, upstream=IMPATIENT)
    async with run_proxy(config, clock) as proxy:
        old = await bodies(proxy, INDEX, LIST, SECOND_LIST, old_lost)
        new_good, new_lost = add_two_lists(tree, "20250722")
        trouble = origin.fault(SECOND_LIST, fault)

        await proxy.documents.checks.revalidate()
        clock.advance(6 * HOUR_S - 1)
        await proxy.documents.checks.revalidate()
        assert await bodies(proxy, INDEX, LIST, SECOND_LIST, old_lost) == old
        assert (await proxy.read(new_good)).status == 404
        said = await stats(proxy)
        assert (said["failures"], said["held_back_since"] is None) == (2, False)
        assert SECOND_LIST in said["last_problem"]

        clock.advance(1)
        await proxy.documents.checks.revalidate()
        assert await bodies(proxy, INDEX, LIST, new_good) == on_disk(tree, INDEX, LIST, new_good)
        assert await bodies(proxy, SECOND_LIST, old_lost, old_good) == [
            old[2],
            *on_disk(tree, old_lost, old_good),
        ]
        said = await stats(proxy)
        assert (said["failures"], said["held_back_since"], [*said["refused"]]) == (0, None, [SECOND_LIST])

        clock.advance(24 * HOUR_S)
        await proxy.documents.checks.revalidate()
        assert (await proxy.read(SECOND_LIST)).status in {502, 503}

        trouble.remove()
        await proxy.documents.checks.revalidate()
        assert await bodies(proxy, SECOND_LIST, new_lost) == on_disk(tree, SECOND_LIST, new_lost)


@in_trouble
async def test_a_second_origin_that_has_all_lists_is_preferred(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin, clock: Clock, fault: Fault
) -> None:
    _, lost = add_two_lists(tree, "20250701")
    origin.fault(SECOND_LIST, fault)
    async with Origin(tree.root) as whole:
        mirror = replace(mirror, origins=(origin.url, whole.url))
        config = make_config(tmp_path / "data", mirror, upstream=IMPATIENT)
        async with run_proxy(config, clock) as proxy:
            paths = (INDEX, LIST, SECOND_LIST, lost)
            assert await bodies(proxy, *paths) == on_disk(tree, *paths)

            _, newer = add_two_lists(tree, "20250722")
            await proxy.documents.checks.revalidate()
            paths = (INDEX, LIST, SECOND_LIST, newer)
            assert await bodies(proxy, *paths) == on_disk(tree, *paths)
            said = await stats(proxy)
            assert (said["failures"], said["refused"]) == (0, {})


@pytest.mark.parametrize("fault", [Fault(status=404), Fault(status=410), Fault(status=500)])
async def test_a_second_origin_is_asked_for_a_list_that_the_first_never_had(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin, fault: Fault
) -> None:
    _, lost = add_two_lists(tree, "20250701")
    origin.fault(SECOND_LIST, fault)
    async with Origin(tree.root) as whole:
        mirror = replace(mirror, origins=(origin.url, whole.url))
        async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
            assert await bodies(proxy, SECOND_LIST, lost) == on_disk(tree, SECOND_LIST, lost)


async def test_a_list_that_no_origin_has_is_looked_for_at_all_of_them_only_once(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    """Real indexes name lists that died years ago."""
    add_two_lists(tree, "20250701")
    (tree.root / SECOND_LIST).unlink()
    async with Origin(tree.root) as other:
        mirror = replace(mirror, origins=(origin.url, other.url))
        async with run_proxy(make_config(tmp_path / "data", mirror), clock) as proxy:
            await bodies(proxy, INDEX)
            for _ in range(3):
                clock.advance(STALE_S)
                await proxy.documents.checks.revalidate()

        assert (origin.count(SECOND_LIST), other.count(SECOND_LIST)) == (4, 1)


async def test_an_older_origin_that_has_all_lists_delays_a_newer_one_that_lacks_some_for_a_while_only(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin, clock: Clock
) -> None:
    add_two_lists(tree, "20250701")
    old_tree = SignedTree(tmp_path / "old", tree.key)
    for path in (INDEX, LIST, SECOND_LIST):
        old_tree.write(path, (tree.root / path).read_bytes())
    add_two_lists(tree, "20250722")
    origin.fault(SECOND_LIST, Fault(status=503))
    async with Origin(old_tree.root) as older:
        mirror = replace(mirror, origins=(origin.url, older.url))
        async with run_proxy(make_config(tmp_path / "data", mirror), clock) as proxy:
            paths = (INDEX, LIST, SECOND_LIST)
            assert await bodies(proxy, *paths) == on_disk(old_tree, *paths)
            clock.advance(6 * HOUR_S - 1)
            await proxy.documents.checks.revalidate()
            assert await bodies(proxy, *paths) == on_disk(old_tree, *paths)
            assert "holds a newer index back, for it lacks lists" in await problems(proxy)

            clock.advance(1)
            await proxy.documents.checks.revalidate()

            assert await bodies(proxy, INDEX, LIST) == on_disk(tree, INDEX, LIST)


@pytest.mark.parametrize("fault", [Fault(status=status) for status in (403, 404, 503)] + [Fault(refuse=True)])
async def test_an_origin_all_of_whose_lists_fail_is_down_and_what_is_served_stays(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin, clock: Clock, fault: Fault
) -> None:
    paths = (INDEX, LIST, SECOND_LIST, *add_two_lists(tree, "20250701"))
    async with run_proxy(make_config(tmp_path / "data", mirror), clock) as proxy:
        old = await bodies(proxy, *paths)
        add_two_lists(tree, "20250722")
        for path in (LIST, SECOND_LIST):
            origin.fault(path, fault)

        for _ in range(2):
            await proxy.documents.checks.revalidate()
            clock.advance(5 * HOUR_S)
            assert await bodies(proxy, *paths) == old

        assert (await stats(proxy))["failures"] >= 2


async def test_a_first_origin_all_of_whose_lists_fail_leaves_it_to_the_second(
    tmp_path: Path, mirror: Mirror, tree: SignedTree, origin: Origin
) -> None:
    paths = (INDEX, LIST, SECOND_LIST, *add_two_lists(tree, "20250701"))
    for path in (LIST, SECOND_LIST):
        origin.fault(path, Fault(status=503))
    async with Origin(tree.root) as second:
        mirror = replace(mirror, origins=(origin.url, second.url))
        async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
            assert await bodies(proxy, *paths) == on_disk(tree, *paths)


@pytest.mark.parametrize("fault", [Fault(status=503), Fault(corrupt_at=300)])
async def test_an_index_that_stays_the_same_is_no_reason_to_forget_a_list(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, clock: Clock, fault: Fault
) -> None:
    """The origin does not take it back; it only fails to deliver it."""
    paths = (INDEX, LIST, SECOND_LIST, *add_two_lists(tree, "20250701"))
    old = await bodies(proxy, *paths)
    origin.fault(SECOND_LIST, replace(fault, no_etag=True))

    for _ in range(10):
        clock.advance(6 * HOUR_S)
        await proxy.documents.checks.revalidate()

    assert await bodies(proxy, *paths) == old
    assert SECOND_LIST in (await stats(proxy))["last_problem"]


async def test_a_list_left_out_for_a_while_does_not_come_back_older(
    proxy: RunningProxy, tree: SignedTree, clock: Clock
) -> None:
    """Whoever can hide it for as long as that could else show an old one after it."""
    add_two_lists(tree, "20250601")
    [older] = on_disk(tree, SECOND_LIST)
    add_two_lists(tree, "20250701")
    await proxy.read(INDEX)
    add_two_lists(tree, "20250722")
    [right] = on_disk(tree, SECOND_LIST)
    (tree.root / SECOND_LIST).unlink()
    await proxy.documents.checks.revalidate()
    clock.advance(6 * HOUR_S)
    await proxy.documents.checks.revalidate()
    assert (await stats(proxy))["absent"] == [SECOND_LIST]

    tree.write(SECOND_LIST, older)
    for _ in range(3):
        clock.advance(25 * HOUR_S)
        await proxy.documents.checks.revalidate()
        assert (await proxy.read(SECOND_LIST)).status in {404, 502}
    assert "older than the one already accepted" in (await stats(proxy))["last_refusal"]

    tree.write(SECOND_LIST, right)
    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, SECOND_LIST) == [right]


async def test_an_older_list_is_refused_and_keeps_the_others_back_for_a_while_only(
    proxy: RunningProxy, tree: SignedTree, clock: Clock
) -> None:
    add_two_lists(tree, "20250601")
    [older] = on_disk(tree, SECOND_LIST)
    add_two_lists(tree, "20250701")
    old = await bodies(proxy, INDEX, LIST, SECOND_LIST)
    new, _ = add_two_lists(tree, "20250722")
    tree.write(SECOND_LIST, older)

    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, INDEX, LIST, SECOND_LIST) == old
    said = await stats(proxy)
    assert said["refusals"] == 1
    assert said["last_refusal"].startswith(f"{SECOND_LIST} is older than the one already accepted")

    clock.advance(6 * HOUR_S)
    await proxy.documents.checks.revalidate()
    assert await bodies(proxy, INDEX, LIST, new) == on_disk(tree, INDEX, LIST, new)
    assert [*(await stats(proxy))["refused"]] == [SECOND_LIST]


@pytest.mark.parametrize(
    ("fault", "status"), [(Fault(status=500), 502), (Fault(refuse=True), 503), (Fault(status=403), 404)]
)
async def test_a_flavour_of_one_list_in_trouble_costs_only_itself(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, fault: Fault, status: int
) -> None:
    add_two_lists(tree, "20250701")
    plain = f"streams/v1/{MAAS_CONTENT_ID}.json"
    other = SECOND_LIST.replace(".sjson", ".json")
    origin.fault(plain, fault)

    statuses = [(await proxy.read(path)).status for path in (plain, other, "streams/v1/index.json", LIST)]

    assert statuses == [status, 200, 200, 200]


@pytest.mark.parametrize("fault", [Fault(status=500), Fault(corrupt_at=300), Fault(refuse=True)])
async def test_who_refreshes_or_wants_proof_is_told_of_a_list_in_trouble(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, fault: Fault
) -> None:
    """Nobody can know whether what a rule wants is in it."""
    add_two_lists(tree, "20250701")
    await proxy.documents.checks.revalidate()
    assert await proxy.cache.refresh("test") is None
    tree.add_item("third", "1", "squashfs", content_id="third")
    tree.publish()
    trouble = origin.fault("streams/v1/third.sjson", fault)
    proxy.clock.advance(6 * HOUR_S)
    await proxy.documents.checks.revalidate()
    proxy.clock.advance(6 * HOUR_S)

    refreshed = await proxy.cache.refresh("test")
    inspection = await inspect_documents(proxy.cache, "test", deep=False)

    assert refreshed is not None
    assert origin.url in refreshed
    assert [flaw.path for flaw in inspection.flaws] == ["streams/v1/third.sjson"]
    trouble.remove()
    assert await proxy.cache.refresh("test") is None


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_list_that_the_origin_does_not_have_fails_nobodys_proof(
    proxy: RunningProxy, tree: SignedTree, origin: Origin, status: int
) -> None:
    """Real indexes name lists that died years ago."""
    add_two_lists(tree, "20250701")
    origin.fault(SECOND_LIST, Fault(status=status))

    assert await proxy.cache.refresh("test") is None
    assert (await inspect_documents(proxy.cache, "test", deep=False)).flaws == ()
