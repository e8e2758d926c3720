"""Archives of strangers: what is in them is found, what no bundle has is refused, and all is bounded."""

import contextlib
import io
import os
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.bundles.reading.errors import ArchiveCut, ArchiveRefused, MediumFault
from proxy.bundles.reading.streams import FileStream, PipeStream, Stream
from proxy.bundles.reading.tar import BLOCK_BYTES, End, Entry, walk

Found = list[tuple[str, bytes]]


def archive(*files: tuple[str, bytes], form: int = tarfile.USTAR_FORMAT, **fields: object) -> bytes:
    """Return an archive of files, whose headers have these fields."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=form) as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            for field, value in fields.items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(data))
    return raw.getvalue()


@contextmanager
def as_file(data: bytes) -> Iterator[Stream]:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        yield FileStream(file.fileno(), len(data))


@contextmanager
def as_pipe(data: bytes) -> Iterator[Stream]:
    """Give bytes by a descriptor that is only ever read in order."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.seek(0)
        stream = PipeStream(file.fileno())
        try:
            yield stream
        finally:
            stream.close()


def found_in(stream: Stream) -> Found:
    """Return the files of a stream, and "end" for each end."""
    found = []
    for entry in walk(stream):
        if isinstance(entry, End):
            found.append(("end", b""))
        elif not entry.is_folder:
            found.append((entry.name, stream.read(entry.size_bytes)))
    return found


both = pytest.mark.parametrize("opened", [as_file, as_pipe])
forms = st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
names = st.lists(st.from_regex(r"[a-z0-9é:+%-]{1,40}", fullmatch=True), min_size=1, max_size=5).map("/".join)


@both
@settings(max_examples=40)
@given(files=st.lists(st.tuples(names, st.binary(max_size=2000)), max_size=6), form=forms)
def test_what_tar_writes_is_found(opened: Callable[[bytes], Stream], files: Found, form: int) -> None:
    data = archive(*files, form=form)
    if not files:
        data = archive(("x", b""), form=form)
        files = [("x", b"")]
    with opened(data) as stream:  # type: ignore[attr-defined]
        assert found_in(stream) == [*files, ("end", b"")]


