"""The session `mutation`: what it changes, how it names a change, and what it leaves alone."""

import tomllib
from pathlib import Path

import pytest
from mutation.changes import changes_of
from mutation.crew import Order
from mutation.reach import Reach
from mutation.trial import Outcome

MODULE = '''
"""Words."""
import logging
log = logging.getLogger(__name__)

class Box:
    """More words."""

    def room(self, size: "int | None", *, most: int = 3) -> bool:
        """Say more."""
        assert size is not None
        if size < most and not self.full:
            log.info("box.room most=%d", most)
            return True
        raise ValueError(f"size {size} is too much")

    def __repr__(self) -> str:
        return "box" + "es"

async def fill(box):
    try:
        await box.put(1)
    except (OSError, KeyError):
        return None
'''
CHANGES = {
    ("Box.room", "3", "4"),
    ("Box.room", "size < most and not self.full", "(size < most)"),
    ("Box.room", "size < most and not self.full", "(not self.full)"),
    ("Box.room", "size < most", "(size <= most)"),
    ("Box.room", "size < most", "(size >= most)"),
    ("Box.room", "not self.full", "(self.full)"),
    ("Box.room", "True", "False"),
    ("Box.room", 'raise ValueError(f"size {size} is too much")', "pass"),
    ("fill", "await box.put(1)", "pass"),
    ("fill", "1", "2"),
    ("fill", "(OSError, KeyError)", "((KeyError,))"),
    ("fill", "(OSError, KeyError)", "((OSError,))"),
}


def test_what_a_slip_of_the_hand_could_change_is_changed_and_what_people_read_is_not() -> None:
    changes = changes_of("proxy/box.py", MODULE.encode())
    assert {(one.function, one.before, one.after) for one in changes} == CHANGES
    assert len(changes) == len(CHANGES)


def test_a_change_is_made_in_its_place() -> None:
    source = "def f(a):  # ½\n    return 'ä', a < 1\n".encode()
    texts = {one.apply(source).decode() for one in changes_of("m.py", source)}
    assert "def f(a):  # ½\n    return 'ä', (a <= 1)\n" in texts
    assert "def f(a):  # ½\n    return 'ä_', a < 1\n" in texts


def test_a_change_keeps_its_name_when_lines_move_and_no_two_share_one() -> None:
    source = b"def f(a):\n    return a + 1, a + 1\n"
    before = [one.key for one in changes_of("m.py", source)]
    assert [one.key for one in changes_of("m.py", b"import os\n\n\n" + source)] == before
    assert len(set(before)) == len(before) == 5


FILE = "tests/unit/test_m.py"


@pytest.fixture
def reach(tmp_path: Path) -> Reach:
    """Return what three tests have reached."""
    told = tmp_path / "told"
    told.mkdir()
    (told / "tests-1").write_text(
        '{"test": "tests/unit/test_m.py::slow", "seconds":9, "reached": ["proxy/m.py::f", "proxy/m.py::g"]}\n'
        '{"test": "tests/unit/test_m.py::quick", "seconds": 0.1, "reached": ["proxy/m.py::f"]}\n'
    )
    (told / "programs").write_text("tests/unit/test_m.py::quick\tproxy/m.py::C.run\nfailed\tproxy/m.py::f\n")
    reach = Reach(tmp_path / "reach.json")
    reach.take_in(told, {"tests/unit/test_m.py": "digest"})
    return Reach(tmp_path / "reach.json")


def test_tests_are_known_by_what_they_reach_themselves_or_in_programs_they_start(reach: Reach) -> None:
    slow, quick = "tests/unit/test_m.py::slow", "tests/unit/test_m.py::quick"
    assert reach.tests_of("proxy/m.py", "g") == {slow}
    assert reach.tests_of("proxy/m.py", "C") == {quick}
    assert reach.tests_of("proxy/m.py", "new") == reach.tests_of("proxy/m.py", "") == {slow, quick}
    assert reach.tests_of("proxy/other.py", "f") == set()
    assert reach.is_known("tests/unit/test_m.py", "digest")
    assert not reach.is_known("tests/unit/test_m.py", "changed")
    assert reach.is_known("tests/unit/test_m.py", None)
    reach.forget_removed()
    assert reach.tests_of("proxy/m.py", "f") == set()


def test_the_quickest_test_is_tried_first_until_another_has_noticed_something_near(reach: Reach) -> None:
    (change,) = changes_of("proxy/m.py", b"def f():\n    return 1\n")
    order = Order(reach, {FILE}, budget_s=100)
    assert [name[-4:] for name in order.tests_for(change)] == ["uick", "slow"]
    order.note(change, Outcome(verdict="caught", by="tests/unit/test_m.py::slow"))
    assert [name[-4:] for name in order.tests_for(change)] == ["slow", "uick"]
    assert [name[-4:] for name in Order(reach, {FILE}, budget_s=1).tests_for(change)] == ["uick"]
    dear_first = Order(reach, {FILE}, budget_s=5)
    for _ in range(1000):
        dear_first.note(change, Outcome(verdict="caught", by="tests/unit/test_m.py::slow"))
    assert [name[-4:] for name in dear_first.tests_for(change)] == ["uick"]
    assert Order(reach, set(), budget_s=100).tests_for(change) == {}


def test_tests_beside_a_module_are_tried_before_others_and_on_what_no_function_tells_of(
    tmp_path: Path,
) -> None:
    beside, named, other = "tests/unit/store/test_a.py", "tests/unit/test_m.py", "tests/unit/web/test_b.py"
    told = tmp_path / "told"
    told.mkdir()
    (told / "tests-1").write_text(
        f'{{"test": "{other}::one", "seconds": 1, "reached": ["proxy/store/m.py::f"]}}\n'
        f'{{"test": "{named}::one", "seconds": 2, "reached": ["proxy/store/m.py::f"]}}\n'
        f'{{"test": "{beside}::one", "seconds": 3, "reached": ["proxy/store/m.py::f"]}}\n'
        f'{{"test": "{beside}::two", "seconds": 4, "reached": []}}\n'
    )
    reach = Reach(tmp_path / "reach.json")
    reach.take_in(told, {})
    inside, outside = changes_of("proxy/store/m.py", b"MOST = 1\ndef f():\n    return g()\n")[::-1]
    order = Order(reach, {beside, named, other}, budget_s=100)
    assert set(list(order.tests_for(inside))[:2]) == {f"{beside}::one", f"{named}::one"}
    assert list(order.tests_for(inside))[2:] == [f"{other}::one"]
    assert f"{beside}::two" in order.tests_for(outside)


def test_each_change_that_is_called_harmless_has_a_reason_and_stands_there_once() -> None:
    harmless = tomllib.loads(Path("tests/mutation/harmless.toml").read_text())["harmless"]
    assert all(set(one) == {"change", "why"} and one["why"] for one in harmless)
    assert len({one["change"] for one in harmless}) == len(harmless)
