"""What clients see of everything that can go wrong between the proxy and an origin, as a Markdown table."""

import argparse
import asyncio
import logging
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.fault_matrix import PHASES, Seen, run_phase, table
from support.keys import SigningKey


def main() -> None:
    """Run all phases and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--phase", choices=PHASES, action="append", help="only this one; may be repeated")
    parser.add_argument("--details", action="store_true", help="also what is counted, and what comes after")
    options = parser.parse_args()
    logging.disable()
    found = asyncio.run(_run(options.phase or list(PHASES)))
    print(table(found))
    if options.details:
        for phase, cells in found.items():
            for fault, seen in cells.items():
                print(f"{phase:17} {fault:30} {seen!s:30} right after {seen.right_after_s} s")


async def _run(phases: list[str]) -> dict[str, dict[str, Seen]]:
    found = {}
    with SigningKey() as key, tempfile.TemporaryDirectory() as folder:
        for number, phase in enumerate(phases):
            work = Path(folder) / str(number)
            work.mkdir()
            found[phase] = await run_phase(phase, work, key)
    return found


if __name__ == "__main__":
    main()
