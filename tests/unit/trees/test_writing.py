"""Writing a tree: what changes in the folder, and what never does."""

import os
import shutil
import stat
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest
from support.layout import Layout

from proxy.digest import digest_of
from proxy.store.local.store import LocalStore
from proxy.trees.errors import TreeRefused
from proxy.trees.planning import TreeFile, TreePlan
from proxy.trees.writing import TreeWriter

INDEX = "streams/v1/index.sjson"
LIST = "streams/v1/com.ubuntu.maas:stable:v3:download.sjson"
KERNEL = "noble/amd64/20250718/boot-kernel"
DATE = 1_750_000_000

Write = Callable[..., TreePlan]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Return a store on the file system of the tree."""
    return LocalStore(tmp_path / "data")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return the tree's folder, which is not there yet."""
    return tmp_path / "www"


@pytest.fixture
def put(store: LocalStore) -> Callable[..., TreeFile]:
    """Return how to have a file in the store."""

    def put(path: str, data: bytes, *, date: int = DATE) -> TreeFile:
        return TreeFile(
            path=path,
            digest=store.put(data),
            size_bytes=len(data),
            modified_s=date,
            is_document=path.endswith("json"),
        )

    return put


@pytest.fixture
def generation(put: Callable[..., TreeFile]) -> list[TreeFile]:
    """Return the files of a generation."""
    return [put(INDEX, b"index 1"), put(LIST, b"list 1"), put(KERNEL, b"kernel")]


@pytest.fixture
def write(root: Path, store: LocalStore) -> Write:
    """Return how to write a tree."""

    def write(files: Iterable[TreeFile], *, deletes: bool = False) -> TreePlan:
        files = list(files)
        with TreeWriter(root, store) as writer:
            plan = writer.look(files)
            writer.begin("maas", 1)
            for one in plan.placed:
                if not one.is_in_streams:
                    writer.place(one, lambda _: None)
            writer.publish(plan.placed)
            if deletes:
                writer.remove_left()
            writer.finish()
        return plan

    return write


def seen(root: Path) -> dict[str, tuple[bytes, int, int]]:
    """Return bytes, inode and mtime of every file of the tree."""
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_ino, path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file() and ".sstream-proxy" not in path.parts
    }


def contents(root: Path) -> dict[str, bytes]:
    return {path: data for path, (data, _, _) in seen(root).items()}


def test_documents_are_copies_with_their_date_and_items_are_links(
    write: Write, root: Path, generation: list[TreeFile], tmp_path: Path
) -> None:
    umask = os.umask(0o077)
    try:
        write(generation)
    finally:
        os.umask(umask)
    assert contents(root) == {INDEX: b"index 1", LIST: b"list 1", KERNEL: b"kernel"}
    status = (root / INDEX).stat()
    assert (status.st_mode & 0o777, status.st_mtime_ns, status.st_nlink) == (0o644, DATE * 10**9, 1)
    kernel = root / KERNEL
    assert kernel.samefile(Layout(tmp_path / "data").path(digest_of(b"kernel")))
    assert kernel.stat().st_mode & 0o777 == 0o444
    folders = [root, *(path for path in root.rglob("*") if path.is_dir() and path.name[0] != ".")]
    assert {stat.S_IMODE(one.stat().st_mode) for one in folders if ".sstream-proxy" not in one.parts} == {
        0o755
    }


def test_another_run_changes_nothing(write: Write, root: Path, generation: list[TreeFile]) -> None:
    write(generation)
    before, record = seen(root), (root / ".sstream-proxy/tree.json").stat()
    plan = write(generation)
    assert seen(root) == before
    assert not plan.placed
    assert len(plan.kept) == len(generation)
    assert (root / ".sstream-proxy/tree.json").stat() == record


