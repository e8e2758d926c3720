"""What people read of an import of a tree."""

from dataclasses import replace

import pytest

from proxy.bundles.contents import Contents, File
from proxy.digest import Digest
from proxy.jobs.importing.outcomes import Outcome, State
from proxy.jobs.trees.report import TreeImportReport
from proxy.jobs.trees.telling import lines, problem_lines
from proxy.simplestreams.model import Item
from proxy.system.same_bytes import Way
from proxy.trees.leftovers import Kind

DIGEST = Digest("0" * 64)
INDEX = File(path="streams/v1/index.sjson", sha256=DIGEST, size=1)
TREE = "maas of 2023-11-14 22:13 UTC (tree /srv/a)"
BUNDLE = "maas generation 7 of 2023-11-14 22:13 UTC (usb)"


def outcome(state: State, generation: int = 0, *, why: str = "", is_new: bool = False) -> Outcome:
    contents = Contents(
        mirror="maas",
        generation=generation,
        index_path=INDEX.path,
        updated=1_700_000_000.0,
        accepted_at=1_700_000_000.0,
        written_by="a test",
        selection="all",
        documents=(INDEX,),
        items=(),
    )
    bundle = "usb" if generation else "tree /srv/a"
    return Outcome(
        mirror="maas", bundle=bundle, contents=contents, digest=DIGEST, state=state, why=why, is_new=is_new
    )


@pytest.mark.parametrize(
    ("of", "told"),
    [
        (outcome(State.SERVED, is_new=True), f"{TREE} is served now"),
        (outcome(State.SERVED), f"{TREE} is served"),
        (outcome(State.WAITING), f"{TREE} waits until all of it is here (--activate serves it now)"),
        (
            outcome(State.REPLACED, why="something newer is served"),
            f"{TREE} waits no longer: something newer is served",
        ),
        (
            replace(outcome(State.SERVED, 7, is_new=True), waited_since=0.0),
            f"{BUNDLE}, which has waited since 1970-01-01 00:00 UTC, is served now",
        ),
    ],
)
def test_each_generation_has_a_line(of: Outcome, told: str) -> None:
    report = TreeImportReport()
    report.generation.outcomes.append(of)
    assert next(iter(lines(report))) == told


def test_files_are_counted_by_what_became_of_them() -> None:
    report = TreeImportReport(ways={Way.LINKED: 2, Way.COPIED: 1}, bytes=2048, held_files=1)
    for number in range(7):
        report.leftovers.add(Kind.UNLISTED, f"{number}\x1b")
    report.leftovers.add(Kind.UNREADABLE, "a", "it is closed")
    report.leftovers.add(Kind.UNREADABLE, "b")
    report.missing.append(Item("c", DIGEST, 10))
    report.generation.outcomes.append(outcome(State.WAITING))
    report.generation.outcomes[0].missing = (File(path="d", sha256=DIGEST, size=6),)
    _, taken, left = lines(report)
    assert taken == (
        "took 3 files (2.0 KiB): 2 files linked, and read-only from now on, 1 file copied; "
        "1 file was here already"
    )
    assert left == r"  7 entries: named by no list: 0\x1b, 1\x1b, 2\x1b, 3\x1b, 4\x1b and 2 more"
    assert list(problem_lines(report)) == [
        "2 files: unreadable: a (it is closed), b",
        "MISSING c (10 B)",
        "MISSING d (6 B)",
        "not complete: 2 files are missing (16 B)",
    ]


@pytest.mark.parametrize(("is_refused", "verdict"), [(True, "REFUSED"), (False, "not taken")])
def test_lists_that_do_not_count_are_told_with_the_reason(*, is_refused: bool, verdict: str) -> None:
    report = TreeImportReport(only_blobs="its lists are not signed", is_refused=is_refused)
    (line,) = problem_lines(report)
    assert line.startswith(f"{verdict} the tree's lists: its lists are not signed; of its files only those")
