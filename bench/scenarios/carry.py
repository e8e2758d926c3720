"""Across a gap: 1 GiB of images as a bundle, written and taken in, beside the tools that just copy or hash.

`export` writes a folder on the file system of the cache, as `cp --reflink=auto` copies the cache's
blobs. `import` takes that folder into an empty cache, whose lists it verifies and whose every byte
it hashes and has on the disk in the end; `sha256sum` hashes the same files on one core and writes
nothing, `openssl` does so with the CPU's own instructions. `tar x` unpacks an archive of them, and
`skopeo copy` copies one layout of OCI to another, hashing too: neither waits for the disk.

All is in the page cache beforehand. Processes' start counts, and the start of Python with it: so
export and cp are measured with 4 GiB, too.
"""

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import machine
from commands import run
from figures import Bar, Effort, Finding, Note, Rounds, alternate
from servers import write_config
from servers.peers import origin_of
from stage import Stage, stage

NEEDS = ("cp", "sha256sum", "tar")
BESIDE = ("skopeo", "openssl")
MIB = 1024 * 1024
GIB = 1024 * MIB
_RELEASES = 3
"""Of which everything is carried."""
_MANY_RELEASES = 12
"""Of which everything is copied and exported."""
_SIZES_BYTES = (250 * MIB, 72 * MIB, 15 * MIB, 3 * MIB, MIB, 900_000, 16 * 1024)
"""Of one release: squashfs, initrd, kernel, boot loaders, a manifest."""
_EXPORT = "sstream-proxy export"
_IMPORT = "sstream-proxy import"
_CP = "cp --reflink=auto"
_SHA256SUM = "sha256sum"
_SKOPEO = "skopeo copy"
_OPENSSL = "openssl dgst -sha256"
_SPARE = 2
"""Memory that is touched before each run, for each byte that it may write."""

Command = Callable[[Path], list[str]]
"""The command line of what writes below a folder that is empty and its own."""


def measure(effort: Effort) -> Iterator[Finding]:
    """Yield what each takes, and the rates of ours to those that it is held to."""
    with _carried(effort, _RELEASES) as carried:
        rounds = alternate(list(carried.commands), effort.rounds, carried.one_run)
        yield from rounds.rows(carried.case, _speed)
        yield from _rate(f"export of {carried.size}", rounds, _EXPORT, _CP, at_least=0.9)
        yield from _rate(f"import of {carried.size}", rounds, _IMPORT, _SHA256SUM, at_least=0.9)
        yield from _rate(f"import of {carried.size}", rounds, _IMPORT, _OPENSSL)
        yield Note(f"The file system {carried.has_reflinks} reflinks.")
    with _carried(effort, _MANY_RELEASES) as carried:
        rounds = alternate([_CP, _EXPORT], effort.rounds, carried.one_run)
        yield from rounds.rows(carried.case, _speed)
        yield from _rate(f"export of {carried.size}", rounds, _EXPORT, _CP, at_least=0.9)


def _rate(
    what: str, rounds: Rounds, subject: str, reference: str, at_least: float | None = None
) -> Iterator[Bar]:
    if {subject, reference} <= set(rounds.servers):
        yield Bar(f"{what}: rate to {reference}", 1 / rounds.ratio("wall s", subject, reference), at_least)


@contextmanager
def _carried(effort: Effort, releases: int) -> Iterator["_Carried"]:
    with stage([effort.scaled(size) for size in _SIZES_BYTES * releases]) as ready:
        yield _Carried(ready)


def _speed(figures: Mapping[str, float]) -> float:
    return 1 / figures["wall s"]


class _Carried:
    """A cache that has everything, a bundle of it, an archive of that, and the commands that are compared."""

    def __init__(self, ready: Stage) -> None:
        self._ready = ready
        self._cache = ready.folder("cache")
        with origin_of(ready) as origin:
            self._config = write_config(self._cache, [origin.base], ready.keyring)
            run(self._ours("prefetch", self._config))
        self._bundle, self._archive = ready.work / "bundle", ready.work / "bundle.tar"
        run(self._ours("export", self._config, "--to", str(self._bundle)))
        run(["tar", "cf", str(self._archive), "-C", str(self._bundle), "."])
        files = sorted(str(one) for one in self._bundle.rglob("*") if one.is_file())
        blobs = self._cache / "data" / "blobs"
        self.commands: dict[str, Command] = {
            _CP: lambda work: ["cp", "--reflink=auto", "-r", str(blobs), str(work / "copy")],
            _EXPORT: lambda work: self._ours("export", self._config, "--to", str(work / "bundle")),
            _SHA256SUM: lambda _: ["sha256sum", *files],
            _OPENSSL: lambda _: ["openssl", "dgst", "-sha256", *files],
            _IMPORT: self._import,
            "tar x": lambda work: ["tar", "xf", str(self._archive), "-C", str(work)],
            _SKOPEO: lambda work: ["skopeo", "copy", f"oci:{self._bundle}:bench", f"oci:{work}/copy:bench"],
        }
        for name in (_SKOPEO, _OPENSSL):
            if shutil.which(name.split()[0]) is None:
                del self.commands[name]
        self._bytes = sum(one.size for one in ready.items)
        self.size = f"{round(self._bytes / GIB, 1):g} GiB"
        self.case = f"{self.size} in {len(ready.items)} items"

    @property
    def has_reflinks(self) -> str:
        """Whether the file system has reflinks, as a verb."""
        with suppress(OSError, subprocess.SubprocessError):
            command = ["cp", "--reflink=always", str(self._ready.keyring), str(self._ready.work / "reflink")]
            subprocess.run(command, check=True, capture_output=True)
            return "has"
        return "has no"

    def one_run(self, name: str, number: int) -> Mapping[str, float]:
        """Run a command once, and remove what it wrote.

        An export stays until the end: its files are names of the cache's own. Whoever removes one
        touches the cache's file, and the next export has to hash that again.
        """
        work = self._ready.folder("work")
        machine.touch_free_memory(_SPARE * self._bytes)
        machine.touch_page_cache(work, self._bytes)
        try:
            taken = run(self.commands[name](work))
        finally:
            if name == _EXPORT:
                work.rename(work.with_name(f"exported {number}"))
            else:
                shutil.rmtree(work)
        return {**taken.figures(), "MiB/s": self._bytes / MIB / taken.wall_s}

    def _import(self, work: Path) -> list[str]:
        # Nobody is asked at that address: the site has no network.
        config = write_config(work, ["http://127.0.0.1:1/"], self._ready.keyring)
        return self._ours("import", config, str(self._bundle))

    @staticmethod
    def _ours(command: str, config: Path, *arguments: str) -> list[str]:
        program = str(Path(sys.executable).with_name("sstream-proxy"))
        return [program, command, "--config", str(config), *arguments]