def test_a_new_generation_changes_what_changed_and_leaves_older_files(
    write: Write, root: Path, put: Callable[..., TreeFile], generation: list[TreeFile]
) -> None:
    write(generation)
    before = seen(root)
    newer = "noble/amd64/20250801/boot-kernel"
    plan = write([put(INDEX, b"index 2", date=DATE + 5), generation[1], put(newer, b"newer")])
    after = seen(root)
    assert {one.path for one in plan.placed} == {INDEX, newer}
    assert after[LIST] == before[LIST]
    assert after[KERNEL] == before[KERNEL]
    assert after[INDEX][0] == b"index 2"
    assert after[newer][0] == b"newer"
    assert not (root / ".sstream-proxy/streams").exists()


def test_whoever_has_opened_the_documents_before_reads_them_to_their_end(
    write: Write, root: Path, put: Callable[..., TreeFile], generation: list[TreeFile]
) -> None:
    write(generation)
    (root / "streams/v1/notes").write_text("a stranger's")
    opened = os.open(root / "streams", os.O_RDONLY | os.O_DIRECTORY)
    try:
        write([put(INDEX, b"index 2"), generation[2]], deletes=True)
        for path, data in ((INDEX, b"index 1"), (LIST, b"list 1")):
            with open(path.removeprefix("streams/"), "rb", opener=partial(os.open, dir_fd=opened)) as file:
                assert file.read() == data
    finally:
        os.close(opened)
    (root / "streams/v1/notes").unlink()
    write([put(INDEX, b"index 2"), generation[2]])
    assert contents(root).keys() == {INDEX, KERNEL}
    assert sorted(one.name for one in (root / ".sstream-proxy").iterdir()) == ["drafts", "lock", "tree.json"]


def test_what_left_the_lists_goes_if_asked_and_never_a_strangers_file(
    write: Write, root: Path, generation: list[TreeFile]
) -> None:
    write(generation)
    (root / "noble/amd64/README").write_text("ours")
    (root / "streams/v1/notes").write_text("ours")
    write(generation[:2], deletes=True)
    assert contents(root).keys() == {INDEX, LIST, "noble/amd64/README", "streams/v1/notes"}
    assert not (root / KERNEL).parent.exists()


def test_what_somebody_has_changed_is_not_removed(
    write: Write, root: Path, generation: list[TreeFile]
) -> None:
    write(generation)
    (root / KERNEL).unlink()
    (root / KERNEL).write_text("another kernel")
    write(generation[:2], deletes=True)
    assert contents(root)[KERNEL] == b"another kernel"


def test_strangers_in_streams_survive_the_exchange(
    write: Write, root: Path, put: Callable[..., TreeFile], generation: list[TreeFile]
) -> None:
    write(generation)
    (root / "streams/v1/notes").write_text("a stranger's")
    (root / "streams/latest").symlink_to("v1")
    write([put(INDEX, b"index 2"), *generation[1:]])
    assert (root / "streams/v1/notes").read_text() == "a stranger's"
    assert (root / "streams/latest").is_symlink()
    assert (root / INDEX).read_bytes() == b"index 2"


def test_what_a_stranger_adds_amid_the_exchange_is_kept(
    write: Write, root: Path, put: Callable[..., TreeFile], generation: list[TreeFile]
) -> None:
    write(generation)
    late = root / ".sstream-proxy/streams/v1"  # As an exchange leaves it, when the process is killed.
    late.mkdir(parents=True)
    (late / "late").write_text("a stranger's")
    (late / "index.sjson").write_text("of the generation before")
    write([put(INDEX, b"index 2"), *generation[1:]])
    assert (root / "streams/v1/late").read_text() == "a stranger's"
    assert (root / INDEX).read_bytes() == b"index 2"
    assert not (root / ".sstream-proxy/streams").exists()


def test_other_bytes_of_the_same_date_are_dated_later(
    write: Write, root: Path, put: Callable[..., TreeFile], generation: list[TreeFile]
) -> None:
    write(generation)
    write([put(INDEX, b"signed anew"), *generation[1:]])
    assert (root / INDEX).stat().st_mtime == DATE + 1
    write([put(INDEX, b"signed again"), *generation[1:]])
    assert (root / INDEX).stat().st_mtime == DATE + 2


