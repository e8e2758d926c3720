"""Facts of the log: every event that the code can write, with its levels and fields."""

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

MEANINGS = Path(__file__).with_name("events.toml")
PROXY = Path(__file__).parents[2] / "proxy"
_LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
    "critical": "critical",
}
_VARYING = "varies"
_ORDER = (*dict.fromkeys(_LEVELS.values()), _VARYING)
_EVENT = re.compile(r"[a-z]+(?:[._ ]?[a-z]+)*\.[a-z_]+|request")


@dataclass(frozen=True, slots=True)
class Event:
    """An event of the log."""

    name: str
    levels: tuple[str, ...]
    fields: tuple[str, ...]
    module: str
    """The first one that writes it."""
    meaning: str
    """In words, if anybody has written them down."""


def events() -> list[Event]:
    """Return all events by name."""
    meanings = tomllib.loads(MEANINGS.read_text(encoding="utf-8"))
    found: dict[str, tuple[set[str], dict[str, None], str]] = {}
    for path in sorted(PROXY.rglob("*.py")):
        for level, template in _written(ast.parse(path.read_text(encoding="utf-8"))):
            name, *fields = template.split(" ")
            if not _EVENT.fullmatch(name):
                continue
            module = str(path.relative_to(PROXY.parent))
            levels, named, _ = found.setdefault(name, (set(), {}, module))
            levels.add(level)
            named.update(dict.fromkeys(field.partition("=")[0] for field in fields if "=" in field))
    return [
        Event(name, tuple(sorted(levels, key=_ORDER.index)), tuple(fields), module, meanings.get(name, ""))
        for name, (levels, fields, module) in sorted(found.items())
    ]


def _written(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield level and template of each call that writes to a logger."""
    constants = dict(_constants(tree))
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args):
            continue
        arguments = node.args
        level = _LEVELS.get(node.func.attr)
        if node.func.attr == "LogRecord":
            level, arguments = _level_named(arguments[1]), arguments[4:]
        if node.func.attr == "log" and len(arguments) > 1:
            level, arguments = _VARYING, arguments[1:]
        template = constants.get(ast.unparse(arguments[0])) or getattr(arguments[0], "value", None)
        if level is not None and isinstance(template, str):
            yield level, template


def _level_named(constant: ast.expr) -> str | None:
    """Return the level of `logging.WARNING` and the like."""
    return _LEVELS.get(ast.unparse(constant).rpartition(".")[2].lower())


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the texts that a module has names for."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=str(text))):
                yield name, text
