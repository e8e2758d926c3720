"""A MAAS region controller as far as its images go: a real server on loopback, true to MAAS's own code.

It checks signatures of requests, refuses what MAAS refuses in MAAS's words (canonical/maas,
src/maasserver/{api,forms,models} and src/maasapiserver/v3, releases 3.4 to 3.8), and on import
asks its sources as that release does: index, lists, gpgv, the items that are selected.
"""

import asyncio
import base64
import json
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import ClientSession, ClientTimeout, web

from support.maas_import import Fetched, SourceFault, fetch_source

KEY = "consumer1:token22:secret333"
PASSWORD = "correct horse"
UPSTREAM = "http://images.maas.io/ephemeral-v3/stable/"
KEYRING = "/usr/share/keyrings/ubuntu-cloudimage-keyring.gpg"
_FIELD = re.compile(r'(\w+)="([^"]*)"')

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Region:
    """One MAAS. Tests read and change its fields."""

    version: str
    keyring: Path
    """What is at KEYRING on it."""
    is_admin: bool = True
    sources: dict[int, dict[str, Any]] = field(default_factory=dict)
    selections: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=lambda: {"boot_images_no_proxy": False})
    known: dict[int, set[tuple[str, str, str]]] = field(default_factory=dict)
    """What it has read that each source has."""
    images: dict[str, Fetched] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    """Of the last import."""
    changes: list[str] = field(default_factory=list)
    """Requests that were to change something, as "METHOD path"."""
    failing: Handler | None = None
    """Answers in its stead."""
    lacking: tuple[str, ...] = ()
    """Parts of URLs that it does not know."""
    ignoring: tuple[str, ...] = ()
    """Beginnings of requests that it answers and does nothing of, as "DELETE /MAAS"."""
    base: str = ""
    importing: asyncio.Task[None] | None = None
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    """Imports wait for it before their first item."""
    has_lists: bool = False
    """Whether the import that runs has read all lists."""
    nonces: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.gate.set()
        self.add_source(UPSTREAM, keyring_filename=KEYRING)
        self.add_selection(1, "ubuntu", "noble")

    @property
    def has_priorities(self) -> bool:
        """Whether it is MAAS 3.8 or newer."""
        return tuple(map(int, self.version.split(".")[:2])) >= (3, 8)

    def add_source(self, url: str, **values: Any) -> dict[str, Any]:
        """Add a source as MAAS itself does, without checks."""
        number = max(self.sources, default=0) + 1
        source = {"id": number, "url": url, "keyring_filename": "", "keyring_data": "", **values}
        if self.has_priorities:
            source["url"] = url.rstrip("/")
            highest = max((one["priority"] for one in self.sources.values()), default=0)
            source = {
                "name": source["url"],
                "priority": highest + 1,
                "enabled": True,
                "skip_keyring_verification": False,
                **source,
            }
        self.sources[number] = source
        self.selections[number] = []
        return source

    def add_selection(self, source: int, os: str, release: str, *arches: str) -> None:
        """Select something."""
        for arch in arches or ("amd64",):
            number = sum(map(len, self.selections.values())) + 1
            self.selections[source].append({"id": number, "os": os, "release": release, "arch": arch})

    def state(self) -> Any:
        """Return all that can be changed, to be compared."""
        return json.loads(json.dumps([self.sources, self.selections, self.settings]))

    def start_import(self, *, lists_only: bool = False) -> None:
        """Import in the background; one that runs is begun anew."""
        if self.importing is not None:
            self.importing.cancel()
        self.importing = asyncio.create_task(self._import(lists_only=lists_only))

    @property
    def is_importing(self) -> bool:
        """Whether it says so: MAAS 3.8 does only when it has read its lists, which is another workflow."""
        is_running = self.importing is not None and not self.importing.done()
        return is_running and (not self.has_priorities or self.has_lists)

    async def _import(self, *, lists_only: bool = False) -> None:
        self.problems, wanted = [], {} if lists_only else self.wanted()
        self.has_lists = False
        await asyncio.sleep(0.5 if self.has_priorities else 0)
        self.images = self.images if lists_only else {}
        agent = "Python/3.12 aiohttp/3.9" if self.has_priorities else f"maas/{self.version}/g.1/uuid"
        timeout = ClientTimeout(total=60)
        async with ClientSession(headers={"User-Agent": agent}, timeout=timeout) as session:
            for number, source in sorted(self.sources.items(), key=lambda one: -one[1].get("priority", 0)):
                if not source.get("enabled", True) or source["url"].startswith(UPSTREAM.rstrip("/")):
                    continue
                try:
                    keyring = await asyncio.to_thread(self._keyring, source)
                    await fetch_source(
                        session,
                        source["url"],
                        keyring,
                        wanted.get(number, set()),
                        self.images,
                        self.gate,
                        partial(self._learn, number),
                    )
                except SourceFault as fault:
                    self.problems.append(str(fault))

    def _learn(self, number: int, there: set[tuple[str, str, str]]) -> None:
        self.known[number] = there
        self.has_lists = True

    def wanted(self) -> dict[int, set[tuple[str, str, str]]]:
        """Return what is imported of each source: of equal selections that with the highest priority."""
        taken: set[tuple[str, str, str]] = set()
        wanted: dict[int, set[tuple[str, str, str]]] = {}
        for number, source in sorted(self.sources.items(), key=lambda one: -one[1].get("priority", 0)):
            if source.get("enabled", True):
                own = {(one["os"], one["release"], one["arch"]) for one in self.selections[number]}
                wanted[number] = own - taken if self.has_priorities else own
                taken |= own
        return wanted

    def _keyring(self, source: dict[str, Any]) -> bytes:
        if source["keyring_data"]:
            return base64.b64decode(source["keyring_data"])
        if source["keyring_filename"] != KEYRING:
            raise SourceFault(f"no keyring {source['keyring_filename']!r}")
        return self.keyring.read_bytes()


