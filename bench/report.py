"""The findings of all scenarios as a table, as JSON, as Markdown and as a plot. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import pygal
from figures import Bar, Finding, Note, Row


@dataclass(frozen=True)
class Chapter:
    """What one scenario found."""

    scenario: str
    title: str
    findings: Sequence[Finding]

    @property
    def rows(self) -> list[Row]:
        """The figures of servers."""
        return [one for one in self.findings if isinstance(one, Row)]

    @property
    def bars(self) -> list[Bar]:
        """The values that are held to a limit."""
        return [one for one in self.findings if isinstance(one, Bar)]


def number(value: float) -> str:
    """Write a figure with three digits that count, without exponents."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def row_line(row: Row) -> str:
    """Write one row for a terminal."""
    figures = "  ".join(f"{name} {number(value)}" for name, value in row.figures.items())
    return f"{row.case:26} {row.server:30} {figures}"


def bar_line(bar: Bar) -> str:
    """Write one bar for a terminal."""
    return f"  => {bar.what:60} {number(bar.value):>8}  {bar.limit:8} {bar.verdict}".rstrip()


def line(finding: Finding) -> str:
    """Write one finding for a terminal."""
    if isinstance(finding, Note):
        return f"  -- {finding.text}"
    return row_line(finding) if isinstance(finding, Row) else bar_line(finding)


def as_json(machine: Mapping[str, str], chapters: Sequence[Chapter]) -> str:
    """Return everything as one JSON object."""
    scenarios = {
        chapter.scenario: {
            "title": chapter.title,
            "rows": [asdict(row) for row in chapter.rows],
            "bars": [asdict(bar) | {"verdict": bar.verdict} for bar in chapter.bars],
            "notes": [one.text for one in chapter.findings if isinstance(one, Note)],
        }
        for chapter in chapters
    }
    return json.dumps({"machine": dict(machine), "scenarios": scenarios}, indent=1) + "\n"


def as_markdown(machine: Mapping[str, str], chapters: Sequence[Chapter]) -> str:
    """Return everything as a page to keep."""
    parts = ["# Results", _markdown_table(["", ""], [[name, text] for name, text in machine.items()])]
    held = [[chapter.scenario, *_bar_cells(bar)] for chapter in chapters for bar in chapter.bars if bar.limit]
    parts += ["## Bars", _markdown_table(["scenario", "value", "", "bar", ""], held)]
    for chapter in chapters:
        parts.append(f"## {chapter.scenario}\n\n{chapter.title}")
        parts += [_rows_table(rows) for rows in _alike(chapter.rows)]
        if chapter.bars:
            cells = [_bar_cells(bar) for bar in chapter.bars]
            parts.append(_markdown_table(["value", "", "bar", ""], cells))
        parts += [one.text for one in chapter.findings if isinstance(one, Note)]
    return "\n\n".join(parts) + "\n"


def as_plot(chapters: Sequence[Chapter]) -> bytes:
    """Draw how fast each server is in each case, against the first one of that case, as SVG.

    pygal draws the cases from the bottom upwards, so they are turned round.
    """
    speeds: dict[str, dict[str, float]] = {}
    for chapter in chapters:
        for row in chapter.rows:
            if row.speed is not None:
                speeds.setdefault(f"{chapter.scenario}: {row.case}", {})[row.server] = row.speed
    servers = list(dict.fromkeys(name for case in speeds.values() for name in case))
    chart = pygal.HorizontalBar(
        title="Speed, compared with the first server of each case",
        x_title="1 is as fast",
        legend_at_bottom=True,
        legend_at_bottom_columns=2,
        truncate_legend=-1,
        width=1000,
        height=240 + 100 * len(speeds),
        js=[],
    )
    chart.x_labels = list(reversed(speeds))
    for server in servers:
        values = [
            round(case[server] / next(iter(case.values())), 3) if server in case else None
            for case in reversed(speeds.values())
        ]
        chart.add(server, values)
    drawn: bytes = chart.render()
    return drawn


def _alike(rows: Sequence[Row]) -> list[list[Row]]:
    """Part rows by their figures' names, so that each part makes a table."""
    tables: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        tables.setdefault(tuple(row.figures), []).append(row)
    return list(tables.values())


def _rows_table(rows: Sequence[Row]) -> str:
    cells = [[row.case, row.server, *map(number, row.figures.values())] for row in rows]
    return _markdown_table(["case", "server", *rows[0].figures], cells)


def _bar_cells(bar: Bar) -> list[str]:
    return [bar.what, number(bar.value), bar.limit, bar.verdict]


def _markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
