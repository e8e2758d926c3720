"""Errors that nobody foresaw are the origin's whose reply was read, unless a disk failed."""

import pytest

from proxy.documents.unforeseen import UnforeseenError, blamed_on, described
from proxy.simplestreams.parse import FormatError
from proxy.sources.errors import OriginMisbehaved
from proxy.store.files import StoreFault

ORIGIN = "http://a.example/"


@pytest.mark.parametrize(
    "error", [IndexError("string index out of range"), RecursionError(), OverflowError("too large")]
)
def test_a_crash_is_told_as_the_origins_with_its_place(error: Exception) -> None:
    with (
        pytest.raises(OriginMisbehaved, match=f"{type(error).__name__}.*test_unforeseen.py line") as caught,
        blamed_on(ORIGIN),
    ):
        raise error
    assert caught.value.origin == ORIGIN


def test_the_disks_errors_are_not_the_origins() -> None:
    with pytest.raises(StoreFault, match="the disk failed"), blamed_on(ORIGIN):
        raise OSError(5, "Input/output error")


def test_foreseen_errors_pass() -> None:
    with pytest.raises(FormatError), blamed_on(ORIGIN):
        raise FormatError("it is not JSON")


def test_a_surprise_asks_to_be_reported() -> None:
    assert str(UnforeseenError(KeyError("name"))) == "an unforeseen error, please report it: KeyError: 'name'"
    assert len(described(ValueError("x" * 5000))) < 300


def test_only_the_innermost_place_is_told() -> None:
    def inner() -> None:
        raise ValueError("wrong")

    def outer() -> None:
        inner()

    with pytest.raises(ValueError, match="wrong") as caught:
        outer()
    assert described(caught.value).startswith("ValueError: wrong in test_unforeseen.py line ")
    assert described(caught.value).count(" line ") == 1


def test_an_error_that_was_never_raised_has_no_place() -> None:
    assert described(ValueError("wrong")) == "ValueError: wrong"