@both
@settings(max_examples=40)
@given(data=st.data())
def test_damaged_archives_raise_only_what_says_so(
    opened: Callable[[bytes], Stream], data: st.DataObject
) -> None:
    files = data.draw(st.lists(st.tuples(names, st.binary(max_size=600)), min_size=1, max_size=4))
    raw = bytearray(archive(*files, form=data.draw(forms)))
    for _ in range(data.draw(st.integers(0, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    del raw[data.draw(st.integers(0, len(raw))) :]
    with opened(bytes(raw)) as stream:  # type: ignore[attr-defined]
        found: Found = []
        with contextlib.suppress(ArchiveCut, ArchiveRefused, MediumFault):
            found = found_in(stream)
    for name, _ in found:
        assert not name.startswith("/")
        assert ".." not in name.split("/")


@both
def test_archives_follow_each_other(opened: Callable[[bytes], Stream]) -> None:
    one, two = archive(("a", b"1")), archive(("b", b"22"))
    with opened(one + two) as stream:  # type: ignore[attr-defined]
        assert found_in(stream) == [("a", b"1"), ("end", b""), ("b", b"22"), ("end", b"")]


def test_large_sizes_are_read_in_both_forms() -> None:
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        info = tarfile.TarInfo("blob")
        info.size = 2**40 + 1
        header = info.tobuf(form)
        with tempfile.TemporaryFile() as file:
            file.write(header)
            file.truncate(len(header) + 2**41)
            stream = FileStream(file.fileno(), os.fstat(file.fileno()).st_size)
            entry = next(walk(stream))
            assert entry == Entry("blob", 2**40 + 1, is_folder=False)


SPARSE = b"".join(
    (
        (sparse := bytearray(tarfile.TarInfo("s").tobuf(tarfile.GNU_FORMAT)))[:156],
        b"S",
        bytes(sparse[157:]),
    )
)


def summed(header: bytes) -> bytes:
    """Return a header with the right checksum."""
    blank = header[:148] + b" " * 8 + header[156:]
    return header[:148] + b"%06o\0 " % sum(blank) + header[156:]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (archive(("a", b""), type=tarfile.SYMTYPE, linkname="/etc/passwd"), "'a' in it is a symbolic link"),
        (archive(("a", b""), type=tarfile.LNKTYPE, linkname="b"), "a hard link"),
        (archive(("a", b""), type=tarfile.CHRTYPE), "a character device"),
        (archive(("a", b""), type=tarfile.BLKTYPE), "a block device"),
        (archive(("a", b""), type=tarfile.FIFOTYPE), "a named pipe"),
        (summed(SPARSE) + bytes(1024), "a sparse file"),
        (archive(("a", b""), pax_headers={"GNU.sparse.major": "1"}, form=tarfile.PAX_FORMAT), "sparse file"),
        (archive(("a", b""), type=b"Z"), "an unknown kind, 'Z'"),
        (archive(("../a", b"")), "leads out of the bundle"),
        (archive(("a/../../b", b"")), "leads out of the bundle"),
        (archive(("/a", b"")), "an absolute path"),
        (archive(("a" * 5000, b""), form=tarfile.PAX_FORMAT), "more than 4096 letters"),
        (archive(("a" * 99_999, b""), form=tarfile.GNU_FORMAT), "an extended header in it has 100000 bytes"),
        (archive(("a", b"1")) + b"garbage", "something follows its end that is no tar archive"),
        (archive(("a", b"1")) + b"g" * 1024, "something follows its end that is no tar archive"),
        (b"\x1f\x8b" + bytes(600), "packed by gzip: unpack it first (gunzip)"),
        (b"\x28\xb5\x2f\xfd" + bytes(20), "packed by zstd"),
        (b"", "it is empty"),
        (bytes(5000), "it is no tar archive"),
        (b"x" * 5000, "it is no tar archive"),
    ],
)
def test_what_no_bundle_has_is_refused(data: bytes, said: str) -> None:
    for opened in (as_file, as_pipe):
        with opened(data) as stream, pytest.raises(ArchiveRefused) as error:
            found_in(stream)
        assert said in str(error.value)


@pytest.mark.parametrize("cut", [100, 600, 1000, BLOCK_BYTES * 3])
def test_an_archive_that_is_cut_off_says_so_after_what_came_before(cut: int) -> None:
    data = archive(("a", b"1" * 400), ("b", b"2" * 400))[: BLOCK_BYTES * 2 + cut if cut < 600 else cut + 512]
    with as_file(data) as stream:
        entries = walk(stream)
        assert next(entries) == Entry("a", 400, is_folder=False)
        with pytest.raises(ArchiveCut):
            list(entries)


def test_chains_of_extended_headers_end() -> None:
    name = tarfile.TarInfo("././@LongLink")
    name.type, name.size = tarfile.GNUTYPE_LONGNAME, 5
    chained = (name.tobuf(tarfile.GNU_FORMAT) + b"long\0".ljust(512, b"\0")) * 1000
    with as_file(chained) as stream, pytest.raises(ArchiveRefused, match="extended headers"):
        found_in(stream)
    assert stream.position < 10_000


@pytest.mark.parametrize(
    "records",
    [b"99 path=x\n", b"x path=y\n", b"9 pathxyz\n", b"0 path=\n", b"10 size=-1\n", b"11 size=1e9\n"],
)
def test_an_extended_header_that_lies_is_refused(records: bytes) -> None:
    info = tarfile.TarInfo("h")
    info.type, info.size = tarfile.XHDTYPE, len(records)
    data = info.tobuf(tarfile.USTAR_FORMAT) + records.ljust(512, b"\0") + archive(("a", b"1"))
    with as_file(data) as stream, pytest.raises(ArchiveRefused):
        found_in(stream)
