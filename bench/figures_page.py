"""The figures that docs/explanation/speed.md names: taken from results.json, never written by hand.

    python bench/figures_page.py    write them into that page, between its two marks

A test holds the page to them.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

import report

BEGIN = "<!-- figures of bench/results.json; python bench/figures_page.py writes them -->"
END = "<!-- end of the figures -->"
_BENCH = Path(__file__).parent
RESULTS = _BENCH / "results.json"
PAGE = _BENCH.parent / "docs/explanation/speed.md"


class _Figure(NamedTuple):
    """A value of the results, and what the page calls it."""

    scenario: str
    value: str
    words: str


_FIGURES = (
    _Figure(
        "small", "4 KiB item, as installed: requests/s to nginx static", "small hits a second, beside nginx"
    ),
    _Figure("small", "4 KiB item, as installed: CPU to nginx static", "CPU of a small hit, beside nginx's"),
    _Figure("large", "as installed: throughput to nginx static", "throughput of large hits, beside nginx"),
    _Figure("ranges", "as installed: requests/s to nginx static", "ranges a second, beside nginx"),
    _Figure(
        "cold",
        "one worker: CPU to nginx and SHA-256 together",
        "CPU of verified cold fills, beside nginx's and SHA-256 together",
    ),
    _Figure(
        "cold",
        "one worker: first byte of a cold item, ms",
        "first byte of a cold item, eight at a time, in ms",
    ),
    _Figure(
        "segments",
        "alone: times as fast as a client alone, one connection",
        "speed of a large cold item from an origin with 50 Mbit/s a connection, beside a client alone",
    ),
    _Figure(
        "prefetch", "parallel: times as fast as sstream-mirror", "speed of a prefetch, beside sstream-mirror"
    ),
    _Figure(
        "carry",
        "export of 4 GiB: rate to cp --reflink=auto",
        "speed of an export of 4 GiB to a folder, beside `cp --reflink=auto`",
    ),
    _Figure("carry", "import of 1 GiB: rate to sha256sum", "speed of an import of 1 GiB, beside `sha256sum`"),
)


def figures(results: dict[str, Any]) -> str:
    """Return the page's table, without what was not measured."""
    lines = ["| what | figure |", "|---|---|"]
    for one in _FIGURES:
        bars = results["scenarios"].get(one.scenario, {"bars": []})["bars"]
        values = [bar["value"] for bar in bars if bar["what"] == one.value]
        lines += [f"| {one.words} | {report.number(value)} |" for value in values]
    return "\n".join(lines)


def written_into(page: str, table: str) -> str:
    """Return a page with a table between its marks. Raises ValueError when it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(
            f"{PAGE.name} has no place for the figures: put these two lines there\n{BEGIN}\n{END}"
        )
    return f"{before}{BEGIN}\n{table}\n{END}{after}"


def main() -> None:
    """Write the figures into the page."""
    PAGE.write_text(written_into(PAGE.read_text(), figures(json.loads(RESULTS.read_text()))))


if __name__ == "__main__":
    main()
