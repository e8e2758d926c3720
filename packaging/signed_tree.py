"""A signed tree with one image, the mirror that is configured for it, and its origin on loopback.

Needs Python's own library and gpg.
"""

import hashlib
import http.server
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import IO

from trial import run

ITEM = "noble/amd64/20260102/squashfs"
IMAGE = hashlib.shake_256(b"an image").digest(3_000_000)


def make_tree(folder: Path) -> None:
    """Write the tree anew, signed by a key that is made for it and kept beside it."""
    for made in (folder, _keys(folder)):
        shutil.rmtree(made, ignore_errors=True)
    _keys(folder).mkdir(mode=0o700)
    gpg = _gpg(folder)
    run(*gpg, "--passphrase", "", "--quick-generate-key", "test", "rsa2048", "sign", "never")
    item = {
        "path": ITEM,
        "ftype": "squashfs",
        "size": len(IMAGE),
        "sha256": hashlib.sha256(IMAGE).hexdigest(),
    }
    product = {"arch": "amd64", "release": "noble", "versions": {"20260102": {"items": {"squashfs": item}}}}
    lists = {
        "index": {
            "format": "index:1.0",
            "updated": "Fri, 02 Jan 2026 00:00:00 +0000",
            "index": {
                "test:download": {
                    "path": "streams/v1/test.sjson", "format": "products:1.0", "datatype": "image-downloads",
                    "products": ["test:noble"],
                }
            },
        },
        "test": {
            "format": "products:1.0", "content_id": "test:download", "datatype": "image-downloads",
            "updated": "Fri, 02 Jan 2026 00:00:00 +0000", "products": {"test:noble": product},
        },
    }  # fmt: skip
    (folder / ITEM).parent.mkdir(parents=True)
    (folder / ITEM).write_bytes(IMAGE)
    (folder / "streams/v1").mkdir(parents=True)
    for name, document in lists.items():
        plain = folder / f"streams/v1/{name}.json"
        plain.write_text(json.dumps(document))
        run(*gpg, "--clearsign", "--output", str(plain.with_suffix(".sjson")), str(plain))


def export_keyring(folder: Path, target: Path) -> None:
    """Write the keyring that proves a tree."""
    run(*_gpg(folder), "--export", "--output", str(target), "test")


def mirror(url: str, keyring: Path) -> str:
    """Return the configuration of a mirror with that origin and keyring, below /m/."""
    return f'\n[[mirror]]\nname = "test"\nmount = "/m/"\norigins = ["{url}"]\nkeyring = "{keyring}"\n'


class Origin:
    """Serves a tree at `url`; while `goes_on` is cleared, an image stops in the middle, at `is_held`."""

    def __init__(self, folder: Path) -> None:
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.is_held = threading.Event()
        handler = partial(_Handler, self, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def hold(self) -> None:
        """Stop the next image in the middle, until `goes_on` is set."""
        self.goes_on.clear()
        self.is_held.clear()

    def serve(self) -> None:
        """Answer until it is closed."""
        self._server.serve_forever()

    def close(self) -> None:
        """Refuse connections from now on."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Writes no log."""

    def __init__(self, origin: Origin, *connection: object, directory: str) -> None:
        self._origin = origin
        super().__init__(*connection, directory=directory)  # type: ignore[arg-type]

    def copyfile(self, source: IO[bytes], outputfile: IO[bytes]) -> None:  # type: ignore[override]
        """Send a file, with a stop in the middle of an image that is held; a client may have left."""
        with suppress(ConnectionError):
            if not self._origin.goes_on.is_set() and self.path.endswith(ITEM):
                outputfile.write(source.read(len(IMAGE) // 2))
                outputfile.flush()
                self._origin.is_held.set()
                self._origin.goes_on.wait(60)
            super().copyfile(source, outputfile)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@contextmanager
def origin(folder: Path) -> Iterator[Origin]:
    """Serve a tree while the context lasts."""
    serving = Origin(folder)
    threading.Thread(target=serving.serve, daemon=True).start()
    try:
        yield serving
    finally:
        serving.close()


def _keys(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}-keys")


def _gpg(folder: Path) -> tuple[str, ...]:
    return ("gpg", "--batch", "--quiet", "--yes", "--homedir", str(_keys(folder)))
