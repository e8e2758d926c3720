"""What an import came to. Pure."""

from dataclasses import dataclass, field
from enum import Enum

from proxy.bundles.contents import Contents, File
from proxy.digest import Digest
from proxy.jobs.importing.taken import Taken
from proxy.jobs.plan import Forecast


class State(Enum):
    """What has become of one generation."""

    SERVED = "served"
    """It is served from now on, or was before."""
    WAITING = "waiting"
    """It is kept until all that it needs is here."""
    REFUSED = "refused"
    OLDER = "older"
    """Something newer is served; items of it that this lacked, or that what waits lacked, were taken."""
    SUPERSEDED = "superseded"
    """Something newer came with it, and lacked nothing of it."""
    UNREADABLE = "unreadable"
    """Its documents are not all here, so nobody can say what it is."""
    REPLACED = "replaced"
    """It waited until something newer was served."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What has become of one generation of a mirror."""

    mirror: str
    bundle: str
    """Where it was read from."""
    contents: Contents
    digest: Digest
    """Of the text of its contents, by which it is known."""
    state: State
    why: str = ""
    """In words, where it is not served; what there is to do."""
    vouched: str = ""
    """Who signed it, and when."""
    is_new: bool = False
    """Whether clients did not get it before."""
    missing: tuple[File, ...] = ()
    """What it names and is not here."""
    unprovable: tuple[str, ...] = ()
    """Items that the lists name without saying what proves them."""
    waited_since: float | None = None
    """Since when it waits, Unix seconds, if an earlier import brought it and this one was not given it."""
    used_files: int = 0
    """How many items were taken of one that is older than what is served."""
    leaves_gap: bool = False
    """Whether what is served instead, or what waits, lacks something still."""

    @property
    def missing_bytes(self) -> int:
        """The sizes of what is missing, each digest once."""
        return sum({one.sha256: one.size for one in self.missing}.values())

    @property
    def is_refused(self) -> bool:
        """Whether something of it was refused; what is older may have brought what is newer its items."""
        return self.state is State.REFUSED or (self.state is State.OLDER and not self.used_files)

    @property
    def is_incomplete(self) -> bool:
        """Whether something is still to be carried here."""
        return self.state in {State.WAITING, State.UNREADABLE} or bool(self.missing) or self.leaves_gap


@dataclass(slots=True, kw_only=True)
class Report:
    """What came of all that was given to one import."""

    outcomes: list[Outcome] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    """What could not be read at all, or was refused as a whole, and why."""
    cut: list[tuple[str, str]] = field(default_factory=list)
    """What ends before it should."""
    mislabelled: list[str] = field(default_factory=list)
    """Items of which a bundle says what its signed list does not."""
    taken: Taken = field(default_factory=Taken)
    """What came of the blobs of all media."""
    forecast: Forecast | None = None
    """What a rehearsal says of the room in the store."""
    left_waiting: list[Outcome] = field(default_factory=list)
    """What a rehearsal says of generations of earlier imports that would wait still."""

    @property
    def is_refused(self) -> bool:
        """Whether something was refused."""
        return bool(self.problems or self.mislabelled or self.taken.wrong) or any(
            one.is_refused for one in self.outcomes
        )

    @property
    def is_incomplete(self) -> bool:
        """Whether something is still to be carried here."""
        return bool(self.cut or self.taken.unread) or any(one.is_incomplete for one in self.outcomes)
