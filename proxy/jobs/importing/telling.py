"""Saying what an import came to: in lines for people, as JSON values, and in a word. Pure."""

from collections.abc import Iterator, Sequence
from typing import Any

from proxy.bundles.contents import Contents, File
from proxy.jobs.importing.outcomes import Outcome, Report, State
from proxy.jobs.plan import Forecast
from proxy.readable import counted, date, printable, size

_MOST_NAMED = 5
STATE_WORDS = {
    State.SERVED: "is served",
    State.WAITING: "waits",
    State.REFUSED: "is REFUSED",
    State.OLDER: "is OLDER than what is served, and refused",
    State.SUPERSEDED: "is older than what came with it, and passed over",
    State.UNREADABLE: "cannot be verified yet",
    State.REPLACED: "waits no longer",
}


def room_line(forecast: Forecast) -> str:
    """Say whether what would be taken fits."""
    free = f"{size(forecast.free_bytes)} are free on disk"
    if forecast.missing_bytes > 0:
        return f"it does NOT fit: {size(forecast.missing_bytes)} are lacking, and {free}"
    if not forecast.evicted:
        return f"it fits: {free}"
    go = f"{counted(len(forecast.evicted), 'blob')} ({size(forecast.evicted_bytes)})"
    return f"it fits: {free}, and {go} that nothing keeps would be let go for it"


def lines(report: Report) -> Iterator[str]:
    """Yield what came of an import, for people."""
    for line in _lines(report):
        yield printable(line)


def _lines(report: Report) -> Iterator[str]:
    for where, problem in report.problems:
        yield f"REFUSED {where}: {problem}"
    for where, problem in report.cut:
        yield f"INCOMPLETE {where}: {problem}"
    for outcome in (*report.outcomes, *report.left_waiting):
        yield from _of_outcome(outcome)
    if report.mislabelled:
        yield f"REFUSED {_several(report.mislabelled)}: the bundle says of it what its signed list does not"
    for problem, paths in _by_problem(report.taken.wrong):
        yield f"REFUSED {_several(paths)}: {problem}"
    for problem, paths in _by_problem(report.taken.unread):
        yield f"INCOMPLETE {_several(paths)}: {problem}"
    taken = report.taken
    took = "took" if report.forecast is None else "would take"
    yield (
        f"{took} {counted(taken.files, 'file')} ({size(taken.bytes)}); "
        f"{counted(taken.held_files, 'file was', 'files were')} here already ({size(taken.held_bytes)})"
    )
    if report.forecast is not None:
        yield room_line(report.forecast)
    if taken.unnamed_files:
        yield (
            f"passed over {counted(taken.unnamed_files, 'file')} ({size(taken.unnamed_bytes)}) "
            "that the bundle itself does not name"
        )


def _of_outcome(outcome: Outcome) -> Iterator[str]:
    state = STATE_WORDS[outcome.state]
    if outcome.state is State.WAITING and outcome.waited_since is not None:
        state = "waits still"
    if outcome.state is State.SERVED:
        state = f"{state} now" if outcome.is_new else f"{state} already"
        if outcome.missing:
            state = f"{state}, and is not complete"
    if outcome.used_files:
        state = "is OLDER than what is served, and its lists are refused"
    yield outcome_line(outcome, state)
    if outcome.used_files:
        taken = f"{counted(outcome.used_files, 'file of it was', 'files of it were')} taken for what is newer"
        gap = "lacks something still: see `ready`" if outcome.leaves_gap else "lacks nothing now"
        yield f"  {taken}, which {gap}"
    if outcome.vouched:
        yield f"  {outcome.vouched}"
    if outcome.missing:
        count = counted(len(outcome.missing), "file is", "files are")
        yield f"  {count} missing ({size(outcome.missing_bytes)}):"
    for line in missing_lines(outcome):
        yield f"  {line}"
    if outcome.unprovable:
        told = "its list gives no sha256 and size to prove it with"
        yield f"  not taken: {_several(outcome.unprovable)}: {told}"


def outcome_line(outcome: Outcome, state: str) -> str:
    """Return what has become of a generation, whose state is told in these words, and why."""
    since = outcome.waited_since
    waited = "" if since is None else f", which has waited since {date(since)},"
    return f"{generation_named(outcome)}{waited} {state}{outcome.why and f': {outcome.why}'}"


