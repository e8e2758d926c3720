"""A data directory of commit 853a742: used in place, nothing lost, and written so that one can go back."""

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.last_release import LastRelease, form_of, unpack
from support.origin import Origin
from support.rules import runner_of
from support.running import Clock, RunningProxy, make_config, run_proxy

from proxy.counting.totals import read_totals
from proxy.digest import Digest
from proxy.documents.records import note_trouble, trouble_of
from proxy.documents.trouble import Trouble
from proxy.jobs.rules import Rule
from proxy.jobs.scrub import Scrubber, ScrubPolicy
from proxy.jobs.upkeep import Upkeep
from proxy.jobs.watching import Watcher
from proxy.runtime import open_rulebook
from proxy.store.limits import StoreLimits

INDEX = "streams/v1/index.sjson"
PARTIAL = "ubuntu/noble/20250101/squashfs"
DAY = 86400.0
ROOMY = StoreLimits(min_free_bytes=0, keep_unlisted_s=DAY)
FULL = replace(ROOMY, limit_bytes=20_000)
"""Whatever may go must."""


@pytest.fixture
def last(tmp_path: Path) -> LastRelease:
    return unpack(tmp_path)


@pytest.fixture
def clock(last: LastRelease) -> Clock:
    clock = Clock()
    clock.now = last.made_at + 60.0
    return clock


def upkeep_of(proxy: RunningProxy, clock: Clock, limits: StoreLimits = ROOMY) -> Upkeep:
    return Upkeep(proxy.cache, limits, Scrubber(proxy.cache, ScrubPolicy(), clock), clock)


async def ledger(proxy: RunningProxy, prefix: str) -> dict[str, Any]:
    storage = proxy.cache.storage
    return await storage.threads.ledger(storage.ledger.records, prefix)


def kept(last: LastRelease) -> set[str]:
    """Return the blobs that must stay whatever happens: pinned, held, or documents of generations."""
    records = last.told["records"]
    generations = [records["generation/one"], records["generation/two"]]
    generations += [one for name in ("one", "two") for one, _ in records[f"retired/{name}"]]
    documents = [document for generation in generations for document in generation["documents"].values()]
    pinned = {key.split("/")[1] for key in records if key.startswith(("pin/", "held/"))}
    return pinned | {document[kind] for document in documents for kind in ("digest", "text")}


def test_the_fixture_is_what_its_program_could_read(last: LastRelease) -> None:
    records = last.records()
    assert records == last.told["records"]
    for key, value in records.items():
        form = form_of(key)
        assert form is not None, key
        Draft202012Validator(form).validate(value)
    assert last.blobs().keys() == last.told["blobs"].keys()


async def test_everything_is_there_in_place(last: LastRelease, clock: Clock) -> None:
    told = last.told["records"]
    async with run_proxy(make_config(last.data, *last.mirrors()), clock) as proxy:
        await upkeep_of(proxy, clock).begin()

        storage = proxy.cache.storage
        usages = await storage.threads.ledger(storage.blobs.usages)
        assert {one.digest: one.size_bytes for one in usages} == last.blobs()
        pins = await storage.threads.ledger(storage.pins.names)
        assert {f"pin/{digest}": names for digest, names in pins.items()} == {
            key: names for key, names in told.items() if key.startswith("pin/")
        }
        for name in ("one", "two"):
            generation = await proxy.cache.recorded(name)
            assert generation is not None
            assert generation.number == told[f"generation/{name}"]["number"]
            assert generation.documents.keys() == told[f"generation/{name}"]["documents"].keys()
        assert proxy.cache.offline.is_on
        book = await open_rulebook(proxy.config, proxy.cache)
        page = await storage.threads.ledger(book.page, "newest")
        assert page.last is not None
        assert page.last.outcome == "complete"
        assert list(page.versions) == told["rule/newest"]["versions"]
    assert last.blobs().keys() == last.told["blobs"].keys()


