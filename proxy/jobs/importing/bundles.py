"""Generations as they were carried here: of which mirror, in which parts, and their documents."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from proxy.bundles.contents import Contents, File
from proxy.bundles.oci import LayoutUnreadable
from proxy.bundles.reading.errors import MediumFault
from proxy.bundles.reading.heads import Head, read_file
from proxy.bundles.reading.layouts import Layout
from proxy.digest import Digest
from proxy.errors import ProxyError
from proxy.readable import date, printable
from proxy.sources.carried.origin import CarriedOrigin, Reader
from proxy.sources.errors import OriginMisbehaved, OriginUnreachable
from proxy.store.protocols import ReadStore
from proxy.system.threads import Threads

_LONGEST_SELECTION = 100


class UnknownMirror(ProxyError):
    """A bundle of a mirror that is not configured here."""

    def __init__(self, name: str, here: Mapping[str, str]) -> None:
        there = ", ".join(f"{mirror} ({trust})" for mirror, trust in here.items())
        super().__init__(
            f"it is of mirror {name!r:.100}, and there is none of that name here; there are: {there}. "
            "Configure one, or say which one is meant: --mirror NAME"
        )


@dataclass(slots=True, kw_only=True)
class Bundle:
    """One generation of a mirror, in whatever parts are here."""

    mirror: str
    """As it is called here."""
    contents: Contents
    text: bytes
    """The contents as they are written."""
    digest: Digest
    """Of that text."""
    signature: bytes | None
    layouts: list[Layout] = field(default_factory=list)

    def __str__(self) -> str:
        return generation_name(self.mirror, self.contents)

    @property
    def sources(self) -> str:
        """Where it was read from, for people."""
        return ", ".join(dict.fromkeys(Path(one.name).name for one in self.layouts))

    @property
    def age(self) -> tuple[float, int]:
        """What grows from one generation to the next, at the site that wrote them."""
        return self.contents.accepted_at, self.contents.generation

    @property
    def pin(self) -> str:
        """The name under which it is kept."""
        return pin_of(self.mirror, self.contents)

    def read(self, file: File) -> bytes | None:
        """Return a document that some part has. Blocks; raises LayoutUnreadable and MediumFault."""
        for layout in self.layouts:
            data = read_file(layout, file)
            if data is not None:
                return data
        return None

    def has(self, file: File) -> bool:
        """Whether some part has a document. Blocks; raises LayoutUnreadable and MediumFault."""
        return any(layout.size_bytes(file.sha256) is not None for layout in self.layouts)


def generation_name(mirror: str, contents: Contents) -> str:
    """Return what people call a generation: its number is that of the site that wrote it."""
    of = date(contents.updated) if contents.updated is not None else "an unknown date"
    return f"{mirror} generation {contents.generation} of {of}"


def pin_of(mirror: str, contents: Contents) -> str:
    """Return the name under which what was imported is kept, until a later bundle of the same selection."""
    selection = printable(contents.selection[:_LONGEST_SELECTION]).strip() or "everything"
    return pin_beginning(mirror) + selection


def pin_beginning(mirror: str) -> str:
    """Return what the names begin with under which imports of a mirror are kept."""
    return f"import {mirror}: "


def joined(heads: Iterable[Head], mirrors: Mapping[str, str], renamed: str | None) -> list[Bundle]:
    """Return the generations that were carried here, the oldest first.

    `mirrors` are those here, with what makes their documents believable; `renamed` is the one that is meant
    whatever the bundle says. Raises UnknownMirror.
    """
    found: dict[tuple[str, Digest], Bundle] = {}
    for head in heads:
        mirror = renamed or head.contents.mirror
        if mirror not in mirrors:
            raise UnknownMirror(mirror, mirrors)
        bundle = found.setdefault(
            (mirror, head.digest),
            Bundle(
                mirror=mirror,
                contents=head.contents,
                text=head.text,
                digest=head.digest,
                signature=head.signature,
            ),
        )
        bundle.signature = bundle.signature or head.signature
        bundle.layouts.append(head.layout)
    return sorted(found.values(), key=lambda one: one.age)


class CarriedDocuments:
    """The documents of one generation, from a bundle or from the store, as an origin."""

    def __init__(
        self,
        name: str,
        contents: Contents,
        read: Callable[[File], bytes | None],
        threads: Threads,
    ) -> None:
        """Read documents by `read`, which blocks; `name` says where they are from."""
        self.faults: list[ProxyError] = []
        """Of the medium, which say nothing of the documents."""
        self._read = read
        self._threads = threads
        self._name = name
        self.origin = CarriedOrigin(name, {one.path: self._reader(one) for one in contents.documents})

    def _reader(self, file: File) -> Reader:
        async def read() -> bytes:
            try:
                data = await self._threads.slow(self._read, file)
            except MediumFault as error:
                self.faults.append(error)
                raise OriginUnreachable(self._name, str(error)) from error
            except LayoutUnreadable as error:
                raise OriginMisbehaved(self._name, str(error)) from error
            if data is None:
                raise OriginUnreachable(self._name, f"{file.path} is not here any more")
            return data

        return read


def stored_reader(store: ReadStore) -> Callable[[File], bytes | None]:
    """Return what reads documents that are in the store."""
    return lambda file: store.read(file.sha256)
