"""What is wrong, in words that say what to do: a pure reading of the figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.readable import counted, size, times

_NEARLY_FULL = 2
"""Free space below this many times the configured reserve is told of."""

_LIAR_ADVICE = (
    "none of it was kept or served whole: mend the copy there or take the origin out of the mirror, "
    "and if the network wants a login, log in"
)

_LACKING_ADVICE = (
    "the other lists are served and kept current, and these are taken in as soon as they can be had: "
    "tell whoever runs the origin, or name another one that has them too"
)
_UNREACHED_ADVICE = (
    "check the network (of a folder: its disk), and [upstream] parent_proxy and no_proxy if the site has "
    "a proxy; clients get 503 until then"
)
_LOOP_MARK = "[upstream] resolve"
_LOOP_ADVICE = (
    "a name server gives this proxy's own address for the origin's name: write the origin's address into "
    "[upstream] resolve; clients get 503 until then"
)
_REFUSED_ADVICE = (
    "the origin answers, but what it sends is refused: check the mirror's keyring, "
    "and whether that is the right origin; clients get 503 until then"
)
_HELD_BACK_ADVICE = (
    "another origin's, which has all lists, is served meanwhile; "
    "the newer one is taken once it is whole, or after [freshness] hold_back"
)
_AHEAD_ADVICE = (
    "if this machine's clock is right, tell the publisher; what is published later is taken all the same"
)
_ODD_ADVICE = "tell the publisher; all other entries are served"
_CUT_FOR = {
    "unreachable": "no origin could be had",
    "wrong_bytes": "an origin sent wrong bytes",
    "store": "the store failed",
    "other": "something else failed",
}
_CUT_ADVICE = "look for reply.cut in the log; clients that try again get what can be had by then"
_LOG_ADVICE = (
    "clients are served all the same: see whether whoever reads standard error is at work and fast enough, "
    'and whether its disk is full; with [log] level = "warning" requests are not logged'
)
_CONFLICT_ADVICE = (
    "all clients, prefetch and ready go by the greatest version name, then by the first list; "
    "whoever believes the other list gets what it does not say: tell the publisher"
)
_MOST_TOLD = 5


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong."""

    subject: str
    """mirror NAME, origin URL, rule NAME, store, scrub."""
    severity: str
    """"error": clients notice or soon will; "warning": somebody should look."""
    text: str
    advice: str


def find_problems(stats: dict[str, Any]) -> list[Problem]:
    """Return what is wrong according to the figures, errors first."""
    found = [
        *_of_mirrors(stats),
        *_of_origins(stats),
        *_of_cuts(stats.get("cuts", {}).get("last_hour", {})),
        *_of_log(stats.get("log", {})),
        *_of_store(stats["store"]),
        *_of_scrub(stats["scrub"]),
        *_of_rules(stats["prefetch"]),
    ]
    return sorted(found, key=lambda problem: problem.severity != "error")


def _of_mirrors(stats: dict[str, Any]) -> Iterator[Problem]:
    for name, mirror in stats["mirrors"].items():
        yield from _of_checks(f"mirror {name}", mirror, is_offline=stats["offline"])
        yield from _of_documents(name, mirror)


def _of_checks(subject: str, mirror: dict[str, Any], *, is_offline: bool) -> Iterator[Problem]:
    is_local = bool(mirror["failures"] and mirror.get("is_local"))
    if is_local:
        severity = "warning" if mirror["is_ready"] else "error"
        text = f"cannot take new lists, which is this machine's fault: {mirror['last_problem']}"
        advice = "mend the data directory or gpg; the origins have nothing to do with it"
        yield Problem(subject, severity, text, advice)
    elif mirror["failures"] and not mirror["is_ready"]:
        if _LOOP_MARK in mirror["last_problem"]:
            yield Problem(subject, "error", f"asks itself: {mirror['last_problem']}", _LOOP_ADVICE)
            return
        was_refused = mirror["last_refusal"] and mirror["last_refusal"] in mirror["last_problem"]
        advice = _REFUSED_ADVICE if was_refused else _UNREACHED_ADVICE
        yield Problem(subject, "error", f"has no verified lists: {mirror['last_problem']}", advice)
    elif mirror["failures"] and not is_offline:
        advice = "the last verified lists are served meanwhile; look at the origin if this lasts"
        text = f"could not be checked {times(mirror['failures'])}: {mirror['last_problem']}"
        yield Problem(subject, "warning", text, advice)


def _of_documents(name: str, mirror: dict[str, Any]) -> Iterator[Problem]:
    subject = f"mirror {name}"
    conflicts = mirror.get("conflicts", ())
    if conflicts:
        text = f"has lists that disagree: {_first_few(conflicts, '; ')}"
        yield Problem(subject, "warning", text, _CONFLICT_ADVICE)
    if mirror.get("held_back_since") is not None and not mirror["failures"]:
        yield Problem(subject, "warning", "holds a newer index back, for it lacks lists", _HELD_BACK_ADVICE)
    lacking = mirror.get("lacking", {})
    if lacking:
        told = [f"{path} ({why})" for path, why in sorted(lacking.items())]
        text = f"does without what its index names: {_first_few(told, ', ')}"
        yield Problem(subject, "warning", text, _LACKING_ADVICE)
    if mirror.get("too_old"):
        yield Problem(subject, "warning", f"keeps what it has: {mirror['too_old']}", _too_old_advice(name))
    if mirror.get("oddities"):
        text = f"has an index with entries that cannot all be used: {_first_few(mirror['oddities'], '; ')}"
        yield Problem(subject, "warning", text, _ODD_ADVICE)
    if mirror.get("ahead"):
        text = f"has documents of the future: {_first_few(mirror['ahead'], ', ')}"
        yield Problem(subject, "warning", text, _AHEAD_ADVICE)
    is_told = mirror["last_refusal"] in [*lacking.values(), mirror.get("too_old")]
    if mirror["last_refusal"] and not is_told and (mirror["failures"] or mirror.get("refused")):
        advice = "if this lasts, the origin publishes something wrong, or the keyring is out of date"
        yield Problem(subject, "warning", f"refused a document: {mirror['last_refusal']}", advice)