async def test_what_was_counted_goes_on(last: LastRelease, clock: Clock) -> None:
    before = {
        file: file.read_bytes() for file in last.data.glob("stats/*/*") if file.name not in {"lock", "now"}
    }
    told = last.told["stats"]
    async with run_proxy(make_config(last.data, *last.mirrors()), clock) as proxy:
        for _ in range(3):
            assert (await proxy.read(f"/one/{INDEX}")).status == 200
        async with proxy.get("/-/stats") as reply:
            stats = await reply.json()
    for outcome, times in told["total"]["requests"].items():
        assert stats["total"]["requests"][outcome] == times + (3 if outcome == "hit" else 0), outcome
    totals = await asyncio.to_thread(read_totals, last.data / "stats")
    for name, origin in told["origins"].items():
        total = totals.origins[name].total()
        assert (total["ok"], total["bytes"]) == (origin["requests"]["ok"], origin["received_bytes"])
    assert {file: file.read_bytes() for file in before} == before


async def test_all_is_served_while_the_origins_are_gone(last: LastRelease, clock: Clock) -> None:
    async with run_proxy(make_config(last.data, *last.mirrors()), clock) as proxy:
        for name in ("one", "two"):
            for path, data in last.documents(name).items():
                reply = await proxy.read(f"/{name}/{path}")
                assert (reply.status, reply.body) == (200, data)
            for path, item in last.items(name).items():
                if item["sha256"] in last.told["blobs"]:
                    reply = await proxy.read(f"/{name}/{path}")
                    assert (reply.status, reply.body) == (200, last.blob(item["sha256"]))
        assert (await proxy.read(f"/gone/{INDEX}")).status == 503


async def test_a_client_that_read_the_list_before_gets_what_it_named(last: LastRelease, clock: Clock) -> None:
    """Retired generations are known: their documents are blobs that nothing takes away."""
    async with run_proxy(make_config(last.data, *last.mirrors()), clock) as proxy:
        upkeep = upkeep_of(proxy, clock)
        await upkeep.begin()
        assert kept(last) <= await proxy.cache.storage.threads.slow(proxy.cache.storage.eviction.protected)


async def test_what_had_arrived_is_gone_on_with(last: LastRelease, clock: Clock, tmp_path: Path) -> None:
    async with Origin(last.write_tree("one", tmp_path / "tree")) as origin:
        mirrors = last.mirrors(one=origin.url)
        async with run_proxy(make_config(last.data, *mirrors), clock) as proxy:
            proxy.cache.offline.turn(on=False)
            reply = await proxy.read(f"/one/{PARTIAL}")
            await proxy.fills_ended()
        assert reply.status == 200
        assert Digest(last.items("one")[PARTIAL]["sha256"]) in last.blobs()
        assert [one.headers.get("range") for one in origin.gets(PARTIAL)] == ["bytes=45000-"]


async def test_upkeep_and_eviction_take_nothing_that_is_kept(last: LastRelease, clock: Clock) -> None:
    async with run_proxy(make_config(last.data, *last.mirrors(), cache=FULL), clock) as proxy:
        upkeep = upkeep_of(proxy, clock, FULL)
        await upkeep.begin()
        await upkeep._make_headroom()
        await upkeep.tidy()
        await upkeep._scrubber.run()
        assert not list((last.data / "quarantine").iterdir())
        assert kept(last) <= last.blobs().keys()
        assert await ledger(proxy, "pin/") == {
            key: names for key, names in last.told["records"].items() if key.startswith("pin/")
        }


@pytest.fixture
def rule() -> Rule:
    return Rule(name="newest", mirror="two", filters=("ftype=kernel",), schedule="0 3 * * *")


