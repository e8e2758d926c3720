"""What the documents show can be typed: links lead somewhere, commands parse, configurations load."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from build_site import documents, outside
from support.credentials import cheap_hash
from support.holding import ROOT

from proxy.cli import main
from proxy.config.load import load_config

DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md", "packaging/README.md")),
    *sorted(ROOT.glob("docs/**/*.md")),
]
GUIDES = pytest.mark.parametrize(
    "document", DOCUMENTS, ids=[str(path.relative_to(ROOT)) for path in DOCUMENTS]
)
_BLOCK = re.compile(r"^( *)```(\w+)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_RUN = re.compile(r"(?:^|[;&|(]) *(?:sudo )?sstream-proxy +|/bin/sstream-proxy +")
_ARGUMENTS = re.compile(r"""(?:[^#;&|>)"'\n]|'[^'\n]*'|"[^"\n]*")+""")
_INLINE = re.compile(r"`(?:sudo )?(sstream-proxy [^`…]+)`")
"""An ellipsis stands for any command."""
_HASH = cheap_hash("secret")
_FILE = re.compile(r'"(/[^"\s]+\.(?:pem|key|gpg|asc|crt))"')


@GUIDES
def test_every_link_leads_to_a_file_and_a_heading(document: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _without_code(document.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = document.parent / name if name else document
        assert file.exists(), target
        if anchor:
            assert anchor in _anchors(file.read_text(encoding="utf-8")), target


def test_every_document_is_to_be_found_from_the_first_one() -> None:
    reached, waiting = set(), [ROOT / "README.md"]
    while waiting:
        document = waiting.pop().resolve()
        if document in reached:
            continue
        reached.add(document)
        links = re.findall(r"\]\(([^)#:\s]+\.md)\b", document.read_text(encoding="utf-8"))
        waiting.extend(document.parent / target for target in links)
    assert {path.resolve() for path in ROOT.glob("docs/**/*.md")} <= reached


@GUIDES
def test_every_command_that_is_shown_parses(document: Path) -> None:
    for line in _commands(document.read_text(encoding="utf-8")):
        words = shlex.split(line, comments=True)
        try:
            _parse(words)
        except click.ClickException as error:
            pytest.fail(f"{line}: {error.format_message()}")


@pytest.mark.parametrize(
    "line", ["prefetch --mass noble", "prefecth", "offline perhaps", "offline", "pin --max x", "stats now"]
)
def test_a_wrong_command_does_not_parse(line: str) -> None:
    with pytest.raises(click.ClickException):
        _parse(shlex.split(line))


def test_commands_are_found_wherever_they_are_typed() -> None:
    block = "sudo sstream-proxy stats | head; a && x/bin/sstream-proxy ready \\\n  'os~(a|b)' # all"
    assert list(_commands(f"```bash\n{block}\n```\n`sstream-proxy sync [--list]`")) == [
        "stats",
        "ready 'os~(a|b)'",
        "sync --list",
    ]


@GUIDES
def test_every_configuration_that_is_shown_loads(document: Path, tmp_path: Path) -> None:
    for number, text in enumerate(_blocks(document.read_text(encoding="utf-8"), "toml")):
        file = tmp_path / f"{number}.toml"
        for path in _FILE.findall(text):
            there = tmp_path / path.lstrip("/")
            there.parent.mkdir(parents=True, exist_ok=True)
            there.touch()
        completed = _FILE.sub(rf'"{tmp_path}\1"', text.replace("$scrypt$…", _HASH))
        file.write_text(completed, encoding="utf-8")
        load_config(file, {"HOME": "/home/one"}, uid=1000)


def _parse(words: list[str]) -> None:
    """Read a command line as the program would, and run nothing."""
    root = click.Context(main, info_name="sstream-proxy", **main.context_settings)
    if words[0].startswith("-"):
        main.make_parser(root).parse_args(list(words))
        return
    name, command, rest = main.resolve_command(root, list(words))
    assert command is not None
    context = click.Context(command, parent=root, info_name=name)
    if "--help" in rest or (isinstance(command, click.Group) and not rest):
        return
    if isinstance(command, click.Group):
        name, command, rest = command.resolve_command(context, rest)
        assert command is not None
        context = click.Context(command, parent=context, info_name=name)
    values, left, _ = command.make_parser(context).parse_args(rest)
    if left:
        raise click.UsageError(f"nothing takes {left}", context)
    for parameter in command.get_params(context):
        given = values.get(parameter.name)
        if isinstance(parameter.type, click.Path):
            continue  # Files of the reader.
        if given in (None, ()) or str(type(given)).endswith("Sentinel'>"):
            if parameter.required and isinstance(parameter, click.Argument):
                raise click.MissingParameter(ctx=context, param=parameter)
            continue
        parameter.type_cast_value(context, given)


def _commands(text: str) -> Iterator[str]:
    """Yield what stands behind `sstream-proxy` in blocks for a shell, and in backticks."""
    for block in _blocks(text, "bash"):
        for line in re.sub(r"\s*\\\n\s*", " ", block).splitlines():
            for run in _RUN.finditer(line):
                if arguments := _ARGUMENTS.match(line, run.end()):
                    yield arguments[0].strip()
    for found in _INLINE.findall(_without_code(text)):
        yield re.sub(r"[\[\]]", "", found.removeprefix("sstream-proxy "))


def _blocks(text: str, language: str) -> list[str]:
    return [block for _, kind, block in _BLOCK.findall(text) if kind == language]


def _without_code(text: str) -> str:
    return re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL)


def _anchors(text: str) -> set[str]:
    """Return what headings are called in an address, as GitHub and MkDocs do."""
    headings = re.findall(r"^#+ (.+)$", _without_code(text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


def test_every_document_has_its_place_in_the_site() -> None:
    settings = (ROOT / "packaging/site/mkdocs.yml").read_text(encoding="utf-8")
    listed = re.findall(r"- (?:\w+: )?(\S+\.md)$", settings, re.MULTILINE)
    assert set(listed) == {str(path.relative_to(ROOT)) for path in documents() if path.suffix == ".md"}


def test_maass_lists_have_the_keys_that_the_page_on_filters_names() -> None:
    page = (ROOT / "docs/reference/filters.md").read_text(encoding="utf-8")
    rows = page.partition("Usual in MAAS's lists:")[2].partition("Usual in those")[0]
    named = {
        key for row in re.findall(r"^\| (`.+?) \|", rows, re.MULTILINE) for key in re.findall("`(.+?)`", row)
    }
    lists = "".join(path.read_text() for path in (ROOT / "tests/fixtures/canonical+maas").glob("*.json"))
    assert len(named) > 10
    assert {key for key in named if f'"{key}":' not in lists} == set()


def test_what_a_page_would_load_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "good.html").write_text(
        '<a href="https://one.example/"><link href="site.css"><img src="a.svg">'
    )
    (tmp_path / "bad.html").write_text('<script src="//cdn.example/a.js"></script>')
    (tmp_path / "bad.css").write_text('@font-face { src: url("https://fonts.example/a") }')
    assert outside(tmp_path) == ["bad.css: https://fonts.example/a", "bad.html: //cdn.example/a.js"]
