"""Version 2.0 of MAAS's API, which all releases have; asked with an API key.

Only boot sources and the import are depended on. Whatever else it does not tell is unknown.
"""

import base64
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any
from urllib.parse import urlencode

from proxy.connect.addresses import is_same_source
from proxy.connect.errors import KeyFault, MaasFault, MaasLacks, MaasRefused
from proxy.connect.maas_api.access import ApiKey
from proxy.connect.maas_api.http import MaasHttp, Reply
from proxy.connect.maas_api.model import NO_PROXY, Choice, Image, Site, Source, Version
from proxy.connect.maas_api.values import items, truth, truth_of_body

_API = "api/2.0/"
_FORMS = ("?op={}", "op-{}")
"""How an operation is named: as MAAS's own clients do, and as its documents do."""
_UNKNOWN_OPERATION = 400


async def read_version(http: MaasHttp, headers: Mapping[str, str]) -> Version | None:
    """Return the version, which MAAS tells everybody; None when it does not tell it at all.

    `headers` let us in where not everybody is told.
    """
    try:
        told = await _version(http, {})
    except MaasLacks:
        return None
    except KeyFault:
        told = await _version(http, headers)
    if not isinstance(told, dict):
        raise MaasFault(f"{http.base} does not tell its version as MAAS does")
    return Version(str(told["version"])) if told.get("version") else None


async def _version(http: MaasHttp, headers: Mapping[str, str]) -> Any:
    return await http.ask_json("GET", f"{_API}version/", "tell its version", headers=headers)


