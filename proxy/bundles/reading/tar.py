"""The headers of tar archives, read one after the other: names, sizes and where bytes lie.

Python's tarfile is not used. It reads headers of any length that an archive states into memory,
follows sparse maps and chains of headers, and passes over what it cannot read. Here each header
is checked, extended headers are bounded, only plain files and folders are known, and
everything else is an error. Sources: POSIX.1-2017 pax "Extended Header", GNU tar "Basic Tar Format".
"""

from collections.abc import Iterator
from typing import NamedTuple

from proxy.bundles.reading.errors import ArchiveCut, ArchiveRefused
from proxy.bundles.reading.streams import Stream

BLOCK_BYTES = 512
_ZEROS = bytes(BLOCK_BYTES)
_MOST_ZEROS = 16 * 1024 * 1024
"""After the end of an archive; tar fills up to 10 KiB, tapes up to some MiB."""
_LONGEST_HEADER = 64 * 1024
"""Of an extended header, which states a long name or a large size."""
_MOST_EXTENDED = 4
"""Such headers before one file."""
_LONGEST_NAME = 4096
_LARGEST_FILE = 2**62

_PLAIN = frozenset(b"0\x007")
_FOLDER = ord("5")
_LONG_NAME = ord("L")
_PAX, _PAX_OF_ALL = ord("x"), ord("g")
_SPECIAL = {
    ord("1"): "a hard link",
    ord("2"): "a symbolic link",
    ord("3"): "a character device",
    ord("4"): "a block device",
    ord("6"): "a named pipe",
    ord("K"): "a link with a long name",
    ord("S"): "a sparse file",
    ord("M"): "the rest of a file that begins in another volume",
    ord("V"): "a label of a volume",
}
_PACKED = (
    (b"\x1f\x8b", "gzip", "gunzip"),
    (b"\x28\xb5\x2f\xfd", "zstd", "unzstd"),
    (b"\xfd7zXZ\x00", "xz", "unxz"),
    (b"BZh", "bzip2", "bunzip2"),
    (b"PK\x03\x04", "zip", "unzip"),
)


class Entry(NamedTuple):
    """A file or folder of an archive; the stream stands at its first byte."""

    name: str
    """Without "./" before it, and "/" after it."""
    size_bytes: int
    is_folder: bool


class End(NamedTuple):
    """The end of an archive; another may follow in the same stream."""

    position: int


def walk(stream: Stream) -> Iterator[Entry | End]:
    """Yield what is in the archives of a stream, which follow each other, and the end of each.

    What is left of an entry's bytes when the next one is asked for is skipped. Raises MediumFault,
    ArchiveCut and ArchiveRefused.
    """
    start, is_within = stream.position, False
    while True:
        block = stream.read(BLOCK_BYTES)
        if len(block) == BLOCK_BYTES and block == _ZEROS and is_within:
            yield End(stream.position)
            block, is_within = _next_beginning(stream), False
        if not block and not is_within:
            if stream.position == start:
                raise ArchiveRefused("it is empty")
            return
        if len(block) < BLOCK_BYTES:
            if stream.position <= BLOCK_BYTES:
                raise _no_tar(block)
            problem = "within a header" if block else "without the mark of an end"
            raise ArchiveCut(f"it ends after {stream.position} bytes, {problem}")
        if not is_within and not _is_header(block):
            raise _no_tar(block) if stream.position - start == BLOCK_BYTES else _garbage(stream)
        is_within = True
        entry = _read_entry(stream, block)
        stop = stream.position + _padded(entry.size_bytes)
        yield entry
        stream.skip(stop - stream.position)


def _next_beginning(stream: Stream) -> bytes:
    """Return what follows the zeros after an archive: a header, or nothing."""
    end = stream.position
    while stream.position - end < _MOST_ZEROS:
        block = stream.read(BLOCK_BYTES)
        if block.strip(b"\0"):
            if len(block) < BLOCK_BYTES:
                raise _garbage(stream)
            return block
        if len(block) < BLOCK_BYTES:
            return b""
    return b""


def _read_entry(stream: Stream, block: bytes) -> Entry:
    """Return what a header says, with the extended headers before it."""
    said: dict[str, str] = {}
    for _ in range(_MOST_EXTENDED):
        kind = block[156]
        if kind not in {_LONG_NAME, _PAX, _PAX_OF_ALL}:
            break
        text = _read_extended(stream, _checked_size(block))
        if kind == _LONG_NAME:
            said["path"] = _text(text.split(b"\0", 1)[0])
        else:
            records = _pax_records(text)
            if kind == _PAX_OF_ALL and records.keys() & {"path", "size", "linkpath"}:
                raise ArchiveRefused("one header in it states names or sizes of all files")
            if kind == _PAX:
                said |= records
        block = stream.read(BLOCK_BYTES)
        if len(block) < BLOCK_BYTES:
            raise ArchiveCut(f"it ends after {stream.position} bytes, within a header")
    else:
        raise ArchiveRefused(f"more than {_MOST_EXTENDED} extended headers stand before one file")
    return _entry(block, said)


