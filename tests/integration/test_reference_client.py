"""The reference client itself: `sstream-mirror` and `sstream-query`, unpatched, against the proxy.

It reads by `requests` when that is installed and by `urllib` otherwise, and behaves differently; both are
run here. Every run verifies signatures with its own gpgv and checksums of its own.
"""

import asyncio
import json
import logging
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from support.credentials import user
from support.faults import Fault
from support.keys import SigningKey
from support.maas import maas_tree
from support.origin import Origin
from support.running import RunningProxy, run_proxy
from support.tree import SignedTree

from proxy.web.access.gate import AccessOptions

pytestmark = pytest.mark.skipif(
    shutil.which("gpgv") is None,
    reason="sstream-mirror verifies signatures with gpgv, which is not installed",
)

BIN = Path(sys.executable).parent
PATIENCE_S = 60.0
READERS = {"requests": "RequestsUrlReader", "urllib": "Urllib2UrlReader"}

# Hides `requests` if told so, names the reader that the client then chose, and becomes the client.
RUN = """
import runpy, sys
if sys.argv[1] == "urllib":
    sys.modules["requests"] = None
from simplestreams import contentsource
print("reads by", contentsource.URL_READER_CLASSNAME, file=sys.stderr)
del sys.argv[:2]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Ran:
    """What a finished run has left."""

    def __init__(self, status: int, output: str, log: str) -> None:
        self.status = status
        self.output = output
        self.log = log


@pytest.fixture(params=READERS)
def stack(request: pytest.FixtureRequest) -> str:
    """Return the HTTP library that the client uses."""
    return str(request.param)


@pytest.fixture
def tree(tmp_path: Path, key: SigningKey) -> SignedTree:
    """Return a tree like that of images.maas.io, at a thousandth of its size."""
    return maas_tree(tmp_path / "upstream", key)


async def run(stack: str, tool: str, *arguments: object, env: Mapping[str, str] | None = None) -> Ran:
    """Run a tool of the reference client to its end."""
    plain = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", "-c", RUN, stack, str(BIN / tool), *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**plain, **(env or {})},
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            output, log = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert READERS[stack] in log.decode()
    return Ran(process.returncode or 0, output.decode(), log.decode())


async def mirror(
    stack: str,
    source: str,
    target: Path,
    keyring: Path,
    *filters: str,
    env: Mapping[str, str] | None = None,
) -> Ran:
    """Mirror a tree, verified."""
    return await run(stack, "sstream-mirror", f"--keyring={keyring}", source, target, *filters, env=env)


def base(proxy: RunningProxy) -> str:
    """Return the URL of the mirror, with its final slash."""
    return proxy.base + proxy.config.mirrors[0].mount


def assert_mirrored(tree: SignedTree, target: Path, paths: Sequence[str] | None = None) -> None:
    """Assert that every item, or those given, and all signed metadata are byte for byte the tree's."""
    metadata = [path.relative_to(tree.root) for path in tree.root.glob("streams/v1/*.sjson")]
    items = [item.path for item in tree.items] if paths is None else paths
    for path in [*map(str, metadata), *items]:
        assert (target / path).read_bytes() == (tree.root / path).read_bytes(), path
    held = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert {path for path in held if not path.startswith(".data/")} == {*map(str, metadata), *items}


@pytest.mark.parametrize("ending", ["/", "", "/streams/v1/index.sjson"])
async def test_a_whole_mirror_is_made_through_the_proxy(
    proxy: RunningProxy, tree: SignedTree, keyring: Path, tmp_path: Path, stack: str, ending: str
) -> None:
    """By the URL as people write it: with a slash at its end, without one, or of the index."""
    ran = await mirror(stack, base(proxy).removesuffix("/") + ending, tmp_path / "out", keyring)

    assert ran.status == 0, ran.log
    assert_mirrored(tree, tmp_path / "out")


async def test_items_are_fetched_once_for_many_clients(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, keyring: Path, tmp_path: Path
) -> None:
    """Both kinds of client at the same time on a cold cache."""
    stacks = [*READERS, *READERS]
    runs = [mirror(stack, base(proxy), tmp_path / f"out{n}", keyring) for n, stack in enumerate(stacks)]

    assert [ran.status for ran in await asyncio.gather(*runs)] == [0] * 4
    for n in range(4):
        assert_mirrored(tree, tmp_path / f"out{n}")
    assert {origin.count(item.path) for item in tree.items} == {1}


async def test_a_second_mirror_is_made_while_the_origin_is_down(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, keyring: Path, tmp_path: Path, stack: str
) -> None:
    """Long after the lists were last checked: the last verified ones and all that is held are served."""
    await mirror("requests", base(proxy), tmp_path / "first", keyring)
    await origin.stop()
    proxy.clock.advance(12 * 3600)

    ran = await mirror(stack, base(proxy), tmp_path / "second", keyring)

    assert ran.status == 0, ran.log
    assert_mirrored(tree, tmp_path / "second")


