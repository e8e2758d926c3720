"""The state of a mirror in a few words, the same for the overview and for `stats`. Pure."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from proxy.readable import date


class MirrorState(NamedTuple):
    """What is said of a mirror."""

    text: str
    rating: str
    """good, warn or bad; "" for a mirror of which there is nothing to say yet."""


def mirror_state(mirror: Mapping[str, Any], lockfile: str = "") -> MirrorState:
    """Say how a mirror is that `/-/stats` describes, on a proxy that serves a lockfile, or "" for none.

    Lists of which nobody may ask whether they are current are neither fresh nor stale: their date counts.
    """
    if not mirror["is_ready"]:
        is_lacking = mirror["failures"] or not mirror["is_asked"]
        return MirrorState("no verified lists", "bad") if is_lacking else MirrorState("never asked for", "")
    if not mirror["is_asked"]:
        reason = "locked" if lockfile else "offline"
        return MirrorState(f"{reason}, lists of {_date(mirror)}", "good")
    if mirror["failures"]:
        return MirrorState("origin fails", "warn")
    return MirrorState("stale", "warn") if mirror["is_stale"] else MirrorState("fresh", "good")


def _date(mirror: Mapping[str, Any]) -> str:
    updated = mirror["updated"]
    return (
        date(updated) if updated is not None else f"an unknown date, here since {date(mirror['accepted_at'])}"
    )
