"""How any frozen dataclass is read from TOML, every fault collected on the way.

Knows nothing of the proxy: field names and types say it all.

* A key is the field's name without its unit, and the unit picks the parser:
  `stall_timeout_s` is `stall_timeout = "8s"`, `limit_bytes` is
  `limit = "200 GiB"`. A size that may be None is also "unlimited".
  `limit_bytes_s` is bytes a second, as a size or as `limit = "50 Mbit/s"`.
* Types drive the rest: str, int, bool, Path (an empty text is None where that
  is allowed), Literal texts, enums by value, tuples of texts, mappings of the
  writer's own keys to any of these, nested dataclasses as tables, and tuples
  of dataclasses as arrays of tables under the singular of their name.

A field that could not be read keeps its default, or is blank if it has none, so
that later checks can go on; `Faults` hears no second complaint about it. What a
field that is left out of `repr` was given instead is not told either.
"""

import types
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from proxy.config.quantities import A_DURATION, A_RATE, A_SIZE, parse_duration, parse_rate, parse_size
from proxy.config.wording import found, key_text
from proxy.readable import like

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong, and what to do about it."""

    key: str
    """Where, as TOML names it: "cache.limit", "mirror[1].origins[0]"; empty for the whole file."""
    problem: str
    """What is wrong, in plain words; never holds a credential."""


class Faults:
    """The faults found so far; of each key only the first."""

    def __init__(self) -> None:
        self._problems: dict[str, str] = {}

    def add(self, key: str, problem: str) -> None:
        """Note a fault, unless the key or a table that holds it already has one."""
        if not any(key == known or key.startswith((f"{known}.", f"{known}[")) for known in self._problems):
            self._problems[key] = problem

    def found(self) -> tuple[Fault, ...]:
        """Return all faults in the order they were found."""
        return tuple(Fault(key, problem) for key, problem in self._problems.items())


def read(kind: type[T], table: Mapping[str, object], faults: Faults) -> T:
    """Return the dataclass `kind` as the parsed TOML `table` describes it.

    With faults the result is only good for finding more of them.
    """
    result: T = _Reader(kind, faults).table(kind, table, "")
    return result


def values(instance: Any, at: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each value of a dataclass with its TOML key; "cache.limit", "mirror[0].name"."""
    for key, field in _keys(type(instance)).items():
        value = getattr(instance, field.name)
        where = _below(at, key)
        if is_dataclass(value):
            yield from values(value, where)
        elif isinstance(value, tuple) and value and is_dataclass(value[0]):
            for index, part in enumerate(value):
                yield from values(part, f"{where}[{index}]")
        else:
            yield where, value


A_MAPPING = 'names with lists of texts, in braces, such as { "one.example" = ["192.0.2.7"] }'


class _Reader:
    """Reads tables below one root, to know where a stray key belongs."""

    def __init__(self, root: type[Any], faults: Faults) -> None:
        self._root_keys, self._root_hints = _keys(root), get_type_hints(root)
        self._faults = faults

    def table(self, kind: type[Any], table: Mapping[str, object], at: str) -> Any:
        keys, hints = _keys(kind), get_type_hints(kind)
        for name in table:
            if name not in keys:
                self._faults.add(_below(at, key_text(name)), self._unknown(name, keys, at))
        taken: dict[str, object] = {}
        for key, field in keys.items():
            where, hint = _below(at, key), hints[field.name]
            if key not in table and _is_required(field):
                self._faults.add(where, f"is missing: write {_expected(field.name, hint)}")
            elif key in table:
                try:
                    taken[field.name] = self._value(field.name, hint, table[key], where)
                except ValueError as error:
                    problem = str(error) if field.repr else f"write {_expected(field.name, hint)}"
                    self._faults.add(where, problem)
            if field.name not in taken and _is_required(field):
                taken[field.name] = (get_origin(hint) or hint)()
        return kind(**taken)

    def _value(self, name: str, hint: Any, raw: object, at: str) -> object:
        if is_dataclass(hint):
            if not isinstance(raw, dict):
                raise ValueError(f"write {_table(at)}, not {found(raw)}")
            return self.table(_class(hint), raw, at)
        if get_origin(hint) is Mapping:
            return self._mapping(name, hint, raw, at)
        if get_origin(hint) is not tuple:
            return _scalar(name, hint, raw)
        part = get_args(hint)[0]
        if not isinstance(raw, list):
            raise ValueError(f"write {_expected(name, hint)}, not {found(raw)}")  # noqa: TRY004 - one kind to catch
        return tuple(self._part(name, part, item, f"{at}[{index}]") for index, item in enumerate(raw))

    def _mapping(self, name: str, hint: Any, raw: object, at: str) -> dict[str, object]:
        """Return a table whose keys are the writer's own."""
        if not isinstance(raw, dict):
            raise ValueError(f"write {A_MAPPING}, not {found(raw)}")  # noqa: TRY004 - one kind to catch
        taken = {}
        for key, value in raw.items():
            where = _below(at, key_text(key))
            try:
                taken[key] = self._value(name, get_args(hint)[1], value, where)
            except ValueError as error:
                self._faults.add(where, str(error))
        return taken

    def _part(self, name: str, hint: Any, raw: object, at: str) -> object:
        """Return one element of a list, blank if faulty so that its neighbours keep their index."""
        try:
            if is_dataclass(hint) and not isinstance(raw, dict):
                raise ValueError(f"write {_expected(name, tuple[hint, ...])}, not {found(raw)}")  # noqa: TRY301
            return self._value(name, hint, raw, at)
        except ValueError as error:
            self._faults.add(at, str(error))
            return self.table(_class(hint), {}, at) if is_dataclass(hint) else hint()

    def _unknown(self, name: str, keys: Mapping[str, Any], at: str) -> str:
        near = [key for key in keys if name in key.split("_")] or like(name, keys)
        if near:
            meant = " or ".join(f'"{key}"' for key in near)
            return f"is no known key: did you mean {meant}?"
        if at and name in self._root_keys:
            return self._misplaced(name, keys, at)
        return f"is no known key: remove it, or use one of {', '.join(keys)}"

    def _misplaced(self, name: str, keys: Mapping[str, Any], at: str) -> str:
        """Say where a key of the root belongs that stands in a table."""
        field = self._root_keys[name]
        hint = self._root_hints[field.name]
        if _is_tables(hint) or is_dataclass(hint):
            line = _table(name) if is_dataclass(hint) else _expected(field.name, hint)
            return (
                f"is a table of its own and no key of {_header(at)}: write {line}, "
                f"or use one of {', '.join(keys)}"
            )
        return (
            f'does not belong in {_header(at)}: move "{name}" to the top of the file, above the first [table]'
        )


