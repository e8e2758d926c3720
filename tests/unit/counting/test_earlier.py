"""Counters of the first releases: read beside those of now, and left as they are."""

import struct
from hashlib import blake2b
from pathlib import Path

import pytest
from support.running import Clock

from proxy.counting.counters import Counters
from proxy.counting.tally import STEP_S, STEPS
from proxy.counting.totals import read_totals

ORIGIN = ("ok", "error", "bytes", "latency us", "latency count", "wrong")
STORE = ("evicted blobs", "evicted bytes", "checked blobs", "checked bytes", "damaged", "repaired")


def earlier_file(path: Path, names: tuple[str, ...], totals: list[int], rows: dict[int, list[int]]) -> bytes:
    """Write a file of counters as the first releases did."""
    identity = int.from_bytes(blake2b("\n".join(names).encode(), digest_size=8).digest())
    places = {number % STEPS: [number, *counts] for number, counts in rows.items()}
    words = [identity, *totals]
    for place in range(STEPS):
        words += places.get(place, [0] * (1 + len(names)))
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(struct.pack(f"={len(words)}Q", *words))
    return path.read_bytes()


def test_what_an_earlier_release_counted_is_added_and_left_as_it_is(tmp_path: Path, clock: Clock) -> None:
    step = int(clock()) // STEP_S
    file = tmp_path / "0" / "origin http:%2F%2Fa.test%2F"
    data = earlier_file(file, ORIGIN, [70, 1, 2, 3, 4, 5], {step: [7, 0, 0, 0, 0, 1], step - 1: [6] * 6})

    counters = Counters(tmp_path, clock)
    counters.origin("http://a.test/").answered(1.0, is_good=True)
    sums = read_totals(tmp_path).origins["http://a.test/"]
    counters.close()

    assert sums.total()["ok"] == 71
    assert sums.total()["wrong"] == 5
    assert sums.since(clock(), STEP_S)["ok"] == 8
    assert sums.since(clock(), 2 * STEP_S)["ok"] == 14
    assert file.read_bytes() == data


def test_a_process_of_an_earlier_release_that_still_counts_is_heard(tmp_path: Path, clock: Clock) -> None:
    """While workers are replaced, and after somebody has gone back and come again."""
    file = tmp_path / "0" / "store"
    earlier_file(file, STORE, [1, 0, 0, 0, 0, 0], {})
    counters = Counters(tmp_path, clock)
    counters.store.evicted(5)
    assert read_totals(tmp_path).store.total()["evicted blobs"] == 2
    earlier_file(file, STORE, [3, 0, 0, 0, 0, 0], {})
    assert read_totals(tmp_path).store.total()["evicted blobs"] == 4
    counters.close()


@pytest.mark.parametrize("name", ["store", "mirror m", "counts store", "counts mirror m", "counts", "odd x"])
@pytest.mark.parametrize("data", [b"", b"text", bytes(100_000), b"counters", b"counters" + bytes(8)])
def test_a_file_that_nobody_wrote_tells_nothing(tmp_path: Path, clock: Clock, name: str, data: bytes) -> None:
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / name).write_bytes(data)
    assert not any(read_totals(tmp_path).store.total().values())
    counters = Counters(tmp_path, clock)
    counters.store.evicted(5)
    counters.mirror("m").fetched(3)
    assert read_totals(tmp_path).store.total()["evicted bytes"] == 5
    assert read_totals(tmp_path).mirrors["m"].total()["fetched"] == 3
    counters.close()
