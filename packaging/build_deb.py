"""Build the Debian package of the last commit for the distribution on which this runs.

python3 packaging/build_deb.py TARGET [--version VERSION]

Needs debhelper, python3-venv, PyPI and, in a checkout, git; $DEBFULLNAME and $DEBEMAIL say who builds. The
version gets the distribution as its suffix, so that packages for several can lie in one archive, and an
upgrade of the distribution finds the newer one.
"""

import argparse
import email.utils
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
_RELEASES = Path("/etc/os-release")


def version_of(package: str, release: str) -> str:
    """Return the package's version: "1.2.0rc1" on Debian 13 is "1.2.0~rc1+debian13"."""
    about = dict(re.findall(r'^(ID|VERSION_ID)="?([^"\n]+)"?$', release, re.MULTILINE))
    ordered = re.sub(r"\.?(a|b|rc|dev)(\d+)$", r"~\1\2", package)
    return f"{ordered}+{about['ID']}{about['VERSION_ID']}"


def maintainer(environment: Mapping[str, str]) -> str:
    """Return who builds it, as Debian's own tools are told."""
    name = environment.get("DEBFULLNAME", "The sstream-proxy developers")
    return f"{name} <{environment.get('DEBEMAIL', 'sstream-proxy@example.org')}>"


def changelog(version: str, seconds: float, who: str) -> str:
    """Return Debian's changelog, with one entry: what is new stands in ours."""
    date = email.utils.formatdate(seconds)
    return (
        f"sstream-proxy ({version}) unstable; urgency=medium\n\n"
        "  * See /usr/share/doc/sstream-proxy/changelog.gz.\n\n"
        f" -- {who}  {date}\n"
    )


def build(checkout: Path, target: Path, version: str, seconds: float) -> Path:
    """Build in a folder that holds the sources and nothing else; return the package."""
    shutil.copytree(checkout / "packaging/debian", checkout / "debian")
    who = maintainer(os.environ)
    (checkout / "debian/changelog").write_text(changelog(version, seconds, who))
    control = checkout / "debian/control"
    control.write_text(control.read_text().replace("@MAINTAINER@", who))
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(int(seconds))}
    subprocess.run(
        ["dpkg-buildpackage", "--build=binary", "--no-sign"], cwd=checkout, env=environment, check=True
    )
    (made,) = checkout.parent.glob(f"sstream-proxy_{version}_*.deb")
    target.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(made, target))


def main() -> int:
    """Build what is committed; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("target", type=Path, help="The folder for the package.")
    parser.add_argument("--version", help="Another than the program's own.")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        checkout = Path(folder, "sstream-proxy")
        seconds = _check_out(checkout)
        own = re.search(r'^__version__ = "(.+)"$', (checkout / "proxy/__init__.py").read_text(), re.MULTILINE)
        assert own is not None  # noqa: S101 - the project's own file
        version = version_of(asked.version or own[1], _RELEASES.read_text())
        print(build(checkout, asked.target, version, seconds))
    return 0


def _check_out(target: Path) -> float:
    """Put what is committed into a folder; of what is no checkout, all of it. Return when it was made."""
    git = ["git", "-C", str(ROOT)]
    if not (ROOT / ".git").exists():
        shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns("build", ".venv", "__pycache__"))
        return float(os.environ.get("SOURCE_DATE_EPOCH", time.time()))
    target.mkdir()
    archive = subprocess.run([*git, "archive", "HEAD"], check=True, capture_output=True).stdout
    subprocess.run(["tar", "-x", "-C", target], input=archive, check=True)
    return float(subprocess.run([*git, "log", "-1", "--format=%ct"], check=True, capture_output=True).stdout)


if __name__ == "__main__":
    sys.exit(main())
