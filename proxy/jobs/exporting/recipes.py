"""Ways to make a bundle: of a selection, or as an earlier bundle was, of which some part is here.

Each says what it would write, what of that has to be proved, and what is written.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from proxy.bundles.bundle import Bundle, Part, Sign, divided
from proxy.bundles.contents import Contents, File
from proxy.bundles.inventory import NOTHING_KNOWN, Known
from proxy.digest import Digest
from proxy.errors import ProxyError
from proxy.readable import counted

Problem = Callable[[Digest, int], str | None]
"""Returns why a file of that size cannot be carried, None if it can."""


class NoSuchPart(ProxyError):
    """A part beyond the last one."""

    def __init__(self, number: int, parts: int) -> None:
        super().__init__(f"there is no part {number}: the bundle has {counted(parts, 'part')}")


@dataclass(frozen=True, slots=True)
class Missing:
    """A file that is selected and cannot be carried."""

    mirror: str
    file: File
    problem: str
    is_document: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What an export would write. Sizes in bytes."""

    contents: tuple[Contents, ...]
    """With what is not carried, and the part of everything else."""
    missing: tuple[Missing, ...]
    known_files: int
    known_bytes: int
    """What is left out because the far side has it."""

    parts: tuple[Part, ...]
    """As they would be without a signature."""

    @property
    def carried_files(self) -> int:
        """How many different files are to be carried."""
        return len(self._carried)

    @property
    def carried_bytes(self) -> int:
        """How large they are."""
        return sum(self._carried.values())

    @property
    def _carried(self) -> dict[Digest, int]:
        return {blob.digest: blob.size_bytes for part in self.parts for blob in part.blobs}


class Recipe(Protocol):
    """How a bundle is made. All methods block."""

    @property
    def allows_missing(self) -> bool:
        """Whether a bundle is written although some of what was wanted is not here."""

    def survey(self, problem: Problem, only_part: int | None) -> Survey:
        """Return what would be written. Raises DoesNotFit and NoSuchPart."""

    def to_prove(self, survey: Survey) -> dict[Digest, int]:
        """Return the size of each file that has to be good before anything is written."""

    def bundle(self, survey: Survey) -> Bundle:
        """Return what is written; a person may have to type a password for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfSelection:
    """Makes a bundle of what is selected."""

    contents: tuple[Contents, ...]
    """What is selected; every file counts as carried."""
    known: Known = NOTHING_KNOWN
    """What the far side has."""
    since: str = ""
    """Who says so, in words."""
    part_bytes: int | None = None
    importer: bytes = b""
    sign: Sign | None = None
    allows_missing: bool = False

    def survey(self, problem: Problem, only_part: int | None) -> Survey:
        """Leave out what the far side has, and what is missing."""
        missing: list[Missing] = []
        known: dict[Digest, int] = {}

        def judged(mirror: str, file: File, *, is_document: bool) -> File:
            if file.sha256 in self.known:
                known[file.sha256] = file.size
                return replace(file, is_carried=False)
            found = problem(file.sha256, file.size)
            if found is None:
                return file
            missing.append(Missing(mirror, file, found, is_document))
            return replace(file, is_carried=False, is_missing=True)

        contents = [
            replace(
                one,
                since=self.since,
                documents=tuple(judged(one.mirror, file, is_document=True) for file in one.documents),
                items=tuple(judged(one.mirror, file, is_document=False) for file in one.items),
            )
            for one in self.contents
        ]
        of_parts = divided(contents, self.part_bytes, self.importer, is_signed=self.sign is not None)
        return Survey(
            contents=of_parts,
            parts=chosen_parts(Bundle.of(of_parts, self.importer), only_part),
            missing=tuple(missing),
            known_files=len(known),
            known_bytes=sum(known.values()),
        )

    def to_prove(self, survey: Survey) -> dict[Digest, int]:
        """Prove what all parts carry, for each part names it."""
        files = [file for one in survey.contents for file in one.files()]
        return {file.sha256: file.size for file in files if file.is_carried}

    def bundle(self, survey: Survey) -> Bundle:
        """Sign it, if that is ordered."""
        return Bundle.of(survey.contents, self.importer, self.sign)


@dataclass(frozen=True, slots=True)
class LikeEarlier:
    """Makes the parts of an earlier bundle again: nothing is left out of those, and nothing is signed."""

    earlier: Bundle
    allows_missing = False

    def survey(self, problem: Problem, only_part: int | None) -> Survey:
        """Say what the parts had that is not here any more."""
        parts = chosen_parts(self.earlier, only_part)
        missing = [
            Missing(one.mirror, File(path=one.name, sha256=one.digest, size=one.size_bytes), found, False)
            for part in parts
            for one in part.blobs
            if (found := problem(one.digest, one.size_bytes)) is not None
        ]
        return Survey(
            contents=self.earlier.contents,
            parts=parts,
            missing=tuple(missing),
            known_files=0,
            known_bytes=0,
        )

    def to_prove(self, survey: Survey) -> dict[Digest, int]:
        """Prove what the parts carry: the others were written before."""
        return {blob.digest: blob.size_bytes for part in survey.parts for blob in part.blobs}

    def bundle(self, survey: Survey) -> Bundle:  # noqa: ARG002 - it is what it was
        """Return the earlier bundle."""
        return self.earlier


def chosen_parts(bundle: Bundle, only_part: int | None) -> tuple[Part, ...]:
    """Return the parts that are ordered, all unless one is named. Raises NoSuchPart."""
    if only_part is None:
        return tuple(bundle.all_parts())
    if only_part > bundle.parts:
        raise NoSuchPart(only_part, bundle.parts)
    return (bundle.part(only_part),)
