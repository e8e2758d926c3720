"""Build the Debian package in a new chroot, hold it against Debian's rules, and live with it.

python packaging/try_deb.py [--keyring FILE] [--before COMMIT] SUITE MIRROR

SUITE and MIRROR are debootstrap's. Needs root. The package of the last commit is left in build/release; the
one that it is an upgrade of is built from the same sources, or from those of another commit.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from chroots import CHROOTS, ROOT, Chroot

RELEASE = ROOT / "build" / "release"
_TO_BUILD = ("build-essential", "ca-certificates", "debhelper", "lintian", "python3-venv")
_TO_TRY = ("gnupg", "man-db", "procps")
_NO_SERVICES = "#!/bin/sh\n# Nothing is started here.\nexit 101\n"
_OLDER = "0.0.1"


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
    older = _build(chroot, asked.before, "older", "--version", _OLDER)
    package = _build(chroot, "HEAD", "package")
    print(f"== {asked.suite}: lintian", flush=True)
    chroot.run("lintian", "--allow-root", "--fail-on", "error", "--info", package)
    shutil.copyfile(ROOT / "packaging/deb_trial.py", chroot.inside(Path("/root/deb_trial.py")))
    chroot.run("python3", "/root/deb_trial.py", older, package)
    RELEASE.mkdir(parents=True, exist_ok=True)
    shutil.copy(chroot.inside(package), RELEASE)
    print(f"== {asked.suite}: {package.name} is in build/release")
    return 0


def _build(chroot: Chroot, commit: str, name: str, *options: str) -> Path:
    """Build a package from a commit; return its path in the chroot. How it is packed is of now."""
    sources, target = Path("/root", f"{name}-sources"), Path("/root", name)
    inside = chroot.inside(sources)
    inside.mkdir()
    git = ["git", "-C", str(ROOT)]
    for of, paths in ((commit, ()), ("HEAD", ("packaging", "docs", "README.md"))):
        archive = subprocess.run([*git, "archive", of, *paths], check=True, capture_output=True).stdout
        subprocess.run(["tar", "-x", "-C", inside], input=archive, check=True)
    seconds = subprocess.run(
        [*git, "log", "-1", "--format=%ct"], check=True, capture_output=True, text=True
    ).stdout
    moment = f"SOURCE_DATE_EPOCH={seconds.strip()}"
    chroot.run("env", moment, "python3", sources / "packaging/build_deb.py", target, *options)
    (made,) = chroot.inside(target).glob("*.deb")
    return target / made.name


if __name__ == "__main__":
    sys.exit(main())
