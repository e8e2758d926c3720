"""Searching texts by regular expressions from outside, in bounded time.

Python's own `re` decides, so that an expression means what it means to
sstream-mirror. Some take longer than the universe will last, and nothing can stop
a search from within: so it happens in a process of its own, which can be stopped.
"""

import json
import subprocess
import sys
from collections.abc import Sequence

from proxy.errors import ProxyError

LONGEST_S = 10.0
_MOST_MEMORY_BYTES = 2 * 1024**3

_SEARCH = f"""
import json, re, resource, sys
resource.setrlimit(resource.RLIMIT_AS, ({_MOST_MEMORY_BYTES}, {_MOST_MEMORY_BYTES}))
found = []
for expression, texts in json.load(sys.stdin):
    search = re.compile(expression).search
    found.append([number for number, text in enumerate(texts) if search(text)])
json.dump(found, sys.stdout)
"""


class SearchTooSlow(ProxyError):
    """Regular expressions that take too long, or too much memory, for the texts that they are to search."""

    def __init__(self, expressions: Sequence[str], problem: str) -> None:
        shown = ", ".join(f"{one!r:.100}" for one in expressions)
        super().__init__(
            f"searching for {shown} {problem}: write it without repetitions within repetitions, such as (a+)+"
        )


def search(wanted: Sequence[tuple[str, Sequence[str]]], longest_s: float) -> list[frozenset[str]]:
    """Return for each expression in which of its texts it is found. Blocks, for `longest_s` at most.

    Raises SearchTooSlow.
    """
    expressions = [expression for expression, _ in wanted]
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program; what is searched comes as data
            [sys.executable, "-I", "-S", "-c", _SEARCH],
            input=json.dumps(wanted).encode(),
            capture_output=True,
            timeout=longest_s,
            check=True,
        )
    except subprocess.TimeoutExpired:
        raise SearchTooSlow(expressions, f"takes longer than {longest_s:g} s") from None
    except (subprocess.CalledProcessError, OSError) as error:
        raise SearchTooSlow(expressions, f"did not come to an end ({error})") from error
    found: list[list[int]] = json.loads(done.stdout)
    return [
        frozenset(texts[number] for number in numbers)
        for numbers, (_, texts) in zip(found, wanted, strict=True)
    ]
