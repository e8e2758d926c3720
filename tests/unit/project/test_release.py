"""What a release is made of: the lock fits the project, and licences are judged right."""

import re
import tomllib
from importlib.metadata import distributions
from pathlib import Path

import pytest
from licences import is_allowed, licence, pins
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[3]
LOCK = (ROOT / "packaging/requirements.lock").read_text()
BUILD_LOCK = (ROOT / "packaging/build.lock").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = pytest.mark.parametrize("lock", [LOCK, BUILD_LOCK], ids=["requirements", "build"])


@pytest.mark.parametrize(
    ("wanted", "lock"),
    [(PROJECT["project"]["dependencies"], LOCK), (PROJECT["build-system"]["requires"], BUILD_LOCK)],
    ids=["runtime", "build"],
)
def test_the_lock_satisfies_what_the_project_asks_for(wanted: list[str], lock: str) -> None:
    """If this fails, run `nox -s lock`."""
    pinned = {pin.name: pin.version for pin in pins(lock)}
    for requirement in map(Requirement, wanted):
        assert requirement.specifier.contains(pinned[canonicalize_name(requirement.name)]), requirement


def test_the_lock_has_what_the_locked_packages_ask_for() -> None:
    pinned = {pin.name: pin.version for pin in pins(LOCK)}
    for installed in distributions():
        if pinned.get(canonicalize_name(installed.metadata["Name"])) != installed.version:
            continue
        for requirement in map(Requirement, installed.requires or []):
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                assert canonicalize_name(requirement.name) in pinned, requirement


@LOCKS
def test_every_pin_has_hashes(lock: str) -> None:
    blocks = re.split(r"\n(?=[a-z0-9])", lock)[1:]
    assert len(blocks) == len(pins(lock))
    for block in blocks:
        assert re.search(r"--hash=sha256:[0-9a-f]{64}", block), block


@LOCKS
def test_a_lock_names_no_machine(lock: str) -> None:
    assert not re.search(r"://|^-|\s@\s|=\s*/", lock, re.MULTILINE)


@pytest.mark.parametrize(
    ("expression", "text", "classifiers", "expected"),
    [
        ("Apache-2.0 AND MIT", None, [], "Apache-2.0 AND MIT"),
        (None, "whatever", ["License :: OSI Approved :: MIT License"], "MIT"),
        (None, "MIT", [], "MIT"),
        (None, "a text of its own", [], None),
        (None, None, [], None),
        (None, "MIT", ["License :: OSI Approved :: GNU Affero General Public License v3"], None),
    ],
)
def test_a_licence_is_what_the_metadata_says(
    expression: str | None, text: str | None, classifiers: list[str], expected: str | None
) -> None:
    assert licence(expression, text, classifiers) == expected


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("MIT", True),
        ("Apache-2.0 AND MIT", True),
        ("GPL-3.0-only OR MIT", True),
        ("GPL-3.0-only", False),
        ("MIT AND AGPL-3.0-only", False),
        ("(MIT OR GPL-3.0-only) AND AGPL-3.0-only", False),
        ("Apache-2.0 WITH something", False),
    ],
)
def test_a_licence_is_allowed_if_it_can_be_met(expression: str, *, expected: bool) -> None:
    assert is_allowed(expression) is expected
