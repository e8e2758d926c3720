"""Whom an import believes: the mirror's keyring, an operator's signature, and nobody about older lists."""

import json
from dataclasses import replace
from pathlib import Path

from support.bundles import contents_of, with_items, write_bundle
from support.commands import Commands
from support.gap import Nowhere
from support.importing import ACCEPTED, COMPLETE, INCOMPLETE, REFUSED, add, imported, states
from support.keys import SigningKey
from support.tree import MAAS_CONTENT_ID, SignedTree

from proxy.digest import digest_of


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
