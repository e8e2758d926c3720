"""What a site has, so that another one need not carry it there: as a file, as a short text, as a digest.

The file is what `sha256sum` writes, with remarks; of other sites' remarks nothing is believed:

    # sstream-proxy inventory 1
    # maas-stable: generation 12 of 2026-11-29 10:00 UTC, 41 files, 1.2 GiB, digest 7K3M-9QXT-0001-BCDE
    <64 hex>  streams/v1/index.sjson

The short text can be typed, or shown as a QR code. Each file is ten letters of Crockford's
base 32, the first 50 bits of its SHA-256; each line ends with two letters that tell a
typing error, and the first says how many lines follow, and the digest of all:

    SSTREAM1 22 7K3M9QXT0001BCDE
    1 0123456789 ABCDEFGHJK … X7

If two files were ever alike in 50 bits, one would not be carried that is needed; the import
would say so by its path, and activate nothing.

The digest of what a mirror has is the same at two sites that have the same files of it. Pure.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proxy.bundles.contents import Contents
from proxy.digest import Digest, parse_digest
from proxy.errors import ProxyError
from proxy.readable import counted, date, printable, size

LARGEST_BYTES = 128 * 1024 * 1024

_LETTERS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_READ_AS = str.maketrans("ILO", "110")
_BITS = 5
_SHORT_LETTERS = 10
_CHECK_LETTERS = 2
_DIGEST_LETTERS = 16
_IN_A_LINE = 5
_VERSION = 1
_BEGINNING = re.compile(r"# sstream-proxy inventory (\d+)\n")
_SHORT_BEGINNING = "SSTREAM"
_SHORT_FIRST = re.compile(rf"{_SHORT_BEGINNING}{_VERSION} +(\d{{1,7}}) +(\w{{{_DIGEST_LETTERS}}})")
_LINE = re.compile(r"([0-9A-Fa-f]{64}) [ *](.*)")


class InventoryUnreadable(ProxyError):
    """A text that should be an inventory is none, or was typed wrong."""


@dataclass(frozen=True, slots=True)
class Known:
    """Which files another site has."""

    digests: frozenset[Digest] = frozenset()
    beginnings: frozenset[str] = frozenset()
    """Of those that it told of in short."""

    def __contains__(self, digest: Digest) -> bool:
        """Whether it has a file."""
        return digest in self.digests or (bool(self.beginnings) and _short(digest) in self.beginnings)

    def __or__(self, other: "Known") -> "Known":
        """Return what either of both says."""
        return Known(self.digests | other.digests, self.beginnings | other.beginnings)

    def __len__(self) -> int:
        return len(self.digests) + len(self.beginnings)


NOTHING_KNOWN = Known()


def write_inventory(held: Iterable[Contents]) -> bytes:
    """Return the file about what is held of some mirrors."""
    held = list(held)
    lines = [f"# sstream-proxy inventory {_VERSION}"]
    lines += [f"# {summary(one)}" for one in held]
    files = [f"{file.sha256}  {printable(file.path)}" for one in held for file in one.files()]
    lines += dict.fromkeys(files)  # Several generations of a mirror share most of theirs.
    return ("\n".join(lines) + "\n").encode()


def write_short(held: Iterable[Contents]) -> bytes:
    """Return the text about the same that can be typed."""
    shorts = sorted({_short(file.sha256) for one in held for file in one.files()})
    rows = [shorts[at : at + _IN_A_LINE] for at in range(0, len(shorts), _IN_A_LINE)]
    lines = [f"{_SHORT_BEGINNING}{_VERSION} {len(rows)} {_of_all(shorts)}"]
    for number, row in enumerate(rows, 1):
        lines.append(" ".join([str(number), *row, _check(number, row)]))
    return ("\n".join(lines) + "\n").encode()


def read_inventory(data: bytes) -> Known:
    """Return what a file or a short text says; also any other that has the form of `sha256sum`.

    Raises InventoryUnreadable.
    """
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise InventoryUnreadable("it is no text, and no bundle") from None
    if text.lstrip().upper().startswith(_SHORT_BEGINNING):
        return Known(beginnings=frozenset(_read_short(text)))
    found = _BEGINNING.match(text)
    if found and int(found[1]) > _VERSION:
        raise InventoryUnreadable(f"a newer release wrote it: its version is {found[1]}, known is {_VERSION}")
    digests = set()
    for number, line in enumerate(text.splitlines(), 1):
        if not line or line.startswith("#"):
            continue
        of_file = _LINE.fullmatch(line)
        if of_file is None:
            raise InventoryUnreadable(f"line {number} is no SHA-256 and path: {line!r:.80}")
        digests.add(parse_digest(of_file[1]))
    if not found and not digests:
        raise InventoryUnreadable("it is empty")
    return Known(frozenset(digests))


def summary(held: Contents) -> str:
    """Return a line about what is held of a mirror."""
    files = {file.sha256: file.size for file in held.files()}
    of = date(held.updated or held.accepted_at)
    amount = f"{counted(len(files), 'file')}, {size(sum(files.values()))}"
    return f"{held.mirror}: generation {held.generation} of {of}, {amount}, digest {held_digest(held)}"


def held_digest(held: Contents) -> str:
    """Return the digest of what is held of a mirror, in groups that people can compare."""
    letters = _of_all(sorted({file.sha256 for file in held.files()}))
    return "-".join(letters[at : at + 4] for at in range(0, _DIGEST_LETTERS, 4))


def _read_short(text: str) -> Iterable[str]:
    first, *lines = [line for line in text.upper().splitlines() if line.strip()]
    found = _SHORT_FIRST.fullmatch(first.strip())
    if found is None:
        raise InventoryUnreadable(
            f"its first line was typed wrong, or a newer release wrote it: {first!r:.60}"
        )
    rows: dict[int, list[str]] = {}
    for line in lines:
        number, *row = line.split()
        *row, check = [word.translate(_READ_AS) for word in row] or [""]
        is_right = number.isdecimal() and all(len(one) == _SHORT_LETTERS for one in row)
        if not is_right or _check(int(number), row) != check:
            raise InventoryUnreadable(f"the line that begins with {number!r:.20} was typed wrong")
        rows[int(number)] = row
    missing = next((one for one in range(1, int(found[1]) + 1) if one not in rows), None)
    if missing is not None:
        raise InventoryUnreadable(f"it lacks the line {missing}")
    shorts = [short for number in sorted(rows) for short in rows[number]]
    if _of_all(shorts) != found[2].translate(_READ_AS):
        raise InventoryUnreadable("its first line was typed wrong: it does not belong to the others")
    return shorts


def _short(digest: Digest) -> str:
    return _letters(digest, _SHORT_LETTERS)


def _check(number: int, row: Sequence[str]) -> str:
    return _letters(_sha256(" ".join([str(number), *row])), _CHECK_LETTERS)


def _of_all(texts: Iterable[str]) -> str:
    return _letters(_sha256("".join(f"{one}\n" for one in texts)), _DIGEST_LETTERS)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _letters(digest: str, count: int) -> str:
    """Return the first bits of a digest in Crockford's base 32."""
    bits = int(digest, 16) >> (256 - count * _BITS)
    return "".join(_LETTERS[bits >> (_BITS * at) & 31] for at in reversed(range(count)))
