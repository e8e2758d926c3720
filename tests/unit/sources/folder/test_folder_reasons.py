"""What errors of the operating system say of a folder: in words, and whose fault it is."""

import errno

import pytest

from proxy.sources.folder.reasons import cause_of, explain, explain_folder


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.EACCES, "rights"),
        (errno.EPERM, "rights"),
        (errno.EMFILE, "machine"),
        (errno.ENFILE, "machine"),
        (errno.ENOMEM, "machine"),
        (errno.EIO, "folder"),
        (errno.ESTALE, "folder"),
        (None, "folder"),
    ],
)
def test_whose_fault_an_error_is(number: int | None, cause: str) -> None:
    error = OSError("something") if number is None else OSError(number, "something")
    assert cause_of(error) == cause


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EACCES, "permission denied: let the proxy's user"),
        (errno.EIO, "its disk fails"),
        (errno.EMFILE, "raise LimitNOFILE"),
        (errno.ENOTDIR, "Not a directory"),
    ],
)
def test_an_error_is_explained(number: int, words: str) -> None:
    assert words in explain(OSError(number, "something"))


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOENT, "is its disk mounted?"),
        (errno.ENOTDIR, "it is a file, no folder"),
        (errno.EIO, "its disk fails"),
    ],
)
def test_it_is_explained_why_a_folder_cannot_be_opened(number: int, words: str) -> None:
    assert words in explain_folder(OSError(number, "something"))
