"""Build the container image with podman, run it as packaging/README.md says, and live with it.

python packaging/try_container.py MIRROR

Needs root, podman, iproute2, gpg and debootstrap. No registry has to be reached: Python's image is made of
Debian 13, by debootstrap from MIRROR; $PYTHON_IMAGE names another one. Nothing stays but what is in
build/containers.
"""

import json
import os
import resource
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from chroots import ROOT, Chroot
from documented import commands

_FOLDER = ROOT / "build" / "containers"
_STORAGE = _FOLDER / "storage.conf"
_SETTINGS = _FOLDER / "containers.conf"
_BASE = "localhost/python"
_LIMIT_OF_FILES, _LIMIT_OF_PROCESSES = 65_536, 32_768

# With cgroup 2 alone, which has no control of resources here, and with a network that ends with it.
_ALONE = r"""
set -e
mount -t proc proc /proc
mount -t cgroup2 cgroup2 /sys/fs/cgroup
ip link set lo up
exec "$@"
"""


def main(mirror: str) -> int:
    """Build and try; return the exit code."""
    (lines,) = commands(ROOT / "packaging/README.md", "Container")
    build, run, *ask = (shlex.split(line) for line in lines.replace("\\\n", " ").splitlines())
    _FOLDER.mkdir(parents=True, exist_ok=True)
    write_settings()
    base = os.environ.get("PYTHON_IMAGE") or make_base(mirror)
    options = ["--isolation", "chroot", "--network", "host", "--layers=false"]
    podman("build", *options, "--build-arg", f"PYTHON={base}", *build[2:])
    alone = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "bash", "-c", _ALONE, "bash"]
    trial: list[str | Path] = [sys.executable, ROOT / "packaging/container_trial.py", _FOLDER / "trial"]
    command = [*alone, *trial, *map(shlex.join, (run, *ask))]
    return subprocess.run(command, env=_environment(), check=False).returncode


def make_base(mirror: str) -> str:
    """Make an image of Debian 13 with its Python, as registries have it; return its name."""
    chroot = Chroot(_FOLDER / "base")
    chroot.make("trixie", mirror, None)
    chroot.run("apt-get", "update", "-qq")
    packages = ("python3", "python3-venv", "ca-certificates")
    chroot.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages)
    archive = _FOLDER / "base.tar"
    subprocess.run(["tar", "-C", chroot.inside(Path("/")), "-cf", archive, "."], check=True)
    podman("import", "--quiet", archive, _BASE)
    archive.unlink()
    return _BASE


def write_settings() -> None:
    """Keep all that podman stores in the folder, and ask for no more than this machine may give."""
    _STORAGE.write_text(
        f'[storage]\ndriver = "vfs"\ngraphroot = "{_FOLDER}/storage"\nrunroot = "{_FOLDER}/run"\n'
    )
    limits = {
        name: min(at_most, resource.getrlimit(number)[1])
        for name, number, at_most in (
            ("nofile", resource.RLIMIT_NOFILE, _LIMIT_OF_FILES),
            ("nproc", resource.RLIMIT_NPROC, _LIMIT_OF_PROCESSES),
        )
    }
    ulimits = json.dumps([f"{name}={limit}:{limit}" for name, limit in limits.items()])
    _SETTINGS.write_text(
        f'[containers]\ncgroups = "disabled"\nnetns = "host"\ndefault_ulimits = {ulimits}\n'
        '[engine]\ncgroup_manager = "cgroupfs"\nevents_logger = "file"\n'
    )


def podman(*arguments: str | Path) -> None:
    """Run a command of podman; a failure ends everything."""
    subprocess.run(["podman", *arguments], cwd=ROOT, env=_environment(), check=True)


def _environment() -> dict[str, str]:
    return {**os.environ, "CONTAINERS_STORAGE_CONF": str(_STORAGE), "CONTAINERS_CONF": str(_SETTINGS)}


if __name__ == "__main__":
    if shutil.which("podman") is None:
        sys.exit("podman is not here: apt-get install podman")
    sys.exit(main(*sys.argv[1:]))
