"""When the files of a tree were made, as the tree says it: by the dates that the documents state. Pure."""

from collections.abc import Mapping

_FLAVOURS = (".json.gpg", ".sjson", ".json")
_STATING = (".sjson", ".json")


def document_dates(
    updated: Mapping[str, float | None], index_path: str, accepted_at: float
) -> dict[str, int]:
    """Return the mtime of each document, whole Unix seconds; `updated` has the dates that they state."""
    found = {}
    index_date = updated.get(index_path)
    for path, own in updated.items():
        date = own
        if date is None:
            stem = _stem(path)
            date = next((one for end in _STATING if (one := updated.get(stem + end)) is not None), index_date)
        found[path] = _whole(date, accepted_at)
    return found


def item_date(index_updated: float | None, accepted_at: float) -> int:
    """Return the mtime of items that are not linked, whole Unix seconds."""
    return _whole(index_updated, accepted_at)


def _whole(date: float | None, accepted_at: float) -> int:
    return int(max(0.0, accepted_at if date is None else min(date, accepted_at)))


def _stem(path: str) -> str:
    return next((path.removesuffix(end) for end in _FLAVOURS if path.endswith(end)), path)
