"""Writing and signing as whoever typed the command, while the cache is read as its owner.

Root becomes the owner of the data directory, who may neither write to a stick nor use anybody's
keys. So a process is forked before that, which stays who it was: it is handed open files, and
does with them what `Places` and a signer would do here. It believes the owner's process as little
as any other: it writes what belongs to a bundle, below the path that was typed, and nothing else.
"""

import base64
import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn, Self

from proxy.bundles.bundle import IMPORTER_PATH, Blob, Part, Sign, Text
from proxy.bundles.contents import Contents, read_contents
from proxy.bundles.destination import Destination, DestinationFault, DestinationTaken
from proxy.bundles.oci import INDEX_PATH, LAYOUT_PATH, blob_path
from proxy.bundles.signing import Signer, SigningFault
from proxy.bundles.texts import README_PATH, SUMS_PATH
from proxy.cli.export_places import PIPE, Places
from proxy.config.config import Config
from proxy.digest import digest_of, parse_digest
from proxy.errors import ProxyError
from proxy.store.owners import Owner, established_owner
from proxy.system.file_copies import Moved
from proxy.system.same_bytes import Way

_MESSAGE_BYTES = 64 * 1024
_FAULTS: dict[str, type[ProxyError]] = {
    one.__name__: one for one in (DestinationFault, DestinationTaken, SigningFault)
}
_TEXTS = {LAYOUT_PATH, INDEX_PATH, README_PATH, SUMS_PATH, IMPORTER_PATH}


class RootWriter:
    """The process that writes and signs, seen from the one that has the cache. Its methods block."""

    def __init__(self, places: Places, signer: Signer | None) -> None:
        """Fork. To be called while there is one thread, and before this process becomes anybody else."""
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._pid = os.fork()
        if self._pid == 0:
            self._socket.close()
            _serve(theirs, places, signer)
        theirs.close()

    def of(self, part: Part) -> Destination:
        """Return where a part goes. Raises what `Places.of` raises."""
        with _memory(json.dumps(_written(part)).encode()) as file:
            name, path = self.ask({"do": "part", "number": part.number}, file)
        return _RemoteDestination(self, part, name, Path(path))

    def sign(self, contents: Contents, written: bytes) -> bytes:  # noqa: ARG002 - they are read again there
        """Return a signature over contents as they are written. Raises SigningFault."""
        with _memory(written) as file:
            return base64.b64decode(self.ask({"do": "sign"}, file))

    def ask(self, request: dict[str, Any], *files: int, moved: Moved | None = None) -> Any:
        """Have something done, and return what it comes to. Raises what it raised there."""
        with self._lock:
            socket.send_fds(self._socket, [json.dumps(request).encode()], files)
            while data := self._socket.recv(_MESSAGE_BYTES):
                reply = json.loads(data)
                if "moved" not in reply:
                    break
                if moved is not None:
                    moved(reply["moved"])
            else:
                raise DestinationFault("the process that writes has ended: run the same again")
        if "fault" in reply:
            raise _FAULTS[reply["kind"]](reply["fault"])
        return reply["done"]

    @classmethod
    def if_needed(cls, config: Config, places: Places, signer: Signer | None) -> Self | None:
        """Return them where root is about to become another user, the owner of the data directory."""
        owner = established_owner(config.data_dir) or Owner.of(config.data_dir)
        if os.geteuid() != 0 or owner is None or owner.uid == 0:
            return None
        return cls(places, signer)

    def close(self) -> None:
        """End it: what is half written can be gone on with."""
        self._socket.close()
        os.waitpid(self._pid, 0)


@contextlib.contextmanager
def open_places(
    config: Config, to: Path, signer: Signer | None, *, may_link: bool
) -> Iterator[tuple[Callable[[Part], Destination], Sign | None]]:
    """Give what says where each part goes, and what signs: in this process, or in one that stays root's."""
    places = Places(to, config.data_dir, may_link=may_link)
    writer = RootWriter.if_needed(config, places, signer)
    if writer is None:
        yield places.of, None if signer is None else places.signing(signer)
        return
    with contextlib.closing(writer):
        # Standard output is open already, whoever writes to it.
        yield places.of if to == PIPE else writer.of, None if signer is None else writer.sign


