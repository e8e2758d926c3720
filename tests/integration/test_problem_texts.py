"""What the operator reads of a mirror that has nothing: whose fault it is."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.faults import Fault
from support.keys import SigningKey
from support.origin import Origin
from support.running import make_config, run_proxy
from support.tree import SignedTree

from proxy.mirror import Mirror

INDEX = "streams/v1/index.sjson"


async def told(tmp_path: Path, mirror: Mirror, **upstream: Any) -> tuple[str, str, str]:
    """Return what clients, the page's first problem, and its advice say."""
    config = make_config(tmp_path / "data", mirror)
    config = replace(config, upstream=replace(config.upstream, **upstream))
    async with run_proxy(config) as proxy:
        reply = await proxy.read(INDEX)
        assert reply.status == 503
        async with proxy.get("/-/stats") as stats:
            problem = (await stats.json())["problems"][0]
    return reply.body.decode(), problem["text"], problem["advice"]


async def test_a_wrong_key_is_no_problem_of_the_network(
    tmp_path: Path, tree: SignedTree, mirror: Mirror
) -> None:
    tree.add_item("product", "1", "squashfs")
    tree.publish()
    with SigningKey() as other:
        keyring = tmp_path / "other.gpg"
        keyring.write_bytes(other.public_binary())
        said, text, advice = await told(tmp_path, replace(mirror, keyring=str(keyring)))
    assert "which is not in the mirror's keyring" in said
    assert "which is not in the mirror's keyring" in text
    assert "check the mirror's keyring" in advice
    assert "network" not in advice.replace(str(tmp_path), "")


@pytest.mark.parametrize(
    ("origin_url", "words"),
    [
        ("http://no-such-name.invalid/", "the name 'no-such-name.invalid' does not resolve"),
        ("http://127.0.0.1:1/", "nothing listens there (connection refused)"),
    ],
)
async def test_an_origin_that_cannot_be_reached_is_one(
    tmp_path: Path, mirror: Mirror, origin_url: str, words: str
) -> None:
    found = await told(tmp_path, replace(mirror, origins=(origin_url,)))
    for one in found[:2]:
        assert words in one


async def test_a_refusal_of_the_site_s_proxy_is_told_as_its_own(
    tmp_path: Path, mirror: Mirror, origin: Origin
) -> None:
    origin.fault("*", Fault(status=407))
    far = replace(mirror, origins=("http://images.example.test/",))
    said, text, advice = await told(tmp_path, far, parent_proxy=origin.url)
    for one in (said, text):
        assert "the site's proxy ([upstream] parent_proxy) answered 407" in one
    assert "[upstream] parent_proxy" in advice


async def test_what_no_proxy_names_is_asked_directly(
    tmp_path: Path, tree: SignedTree, mirror: Mirror, origin: Origin
) -> None:
    tree.publish()
    config = make_config(tmp_path / "data", mirror)
    past = replace(config.upstream, parent_proxy="http://127.0.0.1:1/", no_proxy=("127.0.0.1",))
    async with run_proxy(replace(config, upstream=past)) as proxy:
        assert (await proxy.read(INDEX)).status == 200
    assert origin.count(INDEX)
