"""The state of the proxy in the form of monitoring plugins: one status, one line, figures with their limits.

The form is that of the Monitoring Plugins guidelines, which Nagios, Icinga, Naemon and Checkmk read. Pure.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import Any, NamedTuple

from proxy.readable import counted, duration, share, size

_NAME = "SSTREAM-PROXY"
_MOST_IN_LINE = 3
_OF_NO_USE_IN_LINES = str.maketrans({"|": "/", "\n": " ", "\r": " "})


class Status(IntEnum):
    """What a plugin says, as its exit code."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


class Limit(NamedTuple):
    """From where on a figure is a warning, and from where on critical."""

    warning: float
    critical: float

    @property
    def is_floor(self) -> bool:
        """Whether it is too little that is bad, and not too much."""
        return self.critical < self.warning

    def judge(self, value: float) -> Status:
        """Return what a figure means."""
        for status, bound in ((Status.CRITICAL, self.critical), (Status.WARNING, self.warning)):
            if value <= bound if self.is_floor else value >= bound:
                return status
        return Status.OK


class Limits(NamedTuple):
    """What somebody wants to be told of, besides what the proxy calls a problem itself."""

    index_age_s: Limit | None = None
    unchecked_s: Limit | None = None
    free_bytes: Limit | None = None
    hit_ratio: Limit | None = None


class _Figure(NamedTuple):
    """One figure, in the form that is plotted, and its judgement."""

    label: str
    value: float
    unit: str
    limit: Limit | None
    text: str

    @property
    def status(self) -> Status:
        return Status.OK if self.limit is None else self.limit.judge(self.value)

    @property
    def performance(self) -> str:
        """As plugins write it: a range `N:` is one that alerts below N."""
        colon = ":" if self.limit is not None and self.limit.is_floor else ""
        bounds = ("", "") if self.limit is None else (f"{_plain(one)}{colon}" for one in self.limit)
        return f"'{self.label}'={_plain(self.value)}{self.unit};{';'.join(bounds)};0"


class Health(NamedTuple):
    """What a plugin prints, and its exit code."""

    status: Status
    text: str


def health(stats: Mapping[str, Any], limits: Limits, mirrors: Sequence[str] = ()) -> Health:
    """Judge figures as `/-/stats` has them; the mirrors named have to be there and ready."""
    found = [*_of_problems(stats), *_of_mirrors(stats, mirrors)]
    figures = list(_figures(stats, limits, mirrors))
    found += [(one.status, one.text) for one in figures if one.status is not Status.OK]
    return _told(found, _summary(stats), [one.performance for one in figures])


def health_of_readiness(told: Mapping[str, Any]) -> Health:
    """Judge what `/-/ready` says to those who may not read the figures."""
    reasons = [(Status.CRITICAL, str(one)) for one in told.get("reasons", ())]
    if not told.get("ready") and not reasons:
        reasons = [(Status.CRITICAL, "it is not ready")]
    return _told(reasons, "ready (figures are for admins)", [])


def unknown(problem: str) -> Health:
    """Say that nobody knows."""
    return Health(Status.UNKNOWN, f"{_NAME} UNKNOWN - {problem.translate(_OF_NO_USE_IN_LINES)}")


def unreachable(problem: str) -> Health:
    """Say that nothing answers."""
    return Health(Status.CRITICAL, f"{_NAME} CRITICAL - {problem.translate(_OF_NO_USE_IN_LINES)}")


def _told(found: Sequence[tuple[Status, str]], summary: str, figures: Sequence[str]) -> Health:
    status = max((one for one, _ in found), default=Status.OK)
    worst_first = sorted(found, key=lambda one: -one[0])
    told = [text.translate(_OF_NO_USE_IN_LINES) for _, text in worst_first]
    line = "; ".join(told[:_MOST_IN_LINE]) or summary
    if len(told) > _MOST_IN_LINE:
        line += f"; and {len(told) - _MOST_IN_LINE} more"
    performance = f" | {' '.join(figures)}" if figures else ""
    return Health(status, "\n".join([f"{_NAME} {status.name} - {line}{performance}", *told[_MOST_IN_LINE:]]))


def _of_problems(stats: Mapping[str, Any]) -> Iterator[tuple[Status, str]]:
    for problem in stats.get("problems", ()):
        is_error = problem["severity"] == "error"
        yield Status.CRITICAL if is_error else Status.WARNING, f"{problem['subject']} {problem['text']}"


def _of_mirrors(stats: Mapping[str, Any], wanted: Sequence[str]) -> Iterator[tuple[Status, str]]:
    for name in wanted:
        mirror = stats["mirrors"].get(name)
        if mirror is None:
            yield Status.CRITICAL, f"there is no mirror {name}"
        elif not mirror["is_ready"] and not mirror["failures"]:
            yield Status.CRITICAL, f"mirror {name} has no verified lists yet"


def _figures(stats: Mapping[str, Any], limits: Limits, wanted: Sequence[str]) -> Iterator[_Figure]:
    for name, mirror in stats["mirrors"].items():
        if wanted and name not in wanted:
            continue
        is_asked = mirror.get("is_asked", True)  # An earlier release does not say.
        for key, label, limit in (
            ("index_age_s", "index_age", limits.index_age_s),
            ("checked_s_ago", "unchecked", limits.unchecked_s if is_asked else None),
        ):
            value = mirror.get(key)
            if value is not None:
                what = "an index of" if label == "index_age" else "not been checked for"
                text = f"mirror {name} has {what} {duration(value)}"
                yield _Figure(f"{label}_{name}", round(value), "s", limit, text)
    store, total = stats["store"], stats["total"]
    free = store["free_bytes"]
    yield _Figure("free", free, "B", limits.free_bytes, f"only {size(free)} are free on disk")
    yield _Figure("stored", store["bytes"], "B", None, "")
    yield _Figure("blobs", store["blobs"], "", None, "")
    ratio = total["hit_ratio"]["day"]
    if ratio is not None:
        text = f"only {share(ratio)} of the last day's requests were hits"
        yield _Figure("hit_ratio", round(100 * ratio, 1), "%", limits.hit_ratio, text)
    yield _Figure("sent", sum(total["sent_bytes"].values()), "c", None, "")
    yield _Figure("fetched", total["fetched_bytes"], "c", None, "")


def _plain(value: float) -> str:
    """Return a number without an exponent, which not every reader knows."""
    return f"{value:.3f}".rstrip("0").rstrip(".")


def _summary(stats: Mapping[str, Any]) -> str:
    mirrors, store = stats["mirrors"].values(), stats["store"]
    ready = sum(bool(one["is_ready"]) for one in mirrors)
    state = ", offline" if stats["offline"] else ""
    return (
        f"{ready} of {counted(len(mirrors), 'mirror')} with lists{state}, {size(store['bytes'])} in "
        f"{counted(store['blobs'], 'blob')}, {size(store['free_bytes'])} free"
    )