def test_a_tree_of_somebody_else_is_refused(write: Write, root: Path, generation: list[TreeFile]) -> None:
    (root / "streams").mkdir(parents=True)
    with pytest.raises(TreeRefused, match="has not written"):
        write(generation)
    assert [path for path in root.rglob("*") if path.is_file() and path.name != "lock"] == []


def test_a_strangers_file_in_the_way_is_refused_unless_it_is_the_same(
    write: Write, root: Path, generation: list[TreeFile]
) -> None:
    (root / KERNEL).parent.mkdir(parents=True)
    (root / KERNEL).write_bytes(b"Kernel")
    with pytest.raises(TreeRefused, match="boot-kernel"):
        write(generation)
    assert not (root / "streams").exists()
    (root / KERNEL).write_bytes(b"kernel")
    plan = write(generation)
    assert plan.strangers == [KERNEL]
    write(generation[:2], deletes=True)
    assert (root / KERNEL).read_bytes() == b"kernel"


@pytest.mark.parametrize("place", ["noble", "streams"])
def test_no_link_leads_a_file_out_of_the_tree(
    write: Write, root: Path, generation: list[TreeFile], tmp_path: Path, place: str
) -> None:
    root.mkdir()
    (tmp_path / "elsewhere").mkdir()
    (root / place).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(TreeRefused):
        write(generation)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_what_no_folder_can_hold_is_told(
    write: Write, put: Callable[..., TreeFile], generation: list[TreeFile]
) -> None:
    odd = ["noble", f"{'x' * 256}/file", ".sstream-proxy/tree.json"]
    plan = write([*generation, *(put(path, path.encode()) for path in odd)])
    assert plan.impossible.keys() == set(odd)


def test_what_is_not_in_the_store_is_lacking_unless_the_tree_has_it(
    write: Write, store: LocalStore, generation: list[TreeFile]
) -> None:
    removal = store.withdraw(generation[2].digest)
    assert removal is not None
    removal.finish()
    assert write(generation).lacking == [generation[2]]
    store.put(b"kernel")
    assert write(generation).placed == [generation[2]]
    removal = store.withdraw(generation[2].digest)
    assert removal is not None
    removal.finish()
    assert write(generation).lacking == []