def _json(value: Any, status: int = 200) -> web.Response:
    return web.Response(text=json.dumps(value), status=status, content_type="application/json")


def _text(text: str, status: int) -> web.Response:
    return web.Response(text=text, status=status)


class _V2:
    """Version 2.0 of the API."""

    def __init__(self, region: Region) -> None:
        self._region = region

    async def answer(  # noqa: C901, PLR0911, PLR0912 - the table of its paths
        self, request: web.Request
    ) -> web.StreamResponse:
        region, path = self._region, request.path.removeprefix("/MAAS/api/2.0/")
        if path == "version/":
            return _json({"version": region.version, "subversion": "17939-g.41ff78848", "capabilities": []})
        problem = self._unauthorized(request.headers.get("Authorization", ""))
        if problem:
            return web.Response(text=problem, status=401, headers={"WWW-Authenticate": 'OAuth realm=""'})
        data = await request.post()
        if request.method != "GET":
            region.changes.append(f"{request.method} {path}")
            if not region.is_admin:
                return _text("This method is reserved for administrators.", 403)
            if data and not request.content_type.startswith("multipart/"):
                return _text("a form that piston does not read", 400)
        fields = {name: self._value(data.getall(name)) for name in data}
        op = request.query.get("op")
        folder, _, last = path.rpartition("/")
        if last.startswith("op-"):
            op, path = last.removeprefix("op-"), f"{folder}/"
        match request.method, [part for part in path.split("/") if part]:
            case "GET", ["users"] if op == "whoami":
                return _json({"username": "admin", "is_superuser": region.is_admin})
            case "GET", ["boot-sources"]:
                return _json([self._shown(one) for one in region.sources.values()])
            case "POST", ["boot-sources"]:
                return self._save(None, fields)
            case "PUT", ["boot-sources", number] if int(number) in region.sources:
                return self._save(region.sources[int(number)], fields)
            case "DELETE", ["boot-sources", number] if int(number) in region.sources:
                del region.sources[int(number)], region.selections[int(number)]
                return _text("", 204)
            case "GET", ["boot-sources", number, "selections"] if int(number) in region.sources:
                return _json([self._selection(int(number), one) for one in region.selections[int(number)]])
            case "POST", ["boot-sources", number, "selections"] if int(number) in region.sources:
                return self._select(int(number), data)
            case "DELETE", ["boot-sources", number, "selections", one]:
                kept = [each for each in region.selections[int(number)] if each["id"] != int(one)]
                region.selections[int(number)] = kept
                return _text("", 204)
            case "GET", ["maas"] if op == "get_config":
                name = request.query["name"]
                if name not in region.settings:
                    return _json({name: [f"{name} is not a valid config setting"]}, 400)
                return _json(region.settings[name])
            case "POST", ["maas"] if op == "set_config":
                region.settings[str(fields["name"])] = fields["value"] == "true"
                return _text("OK", 200)
            case "POST", ["boot-resources"] if op == "import":
                region.start_import()
                return _text("Import of boot resources started", 200)
            case "GET", ["boot-resources"] if op == "is_importing":
                return _json(region.is_importing)
            case "GET", ["boot-resources"] if op is None:
                return _json([self._image(*one) for one in enumerate(region.images.values())])
            case "GET", ["boot-resources", number]:
                return _json(self._image(int(number), list(region.images.values())[int(number)]))
            case _, ["boot-sources" | "boot-resources" | "maas" | "users"]:
                return _text(f"Unrecognised signature: method={request.method} op={op}", 400)
        return _text("No BootSource matches the given query.", 404)

    def _unauthorized(self, header: str) -> str:
        """Judge a request's signature as piston and oauth do."""
        told = {name: unquote(value) for name, value in _FIELD.findall(header)}
        consumer, token, secret = KEY.split(":")
        if not header.startswith("OAuth ") or told.get("oauth_consumer_key") != consumer:
            return "Authorization Error: Invalid API key."
        if told.get("oauth_token") != token or told.get("oauth_signature") != f"&{secret}":
            return "Authorization Error: 'Invalid access token: " + told.get("oauth_token", "") + "'"
        if told["oauth_nonce"] in self._region.nonces or told["oauth_signature_method"] != "PLAINTEXT":
            return "Authorization Error: 'Nonce already used'"
        self._region.nonces.add(told["oauth_nonce"])
        return ""

    def _save(  # noqa: C901 - all that the form refuses
        self, source: dict[str, Any] | None, fields: dict[str, Any]
    ) -> web.Response:
        region = self._region
        merged = {"url": "", "keyring_filename": "", "keyring_data": "", **(source or {}), **fields}
        errors: dict[str, list[str]] = {}
        if not merged["url"]:
            errors["url"] = ["This field is required."]
        merged["url"] = merged["url"].rstrip("/") if region.has_priorities else merged["url"]
        others = [one for one in region.sources.values() if one is not source]
        if merged["url"] in {one["url"] for one in others}:
            errors["url"] = ["Boot source with this Url already exists."]
        if merged["keyring_filename"] and merged["keyring_data"]:
            errors["__all__"] = ["Only one of keyring_filename or keyring_data can be specified."]
        if not merged["keyring_filename"] and not merged["keyring_data"]:
            errors["__all__"] = ["One of keyring_data or keyring_filename must be specified."]
        if region.has_priorities:
            errors |= _rank_errors(merged, others)
            for name in ("enabled", "skip_keyring_verification"):
                merged[name] = str(merged.get(name, name == "enabled")).lower() == "true"
            if "priority" in merged:
                merged["priority"] = int(merged["priority"])
        elif unknown := {"name", "priority", "enabled", "skip_keyring_verification"} & set(fields):
            errors["__all__"] = [f"unknown to this release: {sorted(unknown)}"]
        if errors:
            return _json(errors, 400)
        if source is None:
            source = region.add_source(**merged)
            return _json(self._shown(source), 201)
        if source["url"] != merged["url"]:
            region.images.clear()
        source.update(merged)
        return _json(self._shown(source))

    def _select(self, number: int, data: Any) -> web.Response:
        os, release = str(data["os"]), str(data["release"])
        arches = [str(one) for one in data.getall("arches")]
        there = self._region.known.get(number, set())
        if not any(one[:2] == (os, release) for one in there):
            problem = f"OS {os} with release {release} has no available images for download"
            return _json({"os": [problem]}, 400)
        if not {arch for *_, arch in there} >= set(arches) - {"*"}:
            return _json({"arches": [f"No available images to download for {arches}"]}, 400)
        self._region.add_selection(number, os, release, *arches)
        return _json(self._selection(number, self._region.selections[number][-1]))

    @staticmethod
    def _value(values: list[Any]) -> Any:
        """Return a part: a keyring only counts as a file, as in Django's FileField."""
        (value,) = values[:1]
        if isinstance(value, web.FileField):
            return base64.b64encode(value.file.read()).decode()
        return value

    def _shown(self, source: dict[str, Any]) -> dict[str, Any]:
        uri = f"/MAAS/api/2.0/boot-sources/{source['id']}/"
        return {**source, "created": "2025-07-18", "updated": "2025-07-18", "resource_uri": uri}

    @staticmethod
    def _selection(number: int, one: dict[str, Any]) -> dict[str, Any]:
        told = {"boot_source_id": number, "id": one["id"], "os": one["os"], "release": one["release"]}
        return {**told, "arches": [one["arch"]], "subarches": ["*"], "labels": ["*"]}

    @staticmethod
    def _image(number: int, image: Fetched) -> dict[str, Any]:
        newest = {"version": image.version, "size": image.size, "complete": image.is_complete, "files": {}}
        if not image.is_complete:
            newest["progress"] = image.percent
        told = {"id": number, "type": "Synced", "name": image.name, "architecture": image.architecture}
        return {**told, "sets": {image.version: newest}}


