"""A data directory that the program of commit 853a742 left, and the records that it could read."""

import json
import sqlite3
import tarfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.mirror import Mirror
from support.tree import random_blocks

FIXTURE = Path(__file__).parents[1] / "fixtures" / "data_853a742"
_LATER_S = 10 * 365 * 86400.0


@dataclass(frozen=True, slots=True)
class LastRelease:
    """The directory, unpacked."""

    data: Path
    keyring: Path
    told: dict[str, Any]
    """What that program said of it."""

    @property
    def made_at(self) -> float:
        """In Unix seconds."""
        return float(self.told["made_at"])

    def mirrors(self, **origins: str) -> tuple[Mirror, ...]:
        """Return its mirrors, with other origins for some of them, as nobody listens at those of then."""
        return tuple(
            Mirror(
                name=name,
                mount=f"/{name}/",
                origins=(origins.get(name, "http://127.0.0.1:9/"),),
                keyring=str(self.keyring),
            )
            for name in ("one", "two", "gone")
        )

    def documents(self, mirror: str) -> dict[str, bytes]:
        """Return the documents of a mirror's generation by path."""
        documents = self.told["records"][f"generation/{mirror}"]["documents"]
        return {path: self.blob(document["digest"]) for path, document in documents.items()}

    def items(self, mirror: str) -> dict[str, dict[str, Any]]:
        """Return what its lists name, by path: fields of items."""
        found: dict[str, dict[str, Any]] = {}
        for path, data in self.documents(mirror).items():
            document = json.loads(data) if path.endswith(".json") else {}
            if document.get("format") == "products:1.0":
                for product in document["products"].values():
                    for version in product["versions"].values():
                        found |= {item["path"]: item for item in version["items"].values()}
        return found

    def blob(self, digest: str) -> bytes:
        """Return the bytes of a blob as they were."""
        return (self.data / "blobs" / "sha256" / digest[:2] / digest).read_bytes()

    def write_tree(self, mirror: str, folder: Path) -> Path:
        """Write a mirror's tree as its origin had it: items followed from their paths."""
        for path, data in self.documents(mirror).items():
            _write(folder / path, data)
        for path, item in self.items(mirror).items():
            _write(folder / path, b"".join(random_blocks(path, item["size"])))
        return folder

    def records(self) -> dict[str, Any]:
        """Return the records of the ledger as they are now, by key."""
        with closing(sqlite3.connect(self.data / "ledger" / "records" / "cache.db")) as database:
            return {key: json.loads(value) for key, value in database.execute("SELECT key, value FROM Cache")}

    def blobs(self) -> dict[str, int]:
        """Return the sizes of the blobs that lie in the store now, whatever the ledger says."""
        return {file.name: file.stat().st_size for file in (self.data / "blobs").rglob("*") if file.is_file()}


def unpack(folder: Path) -> LastRelease:
    """Unpack the directory; what was to expire then has not yet."""
    with tarfile.open(FIXTURE / "data.tar.gz") as archive:
        # Python 3.11.2, which Debian 12 has, knows no filters yet; 3.12 and 3.13 warn without one.
        archive.extraction_filter = getattr(tarfile, "data_filter", None)
        archive.extractall(folder)
    with closing(sqlite3.connect(folder / "data" / "ledger" / "records" / "cache.db")) as database, database:
        database.execute("UPDATE Cache SET expire_time = expire_time + ?", (_LATER_S,))
    return LastRelease(
        folder / "data", folder / "keyring.gpg", json.loads((FIXTURE / "told.json").read_text())
    )


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


# What that program reads. Of most objects it refuses fields that it does not know.

_NUMBER = {"type": "number"}
_COUNT = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}
_MAYBE_NUMBER = {"type": ["number", "null"]}
_MAYBE_TEXT = {"type": ["string", "null"]}


def _exactly(*, optional: dict[str, Any] | None = None, **fields: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {**fields, **(optional or {})},
        "required": list(fields),
        "additionalProperties": False,
    }


