"""Fixtures for all tests: a key, a signed tree, its origin, and a proxy in front of it."""

import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from blockbuster import BlockBuster, blockbuster_ctx
from hypothesis import HealthCheck, settings
from support.bytecode import compile_once, keep_bytecode
from support.examining import Doctor
from support.keys import SigningKey
from support.origin import Origin
from support.running import MOUNT, Clock, RunningProxy, make_config, run_proxy
from support.tree import SignedTree

from proxy.mirror import Mirror

keep_bytecode()

# A shell has what it runs in the background ignore Ctrl-C; all programs that this starts would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine makes examples slow, and that is no fault of what is tested.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")

_MEMORY = Path("/dev/shm")
_LEAST_FREE_BYTES = 2 * 1024**3
_LONGEST = (
    "test_disk_faults.py",
    "test_ahead.py",
    "test_upstream_limit.py",
    "test_late_loop.py",
)

# Temporary folders lie in memory, where there is enough of it: on a disk, half of the time of all tests goes
# into waiting for what the store syncs. To have them on a disk: PYTEST_DEBUG_TEMPROOT=/var/tmp pytest.
if os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _LEAST_FREE_BYTES:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config) -> None:
    """Compile in one process what all would compile at the same time."""
    compile_once(config.args)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what libraries do not promise: where one has changed that, hundreds of others fail too.

    Then comes what takes longest, or the last of it would run while the other processes have nothing to do.
    """
    first = ["test_private_use.py", *_LONGEST]
    items.sort(key=lambda item: first.index(item.path.name) if item.path.name in first else len(first))


@pytest.fixture(scope="session", autouse=True)
def _no_blocking_call_in_the_event_loop() -> Iterator[None]:
    with blockbuster_ctx("proxy") as blockbuster:
        _allow_quick_calls(blockbuster)
        yield


def _allow_quick_calls(blockbuster: BlockBuster) -> None:
    """Allow what the design does in the loop on purpose: single quick system calls of a hit.

    os.replace is the one that sets a damaged blob aside.
    """
    for name in ("os.sendfile", "os.stat", "os.replace"):
        if name in blockbuster.functions:
            blockbuster.functions[name].deactivate()


@pytest.fixture(scope="session")
def key() -> Iterator[SigningKey]:
    """Return the key that signs the trees of this session."""
    with SigningKey() as key:
        yield key


@pytest.fixture
def keyring(tmp_path: Path, key: SigningKey) -> Path:
    """Return a keyring file with the session's public key."""
    path = tmp_path / "test-keyring.gpg"
    path.write_bytes(key.public_binary())
    return path


@pytest.fixture
def tree(tmp_path: Path, key: SigningKey) -> SignedTree:
    """Return an empty signed tree; `tree.publish()` makes it visible."""
    return SignedTree(tmp_path / "upstream", key)


@pytest.fixture
async def origin(tree: SignedTree) -> AsyncIterator[Origin]:
    """Return a running origin that serves `tree`."""
    async with Origin(tree.root) as origin:
        yield origin


@pytest.fixture
async def spare(tree: SignedTree) -> AsyncIterator[Origin]:
    """Return a second origin of the same tree."""
    async with Origin(tree.root) as origin:
        yield origin


@pytest.fixture
def mirror(origin: Origin, keyring: Path) -> Mirror:
    """Return a mirror of `origin`."""
    return Mirror(name="test", mount=MOUNT, origins=(origin.url,), keyring=str(keyring))


@pytest.fixture
def doctor(keyring: Path) -> Iterator[Doctor]:
    """Return the doctor, with the keyring of the session's key."""
    with ExitStack() as stack:
        tools = Doctor(stack, keyring)
        tools.judge()
        yield tools


@pytest.fixture
def clock() -> Clock:
    """Return the proxy's clock."""
    return Clock()


@pytest.fixture
async def proxy(tmp_path: Path, mirror: Mirror, clock: Clock) -> AsyncIterator[RunningProxy]:
    """Return a proxy in front of `origin`."""
    async with run_proxy(make_config(tmp_path / "data", mirror), clock) as proxy:
        yield proxy
