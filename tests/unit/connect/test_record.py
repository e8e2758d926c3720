"""The record of what was changed: private, kept over releases, and told when it cannot be read."""

import stat
from pathlib import Path

import pytest

from proxy.connect.errors import MaasFault
from proxy.connect.record import Record, Records
from proxy.connect.steps import Step

MAAS = "http://maas:5240/MAAS/"
STEPS = [
    Step(
        kind="change source",
        target="1",
        old={"url": "a", "enabled": False},
        new={"url": "b", "enabled": True},
    ),
    Step(kind="change setting", target="boot_images_no_proxy", old={"value": False}, new={"value": True}),
]
RECORD = Record(maas=MAAS, mirror="maas-stable", url="b", changed_at=1.75e9).with_steps(STEPS)


def test_a_record_is_read_as_it_was_written_and_is_its_owners_alone(tmp_path: Path) -> None:
    Records(tmp_path).write(RECORD)

    assert Records(tmp_path).read(MAAS) == RECORD
    assert RECORD.done == STEPS
    (file,) = (tmp_path / "connect/maas").iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "connect").stat().st_mode) == 0o700


def test_each_maas_has_a_record_of_its_own(tmp_path: Path) -> None:
    records = Records(tmp_path)
    records.write(RECORD)

    assert records.read("http://other/MAAS/") is None
    assert records.known() == [MAAS]
    records.forget(MAAS)
    records.forget(MAAS)
    assert records.read(MAAS) is None


def test_fields_of_a_later_release_are_passed_over(tmp_path: Path) -> None:
    Records(tmp_path).write(RECORD)
    (file,) = (tmp_path / "connect/maas").iterdir()
    file.write_text(file.read_text().replace('"mirror"', '"wings": 2,\n  "mirror"', 1))

    assert Records(tmp_path).read(MAAS) == RECORD


@pytest.mark.parametrize("text", ["", "{", '{"maas": 5}', '{"version": 9}'])
def test_a_record_that_cannot_be_read_is_not_taken_for_none(tmp_path: Path, text: str) -> None:
    Records(tmp_path).write(RECORD)
    (file,) = (tmp_path / "connect/maas").iterdir()
    file.write_text(text)

    with pytest.raises(MaasFault, match="cannot be read"):
        Records(tmp_path).read(MAAS)
    assert Records(tmp_path).known() == []
