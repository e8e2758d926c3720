"""Ctrl-C and SIGTERM while a command works: the work is cancelled, and has some seconds to end."""

import asyncio
import contextlib
import os
import signal
import threading
from types import FrameType
from typing import Any

import click

_PATIENCE_S = 5.0
"""Then the program ends all the same: a thread may wait for ever for a pipe or a medium.

What is written then is what a killed process leaves, from which the next run goes on too.
"""
_TELLING_S = 1.0
"""Then it ends untold: a terminal or pipe that takes nothing holds up whoever writes there."""
_AT_ONCE: dict[signal.Signals, Any] = {
    signal.SIGINT: signal.default_int_handler,
    signal.SIGTERM: signal.SIG_DFL,
}
"""What ends the program there and then."""


class Interruption:
    """What interrupts one command, if anything does."""

    def __init__(self, kept: str, patience_s: float = _PATIENCE_S) -> None:
        """Say in `kept` what has become of the work, and what to do."""
        self._kept = kept
        self._patience_s = patience_s
        self._by = int(signal.SIGINT)
        self._is_told = False
        self._watched: list[signal.Signals] = []

    @property
    def exit_code(self) -> int:
        """What a shell calls a program that the signal ended."""
        return 128 + self._by

    def watch(self) -> None:
        """Let both signals cancel the running task; what the parent wants ignored stays so.

        They are heard, too, while the loop itself is held up by output that nobody reads.
        """
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is None or threading.current_thread() is not threading.main_thread():
            return

        def interrupt(by: int, _: FrameType | None) -> None:
            self.unwatch()
            self._by = by
            patience = threading.Timer(self._patience_s, self._end)
            patience.daemon = True
            patience.start()
            with contextlib.suppress(RuntimeError):  # The loop is closed: the work has ended.
                loop.call_soon_threadsafe(task.cancel)

        self._watched = [one for one in _AT_ONCE if signal.getsignal(one) is not signal.SIG_IGN]
        for one in self._watched:
            signal.signal(one, interrupt)

    def unwatch(self) -> None:
        """Let the signals end the program at once."""
        while self._watched:
            one = self._watched.pop()
            signal.signal(one, _AT_ONCE[one])

    def tell(self) -> None:
        """Tell it, once."""
        if not self._is_told:
            self._is_told = True
            click.echo(f"interrupted; {self._kept}", err=True)

    def _end(self) -> None:
        telling = threading.Thread(target=self.tell, daemon=True)
        telling.start()
        telling.join(_TELLING_S)
        os._exit(self.exit_code)
