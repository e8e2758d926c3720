"""Verify a bundle of boot images, and unpack it into a tree that any web server can serve.

    python3 import-bundle.py --keyring PUBLISHER.gpg --to TREE [BUNDLE ...]

A BUNDLE is a folder, an uncompressed tar, or `-` for tars from a pipe; several are parts of one bundle.
Without any, it is the folder in which this program lies. It needs Python 3.8 or newer, and gpgv.

It believes nothing that a courier could have changed:
1. gpgv verifies the index and the lists of images with the publisher's keyring, which is yours.
2. Only what these signed lists name is copied, and hashed meanwhile: size and SHA-256 have to be theirs.
3. TREE/streams/, where clients begin, is replaced last, when each file that was selected is there.

The courier could have changed this program, too. Before you run it, compare its SHA-256 (`sha256sum
import-bundle.py`) with the one that `sstream-proxy export` printed where the bundle was written.

Exit codes: 0 complete, 1 failed, 2 wrong usage, 3 incomplete, 4 refused, 130 interrupted.
Run it again to go on where it ended: items that are in TREE and right are not copied again.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import contextlib
import ctypes
import email.utils
import fcntl
import hashlib
import io
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tarfile
import tempfile
from datetime import timezone
from pathlib import Path
from typing import Any, BinaryIO, Iterable, Iterator, NamedTuple, TextIO
from urllib.parse import unquote

BLOBS, INDEX = "blobs/sha256/", "index.json"
CONTENTS_TYPE = "application/vnd.sstream-proxy.contents.v1+json"
TITLE = "org.opencontainers.image.title"
OURS, SIGNATURE = ".sstream-proxy", ".sstream-proxy/contents.asc"
STARTS = ("streams/v1/index", "streams/v1/index2", "streams/v1/mirrors")
CHUNK, LARGEST = 1 << 20, 1 << 60
LARGEST_TEXT, MOST_IN_MEMORY, MOST_HEADS = 128 << 20, 512 << 20, 500_000
UNFOLLOWED = os.O_NOFOLLOW | os.O_NONBLOCK  # A file may have become a link or a pipe meanwhile.
HASH = 7  # Where a line VALIDSIG of gpgv names the hash.
BEGIN_SIGNED = b"-----BEGIN PGP SIGNED MESSAGE-----"
OPENING = re.compile(BEGIN_SIGNED + rb"[ \t]*\r?\n(?:Hash: [\w, -]+\r?\n)*[ \t]*\r?\n")
ARMOR = re.compile(rb"-----BEGIN PGP [^\n]+\n(?:\S+: [^\n]*\n)*\s*\n([\w+/=\s]+?)(?:\n=[^\n]+)?\s*\n-----END")
SAID = re.compile(r"\d+ (path|size)=(.*)\n")
PLACE = re.compile(r"(?:\./)?(?:[^/]+/)?(index\.json|blobs/sha256/[0-9a-f]{64})")


ODD = (AttributeError, KeyError, OverflowError, TypeError, ValueError)  # What Python says of odd JSON.


class Stop(Exception):
    """Why the import ends, and the exit code that says so."""

    def __init__(self, code: int, problem: str) -> None:
        super().__init__({1: "Failed: ", 3: "Incomplete: ", 4: "Refused: "}.get(code, "") + problem)
        self.code = code


# Reading a bundle. It is an OCI image layout, in which each blob is named by its SHA-256.


class Span:
    """The next bytes of a file, so many and no more."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.left = file, size

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes. Where the file is cut short, some are left at the end."""
        while self.left and (data := self.file.read(min(CHUNK, self.left))):
            self.left -= len(data)
            yield data


class Folder:
    """A bundle, or a part of one, in a folder. One file of it is open at a time."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file: BinaryIO = Path(os.devnull).open("rb")

    def open(self, place: str) -> Span | None:
        """Return a file of the layout, None if it is not here."""
        path = self.root / place
        if not os.path.lexists(path):
            return None
        if path.is_symlink() or not path.is_file():
            raise Stop(4, f"{path} is a link or a device, where a file is expected")
        self.file.close()
        self.file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | UNFOLLOWED))
        return Span(self.file, os.fstat(self.file.fileno()).st_size)


