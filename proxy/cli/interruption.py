"""Ctrl-C and SIGTERM while a command works: the work is cancelled, and has some seconds to end."""

import asyncio
import os
import signal
import threading

import click

_PATIENCE_S = 5.0
"""Then the program ends all the same: a thread may wait for ever for a pipe or a medium.

What is written then is what a killed process leaves, from which the next run goes on too.
"""
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """What interrupts one command, if anything does."""

    def __init__(self, kept: str, patience_s: float = _PATIENCE_S) -> None:
        """Say in `kept` what has become of the work, and what to do."""
        self._kept = kept
        self._patience_s = patience_s
        self._by = signal.SIGINT
        self._is_told = False

    @property
    def exit_code(self) -> int:
        """What a shell calls a program that the signal ended."""
        return 128 + self._by

    def watch(self) -> None:
        """Let both signals cancel the running task; what the parent wants ignored stays so."""
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        if task is None or threading.current_thread() is not threading.main_thread():
            return
        for one in _SIGNALS:
            if signal.getsignal(one) is not signal.SIG_IGN:
                loop.add_signal_handler(one, self._interrupt, one, loop, task)

    def tell(self) -> None:
        """Tell it, once."""
        if not self._is_told:
            self._is_told = True
            click.echo(f"interrupted; {self._kept}", err=True)

    def _interrupt(
        self, by: signal.Signals, loop: asyncio.AbstractEventLoop, task: "asyncio.Task[object]"
    ) -> None:
        self._by = by
        for one in _SIGNALS:
            loop.remove_signal_handler(one)  # The next one ends the program at once.
        patience = threading.Timer(self._patience_s, self._end)
        patience.daemon = True
        patience.start()
        task.cancel()

    def _end(self) -> None:
        self.tell()
        os._exit(self.exit_code)
