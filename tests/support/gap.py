"""Two sites with a gap between them: what A exports is carried to B by hand, in parts and in any order.

`Courier` keeps a model of what B must have by then, which is compared with what B says and serves
after each bundle: which generation is served, whether it is complete, and each byte of it.
"""

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from yarl import URL

from proxy.digest import Digest
from support.commands import Commands, Result
from support.exchange import read
from support.origin import Origin
from support.running import Service
from support.tree import SignedTree

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX = "streams/v1/index.sjson"
COMPLETE, INCOMPLETE, REFUSED = 0, 3, 4

_VERSIONS_KEPT = 3
"""Upstream removes older ones, as images.maas.io does."""
_PATIENCE_S = 60.0


class Nowhere:
    """An origin that nobody can reach."""

    url = "http://127.0.0.1:9/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What upstream published at one time."""

    number: int
    files: Mapping[str, Digest]
    """Signed documents and items, by path."""
    items: Mapping[Digest, int]
    """Sizes of items."""
    new_bytes: int
    """Of files that the generation before had not."""


@dataclass(frozen=True, slots=True)
class Bundle:
    """What was exported of one generation."""

    generation: Generation
    parts: tuple[Path, ...]

    @property
    def carried_bytes(self) -> int:
        """Return the bytes of all files of all parts."""
        return sum(file.stat().st_size for part in self.parts for file in _files(part))


class SiteA:
    """The site with a network: upstream publishes, it prefetches and exports."""

    def __init__(
        self, folder: Path, tree: SignedTree, origin: Origin, keyring: Path, *, item_bytes: int
    ) -> None:
        folder.mkdir()
        self.commands = Commands(folder, origin, keyring)
        settings = 'listen = ["127.0.0.1:0"]\nworkers = 1\n'
        self.commands.config.write_text(settings + self.commands.config.read_text())
        self._folder = folder
        self._tree = tree
        self._item_bytes = item_bytes
        self._versions: list[str] = []
        self._generations: list[Generation] = []

    async def publish(self) -> Generation:
        """Let upstream publish another version, and fetch it."""
        number = len(self._generations) + 1
        version = str(20250100 + number)
        self._versions.append(version)
        for name in ("boot-kernel", "boot-initrd", "squashfs"):
            self._tree.add_item(PRODUCT, version, name, size=self._item_bytes + number)
        if len(self._versions) > _VERSIONS_KEPT:
            self._tree.remove_version(self._versions.pop(0))
        self._tree.publish()
        done = await self.commands.run("prefetch")
        assert done.returncode == 0, done.stderr
        generation = self._look(number)
        self._generations.append(generation)
        return generation

    async def export(self, generation: Generation, *arguments: str, suffix: str) -> Bundle:
        """Write a bundle of the newest generation, with folders or tar files as parts."""
        name = f"bundle{generation.number}"
        done = await self.commands.run("export", "--to", str(self._folder / f"{name}{suffix}"), *arguments)
        assert done.returncode == 0, done.stderr
        parts = [
            one
            for one in self._folder.iterdir()
            if one.stem.split("-")[0] == name and one.suffix in {"", ".tar"}
        ]
        return Bundle(generation, tuple(sorted(parts)))

    def _look(self, number: int) -> Generation:
        items = {one.path: one for one in self._tree.items}
        documents = {
            str(one.relative_to(self._tree.root)): one.read_bytes()
            for one in sorted(self._tree.root.glob("streams/v1/*.sjson"))
        }
        digests = {path: Digest(hashlib.sha256(data).hexdigest()) for path, data in documents.items()}
        known = set(self._generations[-1].files.values()) if self._generations else set()
        sizes = {one.digest: one.size for one in items.values()}
        sizes_of_all = sizes | {digests[path]: len(data) for path, data in documents.items()}
        return Generation(
            number=number,
            files={path: one.digest for path, one in items.items()} | digests,
            items=sizes,
            new_bytes=sum(size for digest, size in sizes_of_all.items() if digest not in known),
        )


