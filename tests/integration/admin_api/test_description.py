"""The description of the operator's API, and what is answered, held against it."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from support.admin_api import (
    ACTIONS,
    FOREIGN,
    INDEX,
    LOCAL,
    PRODUCT,
    act,
    fetch,
    post,
    refused,
    with_admin,
)
from support.faults import Fault
from support.origin import Origin
from support.running import RunningProxy
from support.tree import SignedTree, TreeItem
from support.wire import Wire


@pytest.fixture
def validated(proxy: RunningProxy) -> "Described":
    """Return what checks replies by the description."""
    return Described(proxy)


class Described:
    """The served description, and replies held against it."""

    def __init__(self, proxy: RunningProxy) -> None:
        self._proxy = proxy

    async def document(self) -> dict[str, Any]:
        async with self._proxy.get("/-/api/v1/openapi.json") as response:
            found: dict[str, Any] = await response.json()
        return found

    async def check(self, path: str, method: str, status: int, reply: object) -> None:
        """Fail unless a reply is as described."""
        document = await self.document()
        responses = document["paths"][path][method]["responses"]
        response = _resolved(document, responses[str(status)])
        schema = response["content"]["application/json"]["schema"]
        Draft202012Validator({**schema, "components": document["components"]}).validate(reply)


def _resolved(document: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in part:
        place: Any = document
        for key in part["$ref"].removeprefix("#/").split("/"):
            place = place[key]
        part = place
    return part


def _references(part: object) -> Iterator[dict[str, Any]]:
    if isinstance(part, dict):
        if "$ref" in part:
            yield part
        part = list(part.values())
    if isinstance(part, list):
        for one in part:
            yield from _references(one)


async def test_the_description_is_sound(validated: Described) -> None:
    """Every reference leads somewhere, every schema is one, and it tells of all actions and no others."""
    document = await validated.document()
    assert document["openapi"].startswith("3.1.")
    for reference in _references(document):
        assert _resolved(document, reference)
    for schema in document["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    actions = {path.rpartition("/")[2] for path, methods in document["paths"].items() if "post" in methods}
    assert actions == set(ACTIONS)
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"], path
            assert all(_resolved(document, one)["description"] for one in operation["responses"].values())
            if "requestBody" in operation:
                schema = operation["requestBody"]["content"]["application/json"]["schema"]
                Draft202012Validator.check_schema(schema)
                assert schema["additionalProperties"] is False


async def test_the_description_passes_the_official_check(validated: Described) -> None:
    assert list(OpenAPIV31SpecValidator(await validated.document()).iter_errors()) == []


async def test_described_pages_exist(proxy: RunningProxy, validated: Described) -> None:
    for path, methods in (await validated.document())["paths"].items():
        for method in methods:
            async with proxy.session.request(method, proxy.base + "/-" + path, headers=LOCAL) as response:
                assert response.status in {200, 400, 502, 503}, path


async def test_figures_are_as_described_and_nothing_in_them_is_not(
    proxy: RunningProxy, validated: Described, items: dict[str, TreeItem], tree: SignedTree, origin: Origin
) -> None:
    """Before anything has happened, and with all that there can be to tell."""
    documents = [await _stats(proxy)]
    large = tree.add_item(PRODUCT, "20250801", "squashfs", size=300_000)
    tree.publish()
    await fetch(proxy, *items.values())
    await act(proxy, "pin", max=1, name="keep")
    await act(proxy, "scrub")
    stall = origin.fault(large.path, Fault(stall_after=200_000))
    async with proxy.get(large.path) as response:
        assert response.status == 200
        documents.append(await _stats(proxy))
        stall.remove()
        await response.read()
    origin.fault("streams/*", Fault(body=b"no index"))
    await refused(proxy, "refresh", {}, status=502)
    documents.append(await _stats(proxy))

    assert documents[1]["fills"][0]["path"] == large.path
    assert documents[1]["fills"][0]["size_bytes"] == 300_000
    assert documents[2]["problems"]
    description = await validated.document()
    for stats in documents:
        await validated.check("/stats", "get", 200, stats)
        assert not list(_unknown(description, description["components"]["schemas"]["Stats"], stats, "stats"))


async def _stats(proxy: RunningProxy) -> dict[str, Any]:
    async with proxy.get("/-/stats") as response:
        found: dict[str, Any] = await response.json()
    return found


def _unknown(document: dict[str, Any], schema: dict[str, Any], value: object, at: str) -> Iterator[str]:
    """Yield the places of a reply that the description does not know."""
    schema = _resolved(document, schema)
    if isinstance(value, list):
        for one in value:
            yield from _unknown(document, schema.get("items", {}), one, f"{at}[]")
    if isinstance(value, dict) and "properties" in schema:
        for key, inner in value.items():
            if key in schema["properties"]:
                yield from _unknown(document, schema["properties"][key], inner, f"{at}.{key}")
            else:
                yield f"{at}.{key}"
    elif isinstance(value, dict) and isinstance(schema.get("additionalProperties"), dict):
        for key, inner in value.items():
            yield from _unknown(document, schema["additionalProperties"], inner, f"{at}.{key}")


async def test_replies_to_actions_are_as_described(
    proxy: RunningProxy, validated: Described, items: dict[str, TreeItem]
) -> None:
    order = {"digests": [items["20250718/squashfs"].digest]}
    for action, right, wrong in (
        *((action, order, {"max": 0}) for action in ("pin", "unpin", "evict", "purge")),
        ("refresh", {}, {"mirrors": ["none"]}),
        ("scrub", {}, []),
        ("prefetch", {"rule": "lab"}, {"rule": "none"}),
        ("offline", {"on": False}, {}),
    ):
        path = f"/api/v1/{action}"
        for body, headers, status in ((right, LOCAL, 200), (wrong, LOCAL, 400), (right, FOREIGN, 403)):
            reply = await post(proxy, action, headers, body)
            assert reply.status == status, (action, reply.body)
            await validated.check(path, "post", status, json.loads(reply.body))


async def test_readiness_is_told_with_reasons(
    proxy: RunningProxy, validated: Described, items: dict[str, TreeItem]
) -> None:
    assert items
    replies = []
    for path in ("/-/ready", INDEX, f"/second/{INDEX}", "/-/ready"):
        async with proxy.get(path) as response:
            if path == "/-/ready":
                replies.append((response.status, await response.json()))
                await validated.check("/ready", "get", *replies[-1])

    (before, unready), (after, ready) = replies
    assert (before, after, ready) == (503, 200, {"ready": True, "reasons": []})
    assert [reason.split()[:2] for reason in unready["reasons"]] == [["mirror", "test"], ["mirror", "second"]]


async def test_a_mirror_whose_origins_fail_stays_ready_and_tells_of_it(
    proxy: RunningProxy, validated: Described, items: dict[str, TreeItem], origin: Origin
) -> None:
    """A load balancer has nothing to gain from another one; who looks after it has to know."""
    assert items
    for path in (INDEX, f"/second/{INDEX}"):
        assert (await proxy.read(path)).status == 200
    async with with_admin(proxy, read="admins") as other, Wire.to(other.base) as wire:
        for path in (INDEX, f"/second/{INDEX}"):
            assert (await other.read(path)).status == 200
        await origin.stop()
        await other.documents.checks.revalidate()
        stranger = await wire.ask("/-/ready", Host="cache.example.test")
    await proxy.documents.checks.revalidate()

    async with proxy.get("/-/ready") as response:
        status, told = response.status, await response.json()

    await validated.check("/ready", "get", status, told)
    assert (status, told["ready"], told["reasons"]) == (200, True, [])
    (problem,) = told["problems"]
    assert problem.startswith("mirror test could not be checked once: http://127.0.0.1:")
    assert json.loads(stranger.body) == {"ready": True, "reasons": []}