def _rank_errors(merged: dict[str, Any], others: list[dict[str, Any]]) -> dict[str, list[str]]:
    errors = {}
    if "priority" in merged and int(merged["priority"]) in {one["priority"] for one in others}:
        errors["priority"] = ["Boot source with this Priority already exists."]
    if merged.get("name") in {one["name"] for one in others}:
        errors["name"] = ["Boot source with this Name already exists."]
    return errors


class _V3:
    """Version 3 of the API, which has boot sources from MAAS 3.8 on."""

    def __init__(self, region: Region) -> None:
        self._region = region

    async def answer(  # noqa: C901, PLR0911, PLR0912 - the table of its paths
        self, request: web.Request
    ) -> web.StreamResponse:
        region, path = self._region, request.path.removeprefix("/MAAS/a/v3/")
        if path == "auth/login" and request.method == "POST":
            form = await request.post()
            if (form.get("username"), form.get("password")) != ("admin", PASSWORD):
                return self._error(401, "Invalid credentials")
            return _json({"kind": "AccessToken", "token_type": "bearer", "access_token": "t0ken"})
        if request.headers.get("Authorization") != "Bearer t0ken":
            return self._error(401, "The token is not valid")
        if not region.has_priorities:
            return self._error(404, "Entity not found")
        values = await request.json() if request.can_read_body else {}
        if request.method != "GET":
            region.changes.append(f"{request.method} {path}")
            if not region.is_admin:
                return self._error(403, "Admin permissions are required")
        match request.method, path.split("/"):
            case "GET", ["boot_sources"]:
                return self._list([self._shown(one) for one in region.sources.values()])
            case "POST", ["boot_sources"]:
                return self._save(None, values)
            case "GET", ["boot_sources", number]:
                return _json(self._shown(region.sources[int(number)]))
            case "PUT", ["boot_sources", number]:
                return self._save(region.sources[int(number)], values)
            case "DELETE", ["boot_sources", number]:
                del region.sources[int(number)], region.selections[int(number)]
                return _text("", 204)
            case "GET", ["boot_sources", number, "selections"]:
                return self._list([self._selection(one) for one in region.selections[int(number)]])
            case "POST", ["boot_sources", number, "selections"]:
                return self._select(int(number), values)
            case "DELETE", ["boot_sources", number, "selections", one]:
                kept = [each for each in region.selections[int(number)] if each["id"] != int(one)]
                region.selections[int(number)] = kept
                return _text("", 204)
            case "POST", ["boot_sources", number, "selections", _] if path.endswith(":sync"):
                region.start_import()
                return _json({}, 202)
            case "POST", ["boot_sources:import"]:
                if region.is_importing:
                    return web.Response(status=303, headers={"Location": "/MAAS/a/v3/selection_statuses"})
                region.start_import()
                return _json({"kind": "BootSourceSync", "monitor_url": "/MAAS/a/v3/selection_statuses"}, 202)
            case "POST", ["boot_sources:update_manifest"]:
                region.start_import(lists_only=True)
                return _text("", 202)
            case "GET", ["selections"]:
                return self._list(
                    [self._selection(one) for all_ in region.selections.values() for one in all_]
                )
            case "GET", ["selections", "statuses"]:
                return self._list(self._statuses())
            case "GET", ["configurations", name]:
                return _json({"name": name, "value": region.settings[name]})
            case "PUT", ["configurations", name]:
                region.settings[name] = values["value"]
                return _json({"name": name, "value": values["value"]})
        return self._error(404, "Entity not found")

    def _save(self, source: dict[str, Any] | None, values: dict[str, Any]) -> web.Response:
        region = self._region
        others = [one for one in region.sources.values() if one is not source]
        known = {
            "name",
            "priority",
            "enabled",
            "keyring_filename",
            "keyring_data",
            "skip_keyring_verification",
        }
        known |= {"url"} if source is None else set()
        if unknown := set(values) - known:
            return self._error(422, f"extra fields not permitted: {sorted(unknown)}")
        if values.get("keyring_filename") and values.get("keyring_data"):
            return self._error(422, "Only one of keyring_filename or keyring_data can be specified.")
        if int(values["priority"]) in {one["priority"] for one in others}:
            return self._error(422, "A boot source with the same priority already exists.")
        if source is None:
            return _json(self._shown(region.add_source(**values)), 201)
        source.update(values)
        return _json(self._shown(source))

    def _select(self, number: int, values: dict[str, Any]) -> web.Response:
        wanted = values["os"], values["release"], values["arch"]
        if wanted not in self._region.known.get(number, set()):
            return self._error(400, f"{wanted[0]}, {wanted[1]} was not found in any available boot source.")
        self._region.add_selection(number, *wanted)
        return _json(self._selection(self._region.selections[number][-1]), 201)

    def _statuses(self) -> list[dict[str, Any]]:
        region, told = self._region, []
        for number, of_source in region.selections.items():
            for one in of_source:
                images = [
                    image
                    for image in region.images.values()
                    if image.is_of(one["os"], one["release"], one["arch"])
                ]
                is_ready = bool(images) and all(image.is_complete for image in images)
                is_used = (one["os"], one["release"], one["arch"]) in self._region.wanted().get(number, set())
                status = (
                    "Ready" if is_ready else "Downloading" if region.is_importing else "Waiting for download"
                )
                told.append(
                    {
                        "id": one["id"],
                        "status": status,
                        "sync_percentage": 100.0 * is_ready,
                        "selected": is_used,
                    }
                )
        return told

    @staticmethod
    def _shown(source: dict[str, Any]) -> dict[str, Any]:
        return {"kind": "BootSource", **{name: value for name, value in source.items() if value is not None}}

    @staticmethod
    def _selection(one: dict[str, Any]) -> dict[str, Any]:
        told = {"kind": "Image", "id": one["id"], "os": one["os"], "release": one["release"]}
        return {**told, "title": "", "architecture": one["arch"]}

    @staticmethod
    def _list(items: list[Any]) -> web.Response:
        return _json({"items": items, "total": len(items)})

    @staticmethod
    def _error(status: int, message: str) -> web.Response:
        details = [{"type": "InvalidArgumentViolation", "message": message}]
        return _json({"kind": "Error", "code": status, "message": "", "details": details}, status)