def _row(*columns: Any) -> dict[str, Any]:
    return {
        "type": "array", "prefixItems": list(columns), "items": False,
        "minItems": len(columns), "maxItems": len(columns),
    }  # fmt: skip


_DOCUMENT = _exactly(
    path=_TEXT,
    format=_TEXT,
    digest=_TEXT,
    size_bytes=_COUNT,
    text=_TEXT,
    optional={
        "content_id": _TEXT,
        "updated": _MAYBE_NUMBER,
        "signed_at": _MAYBE_NUMBER,
        "fingerprint": _TEXT,
        "origin": _TEXT,
        "etag": _MAYBE_TEXT,
        "last_modified": _MAYBE_TEXT,
    },
)
_GENERATION = _exactly(
    number=_COUNT,
    keyring=_TEXT,
    accepted_at=_NUMBER,
    checked_at=_NUMBER,
    index_path=_TEXT,
    documents={"type": "object", "additionalProperties": _DOCUMENT},
    absent=_TEXTS,
    gaps=_TEXTS,
    optional={"refused": {"type": "object", "additionalProperties": _TEXT}},
)
_RESULT = _exactly(
    started_at=_NUMBER,
    ended_at=_NUMBER,
    outcome=_TEXT,
    added=_TEXTS,
    dropped=_TEXTS,
    failures=_TEXTS,
    optional={
        "problem": _MAYBE_TEXT,
        "wanted_items": _COUNT,
        "wanted_bytes": _COUNT,
        "fetched_items": _COUNT,
        "fetched_bytes": _COUNT,
    },
)
READ_BY_LAST_RELEASE: dict[str, Any] = {
    "generation/": _GENERATION,
    "retired/": {"type": "array", "items": _row(_GENERATION, _NUMBER)},
    "siblings/": _TEXTS,
    "trouble/": _exactly(
        optional={
            "failures": _COUNT,
            "since": _MAYBE_NUMBER,
            "last_problem": _TEXT,
            "refusals": _COUNT,
            "last_refusal": _TEXT,
            "held_back_since": _MAYBE_NUMBER,
        }
    ),
    "pin/": _TEXTS,
    "held/": {"const": True},
    "reserved/": _COUNT,
    "filling/": _row(_TEXT, _COUNT, _COUNT, _NUMBER, _row(_COUNT, _COUNT)),
    "bad/": {"type": "object", "additionalProperties": _row(_TEXT, _COUNT, _NUMBER)},
    "absent/": {"type": "object", "additionalProperties": _NUMBER},
    "liar/": {
        "type": "object",
        "properties": {"path": _TEXT, "problem": _TEXT, "at": _NUMBER, "distrusted_until": _NUMBER},
        "required": ["path", "problem", "at", "distrusted_until"],
    },
    "mixed/": {"type": "array", "items": _row(_TEXT, _COUNT, _COUNT, _TEXT)},
    "rule/": {
        "type": "object",
        "properties": {
            "last": {"anyOf": [{"type": "null"}, _RESULT]},
            "next_at": _MAYBE_NUMBER,
            "complete_at": _MAYBE_NUMBER,
            "versions": _TEXTS,
        },
        "required": ["last", "next_at", "complete_at", "versions"],
    },
    "asked/": {"const": True},
    "asked scrub": _NUMBER,
    "scrub": _exactly(
        damaged=_TEXTS,
        optional={
            "asked_at": _NUMBER,
            "completed_at": _MAYBE_NUMBER,
            "due_blobs": _COUNT,
            "due_bytes": _COUNT,
        },
    ),
    "rate/": {"type": "number", "exclusiveMinimum": 0},
}
"""By the beginning of keys, as JSON Schema."""


def form_of(key: str) -> dict[str, Any] | None:
    """Return the form that it expects of a record, None for one that it does not ask for."""
    beginning, slash, name = key.partition("/")
    prefix = beginning + slash
    if prefix == "trouble/" and "/" in name:
        return None  # Of an item, which came later: a digest and a size. Names of mirrors have no slash.
    form = READ_BY_LAST_RELEASE.get(prefix)
    return None if form is None else dict(form)
