"""Whether two builds made the same wheel, and whether it holds the program and nothing else.

python packaging/check_wheel.py CHECKOUT FIRST.whl SECOND.whl
"""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

_METADATA = {"METADATA", "RECORD", "WHEEL", "entry_points.txt", "licenses/LICENSE"}
_NEEDED = {
    "proxy/data/ubuntu-cloudimage-keyring.gpg",
    "proxy/py.typed",
    "proxy/web/admin/openapi.json",
    "proxy/web/admin/static/dashboard.css",
    "proxy/web/admin/static/dashboard.js",
    "proxy/web/admin/static/copy.js",
    "proxy/web/admin/templates/page.html",
}


def problems_with(wheel: Path, wanted: set[str]) -> list[str]:
    """Compare a wheel's files with those of the package, given as paths in the repository."""
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if not name.endswith("/")}
    told = {name for name in names if ".dist-info/" in name}
    found = names - told
    metadata = {name.partition(".dist-info/")[2] for name in told}
    return [
        *(f"{name} is missing" for name in sorted((wanted | _NEEDED) - found)),
        *(f"{name} does not belong there" for name in sorted(found - wanted)),
        *(f"the metadata has {name}, or lacks it" for name in sorted(metadata ^ _METADATA)),
    ]


def main(checkout: Path, first: Path, second: Path) -> int:
    """Print what was found; return the exit code."""
    sums = [hashlib.sha256(wheel.read_bytes()).hexdigest() for wheel in (first, second)]
    for wheel, checksum in zip((first, second), sums, strict=True):
        print(f"{checksum}  {wheel}  {wheel.stat().st_size} bytes")
    listing = ["git", "-C", str(checkout), "ls-tree", "-r", "--name-only", "HEAD", "proxy"]
    wanted = set(subprocess.run(listing, check=True, capture_output=True, text=True).stdout.split())
    problems = problems_with(first, wanted)
    if sums[0] != sums[1]:
        problems.append("the two builds differ")
    for problem in problems:
        print(problem)
    if not problems:
        print(f"the builds are the same, with {len(wanted)} files of the program and nothing else")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
