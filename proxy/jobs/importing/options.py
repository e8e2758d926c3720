"""What can be configured of bundles that are carried here."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleOptions:
    """Whose bundles count."""

    keyring: Path | None = None
    """The keys of operators whose signatures over bundles count here, binary or armored; None is nobody's."""
