"""Texts of findings: all are used, all can be filled, and what strangers say is made harmless."""

import re
from pathlib import Path

import pytest

import proxy.doctor
from proxy.doctor.clients import CLIENTS
from proxy.doctor.findings import Severity, merged
from proxy.doctor.texts import documents, items, replies, signatures
from proxy.doctor.wording import CODES, Voice

TEXTS = (replies.WORDS, signatures.WORDS, documents.WORDS, items.WORDS)
VOICE = Voice(CLIENTS["maas"])


def test_no_code_stands_twice_and_each_is_used_somewhere() -> None:
    assert sum(map(len, TEXTS)) == len(CODES)
    root = Path(proxy.doctor.__file__).parent
    files = [path for path in root.rglob("*.py") if "texts" not in path.relative_to(root).parts]
    used = "".join(path.read_text() for path in files)
    assert not {code for code in CODES if f'"{code}"' not in used}


@pytest.mark.parametrize("code", sorted(CODES))
def test_each_text_says_what_is_wrong_who_mends_it_and_how(code: str) -> None:
    (words,) = [one[code] for one in TEXTS if code in one]
    facts = {name: f"<{name}>" for name in re.findall(r"{(\w+)}", words.says + words.mend)}
    facts.pop("client", None)

    found = VOICE.fault(code, **facts)

    assert not set(re.findall(r"[{}]", found.says + found.mend))
    assert found.says
    assert found.who
    assert len(found.mend) > 10


def test_what_a_mirror_says_does_nothing_to_a_terminal_and_has_an_end() -> None:
    found = VOICE.fault(
        "failed", subject="\x1b[2J\x07\u202e", status=500, reason="x" * 5000, url="http://h/\n"
    )

    assert found.says.isprintable()
    assert "\\x1b[2J\\x07\\u202e" in found.says
    assert len(found.says) < 1000
    assert str(found.evidence["url"]).isprintable()


def test_many_of_a_kind_are_one_finding_and_the_worst_comes_first() -> None:
    note = VOICE.note("item-unmeasured", subject="a", url="u0")
    faults = [
        VOICE.fault("item-absent", subject=f"i{n}", status=404, reason="", url=f"u{n}") for n in range(9)
    ]

    found = merged([note, *faults])

    assert [one.severity for one in found] == [Severity.FAULT, Severity.NOTE]
    assert found[0].others == ("u1", "u2", "u3")
    assert found[0].evidence["times"] == 9
    assert found[0].as_json()["evidence"]["also"] == ["u1", "u2", "u3"]


def test_the_words_of_a_client_stand_where_it_says_them() -> None:
    facts = {"subject": "x", "algorithm": "sha256", "actual": "a", "expected": "b", "url": "u"}

    assert "LXD says: Hash mismatch" in Voice(CLIENTS["lxd"]).fault("item-hash", **facts).says
    assert "checksum mismatch" in Voice(CLIENTS["sstream"]).fault("item-hash", **facts).says