def test_where_nothing_can_be_linked_or_exchanged_each_document_is_replaced_by_itself(
    write: Write,
    root: Path,
    put: Callable[..., TreeFile],
    generation: list[TreeFile],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("proxy.trees.writing.link", lambda *_: False)
    monkeypatch.setattr("proxy.trees.writing.exchange", lambda *_: False)
    write(generation)
    before = seen(root)
    write([put(INDEX, b"index 2"), *generation[1:]])
    assert contents(root) == {INDEX: b"index 2", LIST: b"list 1", KERNEL: b"kernel"}
    assert (root / KERNEL).stat().st_nlink == 1
    assert (root / KERNEL).stat().st_mtime == DATE
    assert {path: seen(root)[path] for path in (LIST, KERNEL)} == {
        path: before[path] for path in (LIST, KERNEL)
    }


def test_what_a_killed_run_was_writing_goes_with_the_next(
    write: Write, root: Path, generation: list[TreeFile]
) -> None:
    write(generation)
    whole = sorted(root.rglob("*"))
    for name in ("drafts/link", ".tree.json.x7y8z9"):
        (root / ".sstream-proxy" / name).write_text("half")
    write(generation)
    assert sorted(root.rglob("*")) == whole


def test_two_at_once_are_refused(root: Path, store: LocalStore) -> None:
    with TreeWriter(root, store), pytest.raises(TreeRefused, match="another export"), TreeWriter(root, store):
        pass


def test_a_reader_finds_an_index_and_its_lists_at_every_moment(
    write: Write, root: Path, put: Callable[..., TreeFile], generation: list[TreeFile]
) -> None:
    write(generation)
    is_over, seen_data, problems = threading.Event(), set[bytes](), list[OSError]()

    def read_on() -> None:
        while not is_over.is_set():
            try:
                seen_data.add((root / INDEX).read_bytes())
                (root / LIST).read_bytes()
            except OSError as error:
                problems.append(error)

    reader = threading.Thread(target=read_on)
    reader.start()
    try:
        for number in range(30):
            write([put(INDEX, b"index %d" % number), put(LIST, b"list %d" % number), generation[2]])
    finally:
        is_over.set()
        reader.join()
    assert problems == []
    assert seen_data <= {b"index %d" % number for number in range(30)}


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """Return a folder elsewhere, to which whoever owns the tree's folder leads the writer."""
    folder = tmp_path / "victim"
    (folder / "v1").mkdir(parents=True)
    for name in ("boot-kernel", "tree.json", "v1/index.sjson"):
        (folder / name).write_bytes(b"precious")
    return folder


def _names(folder: Path) -> dict[str, bytes]:
    return {str(one.relative_to(folder)): one.read_bytes() for one in folder.rglob("*") if one.is_file()}


@pytest.mark.parametrize("name", ["", "/drafts", "/streams", "/lock", "/tree.json"])
def test_links_in_our_folder_lead_nowhere(
    root: Path, write: Write, generation: list[TreeFile], victim: Path, name: str
) -> None:
    link = root / f".sstream-proxy{name}"
    link.parent.mkdir(parents=True)
    link.symlink_to(victim / "new" if name == "/lock" else victim)
    before = _names(victim)
    with suppress(TreeRefused, OSError):
        write(generation)
    assert _names(victim) == before
    assert not any("precious" in one.read_text() for one in root.rglob("*") if one.is_file())


def test_our_folder_made_by_another_user_is_refused(
    root: Path, write: Write, generation: list[TreeFile]
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    (root / ".sstream-proxy").mkdir(parents=True)
    os.chown(root / ".sstream-proxy", 1234, 1234)
    with pytest.raises(TreeRefused, match="belongs to user 1234"):
        write(generation)


def test_a_folder_that_becomes_a_link_while_the_tree_is_written_leads_nowhere(
    root: Path, store: LocalStore, generation: list[TreeFile], put: Callable[..., TreeFile], victim: Path
) -> None:
    before = _names(victim)
    kernel = Path(KERNEL).parent

    def swap(folder: Path) -> None:
        (root / folder).rename(root / f"{folder.name}.away")
        (root / folder).symlink_to(victim)

    with TreeWriter(root, store) as writer:
        plan = writer.look(generation)
        writer.begin("maas", 1)
        item = next(one for one in plan.placed if one.path == KERNEL)
        (root / kernel.parent).mkdir(parents=True)
        (root / kernel).symlink_to(victim)
        with pytest.raises(NotADirectoryError):
            writer.place(item, lambda _: None)
        (root / kernel).unlink()
        writer.place(item, lambda _: None)
        writer.publish(plan.placed)
        writer.finish()
    assert _names(victim) == before

    with TreeWriter(root, store) as writer:
        plan = writer.look([put(LIST, b"list 2")])
        writer.begin("maas", 2)
        swap(Path("streams"))
        with suppress(NotADirectoryError):
            writer.publish(plan.placed)
        swap(kernel)
        writer.remove_left()
        writer.finish()
    with TreeWriter(root, store) as writer, suppress(TreeRefused):
        writer.look([])
        writer.begin("maas", 3)
    assert _names(victim) == before


def test_a_tree_below_the_named_folder_is_no_link(
    root: Path, store: LocalStore, generation: list[TreeFile], victim: Path
) -> None:
    with TreeWriter(root / "maas", store, may_be_link=False) as writer:
        writer.look(generation)
    shutil.rmtree(root)
    root.symlink_to(victim)
    with pytest.raises(TreeRefused, match="is a link"):
        TreeWriter(root, store, may_be_link=False).open()
    (victim / ".sstream-proxy").mkdir()
    with TreeWriter(root, store) as writer:
        writer.look(generation)