class Tar(Folder):
    """The same in a tar, in whatever order."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.spans: dict[str, tuple[int, int]] = {}

    def open(self, place: str) -> Span | None:
        """Return a file of the layout, None if it is not here."""
        start, size = self.spans.get(place, (0, -1))
        self.file.seek(start)
        return None if size < 0 else Span(self.file, size)


def members(file: BinaryIO) -> Iterator[tuple[int, str, int]]:
    """Yield the files of tars that follow each other, at their first bytes: tar, name, and size."""
    number, heads = 0, 0
    said: dict[str, str] = {}
    while len(head := file.read(tarfile.BLOCKSIZE)) == tarfile.BLOCKSIZE:
        heads += 1
        if heads > MOST_HEADS:
            raise Stop(4, f"a tar has more than {MOST_HEADS:,} files")
        if not any(head):  # The end of a tar, or what fills it up.
            number += 1
            continue
        try:
            member = tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
            name, size = said.pop("path", member.name), int(said.pop("size", member.size))
        except (tarfile.TarError, ValueError):
            raise Stop(4, "what should be a tar is none, is compressed, or is damaged") from None
        start = file.tell()
        if not 0 <= size < LARGEST:
            raise Stop(4, f"a tar says that {name!r:.200} has {size} bytes")
        if member.type in {tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME}:  # It speaks of the next member.
            data = file.read(min(size, CHUNK)).decode("utf-8", "surrogateescape")
            is_name = member.type == tarfile.GNUTYPE_LONGNAME
            said = {"path": data.rstrip("\0")} if is_name else dict(re.findall(SAID, data))
        elif member.type != tarfile.XGLTYPE:
            if member.type not in {tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.DIRTYPE}:
                raise Stop(4, f"{name!r:.200} in a tar is a link or a device")
            yield number, name, size
        file.seek(start + size + -size % tarfile.BLOCKSIZE)


def opened(path: str, room: Path) -> Iterable[Folder]:
    """Return what a BUNDLE consists of. A pipe becomes a file in `room`, of at most half of what is free."""
    if Path(path).is_dir():
        return [Folder(Path(path))]
    file = sys.stdin.buffer if path == "-" else Path(path).open("rb")
    if not file.seekable():
        pipe = Span(file, shutil.disk_usage(room).free // 2)
        file = tempfile.TemporaryFile(dir=room)
        file.writelines(pipe)
        if not pipe.left:
            raise Stop(1, "the disk has no room for the pipe: unpack the tar elsewhere, and give its folder")
        file.seek(0)
    tars: dict[int, Tar] = {}
    for number, name, size in members(file):
        if name.startswith("/") or ".." in name.split("/"):
            raise Stop(4, f"a tar names {name!r:.200}, which leads out of it")
        if found := PLACE.fullmatch(name):
            spans = tars.setdefault(number, Tar(file)).spans
            if found[1] in spans:
                raise Stop(4, f"a tar has {name!r:.200} twice")
            spans[found[1]] = (file.tell(), size)
    return tars.values()


class Small:
    """The files of a bundle that only name others, as far as there is memory for them."""

    def __init__(self, sources: list[Folder]) -> None:
        self.sources, self.left = sources, MOST_IN_MEMORY

    def read(self, place: str, sources: list[Folder] | None = None) -> bytes | None:
        """Return a file, None if no part has it."""
        if not PLACE.fullmatch(place):
            raise ValueError(place)
        for span in filter(None, (source.open(place) for source in sources or self.sources)):
            self.left -= span.left
            if span.left > LARGEST_TEXT or self.left < 0:
                raise Stop(4, f"{place} has {span.left:,} bytes, too many for what only names items")
            data = b"".join(span)
            if span.left:
                raise Stop(3, f"{place} is cut short by {span.left:,} bytes")
            if place != INDEX and BLOBS + hashlib.sha256(data).hexdigest() != place:
                raise Stop(4, f"{place} has other bytes than its name promises")
            return data
        return None


def parsed(data: bytes | None, what: str) -> dict[str, Any]:
    """Return a JSON object."""
    if data is None:
        raise Stop(3, f"{what} is missing")
    if data.count(b"{") + data.count(b"[") > 100_000 + len(data) // 32:
        raise Stop(4, f"{what} has more objects than an honest one of its size")
    try:
        value = json.loads(data.decode())
    except ValueError as error:
        raise Stop(4, f"{what} is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise Stop(4, f"{what} is no JSON object")
    return value


class File(NamedTuple):
    """A file that the bundle's contents name. It is a claim, until a signed list says the same."""

    path: str
    sha256: str
    size: int
    is_carried: bool
    part: int


