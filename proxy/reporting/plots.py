"""What was counted, as plots: SVG pictures, light or dark, that need nothing from elsewhere."""

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pygal
from pygal.style import Style

from proxy.counting.outcomes import OUTCOMES
from proxy.reporting.figures import DAY_S, Count, first_byte_s, hit_ratio, sent_bytes
from proxy.reporting.history import Points, Span

WIDTH, HEIGHT = 400, 210
_LABEL_EVERY_H = 6
_LABEL_EVERY_DAYS = 5
_MOST_TICKS = 4
_ROOM = 1.02
"""The scale ends a little above the last tick, which rounding would else cut off."""
_KIBI = 1024

_SHARED = {
    "background": "transparent",
    "plot_background": "transparent",
    "font_family": "system-ui, sans-serif",
    "guide_stroke_dasharray": "1,0",
    "major_guide_stroke_dasharray": "1,0",
    "label_font_size": 12,
    "major_label_font_size": 12,
    "legend_font_size": 12,
    "no_data_font_size": 14,
    "opacity": "1",
    "stroke_width": 1.6,
}
_STYLES = {
    "light": Style(
        **_SHARED,
        foreground="#59636d",
        foreground_strong="#59636d",
        foreground_subtle="#59636d",
        guide_stroke_color="#e3e8ec",
        major_guide_stroke_color="#e3e8ec",
        colors=("#2a7de1", "#d9730d"),
    ),
    "dark": Style(
        **_SHARED,
        foreground="#a7b1bb",
        foreground_strong="#a7b1bb",
        foreground_subtle="#a7b1bb",
        guide_stroke_color="#323b44",
        major_guide_stroke_color="#323b44",
        colors=("#6aaeff", "#f0a35e"),
    ),
}
THEMES = tuple(_STYLES)

_Ticks = Sequence[float]


@dataclass(frozen=True, slots=True)
class Plot:
    """What a plot shows, for each point of a span."""

    title: str
    lines: Sequence[tuple[str, Callable[[Count], float | None]]]
    """Each with its name."""
    ticks: Callable[[Sequence[float]], _Ticks]
    """Where the vertical axis is labelled, for these values; the first and the last are its ends."""
    label: Callable[[float], str]
    chart: type = pygal.Line
    is_logarithmic: bool = False


def _percent_ticks(_: Sequence[float]) -> _Ticks:
    return (0, 0.25, 0.5, 0.75, 1)


def _byte_ticks(values: Sequence[float]) -> _Ticks:
    """Return round multiples of the unit that fits."""
    highest = max(values, default=_MOST_TICKS * _KIBI**2)
    unit = _KIBI ** int(math.log(max(highest, 1), _KIBI))
    step = _round_step(highest / unit / _MOST_TICKS) * unit
    return [n * step for n in range(math.ceil(highest / step) + 1)]


def _round_step(least: float) -> float:
    decade = 10.0 ** math.floor(math.log10(least))
    return next(step * decade for step in (1, 2, 2.5, 5, 10) if step * decade >= least)


def _second_ticks(values: Sequence[float]) -> _Ticks:
    """Return powers of ten."""
    lowest, highest = min(values, default=0.001), max(values, default=1.0)
    first, last = math.floor(math.log10(lowest)), math.ceil(math.log10(highest))
    return [10.0**n for n in range(first, max(last, first + 1) + 1)]


def _byte_label(count: float) -> str:
    power = int(math.log(count, _KIBI)) if count >= 1 else 0
    return f"{count / _KIBI**power:g} {('B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB')[power]}"


def _second_label(seconds: float) -> str:
    return f"{seconds:g} s" if seconds >= 1 else f"{1000 * seconds:g} ms"


PLOTS = {
    "hit-ratio": Plot(
        title="Hit ratio",
        lines=[("requests served from the store", hit_ratio)],
        ticks=_percent_ticks,
        label="{:.0%}".format,
    ),
    "bytes": Plot(
        title="Bytes",
        lines=[
            ("sent to clients", lambda count: sum(sent_bytes(count).values())),
            ("fetched from origins", lambda count: count["fetched"]),
        ],
        ticks=_byte_ticks,
        label=_byte_label,
        chart=pygal.Bar,
    ),
    "latency": Plot(
        title="Time to the first byte",
        lines=[
            ("half of the replies", lambda count: first_byte_s(count, 0.5)),
            ("99 of 100", lambda count: first_byte_s(count, 0.99)),
        ],
        ticks=_second_ticks,
        label=_second_label,
        is_logarithmic=True,
    ),
}


def draw(name: str, theme: str, points: Points, span: Span) -> bytes:
    """Return a plot of a span as SVG."""
    plot = PLOTS[name]
    lines = {label: [value(count) for _, count in points] for label, value in plot.lines}
    values = [value for line in lines.values() for value in line if value]
    chart = plot.chart(
        style=_STYLES[theme],
        width=WIDTH,
        height=HEIGHT,
        js=[],
        margin=8,
        margin_right=22,
        spacing=6,
        show_minor_x_labels=False,
        truncate_label=-1,
        truncate_legend=-1,
        legend_at_bottom=True,
        legend_at_bottom_columns=len(lines),
        legend_box_size=10,
        dots_size=2.2,
        logarithmic=plot.is_logarithmic,
        no_data_text="nothing yet",
        value_formatter=plot.label,
    )
    labels = _labels([at for at, _ in points], span)
    chart.x_labels = [label for label, _ in labels]
    chart.x_labels_major = [label for label, is_major in labels if is_major]
    chart.y_labels = chart.y_labels_major = plot.ticks(values)
    chart.range = (chart.y_labels[0], chart.y_labels[-1] * _ROOM)
    for label, line in lines.items():
        chart.add(label, line if values or _has_requests(points) else [])
    rendered: bytes = chart.render()
    return rendered


def _has_requests(points: Sequence[tuple[float, Count]]) -> bool:
    return any(count[f"requests {outcome}"] for _, count in points for outcome in OUTCOMES)


def _labels(starts: Sequence[float], span: Span) -> list[tuple[str, bool]]:
    """Return the label of each point, which is its own, and whether it is shown."""
    return [_label(at, at - span.point_s, span) for at in starts]


def _label(at: float, before: float, span: Span) -> tuple[str, bool]:
    local, earlier = time.localtime(at), time.localtime(before)
    if not span.is_by_hour:
        every_h = _LABEL_EVERY_H if span.seconds >= DAY_S else 1
        is_first = local.tm_min * 60 < span.point_s
        return time.strftime("%H:%M", local), is_first and local.tm_hour % every_h == 0
    is_new_day = local.tm_mday != earlier.tm_mday
    if span.seconds > _LABEL_EVERY_DAYS * 2 * DAY_S:
        is_shown = is_new_day and local.tm_mday % _LABEL_EVERY_DAYS == 1
        return time.strftime("%-d %b" if is_shown else "%-d %b %H:%M", local), is_shown
    return time.strftime("%a %-d" if is_new_day else "%a %-d %H:%M", local), is_new_day
