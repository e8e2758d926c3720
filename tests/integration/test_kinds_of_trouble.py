"""Kinds of trouble, and whether the page says whose fault each is and what to do: never the wrong party."""

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.certificates import make_certificate
from support.faults import Fault
from support.keys import SigningKey
from support.origin import Origin
from support.running import RunningProxy, make_config, run_proxy
from support.tree import SignedTree

from proxy.mirror import Mirror
from proxy.reporting.problems import Problem, find_problems
from proxy.sources.folder.file import FolderFile
from proxy.sources.http import origin as http_origin
from proxy.sources.http.reasons import cause_of, explain

INDEX = "streams/v1/index.sjson"
LOGIN = b"<html><body>Welcome to the hotel. Please log in.</body></html>\n"
NETWORK = "check the network between"

Trouble = tuple[Callable[[Origin, Path, Mirror], tuple[Mirror, dict[str, Any]]], str, str, tuple[str, ...]]


def _origin(**fault: Any) -> Callable[[Origin, Path, Mirror], tuple[Mirror, dict[str, Any]]]:
    def make(origin: Origin, _: Path, mirror: Mirror) -> tuple[Mirror, dict[str, Any]]:
        origin.fault("*", Fault(**fault))
        return mirror, {}

    return make


def _at(url: str, **upstream: Any) -> Callable[[Origin, Path, Mirror], tuple[Mirror, dict[str, Any]]]:
    def make(origin: Origin, folder: Path, mirror: Mirror) -> tuple[Mirror, dict[str, Any]]:
        places = {"folder": str(folder), "port": origin.url.rpartition(":")[2].rstrip("/")}
        given = {key: origin.url if one == "origin" else one for key, one in upstream.items()}
        return replace(mirror, origins=(url.format(**places),)), given

    return make


def _foreign_key(_: Origin, folder: Path, mirror: Mirror) -> tuple[Mirror, dict[str, Any]]:
    with SigningKey() as other:
        (folder / "other.gpg").write_bytes(other.public_binary())
    return replace(mirror, keyring=str(folder / "other.gpg")), {}


def _site_proxy_refuses(origin: Origin, _: Path, mirror: Mirror) -> tuple[Mirror, dict[str, Any]]:
    origin.fault("*", Fault(status=407))
    return replace(mirror, origins=("http://images.example.test/",)), {"parent_proxy": origin.url}


KINDS: Mapping[str, Trouble] = {
    "a key that is not in the keyring": (
        _foreign_key,
        "not in the mirror's keyring",
        "keyring",
        (NETWORK, "disk"),
    ),
    "a name that does not resolve": (
        _at("http://no-such-name.invalid/"),
        "does not resolve",
        NETWORK,
        ("keyring",),
    ),
    "a port where nothing listens": (
        _at("http://127.0.0.1:1/"),
        "nothing listens there",
        NETWORK,
        ("keyring",),
    ),
    "a tree that is not there": (
        _origin(status=404),
        "it has no streams/v1/",
        "its address in the configuration",
        (NETWORK, "keyring"),
    ),
    "a login that is wanted": (_origin(status=401), "wants a login", "a login in it", (NETWORK, "keyring")),
    "an origin that forbids": (
        _origin(status=403),
        "403",
        "ask whoever runs the origin",
        (NETWORK, "keyring"),
    ),
    "an origin that fails": (
        _origin(status=500),
        "answered with status 500",
        "ask whoever runs the origin",
        (NETWORK, "keyring"),
    ),
    "an origin asked too often": (_origin(status=429), "asked too often", "ask whoever runs", (NETWORK,)),
    "a login page": (_origin(body=LOGIN), "", "login", (NETWORK, "keyring")),
    "a connection that is cut": (_origin(cut_after=5), "", NETWORK, ("keyring",)),
    "a site's proxy that wants a login": (
        _site_proxy_refuses,
        "the site's proxy",
        "site's proxy",
        (NETWORK, "keyring"),
    ),
    "a site's proxy that is not there": (
        _at("http://images.example.test/", parent_proxy="http://127.0.0.1:1/"),
        "cannot connect to the site's proxy",
        "the origin was not reached at all",
        (NETWORK, "keyring"),
    ),
    "a folder that is not there": (
        _at("file://{folder}/nothing/"),
        "no such folder",
        "is mounted",
        (NETWORK, "keyring"),
    ),
    "a folder that is a file": (_at("file:///etc/passwd/"), "a file, no folder", "is mounted", (NETWORK,)),
    "a folder without a tree": (
        _at("file://{folder}/"),
        "is its disk mounted",
        "is mounted",
        (NETWORK, "keyring"),
    ),
}


async def first_problem(proxy: RunningProxy) -> dict[str, str]:
    return (await all_problems(proxy))[0]


async def all_problems(proxy: RunningProxy) -> list[dict[str, str]]:
    async with proxy.get("/-/stats") as stats:
        return [dict(one) for one in (await stats.json())["problems"]]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_mirror_without_lists_says_whose_fault_that_is(
    tmp_path: Path, tree: SignedTree, mirror: Mirror, origin: Origin, kind: str
) -> None:
    make, words, advice, never = KINDS[kind]
    tree.add_item("product", "1", "squashfs")
    tree.publish()
    given, upstream = make(origin, tmp_path, mirror)
    config = make_config(tmp_path / "data", given)
    changed = replace(config.upstream, give_up_after_s=0.2, connect_timeout_s=2, **upstream)
    async with run_proxy(replace(config, upstream=changed)) as proxy:
        assert (await proxy.read(INDEX)).status == 503
        told, *others = await all_problems(proxy)
    assert told["severity"] == "error"
    assert told["subject"] not in [one["subject"] for one in others]
    assert words in told["text"]
    assert advice in told["advice"]
    for wrong in never:
        assert wrong not in told["advice"].replace(str(tmp_path), ""), told


