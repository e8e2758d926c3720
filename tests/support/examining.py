"""The doctor at work: one examination in the test's own loop, with the patience of a test."""

import shutil
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from proxy.doctor.bounds import Bounds
from proxy.doctor.clients import CLIENTS, Client
from proxy.doctor.examination import examine
from proxy.doctor.exchange import Patience
from proxy.doctor.findings import Report, Severity
from proxy.doctor.gpgv import Gpgv, open_gpgv, read_keyring
from proxy.doctor.wire.asking import Asker
from support.tree import SignedTree

SHORT_S = 1.0
"""What a client waits in tests where a server is to be silent."""


@dataclass(slots=True)
class Doctor:
    """What examinations in a test need."""

    stack: ExitStack
    keyring: Path
    judges: dict[Path, Gpgv] = field(default_factory=dict)

    def judge(self, keyring: Path | None = None) -> Gpgv:
        """Return who judges signatures by a keyring file; opened outside of the loop."""
        path = keyring or self.keyring
        if path not in self.judges:
            self.judges[path] = self.stack.enter_context(open_gpgv(read_keyring(path)))
        return self.judges[path]

    async def examine(
        self,
        url: str,
        client: str | Client = "maas",
        *,
        environ: Mapping[str, str] | None = None,
        authority: Path | None = None,
        judge: Gpgv | None = None,
        bounds: Bounds | None = None,
        now: float | None = None,
        is_given: bool = False,
    ) -> Report:
        """Return the report of one examination."""
        bounds = bounds or Bounds()
        chosen = CLIENTS[client] if isinstance(client, str) else client
        asker = Asker(bounds, environ=environ or {}, authority=authority)
        more = {} if now is None else {"now": lambda: now}
        judge = judge or self.judge()
        return await examine(chosen, url, asker, judge, bounds, is_keyring_given=is_given, **more)


def hasty(name: str) -> Client:
    """Return a client that waits a second where it waits longer."""
    client = CLIENTS[name]
    patience = Patience(connect_s=SHORT_S, first_byte_s=SHORT_S, gap_s=SHORT_S, total_s=60)
    return replace(client, patience=patience, list_s=SHORT_S)


def codes(report: Report, severity: Severity = Severity.FAULT) -> set[str]:
    """Return the codes of what was found."""
    return {one.code for one in report.of(severity)}


def copied(tree: SignedTree, folder: Path) -> SignedTree:
    """Return a tree with the same files, to be spoilt."""
    shutil.copytree(tree.root, folder)
    again = SignedTree(folder, tree.key)
    again._documents = tree._documents
    again.updated_s = tree.updated_s
    return again
