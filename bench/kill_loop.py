"""Kill the service 1,000 times while it works, and audit every blob, row, lock and reply after each.

Prints what was killed, what was found, and how long the slowest restart took;
exits with 1 when anything was found. Ctrl-C ends it after the round that runs.
"""

import argparse
import asyncio
import signal
import tempfile
import time
from pathlib import Path
from statistics import median

import stage  # noqa: F401 - makes `support` importable
from support.keys import SigningKey
from support.kill_loop import Report, kill_loop

_TOLD_EVERY = 20


def told(report: Report, seconds: float) -> str:
    """Return what the rounds have come to, in words."""
    kills = ", ".join(f"{kind} {count}" for kind, count in report.kills.most_common())
    replies = ", ".join(f"{kind} {count}" for kind, count in report.replies.most_common())
    back = ", ".join(
        f"{kind} {median(seconds):.2f} s, at most {max(seconds):.2f} s"
        for kind, seconds in sorted(report.back_s.items())
    )
    return "\n".join(
        [
            f"{report.rounds} rounds in {seconds:.0f} s",
            f"  killed         {report.kills.total()}: {kills}",
            f"  replies        {replies}",
            f"  blobs hashed   {report.blobs}",
            f"  back after     {back}",
            f"  faults found   {len(report.faults)}",
            *(f"    {fault}" for fault in report.faults),
        ]
    )


async def main() -> int:
    """Run the rounds; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1, help="of what is done and killed when")
    options = parser.parse_args()
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stopping.set)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="sstream-kill-") as folder, SigningKey() as key:
        async with kill_loop(Path(folder), key, options.seed) as loop:
            for number in range(options.rounds):
                if stopping.is_set():
                    break
                known = len(loop.report.faults)
                await loop.round()
                for fault in loop.report.faults[known:]:
                    print(f"FAULT {fault}", flush=True)
                if (number + 1) % _TOLD_EVERY == 0:
                    print(told(loop.report, time.monotonic() - began), flush=True)
            report = loop.report
    print(told(report, time.monotonic() - began))
    return 1 if report.faults else 0


if __name__ == "__main__":
    raise SystemExit(asyncio.run(main()))
