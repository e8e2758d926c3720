"""Change the code in one place at a time, and print the share of the changes that the tests notice.

    nox -s mutation                                    all changes of all that promises rest on: hours
    nox -s mutation -- --sample 200 --seed 1           200 of them, the same with each seed
    nox -s mutation -- proxy/web/ranges.py             all changes of one module, or folder
    nox -s mutation -- --only 'return ByteRange'       those whose name has these words
    nox -s mutation -- --list proxy/digest.py          what would be changed

What was found is kept in build/mutation: a change that was caught is not tried again while its module
reads as it does, one that survived is tried again when a test has changed. Interrupted, it goes on where
it was. Which tests reach what is taken down first, which takes as long as the suite does, and later only
for test files that have changed. Functions that were moved since are not known to be reached then:
remove build/mutation/reach.json after large changes of the code.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from math import inf
from pathlib import Path

from rich.console import Console
from rich.table import Column, Table

from mutation.changes import Change, changes_of
from mutation.crew import Crew, Order
from mutation.known import Known
from mutation.reach import Reach, make_tell
from mutation.trees import FOLDERS, ROOT, copied, digests_of_tests
from mutation.trial import Outcome

KEPT = ROOT / "build" / "mutation"
HARMLESS = Path(__file__).with_name("harmless.toml")
PROMISES = [
    *("proxy/fills", "proxy/documents", "proxy/store", "proxy/sources", "proxy/signatures"),
    *("proxy/web/access", "proxy/web/admin/permission.py", "proxy/web/ranges.py", "proxy/web/negotiate.py"),
    *("proxy/simplestreams/paths.py", "proxy/simplestreams/parse.py", "proxy/simplestreams/clearsign.py"),
    *("proxy/digest.py", "proxy/system/durable.py", "proxy/system/file_marks.py"),
]
"""The modules on which promises rest."""
TESTS = ["tests/unit", "tests/property", "tests/contracts", "tests/integration"]
_TELL_EACH = 50
console = Console(soft_wrap=True, highlight=False, width=120)


def main() -> int:
    """Try changes and report."""
    options = _parsed()
    changes = _chosen(options)
    if options.list:
        for change in changes:
            console.print(change.key, markup=False)
        return 0
    KEPT.mkdir(parents=True, exist_ok=True)
    harmless = _harmless()
    tests = hashlib.sha256(json.dumps([digests_of_tests(options.tests), options.budget]).encode()).hexdigest()
    known = Known(KEPT / "results.jsonl", tests, is_fresh=options.fresh)
    reach = Reach(KEPT / "reach.json")
    _take_down_reach(reach, options)
    wanted = [change for change in changes if change.key not in harmless and known.outcome(change) is None]
    found = len(changes) - len(wanted)
    console.print(f"{len(changes)} changes, {found} known or harmless, {len(wanted)} to try")
    try:
        _try_all(wanted, reach, known, options)
    except KeyboardInterrupt:
        console.print("interrupted: this is what was found so far")
    share = _report(changes, known, harmless, reach)
    return 0 if share >= options.at_least else 1


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="mutation", description=__doc__.splitlines()[0])
    parser.add_argument("modules", nargs="*", default=PROMISES, help="modules and folders of proxy/")
    parser.add_argument("--sample", type=int, help="how many changes to try, instead of all")
    parser.add_argument("--seed", type=int, default=1, help="which ones")
    parser.add_argument("--only", default="", help="changes whose name has this in it")
    parser.add_argument("--tests", nargs="+", default=TESTS, help="files and folders of tests")
    parser.add_argument("--budget", type=float, default=60.0, help="seconds of tests for one change")
    parser.add_argument("--minutes", type=float, help="begin no trial after that long; the order is random")
    parser.add_argument("--jobs", type=int, default=2, help="how many trials run at once")
    parser.add_argument("--at-least", type=float, default=90.0, help="the share below which this fails")
    parser.add_argument("--fresh", action="store_true", help="forget what earlier runs found")
    parser.add_argument("--as-watched", action="store_true", help="watch only test files that are new")
    parser.add_argument("--list", action="store_true", help="print the changes and try none")
    return parser.parse_args()


def _chosen(options: argparse.Namespace) -> list[Change]:
    changes: list[Change] = []
    for name in options.modules:
        path = ROOT / name
        for module in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            changes += changes_of(module.relative_to(ROOT).as_posix(), module.read_bytes())
    changes = [change for change in changes if options.only in change.key]
    if options.sample is None or options.sample >= len(changes):
        return changes
    drawn = set(random.Random(options.seed).sample(range(len(changes)), options.sample))
    return [change for place, change in enumerate(changes) if place in drawn]


def _harmless() -> dict[str, str]:
    """Return the changes that change nothing, and why that is so."""
    return {one["change"]: one["why"] for one in tomllib.loads(HARMLESS.read_text())["harmless"]}


def _take_down_reach(reach: Reach, options: argparse.Namespace) -> None:
    """Run the tests that have not been watched yet, or have changed since."""
    reach.forget_removed()
    files = {
        name: digest
        for name, digest in digests_of_tests(options.tests).items()
        if not reach.is_known(name, None if options.as_watched else digest)
    }
    if not files:
        return
    console.print(f"taking down what the tests of {len(files)} files reach")
    tree, told = copied(), Path(tempfile.mkdtemp(prefix="mu-told-"))
    make_tell(tree)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "--tb=short",
        "-p",
        "mutation.reach",
        "-n",
        str(options.jobs),
    ]
    folders = [str(tree), *(str(tree / name) for name in FOLDERS)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(folders), "MUTATION_REACH": str(told)}
    subprocess.run([*command, *files], cwd=tree, env=environment, check=False)
    reach.take_in(told, files)
    shutil.rmtree(tree)
    shutil.rmtree(told)


def _try_all(changes: Sequence[Change], reach: Reach, known: Known, options: argparse.Namespace) -> None:
    """Try changes until all are tried, or the time is over."""
    if not changes:
        return
    # When time is over before all are tried, those that were are a fair sample.
    changes = random.Random(options.seed).sample(changes, len(changes)) if options.minutes else changes
    order, begun = Order(reach, set(digests_of_tests(options.tests)), options.budget), time.monotonic()
    with Crew(options.jobs, reach.quickest) as crew:
        tried = crew.try_all(changes, order, (options.minutes or inf) * 60)
        for count, (change, outcome) in enumerate(tried, start=1):
            known.note(change, outcome)
            if not outcome.is_caught:
                _print_survivor(change, outcome, reach)
            if count % _TELL_EACH == 0:
                console.print(f"{count} of {len(changes)} tried in {time.monotonic() - begun:.0f} s")


def _print_survivor(change: Change, outcome: Outcome, reach: Reach) -> None:
    tests = len(reach.tests_of(change.module, change.function))
    words = f"{change.before} -> {change.after}".replace("\n", " ")
    told = f"{change.module}:{change.line_number} {change.function or '(module)'}: {words}"
    console.print(
        f"  {outcome.verdict} {told}  [{tests} tests reach it, {outcome.seconds:.0f} s]", markup=False
    )


def _report(changes: Sequence[Change], known: Known, harmless: dict[str, str], reach: Reach) -> float:
    """Print the share of each module, and what survived; return the share of all."""
    table = Table(
        Column("module", no_wrap=True), "changes", "harmless", "tried", "caught", "hung", "survived", "share"
    )
    of_module: dict[str, list[Change]] = {}
    for change in changes:
        of_module.setdefault(change.module, []).append(change)
    survivors = []
    for name, its in [*sorted(of_module.items()), ("in all", list(changes))]:
        judged = [one for one in its if one.key not in harmless]
        found = [(one, outcome) for one in judged if (outcome := known.outcome(one)) is not None]
        tried = [(one, outcome) for one, outcome in found if outcome.verdict != "untried"]
        caught = sum(outcome.is_caught for _, outcome in tried)
        hung = sum(outcome.verdict == "hung" for _, outcome in tried)
        survivors = [(one, outcome) for one, outcome in found if not outcome.is_caught]
        share = 100 * caught / len(tried) if tried else 0.0
        counts = len(its), len(its) - len(judged), len(tried), caught, hung, len(tried) - caught
        table.add_row(name, *map(str, counts), f"{share:.1f} %" if tried else "-")
    console.print(table)
    for one, outcome in survivors:
        _print_survivor(one, outcome, reach)
    for stale in _stale(harmless):
        console.print(f"  no such change any more: {stale}", markup=False)
    return share


def _stale(harmless: dict[str, str]) -> Iterator[str]:
    """Yield what stands among the harmless changes, and cannot be made any more."""
    for module in sorted({key.partition("::")[0] for key in harmless}):
        path = ROOT / module
        keys = {one.key for one in changes_of(module, path.read_bytes())} if path.exists() else set()
        yield from (key for key in harmless if key.startswith(f"{module}::") and key not in keys)


if __name__ == "__main__":
    sys.exit(main())