class Contents(NamedTuple):
    """What a bundle says that it holds of one mirror."""

    data: bytes
    signature: str
    suffix: str
    documents: list[File]
    items: list[File]


def claimed(small: Small, mirror: str | None) -> Contents:
    """Return what the bundle says of itself, in the terms of OCI and in its own, which have to agree."""
    indexes = {small.read(INDEX, [source]) for source in small.sources} - {None}
    if len(indexes) > 1:
        raise Stop(1, "these are parts of different bundles: import one bundle after the other")
    try:
        found = []
        for one in parsed(next(iter(indexes), None), f"{INDEX}, and so a whole bundle,")["manifests"]:
            manifest = parsed(small.read(BLOBS + one["digest"][7:]), "a manifest")
            if manifest["config"]["mediaType"] != CONTENTS_TYPE:
                raise Stop(4, "it is no bundle of sstream-proxy; it may be a container image")
            data = small.read(BLOBS + manifest["config"]["digest"][7:])
            found.append((manifest, parsed(data, "the list of contents"), data or b""))
        chosen = [one for one in found if mirror in {None, one[1]["mirror"]}]
        if len(chosen) != 1:
            names = ", ".join(sorted(one[1]["mirror"] for one in found))
            raise Stop(2, f"Name one of the bundle's mirrors with --mirror: {names:.2000}")
        manifest, contents, data = chosen[0]
        documents, items = ([claim(row) for row in contents[name]] for name in ("documents", "items"))
        layers = [(one["annotations"][TITLE], one["digest"][7:], one["size"]) for one in manifest["layers"]]
        files = sorted(layer for layer in layers if not layer[0].startswith(OURS + "/"))
        if files != sorted(file[:3] for file in documents + items if file.is_carried):
            raise Stop(4, "its manifest and its list of contents disagree on what is carried")
        if len({file.path for file in documents + items}) != len(documents + items):
            raise Stop(4, "its list of contents names a path twice")
        signature = next((digest for title, digest, _ in layers if title == SIGNATURE), "")
        suffix = ".sjson" if contents["index_path"].endswith(".sjson") else ".json"
        return Contents(data, signature, suffix, documents, items)
    except ODD as error:
        raise Stop(4, f"what the bundle says of itself cannot be read: {error!r:.200}") from None


def claim(row: dict[str, Any]) -> File:
    """Return a file from the list of contents. Raises an error of Python for anything odd."""
    is_carried = row.get("is_carried", True) and not row.get("is_missing", False)
    file = File(row["path"], row["sha256"], row["size"], is_carried, int(row.get("part", 0)))
    if canonical(file.path.replace("%", "%25")) != file.path or not re.fullmatch("[0-9a-f]{64}", file.sha256):
        raise ValueError(file.path)
    return file


def canonical(path: str) -> str:
    """Return where a path of a list lies in the tree. Raises ValueError for one that leads out of it."""
    *folders, name = path.split("/")
    decoded = unquote("/".join([*(one for one in folders if one not in {"", "."}), name]), errors="strict")
    decoded.encode()
    parts = decoded.split("/")
    if {"", ".", ".."} & set(parts) or parts[0] == OURS or re.search(r"[\x00-\x1f\x7f\\]", decoded):
        raise ValueError(f"{path!r:.200} leads out of the tree")
    return decoded


# Proving: somebody whose keys are here has signed a document, and such a document names an item.


