"""Writing down what an import came to, for the audit log."""

from collections.abc import Iterator

from proxy.jobs.audit import Audit, Done
from proxy.jobs.importing.outcomes import Report
from proxy.jobs.importing.telling import STATE_WORDS, generation_named


async def write_down(audit: Audit, report: Report, *, accepts_older: bool) -> None:
    """Write a line for each generation, and one for what was no bundle at all.

    `accepts_older` says whether what is older was allowed to replace what is served.
    """
    taken = report.taken
    for number, (what, text, problem) in enumerate(_told(report)):
        done = Done(
            action="import",
            text=text,
            blobs=taken.files if number == 0 else 0,
            bytes=taken.bytes if number == 0 else 0,
            problem=problem,
        )
        await audit.write_down(done, f"{what}, older ones accepted" if accepts_older else what)


def _told(report: Report) -> Iterator[tuple[str, str, str]]:
    for one in report.outcomes:
        state = f"{generation_named(one)} {STATE_WORDS[one.state]}"
        yield one.bundle, "; ".join(filter(None, (state, one.vouched))), one.why
    for where, problem in report.problems:
        yield where, "REFUSED", problem
