"""Facts of the configuration, read from config.example.toml, which a test holds to every key of the code."""

import re
from dataclasses import dataclass
from pathlib import Path

EXAMPLE = Path(__file__).parents[2] / "config.example.toml"
_END = "# Further examples"
_TABLE = re.compile(r"(?:# )?(\[{1,2}[a-z_]+\]{1,2})")
_KEY = re.compile(r"(# )?([a-z_0-9]+) = (.+)")


@dataclass(frozen=True, slots=True)
class Setting:
    """A key, what it means, and its value in the example."""

    key: str
    text: str
    value: str
    is_default: bool
    """Whether the value is the default; else it shows how the key is written."""


@dataclass(frozen=True, slots=True)
class Table:
    """A table of the file; the keys above the first one are in a table without a name."""

    name: str
    text: str
    settings: tuple[Setting, ...]


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole configuration."""

    text: str
    tables: tuple[Table, ...]
    examples: str
    """Further mirrors, as they would stand in the file."""


def settings() -> Settings:
    """Read the example."""
    text = EXAMPLE.read_text(encoding="utf-8")
    described, _, examples = text.partition(_END)
    reader = _Reader()
    for line in described.splitlines():
        reader.read(line)
    return Settings(reader.text, reader.tables(), _without_signs(examples))


class _Reader:
    """Gathers tables and keys from lines."""

    def __init__(self) -> None:
        self.text = ""
        self._found: dict[str, tuple[str, list[Setting]]] = {"": ("", [])}
        self._table = ""
        self._comment: list[str] = []
        self._is_repeated = False

    def read(self, line: str) -> None:
        """Take the next line of the file."""
        table, key = _TABLE.fullmatch(line), _KEY.fullmatch(line)
        if table is not None:
            self._begin(table[1])
        elif key is not None:
            self._add(Setting(key[2], self._words(), key[3], is_default=key[1] is None))
        elif line.startswith("#"):
            self._comment.append(line.removeprefix("#").removeprefix(" "))
        elif not self.text:
            self.text = self._words()
        elif self._comment:
            self._comment.append("")

    def tables(self) -> tuple[Table, ...]:
        """Return all that was read."""
        return tuple(Table(name, text, tuple(found)) for name, (text, found) in self._found.items())

    def _begin(self, table: str) -> None:
        self._is_repeated = table in self._found
        self._found.setdefault(table, (self._words(), []))
        self._table, self._comment = table, []

    def _add(self, setting: Setting) -> None:
        if not self._is_repeated:
            self._found[self._table][1].append(setting)

    def _words(self) -> str:
        """Return the comment since the last key or table."""
        words, self._comment = "\n".join(self._comment).strip(), []
        return words


def _without_signs(comment: str) -> str:
    """Return the file that a commented part would be, its explanations still comments."""
    lines = []
    for line in comment.splitlines()[1:]:
        bare = line.removeprefix("#").removeprefix(" ")
        is_file = _TABLE.fullmatch(line) or _KEY.fullmatch(line) or line.startswith(("#   ", "# ]"))
        if is_file or not bare:
            lines.append(bare)
        else:
            lines.append(f"# {bare}")
    return re.sub(r"\n\n(?=\[\[)", "\n", re.sub(r"\n{3,}", "\n\n", "\n".join(lines))).strip()