class Keyring:
    """Somebody's public keys, and gpgv, which checks signatures by them."""

    def __init__(self, path: str, scratch: Path) -> None:
        self.path, self.scratch, self.ring = path, scratch, scratch / os.urandom(8).hex()
        ring = Path(path).read_bytes()
        # gpgv reads binary keyrings only.
        blocks = [base64.b64decode(block) for block in ARMOR.findall(ring)]
        self.ring.write_bytes(b"".join(blocks) or ring)

    def check(self, what: str, document: bytes, signature: bytes | None = None) -> bytes:
        """Return what is signed: the document by a signature beside it, or the text in it by its own.

        One signature by these keys has to be good, and none of them may be bad.
        """
        files = [self.scratch / name for name in ("text", "signature", "document")]
        for file, data in zip(files, (b"", signature or b"", document)):
            file.write_bytes(data)
        files[0].unlink()
        command = ["gpgv", f"--homedir={self.scratch}", f"--keyring={self.ring}", "--status-fd=1"]
        command += map(str, files[1:] if signature is not None else ["--output", files[0], files[2]])
        try:
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=900, check=False
            )
        except FileNotFoundError:
            raise Stop(1, "gpgv is not installed: it is in the package gpgv, elsewhere in gnupg2") from None
        except subprocess.TimeoutExpired:
            raise Stop(4, f"gpgv comes to no end with the signature of {what}") from None
        if done.returncode < 0:
            raise Stop(1, f"gpgv was ended by signal {-done.returncode}")
        signatures: list[dict[str, list[str]]] = [{}]
        said = [line.split() for line in done.stdout.decode("utf-8", "replace").split("\n") if line]
        for _, keyword, *words in (line for line in said if len(line) > 1):
            signatures += [{}] if keyword == "NEWSIG" else []
            signatures[-1][keyword] = words
        # A hash of 1, 2 or 3 is MD5, SHA-1 or RIPEMD-160 (RFC 4880 section 9.4), which can be forged.
        whole = [one for one in signatures if "GOODSIG" in one and len(one.get("VALIDSIG", ())) > HASH]
        good = [one for one in whole if one["VALIDSIG"][HASH] not in {"1", "2", "3"}]
        if not good or any("BADSIG" in one for one in signatures):
            reason = re.sub(r"\s*(gpgv: *|$)", "; ", done.stderr.decode("utf-8", "replace")).strip("; ")
            raise Stop(4, f"{what} has no good signature by a key in {self.path}: {reason}")
        tell(f"{what}: signed by {' '.join(good[0]['GOODSIG'])} on {good[0]['VALIDSIG'][1]}")
        return document if signature is not None else files[0].read_bytes()

    def text(self, document: bytes, what: str) -> bytes:
        """Return what is signed in a document that is signed in itself, and that must show nothing else."""
        if (shown := shown_lines(document)) is None:
            raise Stop(4, f"{what} is not one signed text: it is cut short, or something stands beside it")
        text = self.check(what, document)
        if shown != [line.rstrip(b" \t\r") for line in text.rstrip(b"\r\n").split(b"\n")]:
            raise Stop(4, f"{what} shows text that its signature does not cover")
        return text


def shown_lines(document: bytes) -> list[bytes] | None:
    """Return the lines that a document signed in itself shows, None if it is anything but one signed text."""
    opening, parts = OPENING.match(document), document.split(b"\n-----")
    marks = [part.strip() for part in parts[1:]]
    is_one = len(marks) == 2 and marks[0].startswith(b"BEGIN PGP SIGNATURE-----")
    if opening is None or not is_one or marks[1] != b"END PGP SIGNATURE-----":
        return None
    lines = parts[0][opening.end() :].rstrip(b"\r\n").split(b"\n")
    return [(line[2:] if line.startswith(b"- ") else line).rstrip(b" \t\r") for line in lines]


def proved(documents: dict[str, bytes], keyring: Keyring | None) -> dict[str, bytes]:
    """Return the texts of documents. Without a keyring, an operator has signed for all of them."""
    texts: dict[str, bytes] = {}
    for path, data in documents.items():
        signature = documents.get(path + ".gpg")
        if data.startswith(BEGIN_SIGNED) or path.endswith(".sjson"):
            texts[path] = keyring.text(data, path) if keyring else b"\n".join(shown_lines(data) or [])
        elif signature is not None and keyring is not None:
            texts[path] = keyring.check(path, data, signature)
    for path, data in documents.items():
        beside = texts.get(path[: -len("json")] + "sjson") if path.endswith(".json") else None
        if beside is not None and statement(beside, path) != statement(data, path):
            raise Stop(4, f"{path} does not say what the signed document beside it says")
        is_signature = path.endswith(".gpg") and path[: -len(".gpg")] in documents
        if path not in texts and beside is None and not is_signature and keyring is not None:
            raise Stop(4, f"{path} bears no signature")
        texts.setdefault(path, data)
    return texts


def statement(text: bytes, what: str) -> str:
    """Return what a document states, in one form, whichever flavour of lists an index names."""
    document = parsed(text, what)
    for _, entry in entries(document):
        entry["path"] = re.sub(r"\.sjson$", ".json", str(entry.get("path")))
    return json.dumps(document, sort_keys=True)


def stem(path: str) -> str:
    """Return what all flavours of a document have in common."""
    return re.sub(r"(\.s?json)?(\.gpg)?$", "", path)