def _entry(block: bytes, said: dict[str, str]) -> Entry:
    kind, size_bytes = block[156], _checked_size(block)
    if "size" in said:
        size_bytes = _decimal(said["size"])
    name = said.get("path") or _name(block)
    if kind in _SPECIAL or any(key.startswith("GNU.sparse") for key in said):
        what = _SPECIAL.get(kind, _SPECIAL[ord("S")])
        raise ArchiveRefused(f"{name!r:.200} in it is {what}, and a bundle has plain files only")
    if kind not in _PLAIN and kind != _FOLDER:
        raise ArchiveRefused(f"{name!r:.200} in it is of an unknown kind, {chr(kind)!r}")
    is_folder = kind == _FOLDER or name.endswith("/")
    if is_folder and size_bytes:
        raise ArchiveRefused(f"{name!r:.200} in it is a folder that has bytes")
    return Entry(_safe(name), size_bytes, is_folder)


def _safe(name: str) -> str:
    """Return a name without what means nothing. Raises ArchiveRefused for one that leads elsewhere."""
    if len(name) > _LONGEST_NAME:
        raise ArchiveRefused(f"a name in it has more than {_LONGEST_NAME} letters")
    if name.startswith("/"):
        raise ArchiveRefused(f"{name!r:.200} in it is an absolute path")
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts:
        raise ArchiveRefused(f"{name!r:.200} in it leads out of the bundle")
    return "/".join(parts)


def _name(block: bytes) -> str:
    name = _text(block[:100].split(b"\0", 1)[0])
    prefix = _text(block[345:500].split(b"\0", 1)[0]) if block[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _checked_size(block: bytes) -> int:
    """Return the size that a header states. Raises ArchiveRefused for a header that is damaged."""
    if not _is_header(block):
        raise ArchiveRefused("a header in it is damaged: its checksum is wrong")
    return _number(block[124:136])


def _is_header(block: bytes) -> bool:
    """Whether a block's checksum is right, by which a header is told from anything else."""
    stated = block[148:156].strip(b" \0")
    if not stated or any(letter not in b"01234567" for letter in stated):
        return False
    return int(stated, 8) == sum(block[:148]) + 8 * ord(" ") + sum(block[156:])


def _number(field: bytes) -> int:
    """Return a number in octal digits, or where GNU tar has none for it, in binary."""
    if field[0] & 0x80:
        number = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
    else:
        digits = field.strip(b" \0")
        if any(letter not in b"01234567" for letter in digits):
            raise ArchiveRefused("a header in it states no size")
        number = int(digits or b"0", 8)
    if number > _LARGEST_FILE:
        raise ArchiveRefused(f"a header in it states {number} bytes, more than any file has")
    return number


def _decimal(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > len(str(_LARGEST_FILE)):
        raise ArchiveRefused(f"a header in it states a size of {text!r:.40}")
    return min(int(text), _LARGEST_FILE)


def _read_extended(stream: Stream, size_bytes: int) -> bytes:
    if size_bytes > _LONGEST_HEADER:
        raise ArchiveRefused(f"an extended header in it has {size_bytes} bytes, more than {_LONGEST_HEADER}")
    data = stream.read(_padded(size_bytes))
    if len(data) < _padded(size_bytes):
        raise ArchiveCut(f"it ends after {stream.position} bytes, within a header")
    return data[:size_bytes]


def _pax_records(data: bytes) -> dict[str, str]:
    """Return what an extended header says: lines "LENGTH KEY=VALUE", of which each states its length."""
    records: dict[str, str] = {}
    while data:
        digits, _, _ = data.partition(b" ")
        length = int(digits) if digits.isdigit() and len(digits) <= len(str(_LONGEST_HEADER)) else 0
        line = data[:length]
        key, equals, value = line[len(digits) + 1 : -1].partition(b"=")
        if length < len(digits) + 1 or len(line) < length or not equals or line[-1:] != b"\n":
            raise ArchiveRefused("an extended header in it cannot be read")
        records[_text(key)] = _text(value)
        data = data[length:]
    return records


def _padded(size_bytes: int) -> int:
    return -(-size_bytes // BLOCK_BYTES) * BLOCK_BYTES


def _garbage(stream: Stream) -> ArchiveRefused:
    return ArchiveRefused(f"something follows its end that is no tar archive, before byte {stream.position}")


def _no_tar(block: bytes) -> ArchiveRefused:
    for beginning, packer, unpacker in _PACKED:
        if block.startswith(beginning):
            return ArchiveRefused(
                f"it is packed by {packer}: unpack it first ({unpacker}); images do not become smaller"
            )
    return ArchiveRefused("it is no tar archive")
