"""Ten thousand cold items over six connections to an honest origin, all asked for at once.

    python bench/crush.py [--items 10000] [--seed 1]

A round asks a new proxy for all items of a tree, 100 at a time, on the loop that serves and on
asyncio's own in turn; the sizes lie around what the HTTP library buffers. Prints how many items came
broken, and what the proxy held against the origin; exits with 1 when either is more than none.
Needs 1 GB in the temporary folder, which TMPDIR names.
"""

import argparse
import logging
import sys
import tempfile
import time
from collections import Counter
from itertools import cycle
from pathlib import Path

import stage  # noqa: F401 - makes `support` importable
from support.crush import LOOPS, Crush, Report
from support.keys import SigningKey


def told(report: Report, seconds: float) -> str:
    """Return what the rounds have come to, in words."""
    blamed = Counter(message.split()[0] for message in report.blamed)
    return "\n".join(
        [
            f"{report.items} items, {report.received_bytes >> 20} MiB in {seconds:.0f} s",
            f"  left early     {report.left}, as they should",
            f"  broken         {len(report.broken)}",
            f"  origin.wrong_bytes {blamed['origin.wrong_bytes']}",
            f"  origin.failed  {blamed['origin.failed']}",
        ]
    )


def main() -> int:
    """Run the rounds; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1, help="of the sizes, and of what is asked for when")
    options = parser.parse_args()
    logging.getLogger("proxy").propagate = False
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sstream-crush-") as folder, SigningKey() as key:
        crush = Crush(Path(folder), key, options.seed)
        report = crush.report
        for loop in cycle(LOOPS):
            known = len(report.broken), len(report.blamed)
            loop(crush.round())
            for found in (*report.broken[known[0] :], *report.blamed[known[1] :]):
                print(f"FOUND {found}", flush=True)
            print(told(report, time.monotonic() - began), flush=True)
            if report.items >= options.items:
                break
    return 1 if report.broken or report.blamed else 0


if __name__ == "__main__":
    sys.exit(main())
