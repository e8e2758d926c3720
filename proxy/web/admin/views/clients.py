"""Clients: who asked what of which mirror, how much of it was here, and what broke off."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from proxy.counting.client_table import Client, read_clients
from proxy.readable import counted
from proxy.system.threads import Threads
from proxy.web.admin.views.paging import slice_of
from proxy.web.admin.views.visit import Visit

_ORDERS = ("seen", "requests", "bytes", "broken")
_PROGRAMS = (
    ("maas", "MAAS"),
    ("aiohttp", "MAAS 3.8"),
    ("lxd", "LXD"),
    ("incus", "Incus"),
    ("juju", "Juju"),
    ("multipass", "Multipass"),
    ("simplestreams", "sstream-mirror"),
    ("curl", "curl"),
)


class Row(NamedTuple):
    """A client at a mirror."""

    client: Client
    program: str
    """What it seems to be."""
    hit_ratio: float | None
    trouble: str
    """What broke off, and why; "" for nothing."""


class Clients:
    """Shows the table of clients."""

    def __init__(self, counts: Path, threads: Threads, clock: Callable[[], float]) -> None:
        self._counts = counts
        self._threads = threads
        self._clock = clock

    async def look(self, visit: Visit) -> dict[str, Any]:
        """Return what the page shows."""
        now = self._clock()
        if not visit.is_admin:
            return {"now": now, "is_shown": False}
        found = await self._threads.slow(read_clients, self._counts, now)
        search, order = visit.text("search").lower(), visit.choice("order", _ORDERS)
        rows = [_row(one) for one in found if search in f"{one.address} {one.mirror} {one.agent}".lower()]
        rows.sort(key=lambda row: _rank(row, order), reverse=True)
        return {
            "now": now,
            "is_shown": True,
            "rows": slice_of(rows, visit, "search", "order"),
            "search": visit.text("search"),
            "order": order,
            "orders": _ORDERS,
            "sent_bytes": sum(row.client.sent_bytes for row in rows),
            "hit_bytes": sum(row.client.hit_bytes for row in rows),
        }


def _rank(row: Row, order: str) -> float:
    client = row.client
    return {
        "seen": client.last_at,
        "requests": float(client.total),
        "bytes": float(client.sent_bytes),
        "broken": float(client.broken_at),
    }[order]


def _row(client: Client) -> Row:
    denied = client.requests.get("denied", 0)
    told = []
    if client.cut:
        count = counted(client.cut, "reply", "replies")
        told.append(f"{count} cut: no origin could be had, its bytes were wrong, or the store failed")
    if client.left:
        told.append(f"{counted(client.left, 'reply', 'replies')} broken off by the client itself")
    if denied:
        told.append(f"{counted(denied, 'request')} denied: password or network")
    ratio = client.hits / client.total if client.total else None
    return Row(client, program_of(client.agent), ratio, "; ".join(told))


def program_of(agent: str) -> str:
    """Return what a client seems to be, by what it says; its own word for what is not known."""
    lower = agent.lower()
    known = (name for word, name in _PROGRAMS if word in lower)
    return next(known, agent.partition(" ")[0] or "unknown")
