"""What is told of a tree that cannot be read."""

import errno
from pathlib import Path

from proxy.trees.errors import TreeFault


def test_a_folder_is_named_once_and_a_name_in_it_does_nothing_to_a_terminal() -> None:
    def told(name: str) -> str:
        return str(TreeFault.reading(Path("left"), OSError(errno.ENOTDIR, "Not a directory", name)))

    assert told("left") == "left: Not a directory"
    assert told("streams") == "streams in left: Not a directory"
    assert told("left/streams") == "left/streams: Not a directory"
    assert told("\x1b[2J\n") == "\\x1b[2J\\n in left: Not a directory"
