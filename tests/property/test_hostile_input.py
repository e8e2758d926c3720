"""Whatever bytes come, what `support.hostile` says holds: for the kept corpus, and for what is made from it.

A finding of `bench/fuzz.py` is mended, and its bytes are kept in `tests/corpus`.
"""

import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.garbled import garbled
from support.hostile import CHECKS

CORPUS = Path(__file__).parents[1] / "corpus"
KEPT = sorted(file for file in CORPUS.glob("*/*"))
CPU_EACH_S = 0.8


@pytest.mark.parametrize("file", KEPT, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_what_was_found_once_stays_mended(file: Path) -> None:
    CHECKS[file.parent.name](file.read_bytes())


def test_every_check_has_a_corpus() -> None:
    assert {file.parent.name for file in KEPT} == set(CHECKS)


@pytest.mark.parametrize("name", CHECKS)
def test_nothing_is_found_in_a_second(name: str) -> None:
    """The same inputs each time, as many as there is time for."""
    chance = Random(name)
    seeds = [file.read_bytes() for file in KEPT if file.parent.name == name]
    end = time.process_time() + CPU_EACH_S
    while time.process_time() < end:
        data = garbled(chance, seeds)
        try:
            CHECKS[name](data)
        except Exception as error:
            raise AssertionError(f"{name} stumbles over {data!r}") from error


@given(st.sampled_from(sorted(set(CHECKS) - {"ledger"})), st.binary(max_size=200) | st.text().map(str.encode))
def test_nothing_is_found_in_anything(name: str, data: bytes) -> None:
    CHECKS[name](data)
