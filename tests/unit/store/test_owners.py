"""To whom a data directory belongs, and which of its files a user could not change. Run as any user."""

import os
import pwd
from pathlib import Path

import pytest
from support.unprivileged import as_ordinary_user

from proxy.store.owners import Owner, established_owner, find_strangers, is_closed, meant_owner

ANOTHER = Owner(os.geteuid() + 12345, os.getegid() + 12345)


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Return a directory with a file at each depth that is looked at; nobody else may change any."""
    data = tmp_path / "data"
    for name in (
        "config",
        "listings/packed",
        "incoming/partial",
        "stats/today",
        "boards/demand",
        "rules/nightly",
        "quarantine/bad",
        "generations/test.json",
        "ledger/records/cache.db",
        "gnupg/ring/pubring.kbx",
        "blobs/sha256/ab/blob",
    ):
        path = data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    for path in (data, *data.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return data


def named(data_dir: Path, owner: Owner = ANOTHER) -> set[str]:
    found = find_strangers(data_dir, owner)
    return set() if found is None else {str(path.relative_to(data_dir)) for path in found.paths}


def test_all_that_is_changed_in_place_is_named_and_blobs_are_not(data_dir: Path) -> None:
    everything = {str(path.relative_to(data_dir)) for path in (data_dir, *data_dir.rglob("*"))}
    assert named(data_dir) == everything - {"blobs/sha256/ab/blob"}


def test_what_the_owner_or_anybody_may_change_is_not_named(data_dir: Path) -> None:
    assert named(data_dir, Owner.running()) == set()
    (data_dir / "stats/today").chmod(0o666)
    assert "stats/today" not in named(data_dir)
    (data_dir / "rules/nightly").chmod(0o664)
    colleague = Owner(ANOTHER.uid, os.getegid())
    assert "rules/nightly" in named(data_dir)
    assert "rules/nightly" not in named(data_dir, colleague)
    assert "rules" in named(data_dir, colleague)


def test_what_belongs_to_the_owner_is_not_named(data_dir: Path) -> None:
    owner = Owner(os.geteuid() or ANOTHER.uid, ANOTHER.gid)
    everything = (data_dir, *data_dir.rglob("*"))
    if os.geteuid() == 0:
        for path in everything:
            os.chown(path, owner.uid, os.getegid())
    assert named(data_dir, owner) == set()


def test_nothing_is_foreign_to_root(data_dir: Path) -> None:
    assert find_strangers(data_dir, Owner(0, 0)) is None


def test_what_is_foreign_is_told_with_the_command_that_mends_it(data_dir: Path) -> None:
    found = find_strangers(data_dir, ANOTHER)
    assert found is not None
    assert found.theirs == Owner.running()
    more = len(found.paths) - 3
    assert str(found) == (
        f"files in {data_dir} belong to {Owner.running()}, and user {ANOTHER.uid} cannot change them: "
        f"., blobs, boards and {more} more"
    )
    assert found.remedy == f"sudo chown -R {ANOTHER.uid}:{ANOTHER.gid} {data_dir}"
    few = found._replace(paths=found.paths[1:4])
    assert str(few).endswith("cannot change them: blobs, boards, config")


def test_a_data_directory_belongs_to_who_stored_into_it_first(data_dir: Path, tmp_path: Path) -> None:
    assert established_owner(data_dir) == Owner.running()
    assert established_owner(tmp_path / "none") is None
    (tmp_path / "none").mkdir()
    assert established_owner(tmp_path / "none") is None
    assert meant_owner(tmp_path / "none") == Owner.running()
    assert not is_closed(data_dir)
    assert not is_closed(tmp_path / "none")


@pytest.mark.parametrize("folder", [".", "ledger", "ledger/records"])
def test_a_data_directory_is_closed_to_whom_its_ledger_is(data_dir: Path, folder: str) -> None:
    assert not as_ordinary_user(lambda: is_closed(data_dir))
    (data_dir / folder).chmod(0)
    assert as_ordinary_user(lambda: is_closed(data_dir))
    (data_dir / folder).chmod(0o755)


def test_a_user_without_a_name_is_told_by_number() -> None:
    assert ANOTHER.name is None
    assert Owner(0, 0).name == "root"
    assert (str(Owner(0, 0)), Owner(0, 0).for_chown) == ("root", "root:")
    assert str(ANOTHER) == f"user {ANOTHER.uid}"


def test_a_user_database_that_fails_gives_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(pwd, "getpwuid", fail)
    assert Owner(0, 0).name is None
