"""Exports and imports that are killed, or whose disk runs full, at random moments; then run again.

Of bundles, and of static trees.

A moment is a number of system calls that change files, or of bytes that the disk still takes, so that
it does not depend on how fast the machine is. After each fault, what a reader may meet is examined;
after the next run all must be as if nothing had been.
"""

import asyncio
import hashlib
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from proxy.digest import Digest
from support.audit import take_stock
from support.commands import Commands
from support.failing_disk import FailingDisk
from support.gap import Bundle, Generation, SiteA, SiteB, blobs_in, served_wrongly
from support.gap_trees import files_of, is_document, left_in_tree, wrong_in_tree
from support.running import Service

_ENOSPC = 28
_FAULTS = {"* / -9": 4, "* / -15": 1, "room / 28": 3}
"""What happens at the moment, and how often: SIGKILL, SIGTERM, a full disk."""
_EXPORTS = (
    ("", ()),
    (".tar", ()),
    ("", ("--part-size", "{part}")),
    (".tar", ("--part-size", "{part}")),
    ("", ("--copy",)),
)
_TREE_EXPORTS = ((), ("--copy",), ("--delete",), ("--copy", "--delete"))
_STRANGERS = ("notes.html", "streams/notes.txt")
"""Files that somebody has put into a tree."""
_PATIENCE_S = 120.0
_MOST_CALLS = {"export": 400, "import": 400, "export --tree": 100, "import --tree": 100}


@dataclass
class Report:
    """What the rounds have come to."""

    rounds: Counter[str] = field(default_factory=Counter)
    """By the command and what happened to it: killed, terminated, disk full, undisturbed."""
    faults: list[str] = field(default_factory=list)
    blobs: int = 0
    """Hashed after rounds."""


class Moments:
    """Random moments within work whose length is learnt from rounds that came to their end."""

    def __init__(self, random: Random, most: int) -> None:
        self._random = random
        self._most = most

    def draw(self) -> int:
        """Return a moment."""
        return self._random.randrange(self._most)

    def was_too_late(self, moment: int) -> None:
        """Note that the work was done by then."""
        self._most = max(1, min(self._most, moment + 1))


