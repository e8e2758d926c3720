"""Reading documents: what each is, and what a list names, without the event loop noticing.

json reads a text in one go and holds the interpreter's lock all the while: some
20 MB would stop the event loop for a third of a second, whatever thread reads
them. So large texts are read by a process of their own, which is this module run
as a program: the text comes by standard input, the result goes out as JSON.
"""

import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar
from weakref import WeakValueDictionary

from proxy.digest import Digest, digest_of
from proxy.errors import ProxyError
from proxy.simplestreams.catalog import pack_list
from proxy.simplestreams.census import take_census
from proxy.simplestreams.contents import Contents, pack_contents
from proxy.simplestreams.listing import Listing
from proxy.simplestreams.model import INDEX_FORMAT, PRODUCTS_FORMAT, Index, IndexEntry, Products
from proxy.simplestreams.parse import FormatError, ShapeError, parse_document, same_statement, stated_date
from proxy.store.censuses import Census, Censuses
from proxy.store.contents import ContentsFiles, contents_of
from proxy.store.files import StoreFault
from proxy.store.listings import Listings, write_sealed
from proxy.store.protocols import Blob, ReadStore
from proxy.system.programs import ask_program, program

log = logging.getLogger(__name__)

_T = TypeVar("_T")
_LARGE_BYTES = 512 * 1024
WHOLE = "whole"
"""Format of what is served as it is."""
_READ, _COMPARE, _COUNT = "read", "compare", "count"
_COUNTS_NICELY = 10
_TIMEOUT_S = 600.0
_PROBLEMS = {kind.__name__: kind for kind in (FormatError, ShapeError)}


@dataclass(frozen=True, slots=True)
class Summary:
    """What a document is. `index` is what it names when it is an index."""

    format: str
    content_id: str
    updated: float | None
    index: Index | None


class Reading:
    """Reads the documents of one store. All methods block."""

    def __init__(self, store: ReadStore, folder: Path) -> None:
        """Keep what follows from the texts in `folder`."""
        self._store = store
        self.listings = Listings(folder)
        self._censuses = Censuses(folder)
        self._contents = ContentsFiles(folder)
        self._counting: subprocess.Popen[bytes] | None = None
        self._open: WeakValueDictionary[Digest, Listing] = WeakValueDictionary()
        self._opening = threading.Lock()

    def summarise(self, text: bytes, digest: Digest) -> Summary:
        """Say what a document is; a list's names are packed and kept on the way.

        Raises FormatError, and StoreFault when it cannot be read for another reason.
        """
        if len(text) < _LARGE_BYTES:
            return self._summarise_here(text, digest)
        try:
            with self.listings.draft() as draft:
                answer = ask_program(__name__, [_READ, str(draft)], text, longest_s=_TIMEOUT_S)
                if "problem" in answer:
                    raise _PROBLEMS[answer["kind"]](answer["problem"])
                if answer["format"] == PRODUCTS_FORMAT:
                    if not answer.pop("not_kept"):
                        self.listings.keep(draft, digest)
                    return Summary(**answer, index=None)
                return _summary_of_index(_index(answer["index"]))
        except OSError as error:
            log.warning("document.not_read_apart problem=%s", error)
        except subprocess.SubprocessError as error:
            raise StoreFault(f"a document cannot be read: {error}") from error
        return self._summarise_here(text, digest)

    def summarise_whole(self, text: bytes) -> Summary:
        """Say of a text of any kind what it is: an index, or something that nobody here has to understand."""
        if len(text) >= _LARGE_BYTES:
            return Summary(WHOLE, "", None, None)
        try:
            parsed = parse_document(text)
        except FormatError:
            return Summary(WHOLE, "", stated_date(text), None)
        if isinstance(parsed, Index):
            return _summary_of_index(parsed)
        return Summary(WHOLE, "", parsed.updated, None)

    def listing(self, text: Digest) -> Listing | None:
        """Return what the list with this text names; None when the store has lost the text.

        Generations that share a list share this too. Raises FormatError or StoreFault.
        """
        with self._opening:
            found = self._open.get(text)
            if found is None or found.is_damaged:
                found = self.listings.open(text) or self._make(text)
            if found is not None:
                self._open[text] = found
            return found

    def _make(self, text: Digest) -> Listing | None:
        data = self._store.read(text)
        if data is None:
            return None
        self.summarise(data, text)
        return self.listings.open(text) or Listing(_pack(parse_document(data)))

    def census(self, text: Digest) -> Census | None:
        """Return how many files of each kind the list with this text names.

        A process of its own counts a large one, and writes it down for all. None when that
        is not this process's turn, or the store has lost the text. Raises StoreFault.
        """
        try:
            return self._summary_of(text, self._censuses.open, lambda one: Census(take_census(one)))
        except (OSError, ProxyError, subprocess.SubprocessError) as error:
            raise StoreFault(f"a list cannot be counted: {error}") from error

    def contents(self, text: Digest) -> Contents | None:
        """Return what the list with this text names, to be searched.

        A process of its own writes a large one down for all, with its census. None when that
        is not this process's turn, or the store has lost the text. Raises StoreFault.
        """
        try:
            return self._summary_of(text, self._contents.open, lambda one: contents_of(pack_contents(one)))
        except (OSError, ProxyError, subprocess.SubprocessError) as error:
            raise StoreFault(f"a list cannot be searched: {error}") from error

    def _summary_of(
        self, text: Digest, written: Callable[[Digest], _T | None], made: Callable[[Products], _T]
    ) -> _T | None:
        """Make something of a small list at once; of a large one open what a process has written down."""
        source = self._store.open(text)
        if source is None:
            return None
        with source:
            if source.size_bytes < _LARGE_BYTES:
                return made(_products(os.pread(source.fd, source.size_bytes, 0), text))
            found = written(text)
            if found is None and self._count_apart(source, text):
                found = written(text)
            return found

    def _count_apart(self, source: Blob, text: Digest) -> bool:
        """Have another process write down census and contents; return False if others are at it."""
        with (
            self._censuses.turn() as is_ours,
            self.listings.draft() as draft,
            self.listings.draft() as contents,
        ):
            if not is_ours:
                return False
            how = program(__name__, [_COUNT, text, str(draft), str(contents)])
            with subprocess.Popen(**how, stdin=source.fd) as counting:
                self._counting = counting
                try:
                    status = counting.wait(_TIMEOUT_S)
                finally:
                    self._counting = None
                    counting.kill()
            if status:
                raise subprocess.CalledProcessError(status, counting.args)
            self._contents.keep(contents, text)
            self._censuses.keep(draft, text)
        return True

    def stop(self) -> None:
        """Stop counting: nobody will read the result."""
        if self._counting is not None:
            self._counting.kill()

    def says_the_same(self, text: bytes, plain: bytes) -> bool:
        """Whether a plain text states what a verified one does."""
        if len(text) + len(plain) < _LARGE_BYTES:
            return same_statement(text, plain)
        try:
            return bool(ask_program(__name__, [_COMPARE, str(len(text))], text, plain, longest_s=_TIMEOUT_S))
        except (OSError, subprocess.SubprocessError) as error:
            raise StoreFault(f"the two cannot be compared: {error}") from error

    def _summarise_here(self, text: bytes, digest: Digest) -> Summary:
        parsed = parse_document(text)
        if isinstance(parsed, Index):
            return _summary_of_index(parsed)
        try:
            with self.listings.draft() as draft:
                write_sealed(draft, _pack(parsed))
                self.listings.keep(draft, digest)
        except OSError as error:
            log.warning("listing.not_kept digest=%s problem=%s", digest, error)
        return Summary(PRODUCTS_FORMAT, parsed.content_id, parsed.updated, None)


