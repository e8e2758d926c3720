"""Whatever a courier does to a bundle is found out: nothing of it is served, or written anywhere else."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from shutil import copytree

import pytest
from support.commands import Commands, Result
from support.drafted_bundles import Draft, call_importer, files_of
from support.exchange import read
from support.keys import SigningKey
from support.serving import run_service
from support.tampered_bundles import REFUSED, WAYS, Booty, Way, draft_booty
from yarl import URL

ACCEPTED = "generations/maas.json"


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


def offline(folder: Path, keyring: Path) -> Commands:
    commands = Commands(folder, Nowhere(), keyring)
    settings = 'listen = ["127.0.0.1:0"]\nworkers = 1\noffline = true\n'
    commands.config.write_text(settings + commands.config.read_text())
    return commands


@pytest.fixture
async def site(booty: Booty, tmp_path: Path, keyring: Path) -> Commands:
    """Return the commands of a site that has the generation before."""
    commands = offline(tmp_path, keyring)
    ended = await commands.run("import", str(booty.served.write_folder(tmp_path / "served")))
    assert ended.returncode == 0, ended.stderr
    (tmp_path / "media").mkdir()
    return commands


def wrong_about(way: Way, ended: Result, said: str) -> list[str]:
    """Return what is wrong with the end of an import."""
    if "Traceback" in ended.stderr or "served now" in ended.stdout or way.ours not in said or not way.ours:
        return [f"{way.name}: {ended.returncode}, {way.ours!r} is not in {said!r}, or more: {ended.stdout}"]
    return []


async def test_import_refuses_those_that_are_wrong_as_a_whole(
    booty: Booty, site: Commands, tmp_path: Path
) -> None:
    ways = {str(number): way for number, way in enumerate(one for one in WAYS if not one.is_alone)}
    media = [way.tamper(booty, tmp_path / "media" / number) for number, way in ways.items()]
    async with run_service(site.config) as server:
        before = names_in(tmp_path)

        ended = await site.run("import", *map(str, media))

        wrong = []
        for number, way in ways.items():
            marks = (f"/{number}: ", f"({number}) ")
            lines = [line for line in ended.stdout.splitlines() if any(mark in line for mark in marks)]
            wrong += wrong_about(way, ended, "\n".join(lines))
            word = "REFUSED" if way.code == REFUSED else "INCOMPLETE"
            if not any(word in line or "OLDER" in line for line in lines):
                wrong.append(f"{way.name}: no {word} in {lines}")
        assert not wrong, "\n".join(wrong)
        assert ended.returncode == REFUSED
        for path, data in expected(booty.served).items():
            reply = await read(URL(f"{server.base}/m/{path}", encoded=True))
            assert (reply.status, reply.body) == (200, data), path
        assert names_in(tmp_path) == before
        reply = await read(URL(f"{server.base}/m/{booty.item.path}", encoded=True))
        assert reply.status == 404


async def test_import_refuses_what_is_wrong_with_an_item(
    booty: Booty, site: Commands, tmp_path: Path, keyring: Path
) -> None:
    before = names_in(tmp_path)
    accepted = (site.data / ACCEPTED).read_bytes()

    async def look(number: int, way: Way) -> list[str]:
        folder = tmp_path / "media" / f"of-{number}"
        await asyncio.to_thread(copytree, site.data, folder / "data")
        bundle = way.tamper(booty, folder / "bundle")
        commands = offline(folder, keyring)
        ended = await commands.run("import", str(bundle))
        wrong = wrong_about(way, ended, ended.stdout)
        if ended.returncode != way.code:
            wrong.append(f"{way.name}: {ended.returncode} for {way.code}")
        if (commands.data / ACCEPTED).read_bytes() != accepted:
            wrong.append(f"{way.name}: something else is served")
        return wrong

    alone = [way for way in WAYS if way.is_alone]
    wrong = await asyncio.gather(*(look(number, way) for number, way in enumerate(alone)))
    assert not any(wrong), wrong
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
