"""Whether a MAAS really uses the proxy: what its settings say, and what the proxy has seen."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

from proxy.connect.addresses import without_password
from proxy.connect.maas_api.model import Site, Source
from proxy.connect.plan import Target, our_source
from proxy.connect.proxy_side import ProxySide, is_maas
from proxy.counting.client_table import Client
from proxy.readable import counted, duration, printable, share, size


class Finding(NamedTuple):
    """One thing that was looked at."""

    is_good: bool
    text: str
    advice: str = ""


def check(
    site: Site, target: Target, side: ProxySide, addresses: Collection[str], now: float
) -> list[Finding]:
    """Return what was found, in the order in which one would mend it."""
    ours = our_source(site, target)
    if ours is None:
        there = ", ".join(without_password(one.url) for one in site.sources) or "it has none"
        return [
            Finding(
                False,
                f"no boot source of this MAAS is {without_password(target.url)}: {there}",
                "connect it: sstream-proxy connect maas URL --key-file FILE",
            )
        ]
    findings = [Finding(True, f"boot source {ours.id} is {without_password(ours.url)}")]
    findings += _settings(ours)
    findings += _rank(site, ours) if site.version.has_priorities else _alone(site, ours)
    clients = side.clients()
    if clients is None:
        findings.append(_asked_by_anybody(side.served().requests))
    else:
        findings.append(_reached(clients, addresses, now))
    return findings


def _settings(ours: Source) -> list[Finding]:
    found = []
    if not ours.is_used:
        found.append(Finding(False, f"boot source {ours.id} is disabled", "enable it, or connect again"))
    if ours.skip_keyring_verification:
        found.append(
            Finding(False, "MAAS does not verify its signatures", "connect again, which turns that on")
        )
    elif ours.keyring_filename or ours.keyring_data:
        keyring = ours.keyring_filename or "a keyring of its own"
        found.append(Finding(True, f"MAAS verifies its signatures by {keyring}"))
    else:
        found.append(Finding(False, "MAAS has no keyring for it", "connect again, which sets one"))
    return found


def _rank(site: Site, ours: Source) -> list[Finding]:
    """Judge whether what is selected comes from our source, though others may have it too."""
    others = [one for one in site.sources if one is not ours and one.is_used]
    higher = [one for one in others if (one.priority or 0) > (ours.priority or 0)]
    own = {(one.os, one.release, arch) for one in site.choices.get(ours.id, ()) for arch in one.arches}
    findings = []
    for one in others:
        selected = [
            (choice.os, choice.release, arch)
            for choice in site.choices.get(one.id, ())
            for arch in choice.arches
        ]
        from_there = [name for name in selected if one in higher or name not in own]
        if from_there:
            told = ", ".join(f"{os}/{release} on {arch}" for os, release, arch in from_there[:8])
            why = "which has a higher priority" if one in higher else "for it is selected there alone"
            findings.append(
                Finding(False, f"{told} comes from {without_password(one.url)}, {why}", "connect again")
            )
    if not own and site.are_choices_told:
        findings.append(
            Finding(False, "nothing is selected of it", "select images in MAAS, or connect again")
        )
    if not findings:
        findings.append(
            Finding(True, f"its priority, {ours.priority}, is the highest for all that is selected")
        )
    return findings


def _alone(site: Site, ours: Source) -> list[Finding]:
    if site.are_choices_told and not site.choices.get(ours.id):
        return [Finding(False, "nothing is selected of it", "select images in MAAS: Images")]
    return [
        Finding(
            False,
            f"MAAS asks boot source {one.id} as well, {without_password(one.url)}",
            f"remove it if it is no longer needed: maas PROFILE boot-source delete {one.id}",
        )
        for one in site.sources
        if one is not ours
    ]


def _asked_by_anybody(requests: int) -> Finding:
    return Finding(
        requests > 0,
        f"this mirror had {counted(requests, 'request')}; by whom is not remembered ([clients] remember)",
        "" if requests else "start an import",
    )


def _reached(clients: Sequence[Client], addresses: Collection[str], now: float) -> Finding:
    found = [one for one in clients if is_maas(one, addresses)]
    if not found:
        others = ", ".join(f"{one.address} ({printable(one.agent)[:40]})" for one in clients[:4])
        seen = f"; others have: {others}" if others else ""
        return Finding(
            False,
            f"MAAS has not asked this proxy for anything{seen}",
            "start an import; if that changes nothing: can the region controllers reach the URL, and is "
            "this the data directory of the proxy that they ask?",
        )
    last = found[0]
    requests = sum(one.total for one in found)
    hits = sum(one.hits for one in found) / requests if requests else None
    return Finding(
        True,
        f"MAAS asked {duration(max(0.0, now - last.last_at))} ago from {last.address} "
        f"({counted(requests, 'request')}, {size(sum(one.sent_bytes for one in found))}, {share(hits)} hits)",
    )
