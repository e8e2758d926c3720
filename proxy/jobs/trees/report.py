"""What has come of an import of a tree."""

from dataclasses import dataclass, field

from proxy.jobs.importing.outcomes import Report
from proxy.simplestreams.model import Item
from proxy.system.same_bytes import Way
from proxy.trees.leftovers import Leftovers


@dataclass(slots=True)
class TreeImportReport:
    """What has come of it."""

    generation: Report = field(default_factory=Report)
    """What has become of the tree's generation, and of those that waited."""
    only_blobs: str = ""
    """Why the documents of the tree do not count."""
    is_refused: bool = False
    """Whether that is since they were refused, or nothing here proves anything."""
    leftovers: Leftovers = field(default_factory=Leftovers)
    ways: dict[Way, int] = field(default_factory=dict)
    """How many files came how."""
    bytes: int = 0
    held_files: int = 0
    """Of those in the tree: how many were here before."""
    foreseen_files: int = 0
    """What a rehearsal says how many files would come, if they are what their names say."""
    doubtful_files: int = 0
    """Of how many more a rehearsal cannot say whether they would, for want of a name that a list knows."""
    missing: list[Item] = field(default_factory=list)
    """What is selected, or has its name in the tree, and is not here."""

    @property
    def is_nothing(self) -> bool:
        """Whether nothing of the tree came, would come, or is here."""
        return not (self.ways or self.foreseen_files or self.held_files)

    @property
    def is_incomplete(self) -> bool:
        """Whether something that was to be here is not."""
        is_unknown = any(kind.is_unknown for kind, _ in self.leftovers.kinds())
        return bool(self.missing) or is_unknown or self.generation.is_incomplete
