"""The machine's time zone, as the C library has it.

So it is every form that POSIX allows in $TZ ("CET-1CEST,M3.5.0,M10.5.0/3"), and
the time that the log and other programs show. Knows no schedule.
"""

import re
import zoneinfo
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

_NAME = r"(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>)"
_OFFSET = r"[+-]?\d{1,3}(?::\d{1,2}){0,2}"
_DAY = r"(?:J?\d{1,3}|M\d{1,2}\.\d\.\d)"
_RULE = rf",{_DAY}(?:/{_OFFSET})?"
_POSIX = re.compile(rf"{_NAME}{_OFFSET}(?:{_NAME}(?:{_OFFSET})?(?:{_RULE}{_RULE})?)?")
_UNIVERSAL = re.compile(r"(Etc/)?(UTC|UCT|GMT|Zulu|Universal|Greenwich)")
"""What an unknown zone comes to anyway."""
_MAGIC = b"TZif"


class LocalTime(tzinfo):
    """The zone that $TZ or /etc/localtime named when the program started; asks no disk."""

    def utcoffset(self, dt: datetime | None) -> timedelta | None:
        """Return how far the local clock is ahead when it shows `dt`."""
        return None if dt is None else _placed(dt).utcoffset()

    def dst(self, dt: datetime | None) -> timedelta | None:  # noqa: ARG002 - tzinfo's signature
        """Return None: what of the offset is daylight saving, nobody here asks."""
        return None

    def tzname(self, dt: datetime | None) -> str | None:
        """Return what the zone is called when the local clock shows `dt`."""
        return None if dt is None else _placed(dt).tzname()

    def fromutc(self, dt: datetime) -> datetime:
        """Return what the local clock shows at `dt`, and whether it does so a second time."""
        seconds = dt.replace(tzinfo=UTC, microsecond=0).timestamp()
        local = datetime.fromtimestamp(seconds)  # noqa: DTZ006 - the C library's time is wanted
        return local.replace(microsecond=dt.microsecond, tzinfo=self)


def unknown_zone(environ: Mapping[str, str]) -> str | None:
    """Return what $TZ says if it means nothing here, so that the C library takes UTC for it. Blocks."""
    given = environ.get("TZ", "")
    name = given.removeprefix(":")
    if not name or _POSIX.fullmatch(name) or _UNIVERSAL.fullmatch(name):
        return None
    folders = [environ["TZDIR"]] if environ.get("TZDIR") else zoneinfo.TZPATH
    return None if any(_is_zone(Path(folder, name)) for folder in folders) else given


def _placed(dt: datetime) -> datetime:
    return dt.replace(tzinfo=None).astimezone()


def _is_zone(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_MAGIC)) == _MAGIC
    except OSError:
        return False
