"""Records of every kind, in any form, through the running proxy: all goes on, and nothing is deleted."""

import importlib
import json
import logging
import pkgutil
import re
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from support.rules import runner_of
from support.running import Clock, RunningProxy
from support.tampering import tamper
from support.tree import SignedTree, TreeItem

import proxy as program
from proxy.digest import Digest
from proxy.jobs.readiness import inspect_documents
from proxy.jobs.rules import Rule
from proxy.jobs.scrub import Scrubber, ScrubPolicy
from proxy.jobs.upkeep import Upkeep
from proxy.jobs.watching import Watcher
from proxy.runtime import open_rulebook
from proxy.store.limits import StoreLimits
from proxy.store.records import Kind

INDEX = "streams/v1/index.sjson"
MIRROR = "test"
ORIGIN = "http://127.0.0.1:9/"
RULE = Rule(name="kernels", mirror=MIRROR, filters=("ftype=kernel",), schedule="0 3 * * *")


class Names(NamedTuple):
    """What records are about, in the tree of these tests."""

    pinned: TreeItem
    held: TreeItem
    asked: TreeItem


def of_item(names: Names) -> str:
    return f"{names.asked.digest}/{names.asked.size}"


class Sample(NamedTuple):
    """A record of one kind as it should be."""

    name: Callable[[Names], str]
    value: Any
    """None for one that the proxy has written itself by then."""
    is_read: bool = True
    """Whether what is done here asks for more than whether it is there."""
    no_wish: str = ""
    """What says readably that nothing is to be kept."""


GENERATION = {
    "number": 1, "keyring": "x", "accepted_at": 1.0, "checked_at": 1.0, "index_path": INDEX, "documents": {},
    "absent": [], "gaps": [],
}  # fmt: skip
SAMPLES: dict[str, Sample] = {
    "generation/": Sample(lambda _: MIRROR, None),
    "served/": Sample(lambda _: MIRROR, GENERATION),
    "retired/": Sample(lambda _: MIRROR, None),
    "siblings/": Sample(lambda _: MIRROR, [".json"]),
    "trouble/": Sample(lambda _: MIRROR, {"failures": 1, "since": 1.0, "last_problem": "x"}),
    "last check/": Sample(lambda _: MIRROR, {"is_local": True, "too_old": "x"}),
    "pin/": Sample(lambda names: names.pinned.digest, ["by hand"], no_wish="[]"),
    "held/": Sample(lambda names: names.held.digest, True),
    "reserved/": Sample(lambda names: names.asked.digest, 5000),
    "filling/": Sample(lambda names: names.asked.digest, ["x", 5000, 0, 1.0, [1, 1]]),
    "without room/": Sample(lambda names: names.asked.digest, ["x", 5000]),
    "bad/": Sample(of_item, {ORIGIN: ["x", 1, 1.0]}),
    "absent/": Sample(lambda names: names.asked.path, {ORIGIN: 1.0}),
    "trouble/ of an item": Sample(of_item, ["x", 1.0], is_read=False),
    "mixed/": Sample(of_item, [[ORIGIN, 0, 10, "0" * 64, ""]]),
    "liar/": Sample(lambda _: ORIGIN, {"path": "x", "problem": "x", "at": 1.0, "distrusted_until": 1.0}),
    "rule/": Sample(lambda _: RULE.name, {"last": None, "next_at": 1.0, "complete_at": None, "versions": []}),
    "asked/": Sample(lambda _: "other", True, is_read=False),
    "requested/": Sample(lambda _: "prefetch test: x", {"mirrors": ["test"], "asked_at": 1.0}),
    "scrub": Sample(lambda _: "", {"asked_at": 0.0, "completed_at": 1.0, "due_blobs": 0, "damaged": []}),
    "asked scrub": Sample(lambda _: "", 1.0),
    "sha512/": Sample(lambda _: "0" * 128, "0" * 64, is_read=False),
    "waiting/": Sample(
        lambda _: MIRROR,
        [{"contents": "0" * 64, "generation": 1, "accepted_at": 1.0, "pin": "x", "since": 1.0}],
    ),
    "rate/": Sample(lambda _: MIRROR, 1e6),
}
"""By the beginning of keys, and whose they are if two kinds begin alike. A new kind needs a row here."""


def kinds() -> Counter[str]:
    """Return where the keys of each kind begin that some module of the program declares, and of how many."""
    modules = [
        importlib.import_module(one.name)
        for one in pkgutil.walk_packages(program.__path__, "proxy.")
        if not one.name.endswith("__main__")
    ]
    found = {one for module in modules for one in vars(module).values() if isinstance(one, Kind)}
    return Counter(one.prefix for one in found)