@pytest.mark.parametrize("is_cold", [True, False], ids=["cold", "warm"])
async def test_a_broken_off_download_is_resumed(
    proxy: RunningProxy,
    tree: SignedTree,
    keyring: Path,
    tmp_path: Path,
    stack: str,
    caplog: pytest.LogCaptureFixture,
    is_cold: bool,
) -> None:
    """The client appends what it gets to its `.part` unseen: only a true 206 makes the file right."""
    caplog.set_level(logging.INFO, "proxy.access")
    item = max(tree.items, key=lambda item: item.size)
    if not is_cold:
        await proxy.read(item.path)
    part = tmp_path / "out" / f"{item.path}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(item.read()[: item.size // 3])

    ran = await mirror(stack, base(proxy), tmp_path / "out", keyring)

    assert ran.status == 0, ran.log
    assert_mirrored(tree, tmp_path / "out")
    partial = [record.getMessage() for record in caplog.records if "status=206" in record.getMessage()]
    assert len(partial) == 1
    assert item.path in partial[0]
    assert f"bytes={item.size - item.size // 3}" in partial[0]


async def test_filters_choose_what_is_fetched(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, keyring: Path, tmp_path: Path
) -> None:
    """The proxy fetches what clients ask for, not what lists name."""
    ran = await mirror("requests", base(proxy), tmp_path / "out", keyring, "os=centos", "ftype=root-tgz")

    chosen = [item.path for item in tree.items if item.path.endswith("root-tgz")]
    assert ran.status == 0, ran.log
    assert_mirrored(tree, tmp_path / "out", chosen)
    assert sorted({seen.path for seen in origin.requests if not seen.path.startswith("streams/")}) == chosen


async def test_queries_name_items_at_the_proxy(proxy: RunningProxy, tree: SignedTree, keyring: Path) -> None:
    ran = await run(
        "requests", "sstream-query", f"--keyring={keyring}", "--json", base(proxy), "ftype=squashfs"
    )

    assert ran.status == 0, ran.log
    found = json.loads(ran.output)
    assert len(found) == 4
    assert {one["item_url"] for one in found} == {base(proxy) + one["path"] for one in found}
    assert {one["sha256"] for one in found} == {tree.item(one["path"]).digest for one in found}


async def test_a_list_named_by_hand_is_found(proxy: RunningProxy, tree: SignedTree, keyring: Path) -> None:
    """Paths of lists hold colons, which the client sends as they are."""
    path = "streams/v1/com.ubuntu.maas:stable:v3:download.sjson"
    options = [f"--keyring={keyring}", f"--path={path}", "--max=1", "-o", "%(path)s %(size)s"]

    ran = await run("requests", "sstream-query", *options, base(proxy), "ftype=boot-kernel")

    kernels = [item for item in tree.items if item.path.endswith("boot-kernel")]
    newest = [item for item in kernels if "/20250709/" in item.path]
    assert ran.status == 0, ran.log
    assert sorted(ran.output.splitlines()) == sorted(f"{item.path} {item.size}" for item in newest)


async def test_the_proxy_works_as_http_proxy_of_the_client(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, keyring: Path, tmp_path: Path, stack: str
) -> None:
    """With the origin's own URL as the source, and `http_proxy` in the environment."""
    ran = await mirror(stack, origin.url, tmp_path / "out", keyring, env={"http_proxy": proxy.base})

    assert ran.status == 0, ran.log
    assert_mirrored(tree, tmp_path / "out")
    assert {origin.count(item.path) for item in tree.items} == {1}
    assert all("simplestreams" not in seen.headers.get("User-Agent", "") for seen in origin.requests)


async def test_user_and_password_in_the_url_are_enough_where_they_are_needed(
    proxy: RunningProxy, tree: SignedTree, keyring: Path, tmp_path: Path, stack: str
) -> None:
    """MAAS up to 3.7 reads lists in this way, and passes the URL on as it was configured."""
    config = replace(
        proxy.config,
        data_dir=tmp_path / "other",
        users=(user("maas", "secret"),),
        access=AccessOptions(users=("maas",)),
    )
    async with run_proxy(config) as guarded:
        refused = await mirror(stack, base(guarded), tmp_path / "refused", keyring)
        url = base(guarded).replace("://", "://maas:secret@")
        ran = await mirror(stack, url, tmp_path / "out", keyring)

    assert refused.status != 0
    assert ran.status == 0, ran.log
    assert_mirrored(tree, tmp_path / "out")


async def test_an_item_that_is_wrong_at_the_origin_never_becomes_a_file(
    proxy: RunningProxy, origin: Origin, tree: SignedTree, keyring: Path, tmp_path: Path, stack: str
) -> None:
    """The client stops; it is left without the item and without the lists that name it."""
    item = max(tree.items, key=lambda item: item.size)
    origin.fault(item.path, Fault(corrupt_at=item.size // 2))

    ran = await mirror(stack, base(proxy), tmp_path / "out", keyring)

    assert ran.status != 0
    assert not (tmp_path / "out" / item.path).exists()
    assert not (tmp_path / "out" / "streams/v1/index.sjson").exists()


@pytest.mark.usefixtures("tree")
async def test_another_key_is_refused_by_the_client_itself(proxy: RunningProxy, tmp_path: Path) -> None:
    """So the runs above did verify what the proxy served."""
    stranger = tmp_path / "stranger.gpg"
    with SigningKey("Stranger <stranger@example.test>") as other:
        stranger.write_bytes(other.public_binary())

    ran = await mirror("requests", base(proxy), tmp_path / "out", stranger)

    assert ran.status != 0
    assert not (tmp_path / "out" / "streams/v1/index.sjson").exists()
