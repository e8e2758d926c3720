"""Saying what an import of a tree came to: in lines for people, and as JSON values."""

from collections.abc import Iterator
from typing import Any

from proxy.jobs.importing.outcomes import Outcome, State
from proxy.jobs.importing.telling import STATE_WORDS, outcome_line, room_event, room_line
from proxy.jobs.trees.report import TreeImportReport
from proxy.readable import counted, first_few, printable, size
from proxy.system.same_bytes import Way

_MOST_MISSING = 5
_MOST_PATHS = 1000
_WAYS = {
    Way.LINKED: "linked, and read-only from now on",
    Way.CLONED: "cloned",
    Way.COPIED: "copied",
}


def lines(report: TreeImportReport) -> Iterator[str]:
    """Yield what came of it, for people."""
    return map(printable, _lines(report))


def problem_lines(report: TreeImportReport) -> Iterator[str]:
    """Yield what was refused, is damaged or is missing, for people."""
    return map(printable, _problem_lines(report))


def _lines(report: TreeImportReport) -> Iterator[str]:
    for outcome in report.generation.outcomes:
        yield outcome_line(outcome, _state(outcome))
    how = [f"{counted(count, 'file')} {_WAYS[way]}" for way, count in report.ways.items()]
    forecast = report.generation.forecast
    if forecast is None:
        took = f"took {counted(sum(report.ways.values()), 'file')} ({size(report.bytes)})"
        took += f": {', '.join(how)}" if how else ""
    else:
        took = f"would take {counted(report.foreseen_files, 'file')} ({size(report.bytes)}) by name and size"
    yield f"{took}; {counted(report.held_files, 'file was', 'files were')} here already"
    if report.doubtful_files:
        count = counted(report.doubtful_files, "more file has a size", "more files have sizes")
        yield f"  {count} that lists want: the import hashes them to know"
    if forecast is not None:
        yield room_line(forecast)
    for kind, found in report.leftovers.kinds():
        if not kind.is_damage:
            paths = first_few([path for path, _ in found])
            yield f"  {counted(len(found), 'entry', 'entries')}: {kind.value}: {paths}"


def _state(outcome: Outcome) -> str:
    state = STATE_WORDS[outcome.state]
    if outcome.is_new:
        return f"{state} now"
    if outcome.state is State.WAITING:
        return f"{state} until all of it is here (--activate serves it now)"
    return state


def _problem_lines(report: TreeImportReport) -> Iterator[str]:
    if report.only_blobs:
        verdict = "REFUSED" if report.is_refused else "not taken"
        yield (
            f"{verdict} the tree's lists: {report.only_blobs}; of its files only those count that lists name "
            "which were accepted before"
        )
    for kind, found in report.leftovers.kinds():
        if kind.is_damage:
            paths = first_few([f"{path} ({why})" if why else path for path, why in found])
            yield f"{counted(len(found), 'file')}: {kind.value}: {paths}"
    missing = {one.path: one.size_bytes for one in report.missing}
    for outcome in report.generation.outcomes:
        missing.update({one.path: one.size for one in outcome.missing})
    for path, count in list(missing.items())[:_MOST_MISSING]:
        yield f"MISSING {path} ({size(count)})"
    if missing:
        total = f"{counted(len(missing), 'file is', 'files are')} missing ({size(sum(missing.values()))})"
        yield f"not complete: {total}"


def event(report: TreeImportReport, folder: str, code: int) -> dict[str, Any]:
    """Return what came of it as JSON values."""
    return {
        "event": "summary" if report.generation.forecast is None else "plan",
        "exit_code": code,
        "folder": folder,
        "only_blobs": report.only_blobs,
        "generations": [
            {
                "mirror": one.mirror,
                "source": one.bundle,
                "updated": one.contents.updated,
                "state": one.state.value,
                "is_new": one.is_new,
                "why": one.why,
                "missing": [{"path": file.path, "size": file.size} for file in one.missing],
            }
            for one in report.generation.outcomes
        ],
        "taken_files": report.foreseen_files + sum(report.ways.values()),
        "taken_bytes": report.bytes,
        **{f"{way.value}_files": report.ways.get(way, 0) for way in Way},
        "held_files": report.held_files,
        **_foreseen(report),
        "missing": [{"path": one.path, "size": one.size_bytes} for one in report.missing],
        "leftovers": {
            kind.name.lower(): {
                "count": len(found),
                "paths": [{"path": path, "why": why} for path, why in found[:_MOST_PATHS]],
            }
            for kind, found in report.leftovers.kinds()
        },
    }


def _foreseen(report: TreeImportReport) -> dict[str, Any]:
    forecast = report.generation.forecast
    return {} if forecast is None else {"doubtful_files": report.doubtful_files, **room_event(forecast)}
