"""What the transfers of one item show of the hosts that they are at.

Hosts and seats are told of connections that begin and end, that work, fail, or are never answered.
Decides what an error says: of the origin, of its way with parts, or only that a host allows no further
connection. Begins and ends no transfer.
"""

import logging

from proxy.sources.candidates import Candidate
from proxy.sources.errors import OriginAbsent, OriginError, OriginForbidden, PageSent, PartsRefused
from proxy.sources.segments.connections import Connections, Transfer
from proxy.sources.segments.hosts import Hosts
from proxy.sources.segments.seats import Seats

log = logging.getLogger(__name__)

HANGS_AFTER_S = 2.5
"""A connection that has sent nothing for so long, while others work, may never be answered."""
_NO_FAILURE_BYTES = 64 * 1024
"""A transfer that brought so much before it broke off is not held against its origin."""


class Observations:
    """What is seen of the hosts of one item, the `holder` of shares of them."""

    def __init__(self, hosts: Hosts, holder: object, connections: Connections, seats: Seats) -> None:
        self._hosts = hosts
        self._holder = holder
        self._connections = connections
        self._seats = seats

    def connected(self, candidate: Candidate) -> None:
        """Count a connection to an origin."""
        self._hosts.connected(candidate.origin.host, self._holder)

    def disconnected(self, candidate: Candidate) -> None:
        """Count it no more."""
        self._hosts.disconnected(candidate.origin.host, self._holder)

    def part_ended(self, transfer: Transfer) -> None:
        """Count the connection of a part no more, if it still counts."""
        if transfer.is_connected:
            transfer.is_connected = False
            self.disconnected(transfer.candidate)

    def works(self, candidate: Candidate) -> None:
        """Take note that bytes come over a connection to an origin."""
        self._hosts.works(candidate.origin.host, self._holder)

    def received(self, transfer: Transfer, count: int) -> None:
        """Take note of bytes of a part: its connection works besides those that do already."""
        had_bytes = transfer.received_bytes
        if not had_bytes:
            self.works(transfer.candidate)
        transfer.received_bytes += count
        transfer.rate.note(count)
        if had_bytes < _NO_FAILURE_BYTES <= transfer.received_bytes:
            host = transfer.candidate.origin.host
            self._hosts.note_worked(host, self._connections.working_at(host))

    def given_up(self, transfer: Transfer, now: float) -> None:
        """Take note that a part is not waited for any more: its host may never answer one connection more."""
        self.part_ended(transfer)
        silent_s = 0.0 if transfer.received_bytes else now - transfer.began_at
        if silent_s >= HANGS_AFTER_S and self._connections.others_work(transfer):
            self._refused(transfer, f"it has sent nothing for {silent_s:.1f} s")

    def failed(self, transfer: Transfer, error: OriginError) -> None:
        """Decide by an error whether an origin is asked for more parts."""
        candidate, origin = transfer.candidate, transfer.candidate.origin
        self.part_ended(transfer)
        log.info("origin.part_failed path=%s problem=%s", candidate.source.path, error)
        if error.pause_s is not None:
            self._hosts.pause(origin.host, error.pause_s)
        if isinstance(error, PartsRefused):
            self._hosts.note_unfit(origin.name, candidate.source.path, error.problem)
        elif transfer.received_bytes >= _NO_FAILURE_BYTES:
            self._seats.worked(candidate)
        elif self._is_one_too_many(transfer, error):
            self._refused(transfer, error.problem, is_plain=_is_about_item(error))
        else:
            self._seats.failed(candidate)

    def _refused(self, transfer: Transfer, problem: str, *, is_plain: bool = True) -> None:
        candidate = transfer.candidate
        self._hosts.note_refused(candidate.origin.host, candidate.source.path, problem, is_plain=is_plain)

    def _is_one_too_many(self, transfer: Transfer, error: OriginError) -> bool:
        """Whether an origin refused a connection as such: it goes on serving others of ours.

        What may be about the item is no such refusal, but where the origin is sending that very item.
        """
        if self._connections.others_work(transfer):
            return True
        host = transfer.candidate.origin.host
        return not _is_about_item(error) and self._hosts.serves_others(host, self._holder)


def _is_about_item(error: OriginError) -> bool:
    """Whether an error may say something of the item: else it may be chance."""
    return isinstance(error, OriginAbsent | OriginForbidden | PageSent)
