"""Build the container image with buildah, start it, and ask it whether it is well.

python packaging/try_container.py MIRROR

Needs root, buildah and debootstrap. No registry has to be reached: Python's image is made of Debian 13, by
debootstrap from MIRROR; $PYTHON_IMAGE names another one. Nothing stays but what is in build/containers.
"""

import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path

from chroots import ROOT, Chroot

_FOLDER = ROOT / "build" / "containers"
_STORAGE: list[str | Path] = [
    "--root",
    _FOLDER / "storage",
    "--runroot",
    _FOLDER / "run",
    "--storage-driver",
    "vfs",
]
_BASE = "localhost/python"
_IMAGE = "localhost/sstream-proxy"
_USER = "10001"


def main(mirror: str) -> int:
    """Build and try; return the exit code."""
    base = os.environ.get("PYTHON_IMAGE") or make_base(mirror)
    buildah(
        "build", "--format", "docker", "--layers=false", "--network", "host", "--tag", _IMAGE,
        "--build-arg", f"PYTHON={base}", "--file", "packaging/container/Containerfile", ".",
    )  # fmt: skip
    container = buildah("from", _IMAGE).strip()
    try:
        return try_container(container)
    finally:
        buildah("rm", container)


def make_base(mirror: str) -> str:
    """Make an image of Debian 13 with its Python, as registries have it; return its name."""
    chroot = Chroot(_FOLDER / "base")
    chroot.make("trixie", mirror, None)
    chroot.run("apt-get", "update", "-qq")
    packages = ("python3", "python3-venv", "ca-certificates")
    chroot.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages)
    container = buildah("from", "scratch").strip()
    buildah("copy", "--quiet", container, chroot.inside(Path("/")), "/")
    buildah("commit", "--quiet", "--rm", container, _BASE)
    return _BASE


def try_container(container: str) -> int:
    """Start the image's program, and ask for its health."""
    ends_with_it = ["unshare", "--pid", "--fork", "--kill-child"]
    command = [
        *_buildah("run", container),
        "--",
        "sstream-proxy",
        "serve",
        "--offline",
        "--listen",
        "127.0.0.1:0",
    ]
    with subprocess.Popen([*ends_with_it, *command], cwd=ROOT, stdout=subprocess.PIPE, text=True) as running:
        try:
            assert running.stdout is not None  # noqa: S101 - it was asked for
            line = next((line for line in running.stdout if "listening on" in line), "")
            if not line:
                print("the container does not start")
                return 1
            address = line.split("listening on")[1].split(",")[0].strip()
            with urllib.request.urlopen(f"{address}/-/health", timeout=60) as reply:  # noqa: S310 - loopback
                print(f"{_IMAGE} is well: {reply.status}")
            user = buildah("run", container, "--", "id", "-u").strip()
            print(f"its user is {user}")
            return int(user != _USER)
        finally:
            running.kill()


def buildah(command: str, *arguments: str | Path) -> str:
    """Run a command of buildah; return what it wrote."""
    return subprocess.run(
        _buildah(command, *arguments), cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout


def _buildah(command: str, *arguments: str | Path) -> list[str | Path]:
    """Return a command line of buildah, for a place where containers may have no namespaces of their own."""
    isolation = ["--isolation", "chroot"] if command in {"build", "run"} else []
    return ["buildah", *_STORAGE, command, *isolation, *arguments]


if __name__ == "__main__":
    if shutil.which("buildah") is None:
        sys.exit("buildah is not here: apt-get install buildah")
    sys.exit(main(*sys.argv[1:]))
