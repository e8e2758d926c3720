"""Whatever goes wrong in an exchange with an origin: nothing wrong is kept or served, and it passes."""

from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import pytest
from support.fault_matrix import OF_DOCUMENTS, OF_ITEMS, OF_RANGES, PHASES, Seen, run_phase, table
from support.keys import SigningKey

T = TypeVar("T")

SOON_S = 47.0
"""Of the proxy's clock: two retries, for a slow machine may miss the first."""

UNVERIFIED = {"Content-Length too short", "one byte wrong", "login page with 200"}
ABSENT = {"404", "410"}
TRANSIENT_STATUS = {"204", "206 unasked", "403", "416", "429, Retry-After", "500", "503, Retry-After"}
TRANSIENT_STATUS |= {"511, captive portal"}
MISBEHAVING = {"redirects in a circle", "redirect to a private address", "says compressed, is not"}
RESUMABLE = {
    "reset within the body",
    "closed within the body",
    "closed within a chunked body",
    "silent within the body",
}


def cells(cases: dict[str, str], default: str, names: Iterable[str]) -> dict[str, str]:
    return {name: cases.get(name, default) for name in names}


def each(names: set[str], word: T) -> dict[str, T]:
    return dict.fromkeys(names, word)


# What the client sees, and what is told of it: "error" a failed request is counted, "wrong" a wrong copy,
# "problem" the dashboard names the mirror or origin.
EXPECTED: dict[str, dict[str, str]] = {
    "index, first": cells(
        {"compressed unasked": "right", **each(UNVERIFIED | ABSENT, "503: problem")},
        "503: error problem",
        OF_DOCUMENTS,
    ),
    "index, known": cells(
        {"compressed unasked": "right", **each(UNVERIFIED | ABSENT, "stale: problem")},
        "stale: error problem",
        OF_DOCUMENTS,
    ),
    "list, first": cells(
        {
            "compressed unasked": "right",
            **each(UNVERIFIED, "502: problem"),
            **each(ABSENT, "404"),
            "403": "502: error problem",
        },
        "503: error problem",
        OF_DOCUMENTS,
    ),
    "list, known": cells(
        {"compressed unasked": "right", **each(UNVERIFIED | ABSENT, "stale: problem")},
        "stale: error problem",
        OF_DOCUMENTS,
    ),
    "signature, first": cells(
        {
            "compressed unasked": "right",
            **each(UNVERIFIED, "502: problem"),
            **each(ABSENT, "404"),
            **each(TRANSIENT_STATUS | MISBEHAVING, "502: error"),
            "403": "404: error",
        },
        "503: error problem",
        OF_DOCUMENTS,
    ),
    "signature, known": cells(
        {"compressed unasked": "right", **each(UNVERIFIED | ABSENT, "stale: problem")},
        "stale: error problem",
        OF_DOCUMENTS,
    ),
    "item, cold": cells(
        {
            "slow drip": "right",
            "says compressed, is not": "right",
            **each(RESUMABLE, "right: error"),
            **each(UNVERIFIED, "cut: problem wrong"),
            "Content-Length too long": "cut: problem wrong",
            "compressed unasked": "cut: problem wrong",
            **each(ABSENT, "404"),
        },
        "cut: error",
        OF_ITEMS,
    ),
    "item, resumed": cells(
        {
            **each(RESUMABLE, "right: error"),
            "slow drip": "right: error",
            "says compressed, is not": "right: error",
            "Content-Length too long": "right: error",
            "one byte wrong": "cut: error problem wrong",
            "200 for a Range": "right: error",
            "Range from another start": "right: error",
            "Range of another total": "right: error",
            "Range that starts too late": "right: error",
            "416 for any Range": "right: error",
        },
        "cut: error",
        OF_ITEMS | OF_RANGES,
    ),
}
LATER = {
    "signature, first": each(ABSENT, 302.0),
    "item, cold": each(ABSENT, 62.0),
    "item, resumed": each(ABSENT, 62.0),
}


def agrees(seen: Seen, expected: str) -> bool:
    """Whether a cell is as expected; a slow machine may have an error more to tell of."""
    client, _, told = expected.partition(": ")
    return seen.client == client and set(told.split()) <= seen.told <= {*told.split(), "error"}


@pytest.mark.parametrize("phase", PHASES)
async def test_what_clients_see_of_each_fault_and_how_soon_it_is_over(
    phase: str, tmp_path: Path, key: SigningKey
) -> None:
    """Each cell audits what is stored, during the fault and after it."""
    expected = EXPECTED[phase]

    found = await run_phase(phase, tmp_path, key)

    assert found.keys() == expected.keys()
    differing = {name: (str(seen), expected[name]) for name, seen in found.items()}
    assert {name: both for name, both in differing.items() if not agrees(found[name], expected[name])} == {}
    late = LATER.get(phase, {})
    assert {
        name: seen.right_after_s
        for name, seen in found.items()
        if seen.right_after_s is None or seen.right_after_s > late.get(name, SOON_S)
    } == {}


def test_the_table_has_a_row_for_each_fault_and_a_column_for_each_phase() -> None:
    found = {
        phase: {name: Seen(word.partition(":")[0]) for name, word in cells.items()}
        for phase, cells in EXPECTED.items()
    }
    head, line, *rows = table(found).splitlines()

    assert head == "| fault | " + " | ".join(PHASES) + " |"
    assert line == "| --- " * (1 + len(PHASES)) + "|"
    assert len(rows) == len(OF_ITEMS | OF_RANGES)
    assert "| 416 for any Range |  |  |  |  |  |  |  | right |" in rows
