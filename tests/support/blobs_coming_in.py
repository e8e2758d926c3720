"""One blob on its way in, whose bytes every process knows."""

import stat
from pathlib import Path

from proxy.digest import digest_of
from proxy.store.local.incoming import LocalIncoming
from proxy.store.local.partial import LocalPartial
from proxy.store.local.store import LocalStore

DATA = bytes(range(256)) * 9000
SIZE = len(DATA)
DIGEST = digest_of(DATA)
HOLD_THE_PARTIAL = """
from pathlib import Path
from proxy.digest import Digest
from proxy.store.local.incoming import LocalIncoming
from proxy.store.local.store import LocalStore
incoming = LocalStore(Path(sys.argv[1])).acquire(Digest(sys.argv[2]), int(sys.argv[3]))
incoming.append(bytes(range(256)) * 1000)
"""


def acquired(store: LocalStore) -> LocalIncoming:
    """Become the writer of the blob."""
    incoming = store.acquire(DIGEST, SIZE)
    assert incoming is not None
    return incoming


def partial(store: LocalStore) -> LocalPartial:
    """Follow the blob."""
    found = store.follow(DIGEST)
    assert found is not None
    return found


def mode(path: Path) -> int:
    """Return a file's permissions."""
    return stat.S_IMODE(path.stat().st_mode)


def finish(incoming: LocalIncoming) -> None:
    """Append what is missing and commit."""
    incoming.append(DATA[incoming.length_bytes :])
    incoming.verify()
    incoming.commit()
    incoming.close()
