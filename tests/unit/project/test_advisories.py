"""Vulnerabilities that are passed over: each with a reason, for what is locked, and with a test behind it."""

import re
from pathlib import Path

import audit
import pytest

ROOT = Path(__file__).parents[3]
KNOWN = audit.advisories(audit.ADVISORIES.read_text())
LOCK = (ROOT / "packaging/requirements.lock").read_text()


@pytest.mark.parametrize("advisory", KNOWN, ids=lambda advisory: advisory.id)
def test_what_is_passed_over_is_explained_and_proved(advisory: audit.Advisory) -> None:
    assert re.fullmatch(r"CVE-\d{4}-\d{4,}|GHSA(-[0-9a-z]{4}){3}|PYSEC-\d{4}-\d+", advisory.id)
    assert len(advisory.reason.split()) > 10
    assert (ROOT / "tests" / advisory.evidence).is_file()
    notes = (ROOT / "SECURITY.md").read_text()
    assert f"{advisory.id}, {advisory.package} {advisory.version}: " in notes


def test_what_is_passed_over_is_locked_in_that_version() -> None:
    """With another version somebody has to look again."""
    assert audit.outdated(KNOWN, LOCK) == []
    assert [one.id for one in KNOWN] == ["CVE-2025-69872"]
    [told] = audit.outdated(KNOWN, LOCK.replace("diskcache==5.6.3", "diskcache==5.6.4"))
    assert "diskcache 5.6.3 is not locked; look whether it applies to 5.6.4" in told
    [told] = audit.outdated(KNOWN, LOCK.replace("diskcache==5.6.3", "other==5.6.3"))
    assert "what took its place" in told


def test_an_entry_that_gives_no_reason_is_no_entry() -> None:
    text = audit.ADVISORIES.read_text()

    for without in (text.replace("reason =", "note ="), re.sub(r'about = ".*"', 'about = ""', text)):
        with pytest.raises(ValueError, match="CVE-2025-69872 must say about, evidence"):
            audit.advisories(without)


def test_all_others_are_looked_for() -> None:
    asked = audit.command(KNOWN, "packaging/requirements.lock", ["--verbose"])

    assert asked[1:3] == ["-m", "pip_audit"]
    assert asked[3:6] == ["--strict", "--disable-pip", "--require-hashes"]
    assert asked[-3:] == ["--ignore-vuln", "CVE-2025-69872", "--verbose"]
    assert "packaging/audit.py" in (ROOT / "noxfile.py").read_text()
