"""The options of `import`, and which of them go together."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click

from proxy.cli.options import GivenPath, UsageFault, grouped


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How bundles and trees alike are taken, and how that is told."""

    activate: bool
    accept_older: bool
    dry_run: bool
    as_json: bool


how_options = grouped(
    "how",
    How,
    click.option("--activate", is_flag=True, help="Serve what is imported although items of it are missing."),
    click.option("--accept-older", is_flag=True, help="This once, let what is older replace what is served."),
    click.option(
        "--dry-run",
        is_flag=True,
        help="Tell what would be taken, whether it fits, and what would be served; write nothing.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Write JSON lines: progress, and a summary."),
)
"""Those of bundles and trees."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfBundles:
    """What is meant of bundles alone."""

    waiting: bool
    keyring: Path | None
    ignore_signature: bool

    def check(self, paths: Sequence[str], how: How) -> None:
        """Raise UsageFault if these do not go together."""
        has_terms = how.dry_run or how.accept_older or self.keyring is not None or self.ignore_signature
        if self.waiting and (paths or has_terms):
            raise UsageFault("--waiting goes with --mirror, --activate and --json only")
        if not paths and not self.waiting:
            raise UsageFault(
                "say what is to be taken: bundles that export wrote, or --tree DIR, or --waiting"
            )

    def check_beside_tree(self) -> None:
        """Raise UsageFault if something is given that no tree has."""
        if self.waiting:
            raise UsageFault("--waiting and --tree are two different things: give one of them")
        if self.keyring is not None or self.ignore_signature:
            raise UsageFault("--keyring and --ignore-signature are for bundles: a tree has no such signature")


bundle_options = grouped(
    "of_bundles",
    OfBundles,
    click.option("--waiting", is_flag=True, help="Try again to serve what was imported before and waits."),
    click.option(
        "--keyring",
        type=GivenPath(path_type=Path, exists=True, dir_okay=False),
        help="The operators whose signatures count here. [bundles] keyring",
    ),
    click.option(
        "--ignore-signature", is_flag=True, help="Where upstream's signatures decide, need no other."
    ),
)
"""Those of bundles alone."""
