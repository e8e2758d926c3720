"""Whether anything that a release needs has known vulnerabilities.

    python packaging/audit.py packaging/requirements.lock [OPTION]...

Runs pip-audit, which must be installed, with further options passed on. What is known
and does not apply is listed in `advisories.toml`, with the reason, which is printed. Exit
code: that of pip-audit; 2 when an entry is for a version that is not locked.
"""

import subprocess
import sys
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from licences import pins

ADVISORIES = Path(__file__).with_name("advisories.toml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Advisory:
    """A known vulnerability that does not apply."""

    id: str
    package: str
    version: str
    about: str
    """What it lets somebody do."""
    reason: str
    """Why not here."""
    evidence: str
    """The test that fails when the reason does not hold any more, below `tests/`."""


def advisories(text: str) -> list[Advisory]:
    """Read a table of advisories. Raises ValueError for an entry that does not say everything."""
    found = []
    for entry in tomllib.loads(text).get("advisory", []):
        names = {field.name for field in fields(Advisory)}
        if set(entry) != names or not all(isinstance(value, str) and value for value in entry.values()):
            raise ValueError(f"{entry.get('id', 'an advisory')} must say {', '.join(sorted(names))}")
        found.append(Advisory(**entry))
    return found


def outdated(known: Iterable[Advisory], lock: str) -> list[str]:
    """Return what is said of versions that are not locked, in words."""
    locked = {pin.name: pin.version for pin in pins(lock)}
    return [
        f"{one.id}: {one.package} {one.version} is not locked; look whether it applies to "
        f"{locked.get(one.package, 'what took its place')}, and change advisories.toml"
        for one in known
        if locked.get(one.package) != one.version
    ]


def command(known: Iterable[Advisory], lock: str, options: Sequence[str]) -> list[str]:
    """Return how pip-audit is run."""
    ignored = [word for one in known for word in ("--ignore-vuln", one.id)]
    arguments = ["--strict", "--disable-pip", "--require-hashes", "-r", lock]
    return [sys.executable, "-m", "pip_audit", *arguments, *ignored, *options]


def main(lock: str, *options: str) -> int:
    """Audit a lock; return the exit code."""
    known = advisories(ADVISORIES.read_text())
    problems = outdated(known, Path(lock).read_text())
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 2
    for one in known:
        print(f"passed over: {one.id} of {one.package} {one.version} ({one.about}), because {one.reason}")
    return subprocess.run(command(known, lock, options), check=False).returncode


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
