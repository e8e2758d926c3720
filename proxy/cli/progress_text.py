"""How far a piece of work is: a line that fits a terminal, a line for a log, a JSON object. Pure."""

import unicodedata
from typing import Any

from proxy.cli.reckoning import Figures
from proxy.readable import counted, duration, printable, size

_LEAST_BAR = 10
_LONGEST_BAR = 40
_LEAST_NAME = 12
_GAP = "  "
_CUT = "..."


def terminal_line(figures: Figures, width: int) -> str:
    """Return the line for a terminal of `width` columns: the most important first, and what has room.

    The last column stays free, for many terminals go on to the next line with it.
    """
    room = width - 1
    percent = f"{figures.share:4.0%}"
    line = _joined(
        {
            "percent": percent,
            "time": _time_left(figures),
            "rate": _rate(figures),
            "bytes": f"{size(figures.moved_bytes)} of {size(figures.size_bytes)}",
            "files": f"{figures.ended_files} of {counted(figures.files, 'file')}",
        },
        room,
    )
    bar_room = room - len(line) - len(_GAP) - 2
    if bar_room >= _LEAST_BAR:
        line = line.replace(percent, f"{percent}{_GAP}{_bar(figures.share, min(bar_room, _LONGEST_BAR))}", 1)
    name_room = room - len(line) - len(_GAP)
    if figures.path and name_room >= _LEAST_NAME:
        line += _GAP + ending(printable(figures.path), name_room)
    return line[:room]


def log_line(what: str, figures: Figures) -> str:
    """Return the line for a log or a mail."""
    told = [
        f"{what}: {figures.share:.0%}",
        f"{size(figures.moved_bytes)} of {size(figures.size_bytes)}",
        f"{figures.ended_files} of {counted(figures.files, 'file')}",
        *([f"{figures.failed_files} failed"] if figures.failed_files else []),
        _rate(figures),
        _time_left(figures),
    ]
    return ", ".join(one for one in told if one)


def progress_event(figures: Figures) -> dict[str, Any]:
    """Return it as JSON values."""
    return {
        "event": "progress",
        "files": figures.files,
        "ended_files": figures.ended_files,
        "failed_files": figures.failed_files,
        "total_bytes": figures.size_bytes,
        "moved_bytes": figures.moved_bytes,
        "bytes_per_s": None if figures.rate is None else round(figures.rate),
        "left_s": None if figures.left_s is None else round(figures.left_s, 1),
        "waiting_s": round(figures.waiting_s, 1),
        "seconds": round(figures.watched_s, 1),
        "path": figures.path,
    }


def failure_line(mirror: str, path: str, problem: str) -> str:
    """Return the line for a file that failed; it may be of no mirror."""
    return printable(f"FAILED {mirror and f'{mirror} '}{path}: {problem}")


def ending(text: str, columns: int) -> str:
    """Return the end of a text that is at most so many columns wide: of a path, it says the most."""
    if sum(map(_columns, text)) <= columns:
        return text
    room, kept = columns - len(_CUT), ""
    for letter in reversed(text):
        room -= _columns(letter)
        if room < 0:
            break
        kept = letter + kept
    return _CUT + kept


def _joined(parts: dict[str, str], room: int) -> str:
    """Return the parts that have room, those named first being more important, in the order shown."""
    kept: dict[str, str] = {}
    for name, part in parts.items():
        if part and len(_GAP.join([*kept.values(), part])) <= room:
            kept[name] = part
    return _GAP.join(kept[name] for name in ("percent", "bytes", "files", "rate", "time") if name in kept)


def _bar(share: float, columns: int) -> str:
    done = int(share * columns)
    return f"[{'#' * done}{'-' * (columns - done)}]"


def _rate(figures: Figures) -> str:
    return f"{size(figures.rate)}/s" if figures.rate else ""


def _time_left(figures: Figures) -> str:
    if figures.waiting_s:
        return f"waiting for {duration(figures.waiting_s)}"
    if figures.size_bytes <= figures.moved_bytes:
        return "finishing"
    return "" if figures.left_s is None else f"{duration(figures.left_s)} left"


def _columns(letter: str) -> int:
    return 2 if unicodedata.east_asian_width(letter) in "FW" else 1
