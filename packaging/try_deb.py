"""Build the Debian package in a new chroot, hold it against Debian's rules, and live with it.

python packaging/try_deb.py [--keyring FILE] [--before COMMIT] SUITE MIRROR

SUITE and MIRROR are debootstrap's. Needs root. The package of the last commit is left in build/release; the
one that it is an upgrade of is built from that commit too, or as another commit builds it, and its
configuration differs by a line, so that an upgrade meets a file that both sides have changed.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from booted import booted
from chroots import CHROOTS, ROOT, Chroot
from documented import commands

RELEASE = ROOT / "build" / "release"
_GIT = ("git", "-C", str(ROOT))
_TO_BUILD = ("build-essential", "ca-certificates", "debhelper", "lintian", "python3-venv")
_TO_TRY = ("curl", "dbus", "gnupg", "man-db", "procps", "systemd")
_NO_SERVICES = "#!/bin/sh\n# Nothing is started here.\nexit 101\n"
_TRIAL = (
    "deb_trial.py",
    "units_trial.py",
    "systemd_trial.py",
    "documented.py",
    "running_service.py",
    "signed_tree.py",
    "trial.py",
)
_AT = Path("/root")
_CHECKOUT = Path("/opt/sstream-proxy")
_OLDER = "0.0.1"
_LATER_CHANGED = "# A line that the next version has no more.\n"


def main() -> int:
    """Build and try; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--keyring", type=Path, help="What the mirror is signed by, if debootstrap has it not."
    )
    parser.add_argument("--before", default="HEAD", help="The commit that the package is an upgrade of.")
    parser.add_argument("suite", help="Such as trixie.")
    parser.add_argument("mirror", help="Such as http://deb.debian.org/debian.")
    asked = parser.parse_args()
    chroot = Chroot(CHROOTS / f"{asked.suite}-deb")
    chroot.make(asked.suite, asked.mirror, asked.keyring)
    policy = chroot.inside(Path("/usr/sbin/policy-rc.d"))
    policy.write_text(_NO_SERVICES)
    policy.chmod(0o755)
    chroot.run("apt-get", "update", "-qq")
    chroot.run("apt-get", "install", "-y", "-qq", "--no-install-recommends", *_TO_BUILD, *_TO_TRY)
    print(f"== {asked.suite}: build", flush=True)
    sources = _unpack(chroot, asked.before, "older")
    with chroot.inside(sources / "packaging/debian/config.toml").open("a") as configuration:
        configuration.write(_LATER_CHANGED)
    older = _build(chroot, sources, "--version", _OLDER)
    newer = _unpack(chroot, "HEAD", "newer")
    package = _build(chroot, newer)
    print(f"== {asked.suite}: lintian", flush=True)
    chroot.run("lintian", "--allow-root", "--fail-on", "error,warning", "--info", package)
    for name in _TRIAL:
        shutil.copyfile(ROOT / "packaging" / name, chroot.inside(_AT / name))
    chroot.run("python3", _AT / "deb_trial.py", older, package)
    print(f"== {asked.suite}: install the units without the package", flush=True)
    policy.unlink()
    chroot.run("userdel", "sstream-proxy")
    chroot.run("cp", "-r", newer, _CHECKOUT)
    (install, *_) = commands(ROOT / "packaging/README.md", "systemd")
    prepared = install.splitlines()[:-1]  # The last line needs systemd, and is typed there.
    chroot.run("bash", "-ec", "\n".join(['sudo() { "$@"; }', *prepared]))
    print(f"== {asked.suite}: with systemd", flush=True)
    with booted(chroot.inside(Path("/"))) as system:
        system.run("python3", _AT / "units_trial.py", _CHECKOUT)
        system.run("python3", _AT / "systemd_trial.py", older, package)
    RELEASE.mkdir(parents=True, exist_ok=True)
    shutil.copy(chroot.inside(package), RELEASE)
    print(f"== {asked.suite}: {package.name} is in build/release")
    return 0


def _unpack(chroot: Chroot, commit: str, name: str) -> Path:
    """Put a commit's files into a folder of the chroot; return it."""
    sources = Path("/root", name, "sources")
    inside = chroot.inside(sources)
    inside.mkdir(parents=True)
    archive = subprocess.run([*_GIT, "archive", commit], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", inside], input=archive, check=True)
    return sources


def _build(chroot: Chroot, sources: Path, *options: str) -> Path:
    """Build a package from sources in the chroot; return its path there."""
    target = sources.parent
    seconds = subprocess.run(
        [*_GIT, "log", "-1", "--format=%ct"], check=True, capture_output=True, text=True
    ).stdout
    moment = f"SOURCE_DATE_EPOCH={seconds.strip()}"
    chroot.run("env", moment, "python3", sources / "packaging/build_deb.py", target, *options)
    (made,) = chroot.inside(target).glob("*.deb")
    return target / made.name


if __name__ == "__main__":
    sys.exit(main())
