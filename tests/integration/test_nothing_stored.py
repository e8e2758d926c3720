"""A command that only looks at what is stored makes no data directory where there is none."""

from pathlib import Path

import pytest
from support.commands import Commands
from support.keys import SigningKey
from support.left_trees import Nowhere
from support.maas import maas_tree
from support.origin import Origin
from support.tree import SignedTree
from support.warm import run_warm

RULE = '[[prefetch]]\nname = "lab"\nmirror = "maas"\nmaas = ["noble"]\n'

LOOKING = (
    ("stats",),
    ("stats", "--json"),
    ("ready",),
    ("ready", "--rule", "lab"),
    ("inventory",),
    ("inventory", "--digest"),
    ("query", "os~grub", "--offline"),
    ("export", "--dry-run"),
    ("export", "--to", "OUT"),
    ("export", "--tree", "OUT"),
    ("record", "list"),
    ("record", "show", "lab", "--lock", "OUT"),
    ("record", "stop", "lab"),
    ("record", "delete", "lab"),
    ("sync", "--list"),
    ("check-health",),
    ("import", "--waiting"),
    ("unpin", "--name", "p"),
    ("evict", "os~grub"),
    ("purge", "release=noble"),
    ("scrub",),
)
"""All that look at what is stored, or change what there is of it."""


MAKING = (
    ("query", "os~grub"),
    ("sync",),
    ("prefetch", "--maas", "noble"),
    ("pin", "os~grub"),
    ("refresh",),
)
"""Some that ask origins, and store what they send."""

FAILED, UNKNOWN = 1, 3


@pytest.fixture
def tree(tmp_path: Path, key: SigningKey) -> SignedTree:
    """Return a tree like MAAS's."""
    return maas_tree(tmp_path / "upstream", key, versions=1)


@pytest.fixture
def commands(tmp_path: Path, origin: Origin, keyring: Path) -> Commands:
    """Return commands whose data directory nobody has used."""
    return Commands(tmp_path, origin, keyring, RULE)


async def _run(commands: Commands, command: tuple[str, ...], data_dir: Path, out: Path) -> tuple[int, str]:
    """Run a command over a data directory; return its exit code, and what it wrote."""
    words = [str(out) if word == "OUT" else word for word in command]
    named = ["--config", str(commands.config), "--data-dir", str(data_dir)]
    status, told, problem = await run_warm([*words, *named])
    return status, (told + problem).decode()


def _below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize("is_there", [False, True], ids=["no folder", "an empty folder"])
async def test_what_looks_at_nothing_says_what_is_missing_and_makes_nothing(
    commands: Commands, tmp_path: Path, *, is_there: bool
) -> None:
    typed, out = tmp_path / "dta", tmp_path / "out"
    if is_there:
        typed.mkdir()
    lack = f"nothing is stored in {typed} yet" if is_there else f"there is no folder {typed}"
    before = _below(tmp_path)

    for command in LOOKING:
        status, told = await _run(commands, command, typed, out)

        assert status == (UNKNOWN if command[0] == "check-health" else FAILED), command
        assert f"{lack}: if another data directory is meant, name it by --data-dir" in told, command
        assert len(told.splitlines()) == 1, told
        assert _below(tmp_path) == before, command


async def test_what_looks_through_a_link_that_leads_nowhere_says_so(
    commands: Commands, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "disk")
    lack = f"{link} is a link to {tmp_path / 'disk'}, where nothing is: mount its disk, correct the link, or"
    before = _below(tmp_path)

    for command in (("stats",), ("sync", "--list"), ("check-health",), ("prefetch", "--dry-run")):
        status, told = await _run(commands, command, link, tmp_path / "out")

        assert status == (UNKNOWN if command[0] == "check-health" else FAILED), command
        assert lack in told, command
        assert _below(tmp_path) == before, command


async def test_a_folder_that_is_made_is_told_of_and_one_that_is_not_is_not(
    commands: Commands, tmp_path: Path, tree: SignedTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = tmp_path / "typed"
    monkeypatch.setenv("SSTREAM_PROXY_MAAS_KEY", "a:b:c")
    for command in (
        ("import", "--dry-run", str(tree.root)),
        ("import", "--dry-run", "--tree", str(tree.root)),
        ("connect", "maas", Nowhere.url, "--check"),
        ("connect", "maas", Nowhere.url, "--undo"),
        ("connect", "lxd", "--undo"),
        ("ready",),
    ):
        _, told = await _run(commands, command, typed, tmp_path / "out")
        assert "it will be made" not in told, command
        assert not typed.exists(), command
    for number, making in enumerate(MAKING):
        made = tmp_path / f"made-{number}"
        result = await commands.run(*making, "--data-dir", str(made))
        assert result.stderr.startswith(f"note: there is no folder {made} yet; it will be made\n"), making
        assert made.is_dir(), making