def odd_forms(value: Any) -> Iterator[str]:
    """Yield texts of what another release, half a write or somebody's hands may have left of a record."""
    yield from ("null", "7", '"text"', "[]", "{}", '[["a", {}]]', '{"a": null}', "true", "NaN")
    yield from ("1" + "0" * 400, "[" * 2000, "", '{"version": 2}')
    whole = json.dumps(value)
    yield whole[: len(whole) // 2]
    if isinstance(value, dict):
        yield json.dumps({**value, "colour": "red"})
        yield json.dumps({**value, "version": 99})
        for name in value:
            yield json.dumps({key: one for key, one in value.items() if key != name})
            yield json.dumps({**value, name: [None]})
    if isinstance(value, list):
        yield json.dumps([*value, "more"])
        yield json.dumps(value[:-1])
        yield json.dumps([[None] for _ in value])
    yield whole + whole


def write(proxy: RunningProxy, key: str, text: str) -> None:
    """Put a text in the place of a record, behind the ledger's back."""
    directory = proxy.layout.ledger
    if not tamper(directory, "records", "UPDATE Cache SET value = ? WHERE key = ?", text, key):
        columns = "key, raw, store_time, expire_time, access_time, access_count, size, mode, value"
        tamper(
            directory,
            "records",
            f"INSERT INTO Cache ({columns}) VALUES (?, 1, 0, NULL, 0, 0, 0, 1, ?)",
            key,
            text,
        )


async def go_on(proxy: RunningProxy, clock: Clock, names: Names) -> None:
    """Do everything that reads records."""
    for path in ("/-/stats", "/-/metrics", "/-/", "/-/ready"):
        async with proxy.get(path) as reply:
            assert reply.status == 200, path
    storage = proxy.cache.storage
    upkeep = Upkeep(
        proxy.cache, StoreLimits(min_free_bytes=0), Scrubber(proxy.cache, ScrubPolicy(), clock), clock
    )
    await upkeep.begin()
    await upkeep.tidy()
    usages = await storage.threads.ledger(storage.blobs.usages)
    await storage.threads.slow(storage.eviction.evict, usages)  # All that may go.
    await Scrubber(proxy.cache, ScrubPolicy(), clock).run()
    assert await proxy.cache.refresh(MIRROR) is None
    book = await open_rulebook(proxy.config, proxy.cache)
    result = await runner_of(proxy, book, clock).run(RULE, Watcher())
    assert result.outcome == "complete", result.problem
    await storage.threads.ledger(book.take_asked)
    assert (await inspect_documents(proxy.cache, MIRROR, deep=False)).is_good
    await storage.threads.ledger(storage.pins.pin_all, "another", [Digest(names.pinned.digest)])
    await storage.threads.ledger(storage.pins.unpin, Digest(names.pinned.digest), "another")
    got = await proxy.read(names.asked.path)
    assert (got.status, got.is_complete) == (200, True)
    await proxy.fills_ended()


@pytest.fixture
async def names(tree: SignedTree, proxy: RunningProxy, clock: Clock) -> Names:
    """Fill the store: something pinned, something held, and two generations."""
    items = [tree.add_item("product", "1", name, size=5000) for name in ("pinned", "held", "asked", "kernel")]
    tree.publish()
    names = Names(*items[:3])
    storage = proxy.cache.storage
    await proxy.read(INDEX)
    for item in items:
        assert (await proxy.read(item.path)).is_complete
        await proxy.fills_ended()
    await storage.threads.ledger(storage.pins.pin_all, "by hand", [Digest(names.pinned.digest)])
    await storage.threads.ledger(storage.pins.pin_all, "once", [Digest(names.held.digest)])
    await storage.threads.ledger(storage.pins.repin, "once", (), 1e6)
    tree.add_item("product", "2", "kernel", size=6000)
    tree.publish()
    clock.advance(600)
    assert await proxy.cache.refresh(MIRROR) is None
    return names


def test_every_kind_of_record_has_a_row() -> None:
    assert kinds() == Counter(label.partition(" of an item")[0] for label in SAMPLES)


def test_only_kinds_write_records() -> None:
    """What is written past them has no schema, and no row here."""
    folder = Path(program.__path__[0])
    writing = re.compile(r"ledger\.write\b")
    written_in = {
        str(file.relative_to(folder)) for file in folder.rglob("*.py") if writing.search(file.read_text())
    }
    assert written_in == {"store/records.py"}


@pytest.mark.parametrize("label", SAMPLES)
async def test_whatever_a_record_says_all_goes_on(
    proxy: RunningProxy, clock: Clock, names: Names, caplog: pytest.LogCaptureFixture, label: str
) -> None:
    sample = SAMPLES[label]
    prefix = label.partition(" of an item")[0]
    key = prefix + sample.name(names)
    storage = proxy.cache.storage
    before = await storage.threads.ledger(storage.ledger.records, key)
    value = sample.value if sample.value is not None else before[key]
    documents = await storage.threads.slow(storage.eviction.documents_in_use)
    current = json.dumps(await storage.threads.ledger(storage.ledger.records, "generation/"))
    caplog.set_level(logging.WARNING)

    # What names many blobs comes first: what does not name them may let go of them.
    for text in sorted(odd_forms(value), key=lambda text: -sum(one in text for one in documents)):
        if text == sample.no_wish:
            continue
        write(proxy, key, text)
        try:
            await go_on(proxy, clock, names)
        except Exception as error:
            raise AssertionError(f"{key} = {text:.200}") from error
        # Which generations were retired only that record tells: what it still names stays.
        kept = [one for one in documents if prefix != "retired/" or one in current or one in text]
        for digest in (names.pinned.digest, names.held.digest, *kept):
            assert proxy.layout.path(digest).exists(), f"{digest} is gone: {key} = {text:.200}"
        clock.advance(1.0)

    told = [one.getMessage() for one in caplog.records if f"record.unreadable key={key} " in one.getMessage()]
    assert len(told) == sample.is_read, told


async def test_whatever_the_copy_of_a_generation_says_all_goes_on(
    proxy: RunningProxy, clock: Clock, names: Names, caplog: pytest.LogCaptureFixture
) -> None:
    storage = proxy.cache.storage
    value = (await storage.threads.ledger(storage.ledger.records, "generation/"))[f"generation/{MIRROR}"]
    documents = await storage.threads.slow(storage.eviction.documents_in_use)
    copy = storage.data_dir / "generations" / f"{MIRROR}.json"
    caplog.set_level(logging.WARNING)
    for text in odd_forms(value):
        copy.write_text(text)
        await go_on(proxy, clock, names)
        for digest in (names.pinned.digest, *documents):
            assert proxy.layout.path(digest).exists(), f"{digest} is gone: {text:.200}"
        clock.advance(1.0)
    assert json.loads(copy.read_text())["number"] >= value["number"]
