"""What the documents claim about the project is what the project does."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]


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
        assert wanted in ci


def test_every_module_has_a_docstring_and_stays_below_500_lines() -> None:
    for path in (ROOT / "proxy").rglob("*.py"):
        text = path.read_text()
        assert text.startswith(('"""', 'r"""')), path
        assert text.count("\n") <= 500, path


def test_every_file_that_the_readme_links_exists() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target


def test_every_test_and_bench_that_the_security_notes_name_exists() -> None:
    notes = (ROOT / "SECURITY.md").read_text()
    tests = re.findall(r"`([\w/]+/test_\w+\.py)`", notes)
    benches = re.findall(r"`(bench/\w+\.py)`", notes)
    assert tests
    assert benches
    for path in [*(f"tests/{test}" for test in tests), *benches]:
        assert (ROOT / path).exists(), path
