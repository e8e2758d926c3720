"""What of a static tree may never be, whoever was killed while it was written: every file is hashed."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from proxy.digest import Digest

OURS = ".sstream-proxy"
_LASTING = {"tree.json", "lock"}


def files_of(root: Path) -> dict[str, Digest]:
    """Return the digest of each file of a tree, by path; what the exporter keeps for itself is left out."""
    return {path: _digest(root / path) for path in _names(root) if not path.startswith(f"{OURS}/")}


def is_document(path: str) -> bool:
    """Whether a path is one of those that change together."""
    return path.startswith("streams/")


def wrong_in_tree(
    found: Mapping[str, Digest], states: Sequence[Mapping[str, Digest]], known: Mapping[str, Digest]
) -> list[str]:
    """Return what is wrong with the files of a tree.

    It must be in one of the states, whole, which say what files there are at least; all else that it
    has must be known: items of earlier generations.
    """
    documents = {path: digest for path, digest in found.items() if is_document(path)}
    is_whole = any(
        documents == {path: digest for path, digest in one.items() if is_document(path)}
        and one.items() <= found.items()
        for one in states
    )
    wrong = [] if is_whole else [f"none of {len(states)} generations is whole: {sorted(documents.items())}"]
    items = {path: digest for path, digest in found.items() if path not in documents}
    return wrong + [f"{path} is {digest}" for path, digest in items.items() if known.get(path) != digest]


def left_in_tree(root: Path) -> list[str]:
    """Return what an export that came to its end has left of its own, and should not have."""
    return [
        f"{path} was left"
        for path in _names(root / OURS)
        if path not in _LASTING and not path.startswith("before/")
    ]


def _names(root: Path) -> Iterator[str]:
    return (str(one.relative_to(root)) for one in sorted(root.rglob("*")) if not one.is_dir())


def _digest(path: Path) -> Digest:
    with path.open("rb") as file:
        return Digest(hashlib.file_digest(file, "sha256").hexdigest())