class GapFaults:
    """Two sites whose commands are disturbed."""

    def __init__(self, folder: Path, site_a: SiteA, random: Random) -> None:
        self.report = Report()
        self._folder = folder
        self._site_a = site_a
        self._random = random
        self._disk = FailingDisk(folder)
        self._moments = {
            (command, kind): Moments(random, calls if kind.startswith("*") else 4_000_000)
            for command, calls in _MOST_CALLS.items()
            for kind in _FAULTS
        }
        self._tree = folder / "www"
        self._in_tree: Mapping[str, Digest] = {}
        """What the tree had after the last export."""
        self._items: dict[str, Digest] = {}
        """All that ever were exported to a tree."""

    async def export_round(self, blobs: Mapping[Digest, int], part_bytes: int) -> None:
        """Disturb an export, run it again, and examine all that was written; `blobs` must be in it."""
        suffix, options = self._random.choice(_EXPORTS)
        target = self._folder / "out"
        arguments = [
            "--to",
            str(target / f"bundle{suffix}"),
            *(one.format(part=part_bytes) for one in options),
        ]
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir()
        await self._disturb("export", self._site_a.commands, arguments, target)
        self._note("export, half done", _wrong_blobs(target, is_whole=False))
        again = await self._site_a.commands.run("export", *arguments)
        if again.returncode != 0:
            self._note("export, again", [f"{arguments}: {again.returncode}: {again.stderr}"])
            return
        self._note("export, again", _wrong_blobs(target, is_whole=True))
        found = set().union(*(blobs_in(part) for part in target.iterdir()))
        self._note("export, again", [f"{one} is not in it" for one in blobs.keys() - found])
        self._note("site A", take_stock(self._site_a.commands.data).lasting_faults())

    async def import_round(self, site_b: SiteB, server: Service, bundle: Bundle) -> None:
        """Disturb an import, examine what is served, run it again, and examine all."""
        carried = set().union(*map(blobs_in, bundle.parts))
        await self._import(site_b, server, [str(part) for part in bundle.parts], bundle.generation, carried)

    async def export_tree_round(self, generation: Generation, upstream: Path) -> None:
        """Disturb the export of a tree, examine what a web server has, run it again, and examine all."""
        options = self._random.choice(_TREE_EXPORTS)
        arguments = ["--tree", str(self._tree), *options]
        documents = {path: digest for path, digest in files_of(upstream).items() if is_document(path)}
        wanted = {**generation.files, **documents}
        self._items |= {path: digest for path, digest in wanted.items() if not is_document(path)}
        await self._disturb("export", self._site_a.commands, arguments, self._tree)
        self._note("tree, half done", wrong_in_tree(self._published(), [self._in_tree, wanted], self._items))
        again = await self._site_a.commands.run("export", *arguments)
        if again.returncode != 0:
            self._note("export --tree, again", [f"{again.returncode}: {again.stderr}"])
            return
        found = self._published()
        known = wanted if "--delete" in options else self._items
        self._note("tree", [*wrong_in_tree(found, [wanted], known), *left_in_tree(self._tree)])
        for path in _STRANGERS:
            stranger = self._tree / path
            if self._in_tree and (not stranger.is_file() or stranger.read_text() != path):
                self._note("tree", [f"{path} of somebody else is gone"])
            stranger.write_text(path)
        self._in_tree = wanted
        self.report.blobs += len(found)
        self._note("site A", take_stock(self._site_a.commands.data).lasting_faults())

    async def import_tree_round(self, site_b: SiteB, server: Service, generation: Generation) -> None:
        """Disturb the import of the tree, examine what is served, run it again, and examine all."""
        before = files_of(self._tree)
        arguments = ["--tree", str(self._tree)]
        await self._import(site_b, server, arguments, generation, set(generation.items))
        after = files_of(self._tree)
        self._note(
            "tree, imported", [f"{path} is not as before" for path, _ in before.items() ^ after.items()]
        )

    def take_tree_away(self) -> None:
        """Have the next export begin one anew."""
        shutil.rmtree(self._tree, ignore_errors=True)
        self._in_tree = {}

    def _published(self) -> dict[str, Digest]:
        """Return what the tree has but for strangers' files."""
        return {path: digest for path, digest in files_of(self._tree).items() if path not in _STRANGERS}

    async def _import(
        self,
        site_b: SiteB,
        server: Service,
        arguments: Sequence[str],
        generation: Generation,
        carried: set[Digest],
    ) -> None:
        before = site_b.served
        held = set(site_b.held)
        await self._disturb("import", site_b.commands, arguments, site_b.commands.data)
        expected = site_b.expect(generation, carried)
        wrong = await served_wrongly(server, site_b)
        if wrong and before is not None:
            after, site_b.served = site_b.served, before
            wrong = await served_wrongly(server, site_b)
            site_b.served = after
        if before is not None:
            self._note("import, half done: neither generation is served", wrong)
        stock = take_stock(site_b.commands.data)
        self._note("site B, half done", stock.lasting_faults())
        self._note("site B, half done", [f"{one} is lost" for one in held - stock.blobs.keys()])
        again = await site_b.commands.run("import", *arguments)
        if again.returncode != expected:
            self._note("import, again", [f"{again.returncode}: {again.stdout} {again.stderr}"])
        self._note("import, again", await site_b.told_truth())
        self._note("import, again: wrongly served", await served_wrongly(server, site_b))
        stock = take_stock(site_b.commands.data)
        self.report.blobs += len(stock.blobs)
        self._note("site B", stock.lasting_faults())
        self._note("site B", [f"{one} is lost" for one in site_b.held - stock.blobs.keys()])

    async def _disturb(self, command: str, commands: Commands, arguments: Sequence[str], where: Path) -> None:
        kind = self._random.choices(list(_FAULTS), list(_FAULTS.values()))[0]
        shown = f"{command} --tree" if "--tree" in arguments else command
        moments = self._moments[shown, kind]
        moment = moments.draw()
        call, _, number = kind.split()
        with self._disk.failing(f"{call} {where}/ {number} {moment}"):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "proxy", command, "--config", str(commands.config), *arguments),
                env={**os.environ, **self._disk.env},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            result, problem = await asyncio.wait_for(process.communicate(), _PATIENCE_S)
        told = result.decode() + problem.decode()
        ends = {
            0: "undisturbed",
            -9: "killed",
            -15: "terminated at its very beginning or end",
            143: "terminated",
            1: "disk full",
        }
        if process.returncode == 3 and "cannot be served" in told and os.strerror(_ENOSPC) in told:
            ends[3] = "disk full, with all items here"
        if "Traceback" in told or process.returncode not in ends:
            self._note(f"{shown} {kind} {moment}", [f"{process.returncode}: {told}"])
        if process.returncode == 0:
            moments.was_too_late(moment)
        if process.returncode == 143 and "type again:" not in told:
            self._note(shown, [f"it does not say how to go on: {told}"])
        self.report.rounds[f"{shown} {ends.get(process.returncode or 0, 'failed')}"] += 1

    def _note(self, what: str, faults: Sequence[str]) -> None:
        self.report.faults += [f"{what}: {one}" for one in faults]


def _wrong_blobs(folder: Path, *, is_whole: bool) -> list[str]:
    """Return what is wrong with bundles: if they are not done yet, with what bears its last name."""
    wrong = []
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.parent.name == "sha256" and len(path.name) == 64:
            with path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            wrong += [] if digest == path.name else [f"blob {path} is wrong"]
        elif is_whole and path.name.endswith((".part", ".draft", ".new")):
            wrong.append(f"{path} was left")
    for layout in sorted(folder.iterdir()):
        if is_whole and layout.is_dir():
            command = ["sha256sum", "-c", "--strict", "--quiet", "SHA256SUMS"]
            if subprocess.run(command, cwd=layout, check=False, capture_output=True).returncode != 0:
                wrong.append(f"{layout}: SHA256SUMS does not hold")
        elif layout.suffix == ".tar":
            wrong += _wrong_in_tar(layout)
    return wrong


def _wrong_in_tar(path: Path) -> list[str]:
    unpacked = path.with_suffix(".unpacked")
    unpacked.mkdir()
    try:
        if subprocess.run(["tar", "xf", path, "-C", unpacked], check=False, capture_output=True).returncode:
            return [f"{path} is no whole archive"]
        return [
            f"{path}: blob {blob.name} is wrong"
            for blob in unpacked.rglob("blobs/sha256/*")
            if hashlib.sha256(blob.read_bytes()).hexdigest() != blob.name
        ]
    finally:
        shutil.rmtree(unpacked)
