"""Manual pages: in section 1 for the program and each command, in section 5 for the configuration."""

import re
from collections.abc import Iterable, Iterator

from manual.commands import PROGRAM, USUAL_EXIT_CODES, Command, commands
from manual.settings import Table, settings

CONFIGURATION = f"{PROGRAM}-config"
_SYSTEM_FILE = "/etc/sstream-proxy/config.toml"


def pages(version: str, date: str) -> dict[str, str]:
    """Return all pages by file name; `date` is shown at their feet."""
    known = list(commands())
    made = {f"{one.page}.1": _command(one, known) for one in known}
    made[f"{CONFIGURATION}.5"] = _configuration()
    return {name: "\n".join([_title(name, version, date), *lines, ""]) for name, lines in made.items()}


def _title(file_name: str, version: str, date: str) -> str:
    name, _, section = file_name.rpartition(".")
    kind = "User Commands" if section == "1" else "File Formats"
    return f'.TH {_argument(name.upper())} {section} {_argument(date)} "{PROGRAM} {version}" "{kind}"'


def _command(command: Command, known: list[Command]) -> Iterator[str]:
    yield from [".SH NAME", f"{_text(command.page)} \\- {_text(_lower(command.summary))}"]
    yield from [".SH SYNOPSIS", f".B {_text(command.usage)}", ".SH DESCRIPTION"]
    for paragraph in command.description:
        if paragraph.is_literal:
            yield from _literal(paragraph.text)
        else:
            yield from [".PP", *_prose(paragraph.text)]
    if command.options:
        yield ".SH OPTIONS" if command.name else ".SH OPTIONS AND COMMANDS"
        for option in command.options:
            yield from [".TP", f".B {_text(option.form)}", *_prose(option.text)]
    if not command.name:
        yield ".SH COMMANDS"
        for one in known[1:]:
            yield from [".TP", f".BR {_text(one.page)} (1)", *_prose(one.summary)]
    if not command.says_exit_codes:
        yield from [".SH EXIT STATUS", f"{USUAL_EXIT_CODES}."]
    yield from [
        ".SH FILES",
        ".TP",
        f".I {_SYSTEM_FILE}",
        "The configuration; see",
        f".BR {_text(CONFIGURATION)} (5).",
    ]
    others = [f"{CONFIGURATION}(5)", *(f"{one.page}(1)" for one in known if one.name == "" and command.name)]
    yield from _see_also(others)


def _configuration() -> Iterator[str]:
    found = settings()
    yield from [".SH NAME", f"{_text(CONFIGURATION)} \\- the configuration of {_text(PROGRAM)}"]
    yield from [".SH SYNOPSIS", f".I {_SYSTEM_FILE}", ".SH DESCRIPTION", *_prose(found.text)]
    for table in found.tables:
        yield from _table(table)
    yield from [".SH EXAMPLES", "Further mirrors:", *_literal(found.examples)]
    yield from _see_also([f"{PROGRAM}(1)", f"{PROGRAM}-check-config(1)"])


def _table(table: Table) -> Iterator[str]:
    yield f".SH {_argument(table.name or 'KEYS ABOVE THE FIRST TABLE')}"
    yield from _prose(table.text)
    for setting in table.settings:
        yield from [".TP", f".B {_text(f'{setting.key} = {setting.value}')}", *_prose(setting.text)]
        if not setting.is_default:
            yield "(The value is an example.)"


def _see_also(pages_of_others: Iterable[str]) -> Iterator[str]:
    yield ".SH SEE ALSO"
    entries = [one.rpartition("(") for one in pages_of_others]
    for place, (name, bracket, section) in enumerate(entries):
        comma = "," if place < len(entries) - 1 else ""
        yield f".BR {_text(name)} {bracket}{section}{comma}"


def _prose(text: str) -> Iterator[str]:
    """Return filled text; an empty line begins a paragraph."""
    for line in text.replace("`", "").splitlines():
        yield _text(line) if line.strip() else ".PP"


def _literal(text: str) -> Iterator[str]:
    yield from [".PP", ".nf", ".RS 4", *map(_text, text.splitlines()), ".RE", ".fi"]


def _lower(text: str) -> str:
    """Return a sentence as it stands behind a name."""
    return text[:1].lower() + text[1:].rstrip(".")


def _argument(text: str) -> str:
    return f'"{_text(text)}"'


def _text(text: str) -> str:
    """Return a line in which nothing is a request or an escape to roff."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace('"', "\\(dq")
    escaped = escaped.encode("ascii", "backslashreplace").decode()
    escaped = re.sub(r"(?<!\\)\\u([0-9a-f]{4})", lambda found: f"\\[u{found[1].upper()}]", escaped)
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
