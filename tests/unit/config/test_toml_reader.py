"""The reader of TOML, which knows any dataclass."""

from dataclasses import dataclass, field

from proxy.config.toml_reader import Fault, Faults, read, values


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    wait_s: float
    size_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Whole:
    count: int
    parts: tuple[_Part, ...] = ()
    first: _Part = field(default_factory=lambda: _Part(wait_s=1.0, size_bytes=None))


def test_the_reader_needs_nothing_but_a_dataclass() -> None:
    """Fields without defaults, None and nested tables work for any type."""
    found = Faults()
    whole = read(_Whole, {"count": 2, "part": [{"wait": "1m", "size": "unlimited"}]}, found)
    assert found.found() == ()
    assert whole == _Whole(count=2, parts=(_Part(wait_s=60.0, size_bytes=None),))
    assert dict(values(whole)) == {
        "count": 2,
        "part[0].wait": 60.0,
        "part[0].size": None,
        "first.wait": 1.0,
        "first.size": None,
    }


def test_only_the_first_fault_of_a_key_counts() -> None:
    """What follows from a fault is not reported beside it."""
    found = Faults()
    for key in ("part", "part", "part[0]", "part[0].wait", "parts", "first.wait", "first"):
        found.add(key, "wrong")
    assert found.found() == tuple(Fault(key, "wrong") for key in ("part", "parts", "first.wait", "first"))
