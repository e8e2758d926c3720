"""What earlier runs found, kept in a file with a line for each trial."""

import hashlib
import json
from pathlib import Path

from mutation.changes import Change
from mutation.trees import ROOT
from mutation.trial import Outcome


class Known:
    """A change that was caught counts while its module stays the same, others while the tests do too."""

    def __init__(self, path: Path, tests: str, *, is_fresh: bool) -> None:
        """Read what was kept; `tests` is the digest of all tests as they are now."""
        self._path = path
        self._tests = tests
        self._modules: dict[str, str] = {}
        self._outcomes: dict[tuple[str, str], Outcome] = {}
        if is_fresh:
            path.unlink(missing_ok=True)
        for line in path.read_text().splitlines() if path.exists() else []:
            kept = json.loads(line)
            outcome = Outcome(verdict=kept["verdict"], by=kept["by"], seconds=kept["seconds"])
            if outcome.is_caught or kept["tests"] == tests:
                self._outcomes[kept["change"], kept["module"]] = outcome

    def outcome(self, change: Change) -> Outcome | None:
        """Return what came of a change of a module as it stands, None when it was not tried."""
        return self._outcomes.get((change.key, self._digest(change.module)))

    def note(self, change: Change, outcome: Outcome) -> None:
        """Keep what came of a change."""
        digest = self._digest(change.module)
        self._outcomes[change.key, digest] = outcome
        trial = {"verdict": outcome.verdict, "by": outcome.by, "seconds": round(outcome.seconds, 2)}
        kept = {"change": change.key, "module": digest, "tests": self._tests, **trial}
        with self._path.open("a") as file:
            file.write(json.dumps(kept) + "\n")

    def _digest(self, module: str) -> str:
        if module not in self._modules:
            self._modules[module] = hashlib.sha256((ROOT / module).read_bytes()).hexdigest()
        return self._modules[module]
