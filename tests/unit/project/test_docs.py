"""What the documents claim about the project is what the project does."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROXY = ROOT / "proxy"
ROOMS = {
    path.stem for path in PROXY.glob("[a-z]*") if path.suffix == ".py" or (path / "__init__.py").exists()
}
"""The packages and modules directly below `proxy`."""
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "bench/README.md",
    "packaging/README.md",
    *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md")),
)


def test_ci_runs_the_test_command_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    command = next(line for line in readme.splitlines() if ".venv/bin/pytest" in line)
    _, make, install, test = (part.strip() for part in command.split("&&"))
    ci = (ROOT / ".ci/run").read_text().replace(" --disable-pip-version-check", "").splitlines()

    assert make == "python3 -m venv --upgrade-deps .venv"  # pip of Debian 12 and Ubuntu 24.04 knows no groups
    assert '"$python" -m venv --upgrade-deps "$work/venv" >/dev/null' in ci
    for step in (install, test):
        program, _, arguments = step.partition(" ")
        wanted = f'"$work/venv/bin/{Path(program).name}" {arguments}'.strip()
        assert any(wanted in line for line in ci), wanted


def test_every_module_has_a_docstring_and_stays_below_500_lines() -> None:
    for path in (ROOT / "proxy").rglob("*.py"):
        text = path.read_text()
        assert text.startswith(('"""', 'r"""')), path
        # The plain importer is one file on purpose: sites run it as it lies in a bundle.
        assert text.count("\n") <= (680 if path.name == "plain_importer.py" else 500), path


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_file_that_a_document_links_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert (ROOT / document).parent.joinpath(target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_module_and_package_that_a_document_names_exists(document: str) -> None:
    """Written from the root, from `proxy`, from `tests`, or, of a module, by its name alone."""
    text = (ROOT / document).read_text()
    named = set(re.findall(r"`((?:[\w.-]+/)*[\w-]+\.py)", text))
    named |= {
        name
        for name in re.findall(r"`((?:[\w-]+/)+)`", text)
        if name.partition("/")[0] in {"proxy", "tests", *ROOMS}
    }
    lost = {name for name in named if not is_there(name)}
    assert not lost


def is_there(name: str) -> bool:
    if "/" not in name:
        return any(True for top in ("proxy", "tests", "bench", ".") for _ in (ROOT / top).glob(f"**/{name}"))
    return any((ROOT / top / name).exists() for top in (".", "proxy", "tests"))


def test_every_package_is_in_the_diagram_and_in_the_table_of_the_design() -> None:
    diagram = (ROOT / "docs/design.md").read_text().partition("```\nproxy/\n")[2].partition("```")[0]
    drawn = re.findall(r"^  (\w+(?:/|\.py)) ", diagram, re.MULTILINE)
    assert set(drawn) - {"runtime.py"} == {f"{room}/" for room in ROOMS if (PROXY / room).is_dir()}
    table = (ROOT / "docs/design.md").read_text().partition("## Rooms")[2].partition("\n## ")[0]
    for room in ROOMS:
        assert f"`{room}/`" in table or f"`{room}.py`" in table, room


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_session_of_nox_that_a_document_names_exists(document: str) -> None:
    noxfile = (ROOT / "noxfile.py").read_text()
    sessions = set(re.findall(r"^def ([a-z]\w+)\(session", noxfile, re.MULTILINE))
    assert set(re.findall(r"nox -s (\w+)", (ROOT / document).read_text())) <= sessions


def test_every_record_has_its_line_in_the_design() -> None:
    """What is kept under a key of the ledger is to be found by its beginning."""
    table = (ROOT / "docs/design.md").read_text().partition("## Records")[2].partition("\n## ")[0]
    kinds = [
        found
        for path in PROXY.rglob("*.py")
        for found in re.findall(r"\bKind(?:\[[^=]*\])?\(\"([\w ]+/?)\"", path.read_text())
    ]
    assert len(kinds) > 10
    for kind in kinds:
        assert f"`{kind}" in table, kind


def test_every_test_and_bench_that_the_security_notes_name_exists() -> None:
    notes = (ROOT / "SECURITY.md").read_text()
    tests = re.findall(r"`([\w/]+/test_\w+\.py)`", notes)
    benches = re.findall(r"`(bench/\w+\.py)`", notes)
    assert tests
    assert benches
    for path in [*(f"tests/{test}" for test in tests), *benches]:
        assert (ROOT / path).exists(), path


def test_every_pool_of_threads_has_its_line_in_the_design() -> None:
    table = (
        (ROOT / "docs/design.md").read_text().partition("## Threads of a process")[2].partition("\n## ")[0]
    )
    pools = {
        (name, size)
        for path in PROXY.rglob("*.py")
        for size, name in re.findall(r"ThreadPoolExecutor\((\d+|\w+\(\)), \"(\w+)\"\)", path.read_text())
    }
    assert len(pools) > 5
    for name, size in pools - {("close", "1")}:  # Lives for a moment, to end the others.
        assert (f"| `{name}` | {size} |" if size.isdecimal() else f"| `{name}` |") in table, name


def test_mypy_checks_every_program() -> None:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]
    named = {path for path in settings["files"] if path.endswith(".py")}
    folders = {path.parent.name for path in ROOT.glob("[a-z]*/*.py")} - {"build", "dist"}
    assert named == {path.name for path in ROOT.glob("*.py")}
    assert set(settings["files"]) - named >= folders
    assert settings["strict"]