@asynccontextmanager
async def run_region(region: Region, tls: ssl.SSLContext | None = None) -> AsyncIterator[Region]:
    """Serve a MAAS for the length of the context; its URL is `base`."""
    v2, v3 = _V2(region), _V3(region)

    async def answer(request: web.Request) -> web.StreamResponse:
        if region.failing is not None:
            return await region.failing(request)
        if f"{request.method} {request.path}".startswith(region.ignoring):
            return _text("", 204)
        is_known = not any(part in request.path_qs for part in region.lacking)
        if is_known and request.path.startswith("/MAAS/api/2.0/"):
            return await v2.answer(request)
        if is_known and request.path.startswith("/MAAS/a/v3/"):
            return await v3.answer(request)
        if request.path in {"/MAAS/", "/MAAS/r/"}:
            return web.Response(text="<html><title>MAAS</title></html>", content_type="text/html")
        return web.Response(text="<html>Not Found</html>", status=404, content_type="text/html")

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    port = runner.addresses[0][1]
    region.base = f"{'http' if tls is None else 'https'}://127.0.0.1:{port}/MAAS"
    try:
        yield region
    finally:
        if region.importing is not None:
            region.importing.cancel()
            await asyncio.gather(region.importing, return_exceptions=True)
        await runner.cleanup()
