"""The checkout, its test files, and copies of it in which changes are made."""

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("tests", "bench", "packaging")
"""Folders that tests import from, beside the root."""
_NO_TESTS_OF_CODE = "tests/unit/project"


def digests_of_tests(names: Sequence[str]) -> dict[str, str]:
    """Return the digest of each test file among these files and folders."""
    paths = [path for name in names for path in sorted((ROOT / name).rglob("test_*.py"))]
    paths += [ROOT / name for name in names if (ROOT / name).is_file()]
    files = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in paths}
    return {
        name: hashlib.sha256(data).hexdigest()
        for name, data in files.items()
        if not name.startswith(_NO_TESTS_OF_CODE)
    }


def copied() -> Path:
    """Return a copy of the tree as it stands, under a path that is short enough for sockets."""
    tree = Path(tempfile.mkdtemp(prefix="mu-tree-"))
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, tree / name, follow_symlinks=False)
    return tree