class _RemoteDestination:
    """One part, written by the other process."""

    def __init__(self, writer: RootWriter, part: Part, name: str, path: Path) -> None:
        self._writer = writer
        self._number = part.number
        self._indexes = {blob.digest: index for index, blob in enumerate(part.blobs)}
        self.name = name
        self.path: Path | None = path

    def check(self) -> int:
        """Return how many bytes are to be written."""
        return int(self._do("check"))

    def begin(self) -> None:
        """Write all that is no blob."""
        self._do("begin")

    def put(self, blob: Blob, source: int, moved: Moved) -> Way | None:
        """Have the next blob written from an open file."""
        request = {"do": "put", "number": self._number, "blob": self._indexes[blob.digest]}
        way = self._writer.ask(request, source, moved=moved)
        return None if way is None else Way(way)

    def finish(self) -> None:
        """Make it last."""
        self._do("finish")

    def stop(self) -> None:
        """Do nothing: a disk has no reader."""

    def close(self) -> None:
        """Do nothing: the other process lets go of all files when it ends."""

    def _do(self, what: str) -> Any:
        return self._writer.ask({"do": what, "number": self._number})


# The side of the process that stays who it was


def _serve(owner: socket.socket, places: Places, signer: Signer | None) -> NoReturn:
    """Do what is asked until the other process has ended; this one ends then."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    server = _Server(owner, places, signer)
    try:
        while server.serve_one():
            pass
    except OSError:
        pass  # The other process has ended in the middle of something.
    finally:
        os._exit(0)


class _Server:
    def __init__(self, owner: socket.socket, places: Places, signer: Signer | None) -> None:
        self._owner = owner
        self._places = places
        self._sign = None if signer is None else places.signing(signer)
        self._parts: dict[int, tuple[Part, Destination]] = {}

    def serve_one(self) -> bool:
        """Do the next thing that is asked; say whether there was any."""
        data, files, *_ = socket.recv_fds(self._owner, _MESSAGE_BYTES, 1)
        if not data:
            return False
        try:
            reply: dict[str, Any] = {"done": self._do(json.loads(data), *files)}
        except ProxyError as error:
            kind = type(error).__name__
            known = kind if kind in _FAULTS else DestinationFault.__name__
            reply = {"fault": str(error), "kind": known}
        finally:
            for file in files:
                os.close(file)
        self._tell(reply)
        return True

    def _do(self, request: dict[str, Any], file: int = -1) -> Any:
        what = request["do"]
        if what == "sign":
            return self._signature(_content(file))
        number = int(request["number"])
        if what == "part":
            part = _read(json.loads(_content(file)))
            place = self._places.of(part)
            self._parts[number] = part, place
            return [place.name, str(place.path)]
        part, place = self._parts[number]
        if what == "put":
            way = place.put(part.blobs[request["blob"]], file, lambda count: self._tell({"moved": count}))
            return None if way is None else way.value
        steps: dict[str, Callable[[], int | None]] = {
            "check": place.check, "begin": place.begin, "finish": place.finish,
        }  # fmt: skip
        return steps[what]()

    def _signature(self, written: bytes) -> str:
        if self._sign is None:
            raise SigningFault("nobody has asked for a signature")
        return base64.b64encode(self._sign(read_contents(written), written)).decode()

    def _tell(self, reply: dict[str, Any]) -> None:
        self._owner.send(json.dumps(reply).encode())


def _written(part: Part) -> dict[str, Any]:
    texts = (part.layout, part.index, *part.texts)
    return {
        "number": part.number,
        "of": part.of,
        "moment": part.moment,
        "texts": [[one.path, base64.b64encode(one.data).decode()] for one in texts],
        "blobs": [[one.digest, one.size_bytes, one.name, one.mirror] for one in part.blobs],
    }


def _read(written: dict[str, Any]) -> Part:
    """Return the part that was written. Raises DestinationFault for a file that is in no bundle."""
    texts = [Text(path, base64.b64decode(data)) for path, data in written["texts"]]
    for text in texts:
        if text.path not in _TEXTS and text.path != blob_path(digest_of(text.data)):
            raise DestinationFault(f"{text.path!r:.80} is no file of a bundle")
    layout, index, *others = texts
    return Part(
        number=int(written["number"]),
        of=int(written["of"]),
        moment=float(written["moment"]),
        layout=layout,
        index=index,
        texts=tuple(others),
        blobs=tuple(
            Blob(parse_digest(digest), size_bytes, name, mirror)
            for digest, size_bytes, name, mirror in written["blobs"]
        ),
    )


@contextlib.contextmanager
def _memory(data: bytes) -> Iterator[int]:
    """Return an open file without a name that holds these bytes."""
    file = os.memfd_create("export")
    try:
        with os.fdopen(os.dup(file), "wb") as writer:
            writer.write(data)
        yield file
    finally:
        os.close(file)


def _content(file: int) -> bytes:
    return os.pread(file, os.fstat(file).st_size, 0)
