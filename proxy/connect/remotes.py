"""Remotes of LXD's and Incus's own clients, which are run for it: listed, added, tried, removed.

Whoever runs the client has the remote, no other user of the machine. Each method blocks.
"""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from proxy.connect.addresses import is_same_source
from proxy.errors import ProxyError

_LONGEST_S = 180.0
_LONGEST_REASON = 500
_CERTIFICATE = ("x509", "certificate", "tls:")


class RemoteFault(ProxyError):
    """A remote cannot be added, tried or removed."""


@dataclass(frozen=True, slots=True)
class Program:
    """A client program."""

    name: str
    product: str
    package: str

    def folder(self, environ: Mapping[str, str]) -> Path:
        """Return where it keeps its configuration."""
        home = Path(environ.get("HOME", "/"))
        if self.name == "incus":
            return Path(environ.get("INCUS_CONF") or home / ".config/incus")
        if environ.get("LXD_CONF"):
            return Path(environ["LXD_CONF"])
        found = shutil.which(self.name, path=environ.get("PATH")) or ""
        is_snap = os.path.realpath(found).startswith("/snap/") or found.startswith("/snap/")
        return home / ("snap/lxd/common/config" if is_snap else ".config/lxc")


LXC = Program("lxc", "LXD", "lxd-client, or `snap install lxd`")
INCUS = Program("incus", "Incus", "incus-client")


class Added(NamedTuple):
    """What came of adding a remote."""

    told: str
    """What was done, in words."""
    images: int
    """How many it has."""


class Remotes:
    """The remotes of whoever runs this."""

    def __init__(self, program: Program, environ: Mapping[str, str]) -> None:
        """Know the client; raises RemoteFault when it is not installed."""
        self._program = program
        self._environ = environ
        if shutil.which(program.name, path=environ.get("PATH")) is None:
            raise RemoteFault(
                f"{program.name}, the client of {program.product}, is not installed here: install "
                f"{program.package}, or run this where it is, with --proxy-url"
            )

    def address(self, name: str) -> str | None:
        """Return the URL of a remote; None when there is none of that name."""
        told = self._json("remote", "list", "--format", "json")
        found = told.get(name) if isinstance(told, dict) else None
        return None if found is None else str(found.get("Addr") or found.get("addr") or "")

    def add(self, name: str, url: str, certificate: Path | None) -> Added:
        """Add a remote unless it is there, and list its images to try it.

        A certificate that the client does not trust otherwise is put where it looks for it. What
        cannot be used is removed again. Raises RemoteFault.
        """
        known = self.address(name)
        if known is None:
            # LXD's client makes its file, and not the folder for it.
            with contextlib.suppress(OSError):
                self._program.folder(self._environ).mkdir(0o750, parents=True, exist_ok=True)
            # Without asking anything of it: the client does not, either.
            self._run("remote", "add", name, url, "--protocol", "simplestreams")
        elif not is_same_source(known, url):
            raise RemoteFault(
                f"there is a remote {name!r} already, which is {known}: take another name, or remove it by "
                f"`{self._program.name} remote remove {name}`"
            )
        told = f"the remote {name!r} was added" if known is None else f"the remote {name!r} is there already"
        try:
            try:
                return Added(told, self._images(name))
            except RemoteFault as fault:
                if certificate is None or not any(word in str(fault).lower() for word in _CERTIFICATE):
                    raise
            there = self._trust(name, certificate)
            return Added(f"{told}, and trusts the certificate in {there}", self._images(name))
        except RemoteFault:
            if known is None:
                self.remove(name)
            raise

    def remove(self, name: str) -> None:
        """Remove a remote, and the certificate that was put there for it."""
        self._run("remote", "remove", name)
        with contextlib.suppress(OSError):
            self._certificate(name).unlink(missing_ok=True)

    def _images(self, name: str) -> int:
        return len(self._json("image", "list", f"{name}:", "--format", "json"))

    def _trust(self, name: str, certificate: Path) -> Path:
        there = self._certificate(name)
        try:
            there.parent.mkdir(parents=True, exist_ok=True)
            there.write_bytes(certificate.read_bytes())
        except OSError as error:
            raise RemoteFault(
                f"the certificate {certificate} cannot be put where {self._program.product} trusts it "
                f"({error.filename}: {error.strerror})"
            ) from error
        return there

    def _certificate(self, name: str) -> Path:
        return self._program.folder(self._environ) / "servercerts" / f"{name}.crt"

    def _json(self, *arguments: str) -> Any:
        text = self._run(*arguments)
        try:
            return json.loads(text)
        except ValueError as error:
            raise RemoteFault(f"{self._shown(arguments)} says what is no JSON: {text[:80]!r}") from error

    def _run(self, *arguments: str) -> str:
        try:
            done = subprocess.run(  # noqa: S603 - a client that its user has installed
                [self._program.name, *arguments],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                env=dict(self._environ),
                timeout=_LONGEST_S,
                check=False,
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise RemoteFault(f"{self._shown(arguments)} cannot be run: {error}") from error
        if done.returncode:
            told = " ".join(done.stderr.decode(errors="replace").split())[-_LONGEST_REASON:]
            raise RemoteFault(f"{self._shown(arguments)} failed: {told or done.returncode}")
        return done.stdout.decode(errors="replace")

    def _shown(self, arguments: tuple[str, ...]) -> str:
        return f"`{' '.join((self._program.name, *arguments[:3]))}`"