def _first_few(what: Sequence[str], joint: str) -> str:
    """Return the first few, and how many more there are."""
    more = [f"and {len(what) - _MOST_TOLD} more"] if len(what) > _MOST_TOLD else []
    return joint.join([*what[:_MOST_TOLD], *more])


def _too_old_advice(mirror: str) -> str:
    return (
        "an origin may be behind, or somebody shows documents of old, or of elsewhere. If the publisher "
        "went back on purpose, or dated something wrongly, or the mirror was given other origins: "
        f"sstream-proxy refresh --accept-older {mirror}"
    )


def _of_origins(stats: dict[str, Any]) -> Iterator[Problem]:
    for name, origin in stats["origins"].items():
        hour = origin["last_hour"]
        if hour["error"] > hour["ok"]:
            text = f"failed {hour['error']} of {hour['ok'] + hour['error']} requests in the last hour"
            yield Problem(
                f"origin {name}",
                "warning",
                text,
                "look at it if this lasts, or add another origin to the mirror",
            )
        if hour["wrong"] or origin["distrusted_until"] is not None:
            yield Problem(f"origin {name}", "warning", _what_was_wrong(origin), _LIAR_ADVICE)


def _of_cuts(cuts: dict[str, int]) -> Iterator[Problem]:
    """Tell of replies that broke off: clients that try again may get them whole, others see an error."""
    told = [f"{count} because {_CUT_FOR[reason]}" for reason, count in cuts.items() if count]
    if told:
        count = sum(cuts.values())
        text = f"had {counted(count, 'reply', 'replies')} cut in the last hour: {', '.join(told)}"
        yield Problem("clients", "warning", text, _CUT_ADVICE)


def _of_log(log: dict[str, int]) -> Iterator[Problem]:
    count = log.get("dropped_last_hour", 0)
    if count:
        text = f"lacks {counted(count, 'line', 'lines')} of the last hour: they could not be written"
        yield Problem("log", "warning", text, _LOG_ADVICE)


def _what_was_wrong(origin: dict[str, Any]) -> str:
    last = origin["last_wrong"]
    text = f"sent what the lists do not say {times(origin['last_hour']['wrong'])} in the last hour"
    if last is not None:
        text += f", last {last['path']}: {last['problem']}"
    return text if origin["distrusted_until"] is None else f"{text}; it is asked last for a while"


def _of_store(store: dict[str, Any]) -> Iterator[Problem]:
    if not store["is_writable"]:
        advice = "clients are served past it: free space, or check the disk, its mount and permissions"
        yield Problem("store", "error", f"cannot be written: {'; '.join(store['faults'])}", advice)
    elif store["free_bytes"] < _NEARLY_FULL * store["min_free_bytes"]:
        advice = "set [cache] limit, free disk space, or unpin what you no longer need"
        text = (
            f"has only {size(store['free_bytes'])} left on its disk, "
            f"of which [cache] min_free keeps {size(store['min_free_bytes'])} free"
        )
        yield Problem("store", "warning", text, advice)
    if too_large := store.get("without_room"):
        one = too_large[0]
        more = f" and {len(too_large) - 1} more" if len(too_large) > 1 else ""
        text = f"has no room for {one['path']} ({size(one['size_bytes'])}){more}, not even after eviction"
        advice = "clients are served past it: raise [cache] limit, lower min_free, free disk space, or unpin"
        yield Problem("store", "warning", text, advice)
    strangers = store.get("strangers")
    if strangers is not None:
        yield Problem("store", "error", strangers["text"], f"give them back: {strangers['remedy']}")
    if store["quarantined"]:
        advice = "look at them in the folder quarantine, check the disk, then delete them"
        yield Problem("store", "warning", f"set {store['quarantined']} damaged files aside", advice)


def _of_scrub(scrub: dict[str, Any]) -> Iterator[Problem]:
    lost = scrub["damaged_blobs"] - scrub["repaired_blobs"]
    if lost > 0:
        advice = "what a list still names is fetched again when somebody asks for it"
        yield Problem("scrub", "warning", f"{lost} damaged blobs were not fetched again", advice)


def _of_rules(rules: list[dict[str, Any]]) -> Iterator[Problem]:
    for rule in rules:
        last, subject = rule["last"], f"rule {rule['name']}"
        if last is None or last["outcome"] not in {"failed", "partial"}:
            continue
        unknown = last.get("unknown", ())
        if unknown:
            advice = (
                "correct the rule in the configuration; what the lists do name is fetched all the same, "
                "and what is still to come by the first run after a list has it"
            )
            text = f"names what no list has: {'; '.join(unknown)}"
            yield Problem(subject, "warning", text, advice)
        rest = _but_for("; ".join(unknown), last["problem"])
        if rest:
            advice = "run it again, or read the log"
            yield Problem(subject, "warning", f"was not complete: {rest}", advice)


def _but_for(told: str, problem: str) -> str:
    """Return what a run says of itself without what is told apart: names first, or last."""
    if told and problem.startswith(told):
        return ""
    return problem.removesuffix(f"; {told}")