def entries(index: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what an index names, each with its content id. One of mirrors has several for an id."""
    for kind in ("index", "mirrors"):
        named = index.get(kind) if index.get("format") == "index:1.0" else None
        for content_id, found in named.items() if isinstance(named, dict) else ():
            for entry in found if isinstance(found, list) else [found]:
                if isinstance(entry, dict):
                    yield content_id, entry


def children(node: dict[str, Any], kind: str) -> Iterator[dict[str, Any]]:
    """Yield the products, versions or items of a node, with what it says for all of them."""
    said = {name: value for name, value in node.items() if isinstance(value, (str, int, float))}
    found = node.get(kind)
    for child in found.values() if isinstance(found, dict) else ():
        if isinstance(child, dict):
            yield {**said, **child}


def listed(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the items of a list."""
    for product in children(document, "products"):
        for version in children(product, "versions"):
            yield from children(version, "items")


def named_items(texts: dict[str, bytes], suffix: str, is_mix_taken: bool) -> set[tuple[str, str, int]]:
    """Return path, SHA-256 and size of all items in the lists that the index names, and in no others."""
    named, reached = set(), set()
    pending = [(start + suffix, "", 0.0) for start in STARTS if start + suffix in texts or start == STARTS[0]]
    for path, content_id, least in pending:
        if path in reached:
            continue
        reached.add(path)
        document = parsed(texts.get(path), path)
        found = document.get("content_id", content_id) if "products" in document else content_id
        if found != content_id:
            raise Stop(4, f"{path} is list {found!r:.200}, where {content_id} should be")
        if date(document) < least and not is_mix_taken:
            raise Stop(4, f"{path} is older than its index says (--accept-older takes such a mixture)")
        for name, entry in entries(document):
            if entry.get("format") in ("index:1.0", "products:1.0"):
                with contextlib.suppress(*ODD):  # It may name no file.
                    pending.append((canonical(entry["path"]), name, date(entry)))
        for item in listed(document):
            with contextlib.suppress(*ODD):  # Likewise.
                named.add((canonical(item["path"]), item["sha256"].lower(), int(item["size"])))
    stems = {stem(path) for path in reached}
    if strange := next((path for path in texts if stem(path) not in stems), ""):
        raise Stop(4, f"{strange} is no list that the index names, so it has no place in the tree")
    return named


def date(document: dict[str, Any]) -> float:
    """Return when a document, or an entry of an index, says that it was updated; 0 if it does not."""
    try:
        moment = email.utils.parsedate_to_datetime(document["updated"])
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).timestamp()
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError):
        return 0.0


# Unpacking.


