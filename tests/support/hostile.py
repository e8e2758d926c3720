"""What must hold for any bytes whatever: one check for each kind of input, for fuzzers and the kept corpus.

A check returns, or raises AssertionError or an error that is no ProxyError: that is a finding.
"""

import contextlib
import json
import re
import sqlite3
import tomllib
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import quote

from proxy.config.config import Config
from proxy.config.toml_reader import Faults, read
from proxy.digest import Digest, digest_of
from proxy.errors import ProxyError
from proxy.signatures.signature_shape import check_signature
from proxy.simplestreams.clearsign import check_covered, check_envelope, signature_of
from proxy.simplestreams.filters import Filter
from proxy.simplestreams.model import Index, Item, Products
from proxy.simplestreams.parse import parse_document, same_statement
from proxy.simplestreams.paths import canonical_path, url_paths
from proxy.simplestreams.walk import flatten, positions
from proxy.store.blob_records import BlobRecords, Proof
from proxy.store.ledger import Ledger
from proxy.store.pins import Pins
from proxy.web.negotiate import negotiate
from proxy.web.wire.stray_chunk import StrayChunkFilter
from support.lists import build_catalog
from support.stored import recorded

_A, _B = Digest("a" * 64), Digest("b" * 64)
_BODY = bytes(range(100))
_IN_MEMORY = Path("/dev/shm")


def sjson(data: bytes) -> None:
    """Let pass as one signed block only what begins and ends as one."""
    with contextlib.suppress(ProxyError):
        check_envelope(data)
        assert data.startswith(b"-----BEGIN PGP SIGNED MESSAGE-----")
        assert data.rstrip().endswith(b"-----END PGP SIGNATURE-----")
        assert len(re.findall(rb"^-----BEGIN", data, re.MULTILINE)) == 2
        with contextlib.suppress(ProxyError):
            check_signature(signature_of(data))
        check_covered(data, b"text that nobody wrote\n")


def signature(data: bytes) -> None:
    """Refuse with a ProxyError, or let through."""
    with contextlib.suppress(ProxyError):
        check_signature(data)


def document(data: bytes) -> None:
    """Find only canonical paths, sizes that are numbers, and texts that JSON can carry."""
    assert same_statement(data, data) in {True, False}
    with contextlib.suppress(ProxyError):
        parsed = parse_document(data)
        if isinstance(parsed, Index):
            for entry in parsed.entries:
                assert canonical_path(quote(entry.path)) == entry.path
                json.dumps([entry.content_id, entry.path, entry.updated], allow_nan=False)
        if isinstance(parsed, Products):
            for item in build_catalog([parsed]):
                assert canonical_path(quote(item.path)) == item.path
                assert 0 <= item.size_bytes < 10**4300
                assert re.fullmatch("[0-9a-f]{64}", item.digest)
            for position in positions(parsed):
                assert all(isinstance(text, str) for text in flatten(position).values())


def path(data: bytes) -> None:
    """Stay below the root, and mean the same by each URL of a path."""
    text = data.decode("latin-1")
    with contextlib.suppress(ProxyError):
        found = canonical_path(text)
        assert not found.startswith("/")
        assert not {"", ".", ".."} & set(found.split("/"))
        assert not re.search(r"[\x00-\x1f\x7f\\]", found)
        assert canonical_path(url_paths(found)[0]) == found


def byte_range(data: bytes) -> None:
    """Promise only what lies in the body, in its length."""
    item = Item("a", digest_of(_BODY), len(_BODY))
    text = data.decode("utf-8", "surrogateescape")
    for name in ("Range", "If-None-Match", "If-Range"):
        answer = negotiate(item, {"Range": "bytes=1-2", name: text})
        assert 0 <= answer.start <= answer.stop <= len(_BODY)
        if answer.status in {200, 206}:
            assert int(answer.headers["Content-Length"]) == answer.stop - answer.start


def config(data: bytes) -> None:
    """Return a configuration, or faults of one line each."""
    with contextlib.suppress(UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError):
        try:
            table = tomllib.loads(data.decode())
        except ValueError:
            return
        faults = Faults()
        assert isinstance(read(Config, {"data_dir": "/data"} | table, faults), Config)
        assert all(fault.key.isprintable() and fault.problem.isprintable() for fault in faults.found())


def filters(data: bytes) -> None:
    """Read a filter that can be asked of any item, or refuse it; its pattern is not searched for."""
    text = data.decode("utf-8", "surrogateescape")
    with contextlib.suppress(ProxyError), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Of sets in sets, which Python may read otherwise one day.
        one = Filter.parse(text)
        assert one.searched(frozenset({"x"})).matches({one.key: "x"}) in {True, False}
        if one.pattern is None:
            assert one.matches({one.key: one.value}) != one.is_negated


def request_head(data: bytes) -> None:
    """Lose nothing but stray markers, however the bytes are cut."""
    whole = StrayChunkFilter().feed(data)
    one_by_one = StrayChunkFilter()
    assert b"".join(one_by_one.feed(bytes([byte])) for byte in data) == whole
    assert len(data) - len(whole) <= 5 * data.count(b"0\r\n\r\n") + 4


def ledger(data: bytes) -> None:
    """Let a row of any content, under any key, cost at most itself: all others are read."""
    text = data.decode("utf-8", "replace")
    with TemporaryDirectory(dir=_IN_MEMORY if _IN_MEMORY.is_dir() else None) as folder:
        book = Ledger(Path(folder))
        BlobRecords(book).add(_A, 7)
        book.write(f"pin/{_A}", ["mine"])
        book.write("other", {"kept": True})
        book.close()
        _spoil(Path(folder, "blobs"), {_B: text, "c" * 64: data, "total": text})
        _spoil(Path(folder, "records"), {f"pin/{_B}": text, "pin/x": data, "held/x": text})
        book = Ledger(Path(folder))
        blobs, pins = BlobRecords(book), Pins(book)
        try:
            assert {one.digest: one.size_bytes for one in blobs.usages()}[_A] == 7
            assert pins.names()[_A] == ["mine"]
            assert _A in pins.protected()
            assert _A in pins.pinned_by("mine")
            assert recorded(book, "other") == {"kept": True}
            assert _A not in blobs.proofs()
            blobs.touch({_A: 5.0, _B: 5.0})
            blobs.record_proof(_B, Proof(1.0, 2))
            pins.pin_all("yours", [_B])
            assert "yours" in pins.names()[_B]
            pins.unpin(_B, "yours")
            blobs.sizes([_A, _B])
            blobs.total_bytes()
            blobs.reconcile([(_A, 7, 1.0)], lambda _: False)
            assert (blobs.total_bytes(), [one.digest for one in blobs.usages()]) == (7, [_A])
            assert blobs.proof(_B) is None
        finally:
            book.close()


def _spoil(table: Path, rows: dict[str, str | bytes]) -> None:
    with contextlib.closing(sqlite3.connect(table / "cache.db")) as connection:
        connection.executemany(
            "INSERT OR REPLACE INTO Cache (key, raw, store_time, access_time, size, mode, value)"
            " VALUES (?, 1, 0, 0, 0, 1, ?)",
            rows.items(),
        )
        connection.commit()


CHECKS: dict[str, Callable[[bytes], None]] = {
    check.__name__: check
    for check in (sjson, signature, document, path, byte_range, config, filters, request_head, ledger)
}
"""By the name of their folder below `tests/corpus`."""