def generation_named(outcome: Outcome) -> str:
    """Return what people call the generation that somebody carried here, and where it was read."""
    contents = outcome.contents
    number = f" generation {contents.generation}" if contents.generation else ""  # Trees have none.
    return f"{outcome.mirror}{number} of {date(contents.updated)} ({outcome.bundle})"


def missing_lines(outcome: Outcome) -> Iterator[str]:
    """Yield where what a generation lacks can be found, with sizes."""
    places: dict[str, list[File]] = {}
    for file in sorted(outcome.missing, key=lambda one: one.part or 0):
        places.setdefault(_place(file, outcome.contents), []).append(file)
    for place, files in places.items():
        total_bytes = sum({one.sha256: one.size for one in files}.values())
        yield f"{place}: {counted(len(files), 'file')} ({size(total_bytes)})"
        for one in files[:_MOST_NAMED]:
            yield f"  {one.path:.300} ({size(one.size)})"
        if len(files) > _MOST_NAMED:
            yield f"  and {len(files) - _MOST_NAMED} more"


def _place(file: File, contents: Contents) -> str:
    """Say where a file is that a bundle names and that is not here."""
    if file.is_missing:
        return "the site that wrote the bundle had not got it either"
    if file.is_carried and contents.parts > 1 and file.part:
        return f"in part {file.part} of {contents.parts}"
    if file.is_carried:
        return "in the bundle, or another part of it"
    since = f" ({contents.since:.200})" if contents.since else ""
    return f"in an earlier bundle{since}"


def event(report: Report, code: int, *, is_rehearsal: bool) -> dict[str, Any]:
    """Return what came of an import as JSON values."""
    taken = report.taken
    return {
        "event": "plan" if is_rehearsal else "summary",
        "exit_code": code,
        "taken_files": taken.files,
        "taken_bytes": taken.bytes,
        "held_files": taken.held_files,
        "held_bytes": taken.held_bytes,
        "unnamed_files": taken.unnamed_files,
        "unnamed_bytes": taken.unnamed_bytes,
        "generations": [_generation(one) for one in report.outcomes],
        **({} if report.forecast is None else _foreseen(report, report.forecast)),
        "refused": [
            *({"path": where, "problem": problem} for where, problem in report.problems),
            *({"path": path, "problem": "mislabelled"} for path in report.mislabelled),
            *({"path": path, "problem": problem} for path, problem in taken.wrong.items()),
        ],
        "incomplete": [
            *({"path": where, "problem": problem} for where, problem in report.cut),
            *({"path": path, "problem": problem} for path, problem in taken.unread.items()),
        ],
    }


def _foreseen(report: Report, forecast: Forecast) -> dict[str, Any]:
    return {
        "left_waiting": [_generation(one) for one in report.left_waiting],
        **room_event(forecast),
    }


def room_event(forecast: Forecast) -> dict[str, Any]:
    """Return as JSON values whether what would be taken fits."""
    return {
        "free_bytes": forecast.free_bytes,
        "evicted_bytes": forecast.evicted_bytes,
        "lacking_bytes": forecast.missing_bytes,
    }


def _generation(outcome: Outcome) -> dict[str, Any]:
    return {
        "mirror": outcome.mirror,
        "bundle": outcome.bundle,
        "generation": outcome.contents.generation,
        "updated": outcome.contents.updated,
        "state": outcome.state.value,
        "is_new": outcome.is_new,
        "why": outcome.why,
        "signed": outcome.vouched,
        "waited_since": outcome.waited_since,
        "missing_bytes": outcome.missing_bytes,
        "missing": [
            {"path": one.path, "sha256": one.sha256, "size": one.size, "is_carried": one.is_carried}
            for one in outcome.missing
        ],
        "unprovable": list(outcome.unprovable),
        "used_files": outcome.used_files,
    }


def _by_problem(found: dict[str, str]) -> list[tuple[str, list[str]]]:
    """Return each kind of problem once, with what has it."""
    kinds: dict[str, list[str]] = {}
    for path, problem in found.items():
        kinds.setdefault(problem, []).append(path)
    return list(kinds.items())


def _several(paths: Sequence[str]) -> str:
    return f"{paths[0]:.300}" if len(paths) == 1 else f"{paths[0]:.300} and {len(paths) - 1} more"
