"""Bundles carried to a site without a network: imported beside its server, which serves them at once."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.bundles import contents_of, with_items, write_bundle, write_tar
from support.commands import Commands, Result
from support.exchange import read
from support.keys import SigningKey
from support.running import Service
from support.serving import run_service
from support.tree import MAAS_CONTENT_ID, SignedTree, TreeItem
from yarl import URL

from proxy.digest import digest_of
from proxy.store.local.store import LocalStore
from proxy.store.pins import Pins

PRODUCT = "com.ubuntu.maas:stable:v3:boot:24.04:amd64:ga-24.04"
INDEX = "streams/v1/index.sjson"
ACCEPTED = "generations/maas.json"
COMPLETE, FAILED, USAGE, INCOMPLETE, REFUSED = range(5)


class Nowhere:
    """An origin that nobody can reach."""

    url = "http://127.0.0.1:9/"


@pytest.fixture
def commands(tmp_path: Path, keyring: Path) -> Commands:
    """Return the commands of the far site."""
    return Commands(tmp_path, Nowhere(), keyring)


@pytest.fixture
async def server(commands: Commands) -> AsyncIterator[Service]:
    """Return the far site's server, which is offline."""
    settings = 'listen = ["127.0.0.1:0"]\nworkers = 1\noffline = true\n'
    commands.config.write_text(settings + commands.config.read_text())
    async with run_service(commands.config) as service:
        yield service


def add(tree: SignedTree, *versions: str) -> list[TreeItem]:
    found = [
        tree.add_item(PRODUCT, version, name, size=3000 + number)
        for version in versions
        for number, name in enumerate(("squashfs", "boot-kernel"))
    ]
    tree.publish()
    return found


async def imported(commands: Commands, *arguments: str | Path) -> tuple[int, dict[str, Any], Result]:
    result = await commands.run("import", "--json", *map(str, arguments))
    summary = json.loads(result.stdout.splitlines()[-1]) if result.stdout else {}
    return result.returncode, summary, result


async def got(server: Service, path: str) -> tuple[int, bytes]:
    reply = await read(URL(f"{server.base}/m/{path}", encoded=True))
    return reply.status, reply.body


def states(summary: dict[str, Any]) -> list[tuple[int, str]]:
    return [(one["generation"], one["state"]) for one in summary["generations"]]


