"""The findings of all scenarios as a table, as JSON, as Markdown and as a plot. Pure."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import pygal
from figures import Bar, Finding, Note, Row
from remarks import LeftOut, Remark, Switch, Switched


@dataclass(frozen=True)
class Chapter:
    """What one scenario found."""

    scenario: str
    title: str
    findings: Sequence[Finding]
    remarks: Sequence[Remark] = ()
    """What its servers had to say about themselves."""
    took_s: float = 0.0

    @property
    def rows(self) -> list[Row]:
        """The figures of servers."""
        return [one for one in self.findings if isinstance(one, Row)]

    @property
    def bars(self) -> list[Bar]:
        """The values that are held to a limit."""
        return [one for one in self.findings if isinstance(one, Bar)]

    @property
    def notes(self) -> list[str]:
        """What the reader must know, those servers included that were left out."""
        told = [one.text for one in self.findings if isinstance(one, Note)]
        return told + [left_out_line(one) for one in self.remarks if isinstance(one, LeftOut)]

    @property
    def switched(self) -> list[Switched]:
        """The settings that differed from those of an installed server."""
        return [one for one in self.remarks if isinstance(one, Switched)]


def left_out_line(remark: LeftOut) -> str:
    """Say who has no rows, and why."""
    return f"{remark.server} was left out: {remark.reason}."


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


def note_lines(remarks: Sequence[Remark]) -> list[str]:
    """Write for a terminal who has no rows; what was switched is for those who keep the results."""
    return [f"  -- {left_out_line(one)}" for one in remarks if isinstance(one, LeftOut)]


def as_json(machine: Mapping[str, str], chapters: Sequence[Chapter]) -> str:
    """Return everything as one JSON object."""
    scenarios = {
        chapter.scenario: {
            "title": chapter.title,
            "rows": [asdict(row) for row in chapter.rows],
            "bars": [asdict(bar) | {"verdict": bar.verdict} for bar in chapter.bars],
            "notes": chapter.notes,
            "switched": [{"server": one.server, **asdict(one.switch)} for one in chapter.switched],
            "took_s": round(chapter.took_s),
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
        parts += chapter.notes
        parts.append(f"Took {chapter.took_s:.0f} s.")
    parts.append(_switched_page(chapters))
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


_SWITCHED = """\
## What was switched

Every server runs as it is installed: ours without a configuration file, its standard error read as
systemd's journal does; nginx, Apache, Squid and Varnish as Debian ships them, with their access logs.
All listen on a port of loopback, keep their files in folders of the bench, and are given the tree, or
the origin, that they serve. Whatever else is switched stands here, as their configurations spell it."""


def _switched_page(chapters: Sequence[Chapter]) -> str:
    """Return what differed from installed servers, each setting once with all scenarios that had it."""
    scenarios: dict[Switched, list[str]] = {}
    for chapter in chapters:
        for one in chapter.switched:
            scenarios.setdefault(one, []).append(chapter.scenario)
    cells = [
        [one.server, *_switch_cells(one.switch), ", ".join(told)]
        for one, told in sorted(scenarios.items(), key=lambda item: item[0].server)
    ]
    heads = ["server", "setting", "as installed", "here", "why", "in"]
    return f"{_SWITCHED}\n\n{_markdown_table(heads, cells)}"


def _switch_cells(switch: Switch) -> list[str]:
    return [f"`{switch.setting}`", f"`{switch.installed}`", f"`{switch.value}`", switch.reason]


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