async def test_a_certificate_that_is_not_trusted_is_no_problem_of_the_network(
    tmp_path: Path, tree: SignedTree, mirror: Mirror
) -> None:
    tree.publish()
    async with Origin(tree.root, tls=make_certificate(tmp_path, "127.0.0.1").server) as origin:
        config = make_config(tmp_path / "data", replace(mirror, origins=(origin.url,)))
        async with run_proxy(config) as proxy:
            assert (await proxy.read(INDEX)).status == 503
            told = await first_problem(proxy)
    assert "its certificate is not trusted" in told["text"]
    assert "the network is in order" in told["advice"]


async def test_this_machine_s_limits_are_not_the_origin_s_fault(
    tmp_path: Path, tree: SignedTree, mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in the advice, nor among the failures that are counted of it."""
    tree.publish()

    async def no_files(*_: Any, **__: Any) -> Any:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        with monkeypatch.context() as patched:
            patched.setattr(http_origin.HttpOrigin, "_read_document", no_files)
            assert (await proxy.read(INDEX)).status == 503
        told = await first_problem(proxy)
        async with proxy.get("/-/stats") as stats:
            origins = (await stats.json())["origins"]
    assert "this process has too many files open" in told["text"]
    assert "this machine is at fault, neither the network nor the origin" in told["advice"]
    assert [one["last_hour"]["error"] for one in origins.values()] == [0]


@pytest.mark.parametrize(
    ("number", "cause"),
    [
        (errno.EMFILE, "machine"),
        (errno.ENFILE, "machine"),
        (errno.EADDRNOTAVAIL, "machine"),
        (errno.EACCES, "machine"),
        (errno.ECONNREFUSED, "network"),
        (errno.ENETUNREACH, "network"),
        (errno.ECONNRESET, "network"),
    ],
)
def test_errors_of_the_system_are_blamed_on_whom_their_words_name(number: int, cause: str) -> None:
    error = OSError(number, os.strerror(number))
    assert cause_of(error) == cause
    assert explain(error).startswith("this ") == (cause == "machine")


async def test_offline_without_lists_is_told_as_that(tmp_path: Path, mirror: Mirror) -> None:
    async with run_proxy(make_config(tmp_path / "data", mirror, offline=True)) as proxy:
        told = await first_problem(proxy)
    assert "none can be fetched while the proxy is offline" in told["text"]
    assert "offline off" in told["advice"]
    assert "sstream-proxy import" in told["advice"]
    assert "the configuration" in told["advice"]


async def test_a_check_that_fails_while_lists_are_served_is_a_warning_with_the_same_advice(
    tmp_path: Path, tree: SignedTree, mirror: Mirror, origin: Origin
) -> None:
    tree.publish()
    async with run_proxy(make_config(tmp_path / "data", mirror)) as proxy:
        await proxy.read(INDEX)
        origin.fault("*", Fault(status=403))
        proxy.clock.advance(10_000)
        await proxy.documents.checks.revalidate()
        told = await first_problem(proxy)
    assert told["severity"] == "warning"
    assert "the last verified lists are served meanwhile" in told["advice"]
    assert "ask whoever runs the origin" in told["advice"]


@pytest.mark.parametrize(
    ("fault", "advice", "never"),
    [
        ("data: No space left on device", "free space on the disk", "permission"),
        ("data: Disk quota exceeded", "raise the disk quota", "dmesg"),
        ("data: Read-only file system", "mount the disk for writing", "free space"),
        ("data: Input/output error", "the disk fails", "free space"),
        ("data: Permission denied", "let the proxy's user write", "free space"),
        ("the ledger cannot be used: database disk image is malformed", "restart the proxy", "free space"),
        ("the ledger cannot be used: database is locked", "another process holds the ledger", "free space"),
        ("data: Too many open files", "raise the limit of open files", "free space"),
        ("something new", "check the disk", "ledger"),
    ],
)
async def test_a_store_that_cannot_be_written_says_what_to_mend(
    proxy: RunningProxy, fault: str, advice: str, never: str
) -> None:
    async with proxy.get("/-/stats") as reply:
        stats = await reply.json()
    stats["store"] |= {"is_writable": False, "faults": [fault]}
    (told,) = (one for one in find_problems(stats) if one.subject == "store")
    assert isinstance(told, Problem)
    assert fault in told.text
    assert advice in told.advice
    assert never not in told.advice.replace(str(proxy.config.data_dir), "")


@pytest.mark.parametrize(
    ("number", "cause"),
    [(errno.EACCES, "rights"), (errno.EPERM, "rights"), (errno.EMFILE, "machine"), (errno.EIO, "folder")],
)
async def test_a_folder_that_may_not_be_read_is_this_machine_s_fault(
    tmp_path: Path, mirror: Mirror, monkeypatch: pytest.MonkeyPatch, number: int, cause: str
) -> None:
    def refuse(_: FolderFile) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(FolderFile, "open", refuse)
    given = replace(mirror, origins=(f"file://{tmp_path}/",))
    async with run_proxy(make_config(tmp_path / "data", given)) as proxy:
        assert (await proxy.read(INDEX)).status == 503
        async with proxy.get("/-/stats") as reply:
            stats = await reply.json()
    assert stats["mirrors"][given.name]["causes"] == [cause]
    advice = stats["problems"][0]["advice"]
    assert ("not the origin" in advice) == (cause == "rights")
    assert NETWORK not in advice
