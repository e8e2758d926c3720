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
KEYRING = Path("/etc/sstream-proxy/test-keyring.gpg")
_TREE = Path("/srv/tree")
_KEYS = Path("/root/test-gnupg")
_GPG = ("gpg", "--batch", "--quiet", "--homedir", str(_KEYS))


def make_tree() -> None:
    """Write the tree, signed by a key that is made for it."""
    for folder in (_KEYS, _TREE):
        shutil.rmtree(folder, ignore_errors=True)
    _KEYS.mkdir(mode=0o700)
    run(*_GPG, "--passphrase", "", "--quick-generate-key", "test", "rsa2048", "sign", "never")
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
    (_TREE / ITEM).parent.mkdir(parents=True)
    (_TREE / ITEM).write_bytes(IMAGE)
    (_TREE / "streams/v1").mkdir(parents=True)
    for name, document in lists.items():
        plain = _TREE / f"streams/v1/{name}.json"
        plain.write_text(json.dumps(document))
        run(*_GPG, "--clearsign", "--output", str(plain.with_suffix(".sjson")), str(plain))


def mirror(url: str) -> str:
    """Return the configuration of a mirror with that origin, below /m/; its keyring is written."""
    run(*_GPG, "--export", "--output", str(KEYRING), "test")
    return f'\n[[mirror]]\nname = "test"\nmount = "/m/"\norigins = ["{url}"]\nkeyring = "{KEYRING}"\n'


class Origin:
    """Serves the tree at `url`; while `goes_on` is cleared, an image stops in the middle, at `is_held`."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.goes_on.set()
        self.is_held = threading.Event()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def serve(self) -> None:
        """Answer until it is closed."""
        self._server.serve_forever()

    def close(self) -> None:
        """Refuse connections from now on."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Writes no log."""

    def __init__(self, origin: Origin, *connection: object) -> None:
        self._origin = origin
        super().__init__(*connection, directory=str(_TREE))  # type: ignore[arg-type]

    def copyfile(self, source: IO[bytes], outputfile: IO[bytes]) -> None:  # type: ignore[override]
        """Send a file, with a stop in the middle of an image that is held."""
        if not self._origin.goes_on.is_set() and self.path.endswith(ITEM):
            outputfile.write(source.read(len(IMAGE) // 2))
            outputfile.flush()
            self._origin.is_held.set()
            self._origin.goes_on.wait(60)
        with suppress(ConnectionError):
            super().copyfile(source, outputfile)

    def log_message(self, *_: object) -> None:
        """Write nothing."""


@contextmanager
def origin() -> Iterator[Origin]:
    """Serve the tree while the context lasts."""
    serving = Origin()
    threading.Thread(target=serving.serve, daemon=True).start()
    try:
        yield serving
    finally:
        serving.close()