async def piped(commands: Commands, *archives: Path) -> tuple[int, dict[str, Any], str]:
    """Import what comes through a pipe, one archive after the other."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy", "import", "--config", str(commands.config), "--json", "-",
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    data = b"".join([await asyncio.to_thread(one.read_bytes) for one in archives])
    out, err = await process.communicate(data)
    assert process.returncode is not None
    return process.returncode, json.loads(out.splitlines()[-1]), err.decode()


async def test_a_bundle_is_served_by_a_running_server_at_once(
    commands: Commands, server: Service, tree: SignedTree, tmp_path: Path
) -> None:
    items = add(tree, "20250701")
    assert (await got(server, INDEX))[0] == 503
    folder = write_bundle(tmp_path / "usb", tree, contents_of(tree))

    code, summary, result = await imported(commands, folder)

    assert (code, states(summary)) == (COMPLETE, [(1, "served")]), result.stderr
    for path in (INDEX, items[0].path):
        assert await got(server, path) == (200, (tree.root / path).read_bytes())
    audit = commands.data / "audit.log"
    line = json.loads(audit.read_text().splitlines()[-1])
    assert (line["action"], line["what"], line["blobs"]) == ("import", "usb", 2)
    audit.unlink()
    audit.symlink_to("/dev/full")
    code, summary, result = await imported(commands, folder)
    assert (code, summary["held_files"], summary["taken_files"]) == (COMPLETE, 2, 0)
    assert "audit.not_written" in result.stderr


async def test_parts_come_in_any_order_and_a_generation_waits_for_the_last(
    commands: Commands, server: Service, tree: SignedTree, tmp_path: Path
) -> None:
    first = add(tree, "20250701")
    write_bundle(tmp_path / "full", tree, contents_of(tree))
    await imported(commands, tmp_path / "full")
    before = await got(server, INDEX)
    second = add(tree, "20250801")
    contents = contents_of(tree, known=first, generation=2)
    parts = [
        write_tar(
            tmp_path / f"{number}.tar",
            write_bundle(tmp_path / f"{number}", tree, contents, without=[missing.path]),
        )
        for number, missing in enumerate(second)
    ]

    code, summary, _ = await imported(commands, parts[1])

    assert (code, states(summary)) == (INCOMPLETE, [(2, "waiting")])
    assert [one["path"] for one in summary["generations"][0]["missing"]] == [second[1].path]
    assert await got(server, INDEX) == before
    ready = await commands.run("ready")
    assert (ready.returncode, "generation 2 of maas" in ready.stderr) == (0, True), ready.stderr
    stats = json.loads((await commands.run("stats", "--json")).stdout)
    [one] = stats["mirrors"]["maas"]["waiting"]
    assert (one["generation"], one["missing_files"], one["missing_bytes"]) == (2, 1, second[1].size)
    assert any("generation 2" in problem["text"] for problem in stats["problems"])
    code, summary, _ = await imported(commands, parts[0])
    assert (code, states(summary)) == (COMPLETE, [(2, "served")])
    assert await got(server, INDEX) == (200, (tree.root / INDEX).read_bytes())
    assert await commands.held(tree.items) == tree.items
    stats = json.loads((await commands.run("stats", "--json")).stdout)
    assert stats["mirrors"]["maas"]["waiting"] == []


async def test_bundles_in_odd_order_are_served_once_the_gap_is_closed(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    items = add(tree, "20250701")
    write_bundle(tmp_path / "1", tree, contents_of(tree))
    await imported(commands, tmp_path / "1")
    for number in (2, 3):
        more = add(tree, f"2025080{number}")
        write_bundle(tmp_path / f"{number}", tree, contents_of(tree, known=items, generation=number))
        items += more

    code, summary, result = await imported(commands, tmp_path / "3")
    assert (code, states(summary)) == (INCOMPLETE, [(3, "waiting")])
    code, summary, result = await imported(commands, tmp_path / "2")

    assert (code, states(summary)) == (COMPLETE, [(2, "served"), (3, "served")]), result.stdout
    accepted = json.loads((commands.data / ACCEPTED).read_text())
    assert accepted["documents"][INDEX]["digest"] == digest_of((tree.root / INDEX).read_bytes())
    code, summary, _ = await imported(commands, tmp_path / "1")
    assert (code, states(summary)) == (REFUSED, [(1, "older")])
    code, summary, _ = await imported(commands, tmp_path)  # All of them on one stick, once more.
    assert (code, states(summary)) == (COMPLETE, [(1, "superseded"), (2, "superseded"), (3, "served")])
    code, summary, _ = await imported(commands, "--dry-run", tmp_path)
    assert (code, [one["is_new"] for one in summary["generations"]]) == (COMPLETE, [False] * 3)
    code, summary, _ = await imported(commands, tmp_path / "1", "--accept-older")
    assert (code, states(summary)) == (COMPLETE, [(1, "served")])


async def test_processes_that_import_the_same_at_once_all_find_it_served(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    add(tree, "20250701")
    bundle = write_bundle(tmp_path / "usb", tree, contents_of(tree))

    found = await asyncio.gather(*(imported(commands, bundle) for _ in range(4)))

    assert [(code, states(summary)) for code, summary, _ in found] == [(COMPLETE, [(1, "served")])] * 4
    assert sum(summary["taken_files"] for _, summary, _ in found) == 2


async def test_what_waits_is_tried_again_without_a_bundle(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    assert (await commands.run("import", "--waiting")).stdout == "nothing that was imported waits\n"
    first = add(tree, "20250701")
    await imported(commands, write_bundle(tmp_path / "1", tree, contents_of(tree)))
    for number in (2, 3):
        more = add(tree, f"2025080{number}")
        contents = contents_of(tree, first + more, generation=number)
        bundle = write_bundle(tmp_path / f"{number}", tree, contents, without=[more[0].path])
        await imported(commands, bundle)
        if number == 2:
            lost = more[0]

    code, summary, _ = await imported(commands, "--waiting")
    assert (code, states(summary)) == (INCOMPLETE, [(2, "waiting"), (3, "waiting")])
    assert [one["path"] for one in summary["generations"][0]["missing"]] == [lost.path]

    data = await asyncio.to_thread((tree.root / lost.path).read_bytes)
    await asyncio.to_thread(LocalStore(commands.data).put, data)  # Whoever brings it.
    told = (await commands.run("ready")).stderr
    assert "generation 2 of maas" in told.splitlines()[0]
    assert "`import --waiting` serves it" in told.splitlines()[0]
    code, summary, _ = await imported(commands, "--waiting")
    assert (code, states(summary)) == (INCOMPLETE, [(2, "served"), (3, "waiting")])

    code, summary, _ = await imported(commands, "--waiting", "--activate")
    assert (code, states(summary)) == (INCOMPLETE, [(3, "served")])
    code, summary, _ = await imported(commands, "--waiting")
    assert (code, states(summary)) == (COMPLETE, [])
    assert (await commands.run("import", "--waiting", str(tmp_path / "1"))).returncode == USAGE


async def test_one_mirror_of_several_in_a_bundle_is_taken_alone(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    add(tree, "20250701")
    several = [contents_of(tree), contents_of(tree, mirror="elsewhere")]
    bundle = write_bundle(tmp_path / "both", tree, *several)

    code, summary, _ = await imported(commands, bundle)
    assert (code, states(summary)) == (REFUSED, [(1, "served")])
    assert "--mirror maas" in summary["refused"][0]["problem"]
    code, summary, result = await imported(commands, "--mirror", "maas", bundle)

    assert (code, states(summary)) == (COMPLETE, [(1, "served")]), result.stderr


async def test_archives_come_through_a_pipe_one_after_the_other(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    first = add(tree, "20250701")
    one = write_tar(tmp_path / "1.tar", write_bundle(tmp_path / "1", tree, contents_of(tree)))
    add(tree, "20250801")
    two = contents_of(tree, known=first, generation=2)
    parts = [
        write_tar(
            tmp_path / f"2-{number}.tar",
            write_bundle(tmp_path / f"2-{number}", tree, two, without=[missing.path]),
        )
        for number, missing in enumerate(tree.items[2:])
    ]

    code, summary, err = await piped(commands, one, *parts)

    assert (code, summary["refused"], summary["incomplete"]) == (COMPLETE, [], []), err
    assert states(summary) == [(1, "served"), (2, "served")]
    assert await commands.held(tree.items) == tree.items


async def test_an_archive_whose_items_come_first_is_read_from_a_file_and_kept_from_a_pipe(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    add(tree, "20250701")
    folder = write_bundle(tmp_path / "1", tree, contents_of(tree))
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert names[-1] == "oci-layout"
    backwards = write_tar(tmp_path / "1.tar", folder, names)
    code, summary, err = await piped(commands, backwards)
    assert (code, states(summary)) == (COMPLETE, [(1, "served")]), err
    code, summary, _ = await imported(commands, backwards)
    assert (code, states(summary), summary["held_files"]) == (COMPLETE, [(1, "served")], 2)


async def test_a_rehearsal_tells_what_an_import_would_take_and_writes_nothing(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    first = add(tree, "20250701")
    old = write_bundle(tmp_path / "1", tree, contents_of(tree))
    add(tree, "20250801")
    new = write_bundle(tmp_path / "2", tree, contents_of(tree, known=first, generation=2))
    code, summary, result = await imported(commands, "--dry-run", new)
    assert (code, states(summary), summary["taken_files"]) == (INCOMPLETE, [(2, "waiting")], 2), result.stderr
    assert not await commands.held(tree.items)
    assert not (commands.data / ACCEPTED).exists()

    await imported(commands, old, new)
    code, summary, _ = await imported(commands, "--dry-run", old)

    assert (code, states(summary), summary["event"]) == (REFUSED, [(1, "older")], "plan")


# What may not be believed


async def test_a_bundle_that_a_stranger_signed_is_refused_and_that_of_an_operator_is_told_of(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    add(tree, "20250701")
    with (
        SigningKey("Operator <o@example.test>") as operator,
        SigningKey("Stranger <s@example.test>") as other,
    ):
        theirs = write_bundle(tmp_path / "theirs", tree, contents_of(tree), sign=other.detach)
        ours = write_bundle(tmp_path / "ours", tree, contents_of(tree), sign=operator.detach)
        keys = tmp_path / "operators.gpg"
        keys.write_bytes(operator.public_binary())
        fingerprint = operator.fingerprint

    code, summary, _ = await imported(commands, ours)
    assert (code, states(summary)) == (REFUSED, [(1, "refused")])
    assert "name one, [bundles] keyring" in summary["generations"][0]["why"]
    commands.config.write_text(commands.config.read_text() + f'[bundles]\nkeyring = "{keys}"\n')
    code, summary, _ = await imported(commands, theirs)
    assert (code, states(summary)) == (REFUSED, [(1, "refused")])
    assert "which is not in the keyring of [bundles]" in summary["generations"][0]["why"]
    assert not await commands.held(tree.items)
    code, summary, _ = await imported(commands, ours)
    assert (code, states(summary)) == (COMPLETE, [(1, "served")])
    assert summary["generations"][0]["signed"].startswith(f"signed by {fingerprint} on 20")
    audited = [json.loads(line) for line in (commands.data / "audit.log").read_text().splitlines()]
    assert [fingerprint in line["text"] for line in audited] == [False, False, True]
    code, _, _ = await imported(commands, theirs, "--ignore-signature")
    assert code == COMPLETE


async def test_a_mirror_without_signatures_takes_only_what_an_operator_signed(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    add(tree, "20250701")
    plain = contents_of(tree, documents="streams/v1/*.json")
    commands.config.write_text(
        commands.config.read_text().replace(Nowhere.url, "https://127.0.0.1:9/") + 'trust = "tls"\n'
    )
    with SigningKey("Operator <o@example.test>") as operator:
        unsigned = write_bundle(tmp_path / "unsigned", tree, plain)
        signed = write_bundle(tmp_path / "signed", tree, plain, sign=operator.detach)
        keys = tmp_path / "operators.gpg"
        keys.write_bytes(operator.public_binary())
    code, summary, _ = await imported(commands, unsigned, "--keyring", keys, "--ignore-signature")
    assert (code, states(summary)) == (REFUSED, [(1, "refused")])
    assert "export --sign KEYID" in summary["generations"][0]["why"]
    code, summary, result = await imported(commands, signed, "--keyring", keys)
    assert (code, states(summary)) == (COMPLETE, [(1, "served")]), result


async def test_items_and_lists_that_were_changed_are_refused(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    good, bad = add(tree, "20250701")
    contents = contents_of(tree)
    other = bytes(bad.size)
    folder = write_bundle(tmp_path / "item", tree, contents, instead={bad.path: other})
    code, summary, _ = await imported(commands, folder)
    assert (code, [one["path"] for one in summary["refused"]]) == (REFUSED, [bad.path])
    assert await commands.held(tree.items) == [good]
    said = replace(contents.items[1], sha256=digest_of(other))
    tree.write("other", other)
    moved = with_items(contents, contents.items[0], replace(said, path="other"))
    renamed = with_items(contents, contents.items[0], replace(contents.items[0], path=bad.path))
    for number, one in enumerate((moved, renamed)):
        code, summary, _ = await imported(commands, write_bundle(tmp_path / f"{number}", tree, one))
        assert (code, len(summary["refused"])) == (REFUSED, 1)
        assert await commands.held(tree.items) == [good]


async def test_lists_that_nobody_signed_are_refused(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    add(tree, "20250701")
    path = f"streams/v1/{MAAS_CONTENT_ID}.sjson"
    tree.write(path, (tree.root / path).read_bytes().replace(b"squashfs", b"squashFS"))
    code, summary, _ = await imported(commands, write_bundle(tmp_path / "b", tree, contents_of(tree)))
    assert (code, states(summary)) == (REFUSED, [(1, "refused")])
    assert "the text was changed after key" in summary["generations"][0]["why"]
    assert not (commands.data / ACCEPTED).exists()
    assert not await commands.held(tree.items)


# What stops on the way


async def test_what_arrived_of_an_item_is_gone_on_with(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    small, large = add(tree, "20250701")
    large = tree.add_item(PRODUCT, "20250702", "squashfs", size=500_000)
    tree.publish()
    folder = write_bundle(tmp_path / "usb", tree, contents_of(tree))
    archive = write_tar(tmp_path / "usb.tar", folder)
    whole = archive.read_bytes()
    cut = whole.index(large.read()[:1000]) + 300_000

    code, summary, _ = await piped(commands, _cut(tmp_path, whole[:cut]))

    assert (code, states(summary)) == (INCOMPLETE, [(1, "served")])  # Something is better than nothing.
    partial = commands.data / "incoming" / large.digest
    status = partial.stat()
    assert status.st_size == 300_000
    code, summary, _ = await imported(commands, _cut(tmp_path, whole[:cut]))
    assert (code, [one["path"] for one in summary["incomplete"]]) == (INCOMPLETE, [str(tmp_path / "cut.tar")])
    code, summary, _ = await imported(commands, archive)
    assert (code, summary["taken_files"], summary["held_files"]) == (COMPLETE, 1, 2)
    assert commands.blob(large).stat().st_ino == status.st_ino
    assert await commands.held(tree.items) == tree.items
    assert small in tree.items


def _cut(folder: Path, data: bytes) -> Path:
    path = folder / "cut.tar"
    path.write_bytes(data)
    return path


async def test_what_does_not_fit_is_not_begun(commands: Commands, tree: SignedTree, tmp_path: Path) -> None:
    tree.add_item(PRODUCT, "20250701", "squashfs", size=2_000_000)
    tree.publish()
    folder = write_bundle(tmp_path / "usb", tree, contents_of(tree))
    settings = commands.config.read_text()
    commands.config.write_text(settings.replace('min_free = "0"', 'min_free = "0"\nlimit = "1 MiB"'))
    code, _, result = await imported(commands, folder)
    assert (code, "it does not fit" in result.stderr, "Traceback" in result.stderr) == (FAILED, True, False)
    assert not list((commands.data / "incoming").iterdir())
    assert not (commands.data / ACCEPTED).exists()


async def test_an_operator_may_have_a_generation_served_though_items_are_missing(
    commands: Commands, server: Service, tree: SignedTree, tmp_path: Path
) -> None:
    add(tree, "20250701")
    await imported(commands, write_bundle(tmp_path / "1", tree, contents_of(tree)))
    new, other = add(tree, "20250801")
    two = write_bundle(tmp_path / "2", tree, contents_of(tree, generation=2), without=[other.path])
    code, summary, _ = await imported(commands, two)
    assert (code, states(summary)) == (INCOMPLETE, [(2, "waiting")])
    code, summary, _ = await imported(commands, two, "--activate")
    assert (code, states(summary)) == (INCOMPLETE, [(2, "served")])
    assert await got(server, INDEX) == (200, (tree.root / INDEX).read_bytes())
    assert await got(server, new.path) == (200, new.read())
    assert (await got(server, other.path))[0] == 504


async def test_an_older_bundle_closes_a_gap_and_is_refused_only_if_nothing_of_it_is_of_use(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    old = add(tree, "20250701")
    contents = contents_of(tree)
    parts = [write_bundle(tmp_path / f"1-{one.digest}", tree, contents, without=[one.path]) for one in old]
    newer = add(tree, "20250801")
    two = write_bundle(tmp_path / "2", tree, contents_of(tree, known=old, generation=2))
    last, _ = add(tree, "20250901")
    contents = contents_of(tree, known=[*old, *newer], generation=3)
    three = write_bundle(tmp_path / "3", tree, contents)
    cut = write_bundle(tmp_path / "3-cut", tree, contents, without=[last.path])

    codes = []
    for path in (two, cut, parts[0], parts[0], parts[1], three, parts[1]):
        code, summary, result = await imported(commands, path)
        codes.append((code, states(summary), [one["used_files"] for one in summary["generations"]]))

    assert codes == [
        (INCOMPLETE, [(2, "served")], [0]),
        (INCOMPLETE, [(3, "waiting")], [0]),
        (INCOMPLETE, [(1, "older")], [1]),  # What is served lacks the other.
        (REFUSED, [(1, "older")], [0]),
        (INCOMPLETE, [(1, "older")], [1]),  # What waits lacks one still.
        (COMPLETE, [(3, "served")], [0]),
        (REFUSED, [(1, "older")], [0]),
    ], result.stdout
    assert await commands.held(tree.items) == tree.items
    accepted = json.loads((commands.data / ACCEPTED).read_text())
    assert accepted["documents"][INDEX]["digest"] == digest_of((tree.root / INDEX).read_bytes())


async def test_older_lists_that_are_let_in_are_written_down(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    old = add(tree, "20250701")
    one = write_bundle(tmp_path / "1", tree, contents_of(tree))
    add(tree, "20250801")
    two = write_bundle(tmp_path / "2", tree, contents_of(tree, known=old, generation=2), without=())
    code, _, _ = await imported(commands, two)
    assert code == INCOMPLETE
    code, _, _ = await imported(commands, one, "--accept-older")
    line = json.loads((commands.data / "audit.log").read_text().splitlines()[-1])
    assert (code, line["what"]) == (COMPLETE, "1, older ones accepted")


async def test_usage_is_told(commands: Commands, tree: SignedTree, tmp_path: Path) -> None:
    add(tree, "20250701")
    folder = write_bundle(tmp_path / "usb", tree, contents_of(tree, mirror="other"))
    code, summary, _ = await imported(commands, folder)
    assert (code, "there are: maas (trust gpg)" in summary["refused"][0]["problem"]) == (REFUSED, True)
    code, summary, _ = await imported(commands, folder, "--mirror", "maas")
    assert (code, states(summary)) == (COMPLETE, [(1, "served")])
    code, summary, _ = await imported(commands, tree.root)
    assert (code, "take it with --tree" in summary["refused"][0]["problem"]) == (REFUSED, True)
    code, _, result = await imported(commands, "--tree", folder)
    assert (code, "leave --tree out" in result.stdout) == (REFUSED, True)
    for wrong in ([tmp_path / "nothing"], [folder, "--mirror", "x"], ["-", "--dry-run"], []):
        code, _, result = await imported(commands, *wrong)
        assert (code, "Traceback" in result.stderr) == (USAGE, False)


async def test_what_nothing_proves_is_not_taken_and_not_waited_for(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    add(tree, "20250701")
    await imported(commands, write_bundle(tmp_path / "1", tree, contents_of(tree)))
    [_, vague] = add(tree, "20250801")
    del tree.version(PRODUCT, "20250801")["items"]["boot-kernel"]["sha256"]
    tree.publish()
    code, summary, _ = await imported(
        commands, write_bundle(tmp_path / "2", tree, contents_of(tree, generation=2))
    )
    assert (code, states(summary)) == (COMPLETE, [(2, "served")])
    assert summary["generations"][0]["unprovable"] == [vague.path]
    assert not await commands.held([vague])


async def test_what_waited_is_let_go_once_something_newer_is_served(
    commands: Commands, tree: SignedTree, tmp_path: Path
) -> None:
    add(tree, "20250701")
    await imported(commands, write_bundle(tmp_path / "1", tree, contents_of(tree)))
    new, lost = add(tree, "20250801")
    two = write_bundle(tmp_path / "2", tree, contents_of(tree, generation=2), without=[lost.path])
    await imported(commands, two)
    assert await commands.in_ledger(lambda ledger: new.digest in Pins(ledger).protected())
    tree.remove_version("20250801")
    add(tree, "20250901")
    three = write_bundle(tmp_path / "3", tree, contents_of(tree, generation=3))
    code, summary, _ = await imported(commands, three)
    assert (code, states(summary)) == (COMPLETE, [(3, "served"), (2, "replaced")])
    pinned = await commands.in_ledger(lambda ledger: Pins(ledger).pinned_by("import maas: everything"))
    assert pinned == {item.digest for item in tree.items}