class MaasV2:
    """A MAAS, asked by version 2.0."""

    def __init__(self, http: MaasHttp, key: ApiKey) -> None:
        self._http = http
        self._key = key
        http.hide(key.token, key.secret)
        self._forms: dict[str, str] = {}
        """By which form each operation was answered."""

    async def enter(self) -> None:
        """Make sure that the key is an administrator's, where MAAS tells whose it is."""
        try:
            who = await self._read("users/?op=whoami", "tell whose key this is")
        except MaasRefused:
            return
        if isinstance(who, dict) and truth(who.get("is_superuser")) is False:
            name = str(who.get("username"))[:60]
            raise KeyFault(
                f"the key is that of {name!r}, who is no administrator of this MAAS: use one's key"
            )

    async def look(self) -> Site:
        """Read version, sources, what is selected, and the setting."""
        version = await read_version(self._http, self._headers())
        if version is not None:
            version.check()
        sources = await self._sources()
        try:
            told = {one.id: await self._choices(one.id) for one in sources}
        except (KeyError, TypeError, ValueError) as error:
            raise MaasFault("MAAS tells what is selected in a form that is not known") from error
        no_proxy: bool | None = None
        with suppress(MaasRefused):
            what = f"tell {NO_PROXY}"
            reply = await self._operate("GET", "maas/", "get_config", what, query={"name": NO_PROXY})
            no_proxy = truth_of_body(reply.body)
        return Site(
            version or Version.by_sources(sources),
            sources,
            {number: these or () for number, these in told.items()},
            are_choices_told=None not in told.values(),
            no_proxy=no_proxy,
        )

    async def _sources(self) -> tuple[Source, ...]:
        try:
            told = await self._read("boot-sources/", "tell its boot sources")
        except MaasLacks as fault:
            raise MaasFault(self._http.no_api) from fault
        try:
            return tuple(Source.read(one) for one in items(told))
        except (KeyError, TypeError, ValueError) as error:
            raise MaasFault("MAAS tells its boot sources in a form that is not known") from error

    async def _choices(self, source_id: int) -> tuple[Choice, ...] | None:
        """Return what is selected of a source; None where MAAS does not tell."""
        try:
            told = await self._read(_selections(source_id), "tell what is selected")
        except MaasLacks:
            return None
        return tuple(Choice.read(one) for one in items(told))

    async def make_source(self, values: Mapping[str, Any]) -> Source:
        """Make a source."""
        reply = await self._ask("POST", "boot-sources/", "make a boot source", _parts(values))
        return await source_made(reply.body, values["url"], self._sources)

    async def change_source(self, source_id: int, values: Mapping[str, Any]) -> None:
        """Change some fields of a source."""
        await self._ask("PUT", f"boot-sources/{source_id}/", "change the boot source", _parts(values))

    async def remove_source(self, source_id: int) -> None:
        """Remove a source."""
        with suppress(MaasLacks):
            await self._ask("DELETE", f"boot-sources/{source_id}/", "remove the boot source")

    async def select(self, source_id: int, choice: Choice) -> None:
        """Select something of a source: one request for each architecture, for MAAS 3.8 knows no lists."""
        parts = [
            ("os", choice.os),
            ("release", choice.release),
            *(("arches", arch) for arch in choice.arches),
            *(("subarches", one) for one in choice.subarches),
            *(("labels", one) for one in choice.labels),
        ]
        await self._ask("POST", _selections(source_id), f"select {choice.shown}", parts)

    async def deselect(self, source_id: int, choice: Choice) -> None:
        """Take away what was selected of a source."""
        for one in items(await self._read(_selections(source_id), "tell what is selected")):
            if Choice.read(one).is_like(choice):
                path = f"{_selections(source_id)}{int(one['id'])}/"
                with suppress(MaasLacks):
                    await self._ask("DELETE", path, f"deselect {choice.shown}")

    async def change_setting(self, name: str, *, value: bool) -> None:
        """Change a setting."""
        parts = [("name", name), ("value", str(value).lower())]
        await self._operate("POST", "maas/", "set_config", f"set {name}", parts)

    async def learn(self, *, by_import: bool) -> bool:
        """Have MAAS read its sources, which it does at the begin of an import only."""
        if by_import:
            await self.start_import()
        return by_import

    async def start_import(self) -> None:
        """Start the import."""
        await self._operate("POST", "boot-resources/", "import", "import images")

    async def is_importing(self) -> bool | None:
        """Return whether it runs; None where MAAS does not tell."""
        try:
            reply = await self._operate("GET", "boot-resources/", "is_importing", "tell whether it imports")
        except MaasRefused:
            return None
        return truth_of_body(reply.body)

    async def images(self) -> Sequence[Image] | None:
        """Return how far it is with each image, boot loaders included; None where MAAS does not tell."""
        try:
            told = await self._read("boot-resources/?type=synced", "tell its images")
        except MaasRefused:
            return None
        try:
            return [await self._image(one) for one in items(told)]
        except MaasLacks:
            return None
        except (KeyError, TypeError, ValueError) as error:
            raise MaasFault("MAAS tells its images in a form that is not known") from error

    async def _image(self, told: Mapping[str, Any]) -> Image:
        whole = await self._read(f"boot-resources/{int(told['id'])}/", "tell of an image")
        sets = list((whole.get("sets") or {}).values())
        newest = sets[0] if sets else {}
        is_complete = truth(newest.get("complete")) is True
        percent = 100.0 if is_complete else float(newest.get("progress") or 0.0)
        name = f"{told['name']} {told.get('architecture', '')}".strip()
        return Image(name, percent, is_complete, int(newest.get("size") or 0))

    async def _operate(
        self,
        method: str,
        folder: str,
        operation: str,
        what: str,
        parts: Any = None,
        *,
        query: Mapping[str, str] | None = None,
    ) -> Reply:
        """Ask for an operation on a folder, by the form that this MAAS understands."""
        known = self._forms.get(operation)
        names = dict.fromkeys((operation, operation.replace("_", "-")))
        refused: MaasRefused | None = None
        for form in [form.format(name) for name in names for form in _FORMS] if known is None else [known]:
            path = folder + form
            if query:
                path += ("&" if "?" in path else "?") + urlencode(query)
            try:
                reply = await self._ask(method, path, what, parts)
            except MaasRefused as fault:
                refused = refused or fault
                if not isinstance(fault, MaasLacks) and fault.status != _UNKNOWN_OPERATION:
                    break
            else:
                self._forms[operation] = form
                return reply
        assert refused is not None  # noqa: S101 - there are forms, and none was answered
        raise refused

    async def _read(self, path: str, what: str) -> Any:
        return await self._http.ask_json("GET", _API + path, what, headers=self._headers())

    async def _ask(self, method: str, path: str, what: str, parts: Any = None) -> Reply:
        return await self._http.ask(method, _API + path, what, headers=self._headers(), parts=parts)

    def _headers(self) -> dict[str, str]:
        return {
            "Authorization": self._key.authorization(secrets.token_hex(16), int(time.time())),
            "Accept": "application/json",
        }


def _selections(source_id: int) -> str:
    return f"boot-sources/{source_id}/selections/"


def _parts(values: Mapping[str, Any]) -> list[tuple[str, str | bytes]]:
    """Return the fields of a source as form parts: a keyring is a file, or nothing to take one away."""
    parts: list[tuple[str, str | bytes]] = []
    for name, value in values.items():
        match name, value:
            case "keyring_data", str() if value:
                parts.append((name, base64.b64decode(value)))
            case _, bool():
                parts.append((name, str(value).lower()))
            case _:
                parts.append((name, str(value)))
    return parts


async def source_made(body: bytes, url: str, sources: Callable[[], Awaitable[Sequence[Source]]]) -> Source:
    """Return the source that MAAS has just made: of its reply, or else of all sources, by its URL.

    Raises MaasFault where neither tells.
    """
    with suppress(KeyError, TypeError, ValueError):
        return Source.read(json.loads(body))
    for one in await sources():
        if is_same_source(one.url, url):
            return one
    raise MaasFault("MAAS does not tell which boot source it has made")