class Tree:
    """A folder that a web server can serve as a mirror."""

    def __init__(self, root: Path) -> None:
        self.root, self.work = root, root / OURS / "importing"
        self.streams, self.before = root / "streams", self.work / "streams-before"
        self.alone: set[Path] = set()
        self.work.parent.mkdir(0o700, parents=True, exist_ok=True)
        self.check_alone(self.work.parent)
        self.work.mkdir(0o700, exist_ok=True)
        self.check_alone(self.work)
        self.lock = (self.work / "lock").open("wb")
        fcntl.flock(self.lock, fcntl.LOCK_EX)  # One import after the other.
        if self.before.exists() and not self.streams.exists():
            self.before.rename(self.streams)  # The last import ended in the middle of `publish`.

    def check_alone(self, folder: Path) -> None:
        """Raise Stop where root would write into what others may change: they could lead it elsewhere."""
        above = [folder.resolve(), *folder.resolve().parents] if os.geteuid() == 0 else []
        for one in (one for one in above if one not in self.alone):
            status = one.stat()
            if status.st_uid or (status.st_mode & 0o022 and not status.st_mode & stat.S_ISVTX):
                how = f"sudo -u '#{status.st_uid}'" if status.st_uid else "as another user"
                raise Stop(1, f"others may change {one} while root writes there: run this {how}")
            self.alone.add(one)

    def read(self, path: str) -> bytes | None:
        """Return a document that is here."""
        return (self.root / path).read_bytes() if (self.root / path).is_file() else None

    def holds(self, item: File) -> bool:
        """Say whether an item is here, and right."""
        path = self.root / item.path
        if not path.is_file() or path.stat().st_size != item.size:
            return False
        with path.open("rb") as file:
            return copied(Span(file, item.size), Path(os.devnull)) == item.sha256

    def check_newer(self, texts: dict[str, bytes]) -> None:
        """Raise Stop for documents that are older than those here, or of another stream."""
        for path, text in texts.items():
            name = stem(path)
            flavours = [] if path.endswith(".gpg") else [name + ".sjson", name + ".json"]
            for data in filter(None, map(self.read, flavours)):
                there = parsed(text, path)
                try:
                    here = parsed(b"\n".join(shown_lines(data) or [data]), path)
                except Stop:
                    continue  # What is here is damaged, and gets replaced.
                if date(there) < date(here):
                    raise Stop(4, f"{path} is older than the one in {self.root} (--accept-older takes it)")
                names = [{name for name, _ in entries(one)} for one in (here, there)]
                if name == STARTS[0] and all(names) and names[0].isdisjoint(names[1]):
                    raise Stop(4, f"it is of another stream than {self.root}: they have no list in common")

    def publish(self, documents: dict[str, bytes]) -> None:
        """Replace all documents at once. Other files that are in streams/ stay there."""
        fresh = self.work / "streams-after"
        shutil.rmtree(fresh, ignore_errors=True)
        if self.streams.exists():
            shutil.copytree(self.streams, fresh / "streams", symlinks=True)
        for path, data in documents.items():
            (self.work / "draft").write_bytes(data)
            root = fresh if path.startswith("streams/") else self.root
            self.place(self.work / "draft", root / path, 0o644)
        shutil.rmtree(self.before, ignore_errors=True)
        if not exchanged(fresh / "streams", self.streams):
            if self.streams.exists():
                self.streams.rename(self.before)
            (fresh / "streams").rename(self.streams)
        for leftover in (fresh, self.before):
            shutil.rmtree(leftover, ignore_errors=True)

    def place(self, draft: Path, path: Path, mode: int) -> None:
        """Give a file that is whole its name, once it is safe on the disk."""
        with draft.open("rb") as file:
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        path.parent.mkdir(parents=True, exist_ok=True)
        self.check_alone(path.parent)
        draft.replace(path)


def exchanged(one: Path, other: Path) -> bool:
    """Exchange two folders at one moment, where the system can (renameat2 of Linux), and say whether."""
    try:
        renameat2, here, swap = ctypes.CDLL(None).renameat2, -100, 2
    except (AttributeError, OSError):
        return False
    return not renameat2(here, os.fsencode(one), here, os.fsencode(other), swap)


def copied(span: Span, path: Path) -> str:
    """Copy bytes into a file, and return their SHA-256."""
    sha256 = hashlib.sha256()
    with path.open("wb") as file:
        for data in span:
            sha256.update(data)
            file.write(data)
    return sha256.hexdigest()


def take_items(sources: list[Folder], items: list[File], tree: Tree | None) -> tuple[list[File], list[File]]:
    """Copy items into the tree, or only read them. Return those that are missing, and the wrong ones."""
    missing: list[File] = []
    wrong: list[File] = []
    for number, item in enumerate(items, 1):
        if tree.holds(item) if tree else not item.is_carried:
            continue
        draft = tree.work / "draft" if tree else Path(os.devnull)
        span = next(filter(None, (source.open(BLOBS + item.sha256) for source in sources)), None)
        if span is None or span.left < item.size:
            missing.append(item)
        elif span.left > item.size or (copied(span, draft) != item.sha256 and not span.left):
            wrong.append(item)
        elif span.left:  # The tar ends in the middle of it.
            missing.append(item)
        elif tree:
            tree.place(draft, tree.root / item.path, 0o444)
        tell(f"{number} of {len(items)}: {item.path}, {item.size:,} bytes")
    return missing, wrong


def check_operator(contents: Contents, small: Small, options: Any, scratch: Path) -> None:
    """Raise Stop unless the operator whose keys are here, if any, has signed the list of contents."""
    if options.operator_keyring:
        signature = small.read(BLOBS + contents.signature) if contents.signature else None
        if signature is None:
            raise Stop(4, "no operator has signed the bundle")
        Keyring(options.operator_keyring, scratch).check("the bundle", contents.data, signature)
    elif contents.signature and not options.ignore_signature:
        raise Stop(4, "an operator has signed the bundle; name the file of his keys with --operator-keyring")


