"""Version 2.0 of MAAS's API, which all releases have; asked with an API key."""

import base64
import secrets
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from proxy.connect.errors import KeyFault, MaasFault, MaasRefused
from proxy.connect.maas_api.access import ApiKey
from proxy.connect.maas_api.http import MaasHttp
from proxy.connect.maas_api.model import NO_PROXY, Choice, Image, Site, Source, Version

_API = "api/2.0/"


async def read_version(http: MaasHttp) -> Version:
    """Return the version, which MAAS tells everybody."""
    told = await http.ask_json("GET", f"{_API}version/", "tell its version", headers={})
    try:
        return Version(str(told["version"]))
    except (KeyError, TypeError) as error:
        raise MaasFault(f"{http.base} does not tell its version as MAAS does") from error


class MaasV2:
    """A MAAS, asked by version 2.0."""

    def __init__(self, http: MaasHttp, key: ApiKey) -> None:
        self._http = http
        self._key = key

    async def enter(self) -> None:
        """Make sure that the key is an administrator's."""
        who = await self._read("users/?op=whoami", "tell whose key this is")
        if isinstance(who, dict) and who.get("is_superuser") is False:
            name = str(who.get("username"))[:60]
            raise KeyFault(
                f"the key is that of {name!r}, who is no administrator of this MAAS: use one's key"
            )

    async def look(self) -> Site:
        """Read version, sources, what is selected, and the setting."""
        version = await read_version(self._http)
        version.check()
        told = await self._read("boot-sources/", "tell its boot sources")
        try:
            sources = tuple(Source.read(one) for one in told)
            choices = {one.id: await self._choices(one.id) for one in sources}
        except (KeyError, TypeError, ValueError) as error:
            raise MaasFault("MAAS tells its boot sources in a form that is not known") from error
        no_proxy: bool | None = None
        with suppress(MaasRefused):
            value = await self._read(f"maas/?op=get_config&name={NO_PROXY}", f"tell {NO_PROXY}")
            no_proxy = value in {True, "true", "True"}
        return Site(version, sources, choices, no_proxy)

    async def _choices(self, source_id: int) -> tuple[Choice, ...]:
        told = await self._read(f"boot-sources/{source_id}/selections/", "tell what is selected")
        return tuple(Choice.read(one) for one in told)

    async def make_source(self, values: Mapping[str, Any]) -> Source:
        """Make a source."""
        told = await self._json("POST", "boot-sources/", "make a boot source", _parts(values))
        try:
            return Source.read(told)
        except (KeyError, TypeError, ValueError) as error:
            raise MaasFault("MAAS does not tell which boot source it has made") from error

    async def change_source(self, source_id: int, values: Mapping[str, Any]) -> None:
        """Change some fields of a source."""
        await self._json("PUT", f"boot-sources/{source_id}/", "change the boot source", _parts(values))

    async def remove_source(self, source_id: int) -> None:
        """Remove a source."""
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
        path = f"boot-sources/{source_id}/selections/"
        await self._json("POST", path, f"select {choice.shown}", parts)

    async def change_setting(self, name: str, *, value: bool) -> None:
        """Change a setting."""
        parts = [("name", name), ("value", str(value).lower())]
        await self._ask("POST", "maas/?op=set_config", f"set {name}", parts)

    async def learn(self, source_id: int) -> None:  # noqa: ARG002 - one import reads all sources
        """Have MAAS read its sources, which it does at the begin of an import."""
        await self.start_import()

    async def start_import(self) -> None:
        """Start the import."""
        await self._ask("POST", "boot-resources/?op=import", "import images")

    async def is_importing(self) -> bool:
        """Return whether it runs."""
        return await self._read("boot-resources/?op=is_importing", "tell whether it imports") is True

    async def images(self) -> Sequence[Image]:
        """Return how far it is with each image, boot loaders included."""
        told = await self._read("boot-resources/?type=synced", "tell its images")
        try:
            return [await self._image(one) for one in told]
        except (KeyError, TypeError, ValueError) as error:
            raise MaasFault("MAAS tells its images in a form that is not known") from error

    async def _image(self, told: Mapping[str, Any]) -> Image:
        whole = await self._read(f"boot-resources/{int(told['id'])}/", "tell of an image")
        sets = list((whole.get("sets") or {}).values())
        newest = sets[0] if sets else {}
        is_complete = bool(newest.get("complete"))
        percent = 100.0 if is_complete else float(newest.get("progress") or 0.0)
        name = f"{told['name']} {told['architecture']}"
        return Image(name, percent, is_complete, int(newest.get("size") or 0))

    async def _read(self, path: str, what: str) -> Any:
        return await self._http.ask_json("GET", _API + path, what, headers=self._headers())

    async def _json(self, method: str, path: str, what: str, parts: Any) -> Any:
        return await self._http.ask_json(method, _API + path, what, headers=self._headers(), parts=parts)

    async def _ask(self, method: str, path: str, what: str, parts: Any = None) -> None:
        await self._http.ask(method, _API + path, what, headers=self._headers(), parts=parts)

    def _headers(self) -> dict[str, str]:
        return {
            "Authorization": self._key.authorization(secrets.token_hex(16), int(time.time())),
            "Accept": "application/json",
        }


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