def _scalar(name: str, hint: Any, raw: object) -> object:
    try:
        return _taken(name, _options(hint), raw)
    except ValueError:
        raise ValueError(f"write {_expected(name, hint)}, not {found(raw)}") from None


def _taken(name: str, options: tuple[Any, ...], raw: object) -> object:
    """Return `raw` as the first of a field's types that it fits."""
    nullable = types.NoneType in options
    if name.endswith(("_bytes", "_bytes_s")):
        parse = parse_size if name.endswith("_bytes") else parse_rate
        return None if nullable and raw == "unlimited" else parse(raw)
    if name.endswith("_s"):
        return parse_duration(raw)
    for option in options:
        if get_origin(option) is Literal and isinstance(raw, str) and raw in get_args(option):
            return raw
        if option is Path and isinstance(raw, str):
            return _path(raw, nullable=nullable)
        if isinstance(option, type) and issubclass(option, Enum):
            return option(raw)
        # By exact type: to Python a bool is an int, to a reader it is not.
        if option in (str, int, bool) and type(raw) is option:
            return raw
    raise ValueError(raw)


def _path(raw: str, *, nullable: bool) -> Path | None:
    if not raw and nullable:
        return None
    if not raw or "\0" in raw:
        raise ValueError(raw)
    return Path(raw)


def _expected(name: str, hint: Any) -> str:
    """Return in words what a field takes."""
    if get_origin(hint) is tuple:
        if _is_tables(hint):
            return f"[[{name.removesuffix('s')}]] on a line of its own, once for each, with its keys below it"
        return 'a list of texts in quotes and square brackets, such as ["one", "two"]'
    if name.endswith("_bytes_s"):
        return f'{A_RATE}, or "unlimited"' if types.NoneType in _options(hint) else A_RATE
    if name.endswith("_s"):
        return A_DURATION
    if name.endswith("_bytes"):
        return f'{A_SIZE}, or "unlimited"' if types.NoneType in _options(hint) else A_SIZE
    texts: list[str] = []
    words: list[str] = []
    for option in _options(hint):
        if get_origin(option) is Literal:
            texts += get_args(option)
        elif isinstance(option, type) and issubclass(option, Enum):
            texts += [part.value for part in option]
        elif option in _WORDS:
            words.append(_WORDS[option])
    return " or ".join([*words, *(f'"{text}"' for text in texts)])


_WORDS = {str: "text in quotes", int: "a whole number", bool: "true or false", Path: "a path in quotes"}


def _keys(kind: type[Any]) -> dict[str, Field[Any]]:
    """Return the TOML keys of a dataclass with their fields."""
    hints = get_type_hints(kind)
    return {_key(field.name, hints[field.name]): field for field in fields(kind)}


def _key(name: str, hint: Any) -> str:
    if _is_tables(hint):
        return name.removesuffix("s")
    return name.removesuffix("_bytes_s").removesuffix("_s").removesuffix("_bytes")


def _is_tables(hint: Any) -> bool:
    return get_origin(hint) is tuple and is_dataclass(get_args(hint)[0])


def _table(at: str) -> str:
    """Return in words how a table is written that is there once."""
    return f"a line [{at}] with its keys below it"


def _header(at: str) -> str:
    """Return the line that a table begins with: "[cache]", "[[mirror]]"."""
    return f"[[{at[: at.rindex('[')]}]]" if at.endswith("]") else f"[{at}]"


def _below(at: str, key: str) -> str:
    return f"{at}.{key}" if at else key


def _is_required(field: Field[Any]) -> bool:
    return field.default is MISSING and field.default_factory is MISSING


def _options(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _class(hint: Any) -> type[Any]:
    assert isinstance(hint, type)  # noqa: S101 - a dataclass here is never an instance
    return hint