def documents_of(contents: Contents, small: Small, tree: Tree | None) -> dict[str, bytes]:
    """Return the documents, by path. What the bundle does not carry is in the tree, from an earlier one."""
    documents: dict[str, bytes] = {}
    for file in contents.documents:
        data = small.read(BLOBS + file.sha256) or (tree.read(file.path) if tree else None)
        if data is None or hashlib.sha256(data).hexdigest() != file.sha256:
            raise Stop(3, f"{file.path} is missing: an earlier bundle or another part has it")
        documents[file.path] = data
    return documents


def take(options: Any, scratch: Path) -> None:
    """Import one mirror of a bundle. Raises Stop unless all of it is well."""
    tree = Tree(Path(options.to)) if options.to and not options.verify_only else None
    sources = [one for path in options.bundles for one in opened(path, tree.work if tree else scratch)]
    small = Small(sources)
    contents = claimed(small, options.mirror)
    check_operator(contents, small, options, scratch)
    documents = documents_of(contents, small, tree)
    texts = proved(documents, Keyring(options.keyring, scratch) if options.keyring else None)
    named = named_items(texts, contents.suffix, options.accept_older)
    for item in contents.items:
        if item[:3] not in named:
            raise Stop(4, f"no signed list names {item.path} with the SHA-256 and size that are claimed")
        if item.path.startswith("streams/"):
            raise Stop(1, f"{item.path} lies in streams/, where this program places documents only")
    if tree and not options.accept_older:
        tree.check_newer(texts)
    missing, wrong = take_items(sources, contents.items, tree)
    # Where nothing is served yet, a tree that is not complete is better than none.
    if tree and not wrong and (not missing or not tree.streams.exists()):
        tree.publish(documents)
    for item in wrong:
        tell(f"Wrong bytes: {item.path}", sys.stderr)
    for item in missing:
        where = f"part {item.part}" if item.part else "another part, or an earlier bundle"
        tell(f"Missing: {item.path}, {item.size:,} bytes, from {where}", sys.stderr)
    if wrong:
        raise Stop(4, f"{len(wrong)} items have other bytes than the signed lists say")
    if missing:
        raise Stop(3, f"{len(missing)} items are missing, {sum(item.size for item in missing):,} bytes")
    tell(f"Complete: {options.to if tree else 'the bundle'} is what the signed lists say.")


def tell(text: str, file: TextIO | None = None) -> None:
    """Say something, in which a name from a bundle does nothing to a terminal but stand there."""
    shown = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
    print(shown, file=file or sys.stdout)


def main() -> int:
    """Do what the command line says, and return the exit code."""
    summary, _, rest = str(__doc__).partition("\n\n")
    shape = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=summary, epilog=rest, formatter_class=shape)
    here = [str(Path(__file__).resolve().parent)]
    parser.add_argument("bundles", nargs="*", metavar="BUNDLE", default=here)
    parser.add_argument("--to", metavar="TREE", help="the folder that a web server serves")
    parser.add_argument("--keyring", metavar="FILE", help="the publisher's public keys")
    parser.add_argument("--operator-keyring", metavar="FILE", help="those of whoever signs your bundles")
    parser.add_argument("--ignore-signature", action="store_true", help="leave the operator's unchecked")
    parser.add_argument("--mirror", metavar="NAME", help="which of the bundle's mirrors, if it has several")
    parser.add_argument("--accept-older", action="store_true", help="take documents older than TREE's")
    parser.add_argument("--verify-only", action="store_true", help="write nothing, only read and check all")
    options = parser.parse_args()
    if not options.keyring and not options.operator_keyring:
        parser.error("--keyring says whose signatures count; for unsigned mirrors, --operator-keyring")
    if not options.to and not options.verify_only:
        parser.error("--to says where the tree is; --verify-only needs none")
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, errors="backslashreplace", line_buffering=True)
    os.umask(0o022)  # The web server has to read it.
    try:
        with tempfile.TemporaryDirectory() as scratch:
            take(options, Path(scratch))
    except Stop as stop:
        tell(f"{stop}.", sys.stderr)
        return stop.code
    except FileNotFoundError as error:
        tell(f"Failed: there is no {error.filename}.", sys.stderr)
        return 1
    except (OSError, MemoryError, binascii.Error) as error:
        tell(f"Failed: {str(error) or 'out of memory'}. The same command goes on from here.", sys.stderr)
        return 1
    except RecursionError:
        tell("Refused: something in the bundle is nested too deeply.", sys.stderr)
        return 4
    except KeyboardInterrupt:
        tell("Interrupted. The same command goes on from here.", sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