def _summary_of_index(index: Index) -> Summary:
    return Summary(INDEX_FORMAT, "", index.updated, index)


def _index(answer: dict[str, Any]) -> Index:
    """Return an index from the answer of the program."""
    entries = tuple(IndexEntry(**entry) for entry in answer["entries"])
    texts = {name: tuple(answer[name]) for name in ("oddities", "omissions")}
    return Index(**{**answer, **texts, "entries": entries})


def _pack(parsed: Index | Products) -> bytes:
    if isinstance(parsed, Index):
        raise FormatError("it is an index where a products list is expected")
    return pack_list(parsed)


def _read(draft: Path, text: bytes) -> dict[str, object]:
    try:
        parsed = parse_document(text)
    except FormatError as error:
        return {"kind": type(error).__name__, "problem": str(error)}
    if isinstance(parsed, Index):
        return {"format": INDEX_FORMAT, "index": asdict(parsed)}
    summary = {"format": PRODUCTS_FORMAT, "content_id": parsed.content_id, "updated": parsed.updated}
    try:
        write_sealed(draft, _pack(parsed))
    except OSError as error:
        return {**summary, "not_kept": str(error)}
    return {**summary, "not_kept": None}


def _products(data: bytes, text: Digest) -> Products:
    """Return the list that the store has under this digest. Raises FormatError."""
    if digest_of(data) != text:
        raise FormatError("its file is damaged")
    parsed = parse_document(data)
    del data
    if isinstance(parsed, Index):
        raise FormatError("it is an index where a products list is expected")
    return parsed


def _main(task: str, argument: str, *others: str) -> None:
    if task == _COUNT:
        os.nice(_COUNTS_NICELY)
    given = sys.stdin.buffer.read()
    if task == _COUNT:
        products = _products(given, Digest(argument))
        del given
        for place, pack in zip(others, (take_census, pack_contents), strict=True):
            write_sealed(Path(place), pack(products))
        return
    if task == _READ:
        result: object = _read(Path(argument), given)
    else:
        result = same_statement(given[: int(argument)], given[int(argument) :])
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    _main(*sys.argv[1:])
