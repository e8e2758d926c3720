"""The reference pages, as Markdown. Each is made from facts alone, so nobody edits them by hand."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from types import MappingProxyType

from manual.commands import USUAL_EXIT_CODES, Command, commands
from manual.interface import Interface, Value
from manual.log_events import Event, events
from manual.metrics import metrics
from manual.settings import Setting, Table, settings

_MADE = "<!-- Made from the code by packaging/write_reference.py: change the code, then run that. -->"


def pages() -> dict[str, str]:
    """Return all pages by file name."""
    return {name: "\n".join([_MADE, "", *make(), ""]) for name, make in _PAGES.items()}


def _commands() -> Iterator[str]:
    yield "# Commands"
    yield ""
    yield "What `--help` says of each command. The Debian package brings it as `man sstream-proxy`."
    yield f"Exit codes, unless a command says otherwise: {USUAL_EXIT_CODES}."
    for command in commands():
        yield from ["", f"## {command.title}", "", *_command(command)]


def _command(command: Command) -> Iterator[str]:
    yield from ["```text", command.usage, "```"]
    for paragraph in command.description:
        yield ""
        if paragraph.is_literal:
            yield from ["```text", paragraph.text, "```"]
        else:
            yield _plain(paragraph.text)
    if command.options:
        yield ""
        rows = [(f"`{_cell(option.form)}`", _cell(_plain(option.text))) for option in command.options]
        yield from _table(("option", "what it does") if command.name else ("name", "what it does"), rows)


def _configuration() -> Iterator[str]:
    found = settings()
    yield from ["# Configuration", "", *_prose(found.text)]
    yield from ["", "The same text stands in [`config.example.toml`](../../config.example.toml)."]
    for table in found.tables:
        yield from ["", *_settings(table)]
    yield from ["", "## Further mirrors", "", "```toml", found.examples, "```"]


def _settings(table: Table) -> Iterator[str]:
    yield f"## {f'`{table.name}`' if table.name else 'Above the first table'}"
    if table.text:
        yield from ["", *_prose(table.text)]
    for setting in table.settings:
        yield from ["", f"### `{_path(table, setting)}`", "", *_prose(setting.text), ""]
        yield f"{'Default' if setting.is_default else 'Written as'}: `{setting.key} = {setting.value}`"


def _path(table: Table, setting: Setting) -> str:
    name = table.name.strip("[]")
    return f"{name}.{setting.key}" if name else setting.key


def _metrics() -> Iterator[str]:
    yield "# Metrics"
    yield ""
    yield "`/-/metrics` tells these to Prometheus, summed over all worker processes and kept over restarts."
    yield "[`packaging/`](../../packaging/README.md) has alert rules and a Grafana dashboard for them."
    yield ""
    rows = [(f"`{one.name}`", one.kind, _codes(one.labels), _cell(one.text)) for one in metrics()]
    yield from _table(("metric", "type", "labels", "meaning"), rows)


def _interface() -> Iterator[str]:
    interface = Interface()
    yield from ["# HTTP API", "", interface.summary]
    yield "The proxy serves this description itself: `/-/api/v1/openapi.json`."
    for one in interface.operations():
        yield from ["", f"## {one.method} {one.path}", "", one.summary]
        if one.parameters:
            yield from ["", *_values("parameter", one.parameters)]
        if one.body:
            yield from ["", "The body is JSON:", "", *_values("key", one.body)]
        rows = [(status, _cell(text)) for status, text in one.replies]
        yield from ["", *_table(("status", "meaning"), rows)]
    for name, values in interface.replies():
        yield from ["", f"## The reply {name}", "", *_values("value", values)]


def _values(what: str, values: Iterable[Value]) -> Iterator[str]:
    rows = [(f"`{_cell(one.name)}`", _cell(one.kind), _cell(one.text)) for one in values]
    yield from _table((what, "type", "meaning"), rows)


def _log() -> Iterator[str]:
    yield "# Log events"
    yield ""
    yield "Every line of the log is one event: its name, then its fields as `field=value`. With"
    yield '`[log] format = "json"` it is an object with `time`, `level`, `event` and the fields.'
    for package, found in groupby(_by_package(events()), key=_package):
        yield from ["", f"## {package}", ""]
        rows = [(f"`{one.name}`", ", ".join(one.levels), _codes(one.fields), _meaning(one)) for one in found]
        yield from _table(("event", "level", "fields", "what it means"), rows)


def _meaning(event: Event) -> str:
    return _cell(event.meaning) or f"see `{event.module}`"


def _by_package(found: Iterable[Event]) -> list[Event]:
    return sorted(found, key=lambda one: (_package(one), one.name))


def _package(event: Event) -> str:
    return event.module.split("/")[1].removesuffix(".py")


_PAGES: Mapping[str, Callable[[], Iterator[str]]] = MappingProxyType(
    {
        "commands.md": _commands,
        "configuration.md": _configuration,
        "metrics.md": _metrics,
        "api.md": _interface,
        "log-events.md": _log,
    }
)


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heads)} |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield f"| {' | '.join(row)} |"


def _prose(text: str) -> Iterator[str]:
    """Return a comment of a configuration file as Markdown."""
    return (_plain(line) for line in text.splitlines())


def _plain(text: str) -> str:
    """Return text in which nothing is taken for markup but what stands in backticks."""
    parts = text.split("`")
    for place in range(0, len(parts), 2):
        for sign in "\\*_[]<>":
            parts[place] = parts[place].replace(sign, f"\\{sign}")
    return "`".join(parts)


def _cell(text: str) -> str:
    """Return text for a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|")


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