async def used(last: LastRelease, clock: Clock, folder: Path, rule: Rule) -> None:
    """Do what writes records: checks that succeed and fail, fills good and bad, a rule, pins, a scrub."""
    trees = {name: last.write_tree(name, folder / name) for name in ("one", "two")}
    items = last.items("one")
    (trees["one"] / "ubuntu/noble/20250101/absent").unlink()
    wrong = trees["one"] / "ubuntu/noble/20250101/wrong"
    wrong.write_bytes(bytes(wrong.stat().st_size))
    async with Origin(trees["one"]) as one, Origin(trees["two"]) as two:
        mirrors = last.mirrors(one=one.url, two=two.url)
        async with run_proxy(make_config(last.data, *mirrors, cache=ROOMY), clock) as proxy:
            proxy.cache.offline.turn(on=False)
            await upkeep_of(proxy, clock).begin()
            clock.advance(600)
            for name in ("one", "two", "gone"):
                await proxy.cache.refresh(name)
            for path in items:
                await proxy.read(f"/one/{path}")
            await proxy.read("/two/streams/v1/index.json")
            await proxy.fills_ended()
            storage = proxy.cache.storage
            blob = Digest(items["ubuntu/noble/20250102/boot-kernel"]["sha256"])
            await storage.threads.ledger(storage.pins.pin_all, "by new", [blob])
            book = await open_rulebook(proxy.config, proxy.cache)
            await runner_of(proxy, book, clock).run(rule, Watcher())
            scrubber = Scrubber(proxy.cache, ScrubPolicy(), clock)
            await scrubber.ask()
            await scrubber.run()
            await upkeep_of(proxy, clock).tidy()


async def test_what_is_written_can_be_read_by_the_release_before(
    last: LastRelease, clock: Clock, tmp_path: Path, rule: Rule
) -> None:
    await used(last, clock, tmp_path, rule)

    records = last.records()
    read = [key for key in records if form_of(key) is not None]
    assert {key.split("/")[0] for key in read} >= {
        "generation", "retired", "siblings", "trouble", "pin", "held", "bad", "absent", "liar",
        "rule", "scrub", "asked scrub", "rate",
    }  # fmt: skip
    faults = [
        f"{key}: {fault.json_path} {fault.message:.200}"
        for key in read
        for fault in Draft202012Validator(form_of(key) or {}).iter_errors(records[key])
    ]
    for name in ("one", "two"):
        copy = json.loads((last.data / "generations" / f"{name}.json").read_bytes())
        faults += [
            fault.message for fault in Draft202012Validator(form_of("generation/") or {}).iter_errors(copy)
        ]
    assert not faults, "\n".join(faults)


async def test_after_that_nothing_is_lost_that_the_release_before_had(
    last: LastRelease, clock: Clock, tmp_path: Path, rule: Rule
) -> None:
    await used(last, clock, tmp_path, rule)

    told, now = last.told["records"], last.records()
    assert kept(last) <= last.blobs().keys()
    for key, before in told.items():
        if key.startswith("pin/"):
            assert set(before) <= set(now[key])
        if key.startswith("generation/"):
            assert now[key]["number"] >= before["number"]
            assert now[key]["documents"].keys() >= before["documents"].keys()
        if key.startswith("retired/"):
            assert [one["number"] for one, _ in now[key]] == [one["number"] for one, _ in before]


async def test_trouble_that_the_release_before_does_not_know_is_kept_apart(
    last: LastRelease, clock: Clock
) -> None:
    """It would refuse the record, and with it every check."""
    trouble = Trouble(failures=2, since=1.0, last_problem="x", is_local=True, too_old="an older list")
    async with run_proxy(make_config(last.data, *last.mirrors()), clock) as proxy:
        storage = proxy.cache.storage
        await storage.threads.ledger(note_trouble, storage.ledger, "gone", trouble)
        assert await storage.threads.ledger(trouble_of, storage.ledger, "gone") == trouble
        Draft202012Validator(form_of("trouble/") or {}).validate(last.records()["trouble/gone"])
