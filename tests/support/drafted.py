"""Documents and generations made of nothing but words, for tests of what is decided about them."""

from typing import Any

from proxy.digest import digest_of
from proxy.documents.generation import Document, Generation

INDEX = "streams/v1/index.sjson"


def a_document(path: str, content: str = "", **fields: Any) -> Document:
    """Return a document whose bytes are told apart by `content`; a list unless its name is an index's."""
    kind = "index:1.0" if "index" in path else "products:1.0"
    raw, text = digest_of(f"raw {path} {content}".encode()), digest_of(f"text {path} {content}".encode())
    return Document(**{"path": path, "format": kind, "digest": raw, "size_bytes": 7, "text": text, **fields})


def a_generation(*documents: Document, **fields: Any) -> Generation:
    """Return a generation of these documents, of which the first is its index."""
    said = {"number": 1, "keyring": "keys", "accepted_at": 100.0, "checked_at": 100.0}
    own = {"index_path": documents[0].path, "documents": {one.path: one for one in documents}}
    return Generation(**{**said, **own, **fields})
