"""Telling systemd how the service is (sd_notify), if it wants to know."""

import logging
import os
import socket
import time
from collections.abc import Mapping

log = logging.getLogger(__name__)

_MICRO = 1e-6
_PATIENCE_S = 5.0
"""How long news that comes once waits for a systemd that reads nothing."""


class Notifier:
    """Speaks to the socket that systemd names; without one it says nothing."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        every = environ.get("WATCHDOG_USEC", "")
        is_ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self._watchdog_s = (
            int(every) * _MICRO / 2 if every.isascii() and every.isdigit() and is_ours else None
        )
        self._fed_at = 0.0

    def ready(self, status: str) -> None:
        """Say that clients are served."""
        self._tell("READY=1", f"STATUS={status}")

    def reloading(self) -> None:
        """Say that the configuration is being read again."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the service is about to end."""
        self._tell("STOPPING=1")

    def feed_watchdog(self, now: float) -> None:
        """Say that all is well, as often as systemd wants to hear it; `now` in monotonic seconds.

        Waits for no systemd that reads nothing, for the processes have to be looked after meanwhile.
        """
        if self._watchdog_s is not None and now - self._fed_at >= self._watchdog_s:
            self._fed_at = now
            self._tell("WATCHDOG=1", patience_s=0)

    def _tell(self, *lines: str, patience_s: float = _PATIENCE_S) -> None:
        if not self._address:
            return
        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
                one.settimeout(patience_s)
                one.connect(address)
                one.send("\n".join(lines).encode())
        except BlockingIOError:
            return  # Only without patience: an earlier one that was not read yet says the same.
        except OSError as error:
            log.warning("systemd.not_told problem=%s", error)
