"""What is wrong, in words that say what to do: a pure reading of the figures."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.readable import counted, date, printable, size, times

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
_ADVICE_FOR = {
    "local": "mend the data directory or gpg; the origins have nothing to do with it",
    "refused": (
        "the origin answers, but what it sends is refused: check the mirror's keyring, "
        "and whether that is the right origin"
    ),
    "network": (
        "check the network between this machine and the origin: its name, a firewall, and "
        "[upstream] parent_proxy and no_proxy if the site has a proxy"
    ),
    "tls": (
        "the network is in order: correct what is named, be it the address, the certificate, "
        "or what this machine trusts"
    ),
    "site_proxy": (
        "ask whoever runs the site's proxy, or correct [upstream] parent_proxy and no_proxy: "
        "the origin was not reached at all"
    ),
    "machine": "this machine is at fault, neither the network nor the origin: raise the limit that is named",
    "rights": (
        "this machine's permissions are at fault, not the origin: let the proxy's user read the folder, "
        "with all folders above it"
    ),
    "loop": (
        "a name server gives this proxy's own address for the origin's name, or that of a proxy that asks "
        "this one: write the origin's own address into [upstream] resolve, or another name server into "
        "[upstream] resolver"
    ),
    "folder": "check the folder's disk or file server, and whether it is mounted",
    "answer": (
        "the network is in order, the origin answers so: check its address in the configuration, which ends "
        "before streams/v1/, and a login in it if it wants one; else ask whoever runs the origin"
    ),
    "nonsense": (
        "what answers is not what was asked for: something on the way may want a login, or the address is "
        "not that of a simplestreams tree"
    ),
}
_UNKNOWN_CAUSE_ADVICE = "check the network, the origin, and the mirror's keyring"
_OFFLINE_ADVICE = (
    "take them in by `sstream-proxy import`, or go online until they are here: `sstream-proxy offline off`, "
    "or, if the configuration or `serve --offline` says so, change that"
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
_WAITING_ADVICE = (
    "the generation before is served meanwhile: `sstream-proxy import --waiting` names what it lacks, and "
    "serves it once that is here; with --activate, without them"
)
_COMPLETE_ADVICE = (
    "`sstream-proxy import --waiting` serves it; a running server does by itself within about a minute"
)
_MOST_TOLD = 5
_STORE_ADVICE = (
    (
        "No space left",
        "free space on the disk, or set [cache] limit and min_free so that eviction keeps some",
    ),
    ("quota", "raise the disk quota of the proxy's user, or set [cache] limit below it"),
    (
        "Read-only file system",
        "mount the disk for writing; the kernel makes it read-only when it fails: dmesg",
    ),
    ("Input/output error", "the disk fails: look at the kernel's log, dmesg, and replace it"),
    (
        "Permission denied",
        "let the proxy's user write the data directory; the disk has nothing to do with it",
    ),
    ("Operation not permitted", "let the proxy's user write the data directory: look at its modes and flags"),
    ("malformed", "the ledger is damaged: restart the proxy, which makes it anew from what is on the disk"),
    (
        "not a database",
        "the ledger is damaged: restart the proxy, which makes it anew from what is on the disk",
    ),
    ("locked", "another process holds the ledger: is a copy or a backup of it under way?"),
    ("Too many open files", "raise the limit of open files, LimitNOFILE or ulimit -n; the disk is in order"),
)
"""What the system says, and what to do; the first that fits is taken."""
_OTHER_STORE_ADVICE = "free space, or check the disk, its mount and permissions"


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
        *find_waiting(stats),
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
    is_ready, last = mirror["is_ready"], mirror["last_problem"]
    if is_offline and not is_ready:
        text = "has no verified lists, and none can be fetched while the proxy is offline"
        yield Problem(subject, "error", text, _OFFLINE_ADVICE)
    elif mirror["failures"] and mirror.get("is_local"):
        text = f"cannot take new lists, which is this machine's fault: {last}"
        yield Problem(subject, "warning" if is_ready else "error", text, _ADVICE_FOR["local"])
    elif mirror["failures"] and not is_ready:
        advice = f"{_advice(mirror)}; clients get 503 until then"
        yield Problem(subject, "error", f"has no verified lists: {last}", advice)
    elif mirror["failures"] and not is_offline:
        advice = f"the last verified lists are served meanwhile; if this lasts, {_advice(mirror)}"
        yield Problem(subject, "warning", f"could not be checked {times(mirror['failures'])}: {last}", advice)


def _advice(mirror: dict[str, Any]) -> str:
    """Say what to do about a check that failed, by what was at fault; several origins may differ."""
    causes = mirror.get("causes") or ()
    if not causes and mirror["last_refusal"] and mirror["last_refusal"] in mirror["last_problem"]:
        causes = ("refused",)  # An earlier release wrote it.
    return "; ".join(_ADVICE_FOR[one] for one in causes if one in _ADVICE_FOR) or _UNKNOWN_CAUSE_ADVICE


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
    if mirror["failures"]:  # Why a check failed is told with it, and with advice by its cause.
        is_told |= (mirror["last_refusal"] or "") in (mirror["last_problem"] or "")
    if mirror["last_refusal"] and not is_told and (mirror["failures"] or mirror.get("refused")):
        advice = "if this lasts, the origin publishes something wrong, or the keyring is out of date"
        yield Problem(subject, "warning", f"refused a document: {mirror['last_refusal']}", advice)


def find_waiting(stats: dict[str, Any]) -> list[Problem]:
    """Return the generations that were imported and are not served yet."""
    return [
        _of_waiting(name, one)
        for name, mirror in stats["mirrors"].items()
        for one in mirror.get("waiting", ())
    ]


def _of_waiting(mirror: str, one: dict[str, Any]) -> Problem:
    is_complete = not one["missing_files"]
    advice = _COMPLETE_ADVICE if is_complete else _WAITING_ADVICE
    return Problem(f"mirror {mirror}", "warning", f"has {_waiting_text(one)}", advice)


def _waiting_text(one: dict[str, Any]) -> str:
    """Say of a generation that waits since when it does, and for what."""
    bundle = f" ({printable(one['bundle'][:200])})" if one["bundle"] else ""
    lacks = f"for {counted(one['missing_files'], 'file')} ({size(one['missing_bytes'])})"
    if not one["missing_files"]:
        lacks = "and lacks nothing any more"
    named = f"generation {one['generation']} of {date(one['updated'])}{bundle}"
    return f"{named}, which has waited since {date(one['since'])} {lacks}"


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
    text = f"sent what the lists do not say, {times(origin['last_hour']['wrong'])} in the last hour"
    if last is not None:
        text += f", last {last['path']}: {last['problem']}"
    return text if origin["distrusted_until"] is None else f"{text}; it is asked last for a while"


def _store_advice(faults: Sequence[str]) -> str:
    """Say what to do about a store that cannot be written, by what the system says."""
    told = "; ".join(faults)
    found = (advice for words, advice in _STORE_ADVICE if words in told)
    return f"clients are served past it: {next(found, _OTHER_STORE_ADVICE)}"


def _of_store(store: dict[str, Any]) -> Iterator[Problem]:
    if not store["is_writable"]:
        advice = _store_advice(store["faults"])
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
        yield Problem(
            "store", "warning", f"set {counted(store['quarantined'], 'damaged file')} aside", advice
        )


def _of_scrub(scrub: dict[str, Any]) -> Iterator[Problem]:
    lost = scrub["damaged_blobs"] - scrub["repaired_blobs"]
    if lost > 0:
        advice = "what a list still names is fetched again when somebody asks for it"
        yield Problem(
            "scrub", "warning", f"could not have {counted(lost, 'damaged blob')} fetched again", advice
        )


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