@dataclass
class SiteB:
    """The site without a network; its server is offline."""

    commands: Commands
    served: Generation | None = None
    """By the model, as what follows."""
    waiting: dict[int, Generation] = field(default_factory=dict)
    held: set[Digest] = field(default_factory=set)

    @classmethod
    def of(cls, folder: Path, keyring: Path) -> "SiteB":
        """Return a site that has nothing yet."""
        folder.mkdir()
        commands = Commands(folder, Nowhere(), keyring)
        settings = 'listen = ["127.0.0.1:0"]\nworkers = 1\noffline = true\n'
        commands.config.write_text(settings + commands.config.read_text())
        return cls(commands)

    @property
    def missing(self) -> set[Digest]:
        """Return what is not here of what is served."""
        return set() if self.served is None else set(self.served.items) - self.held

    def expect(self, generation: Generation, carried: set[Digest]) -> int:
        """Note that parts of a generation's bundle with these blobs are imported; return the exit code."""
        is_older = False
        if self.served is None:
            self.served = generation
        elif generation.number > self.served.number:
            self.waiting[generation.number] = generation
        else:
            is_older = generation.number < self.served.number
        known = [self.served, *self.waiting.values()]
        wanted = (carried & {digest for one in known for digest in one.items}) - self.held
        self.held |= wanted
        for number, one in sorted(self.waiting.items()):
            if set(one.items) <= self.held:
                self.served = one
                self.waiting = {later: one for later, one in self.waiting.items() if later > number}
        if is_older:
            is_gap_left = bool(self.missing or self.waiting)
            return REFUSED if not wanted else INCOMPLETE if is_gap_left else COMPLETE
        return INCOMPLETE if self.missing or generation.number in self.waiting else COMPLETE

    async def take(self, *parts: Path) -> Result:
        """Import parts."""
        return await self.commands.run("import", *map(str, parts))

    async def told_truth(self) -> list[str]:
        """Return what `ready` says that the model does not, and the other way round."""
        done = await self.commands.run("ready")
        told = {line.split()[1] for line in done.stdout.splitlines() if line.startswith("maas ")}
        assert self.served is not None
        missing = {path for path, digest in self.served.files.items() if digest in self.missing}
        if (done.returncode == 0) != (not missing):
            return [f"ready: {done.returncode}, though {len(missing)} items are missing: {done.stderr}"]
        return [f"ready does not agree on {path}" for path in told ^ missing]


async def served_wrongly(server: Service, site: SiteB) -> list[str]:
    """Return which files a server does not serve as the model says, by path."""
    assert site.served is not None

    async def got(path: str) -> tuple[str, Digest | None]:
        reply = await read(URL(f"{server.base}/m/{path}", encoded=True))
        found = Digest(hashlib.sha256(reply.body).hexdigest())
        return path, found if reply.status == 200 and reply.is_complete else None

    # As clients do: a list is that of the index which the client has read.
    replies = dict([await got(INDEX)])
    replies |= dict(await asyncio.gather(*map(got, site.served.files)))
    missing = site.missing
    return [
        path
        for path, digest in site.served.files.items()
        if replies[path] != (None if digest in missing else digest)
    ]


async def mirrored(source: str, target: Path, keyring: Path) -> dict[str, Digest]:
    """Mirror all of it with the reference client into an empty folder, and return what that wrote."""
    shutil.rmtree(target, ignore_errors=True)
    tool = Path(sys.executable).with_name("sstream-mirror")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "ignore", str(tool), f"--keyring={keyring}", source, str(target)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
    )
    _, problem = await asyncio.wait_for(process.communicate(), _PATIENCE_S)
    assert process.returncode == 0, problem.decode()
    written = {str(one.relative_to(target)): one for one in _files(target)}
    return {
        path: Digest(hashlib.sha256(file.read_bytes()).hexdigest())
        for path, file in written.items()
        if not path.startswith(".data/")
    }


def blobs_in(part: Path) -> set[Digest]:
    """Return the digests of the blobs that a part has."""
    if part.suffix == ".tar":
        listed = subprocess.run(["tar", "tf", str(part)], check=True, capture_output=True, text=True)
        names = listed.stdout.splitlines()
    else:
        names = [str(one) for one in _files(part)]
    return {Digest(Path(name).name) for name in names if "blobs/sha256/" in name and not name.endswith("/")}


def in_odd_order(bundles: Sequence[Bundle], random: Random) -> list[tuple[Bundle, Path]]:
    """Return all parts, each a few places from where it would stand."""
    parts = [(bundle, part) for bundle in bundles for part in bundle.parts]
    reach = max(3, len(parts) // 3)
    places = {index: index + random.uniform(0, reach) for index in range(len(parts))}
    return [parts[index] for index in sorted(places, key=places.__getitem__)]


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    else:
        yield from (one for one in path.rglob("*") if one.is_file())
