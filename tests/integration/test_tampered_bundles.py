"""Whatever a courier does to a bundle is found out: nothing of it is served, or written anywhere else."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree, rmtree

import pytest
from support.commands import Commands
from support.drafted_bundles import Draft, call_importer, files_of
from support.keys import SigningKey
from support.tampered_bundles import WAYS, Booty, draft_booty


class Nowhere:
    """An origin that nobody can reach."""

    url = "http://127.0.0.1:9/"


@pytest.fixture
def booty(tmp_path: Path, key: SigningKey) -> Iterator[Booty]:
    with SigningKey("A Stranger <stranger@example.test>") as stranger:
        yield draft_booty(tmp_path / "upstream", key, stranger)


def expected(draft: Draft) -> dict[str, bytes]:
    return {one.path: draft.files[one.sha256] for one in draft.contents.files()}


def names_in(folder: Path) -> set[str]:
    return {one.name for one in folder.iterdir()}


async def test_import_refuses_each(booty: Booty, tmp_path: Path, keyring: Path) -> None:
    commands = Commands(tmp_path, Nowhere(), keyring)
    ended = await commands.run("import", str(booty.served.write_folder(tmp_path / "served")))
    assert ended.returncode == 0, ended.stderr
    (tmp_path / "media").mkdir()
    copytree(commands.data, tmp_path / "as-it-was")
    before = names_in(tmp_path)
    wrong = []
    for number, way in enumerate(WAYS):
        bundle = way.tamper(booty, tmp_path / "media" / str(number))
        rmtree(commands.data)
        copytree(tmp_path / "as-it-was", commands.data)
        ended = await commands.run("import", str(bundle))
        said = ended.stdout + ended.stderr
        if ended.returncode != way.code or way.ours not in said or "Traceback" in said:
            wrong.append(f"{way.name}: {ended.returncode} for {way.code}, {way.ours!r} is not in {said!r}")
        elif "served now" in said:
            wrong.append(f"{way.name}: {said}")
    assert not wrong, "\n".join(wrong)
    assert names_in(tmp_path) == before


async def test_the_plain_importer_refuses_each(booty: Booty, tmp_path: Path, keyring: Path) -> None:
    def look() -> None:
        start = ("--keyring", keyring, "--to", tmp_path / "tree")
        assert call_importer(*start, booty.served.write_folder(tmp_path / "served")).code == 0
        (tmp_path / "media").mkdir()
        before = names_in(tmp_path)
        wrong = []
        for number, way in enumerate(WAYS):
            bundle = way.tamper(booty, tmp_path / "media" / str(number))
            ended = call_importer(*start, bundle)
            if ended.code != way.code or way.plainly not in ended.said or "Traceback" in ended.said:
                wrong.append(
                    f"{way.name}: {ended.code} for {way.code}, {way.plainly!r} is not in {ended.said!r}"
                )
            assert files_of(tmp_path / "tree") == expected(booty.served), way.name
        assert not wrong, "\n".join(wrong)
        assert names_in(tmp_path) == before

    await asyncio.to_thread(look)
