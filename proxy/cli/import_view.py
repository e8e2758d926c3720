"""Showing an import as it goes on: one line that moves on a terminal, a line now and then elsewhere."""

import sys
import time

import click

from proxy.connect.errors import MaasUnreachable
from proxy.connect.watching import Progress
from proxy.readable import size

_SHOWN_EVERY_S = 10.0
_WIDTH = 100


class ImportView:
    """The progress of one import."""

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._shown = ""
        self._shown_at = -_SHOWN_EVERY_S

    def show(self, progress: Progress) -> None:
        """Show how far it is."""
        line = progress_line(progress)
        if self._is_terminal:
            click.echo(f"\r{line[:_WIDTH]:{_WIDTH}}", nl=False)
        elif line != self._shown and time.monotonic() - self._shown_at >= _SHOWN_EVERY_S:
            click.echo(line)
            self._shown_at = time.monotonic()
        self._shown = line

    def away(self, fault: MaasUnreachable) -> None:
        """Tell that MAAS does not answer, and is waited for."""
        self.close()
        click.echo(f"{fault}; waiting for it, the import may go on meanwhile", err=True)

    def close(self) -> None:
        """End the line that moves."""
        if self._is_terminal and self._shown:
            click.echo()


def progress_line(progress: Progress) -> str:
    """Return both sides in one line."""
    served = progress.served
    return (
        f"MAAS: {_told_by_maas(progress)}; proxy: {size(served.sent_bytes)} sent, "
        f"{size(served.hit_bytes)} from the cache, {size(served.fetched_bytes)} from upstream"
    )


def _told_by_maas(progress: Progress) -> str:
    images = progress.images
    if images is None:
        told = {True: "imports", False: "imports nothing now", None: "does not tell whether it imports"}
        return told[progress.is_importing]
    percent = sum(one.percent for one in images) / len(images) if images else 0.0
    return f"{len(images) - len(progress.incomplete)} of {len(images)} images, {percent:.0f} %"
