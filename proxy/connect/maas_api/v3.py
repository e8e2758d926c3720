"""Version 3 of MAAS's API, which knows boot sources from MAAS 3.8 on; asked with a user's password.

It cannot change a source's URL, and what it is handed as a keyring it keeps in base64,
with which MAAS then cannot verify anything: keyrings are named as files of the region's.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from proxy.connect.errors import KeyFault, MaasFault, MaasRefused
from proxy.connect.maas_api.http import MaasHttp
from proxy.connect.maas_api.model import NO_PROXY, Choice, Image, Site, Source
from proxy.connect.maas_api.v2 import read_version

_API = "a/v3/"
_PAGE = 100
_NOT_FOUND = 404
_BUSY = "downloading"
_TOO_OLD = (
    "version 3 of the API of this MAAS knows no boot sources, which it does from 3.8 on: "
    "give an API key by --key-file instead of --user"
)


class MaasV3:
    """A MAAS, asked by version 3."""

    def __init__(self, http: MaasHttp, user: str, password: str) -> None:
        self._http = http
        self._user = user
        self._password = password
        self._token = ""

    async def enter(self) -> None:
        """Log in."""
        form = {"username": self._user, "password": self._password}
        try:
            told = await self._http.ask_json(
                "POST", f"{_API}auth/login", f"let {self._user} in", headers={}, form=form
            )
            self._token = str(told["access_token"])
        except (KeyError, TypeError) as error:
            raise MaasFault("MAAS does not answer a login as its API does") from error
        except MaasRefused as error:
            if error.status == _NOT_FOUND:
                raise MaasFault(_TOO_OLD) from error
            raise KeyFault(f"MAAS does not let {self._user!r} in: {error.reasons}") from error

    async def look(self) -> Site:
        """Read version, sources, what is selected, and the setting."""
        version = await read_version(self._http)
        version.check()
        if not version.has_priorities:
            raise MaasFault(_TOO_OLD)
        try:
            sources = tuple([Source.read(one) for one in await self._items("boot_sources")])
            choices = {
                one.id: tuple(
                    [Choice.read(item) for item in await self._items(f"boot_sources/{one.id}/selections")]
                )
                for one in sources
            }
            told = await self._read(f"configurations/{NO_PROXY}", f"tell {NO_PROXY}")
            no_proxy = bool(told["value"])
        except (KeyError, TypeError, ValueError) as error:
            raise MaasFault("MAAS tells its boot sources in a form that is not known") from error
        return Site(version, sources, choices, no_proxy, can_change_urls=False, can_take_keys=False)

    async def make_source(self, values: Mapping[str, Any]) -> Source:
        """Make a source."""
        told = await self._json("POST", "boot_sources", "make a boot source", dict(values))
        try:
            return Source.read(told)
        except (KeyError, TypeError, ValueError) as error:
            raise MaasFault("MAAS does not tell which boot source it has made") from error

    async def change_source(self, source_id: int, values: Mapping[str, Any]) -> None:
        """Change some fields of a source: all that can be set are sent, as version 3 wants them."""
        told = Source.read(await self._read(f"boot_sources/{source_id}", "tell of a boot source")).values()
        now = {name: value for name, value in told.items() if name not in {"url", "keyring_data"}}
        changed = {**now, **{name: value for name, value in values.items() if name in now}}
        await self._json("PUT", f"boot_sources/{source_id}", "change the boot source", changed)

    async def remove_source(self, source_id: int) -> None:
        """Remove a source."""
        await self._ask("DELETE", f"boot_sources/{source_id}", "remove the boot source")

    async def select(self, source_id: int, choice: Choice) -> None:
        """Select something of a source, for each architecture."""
        for arch in choice.arches:
            values = {"os": choice.os, "release": choice.release, "arch": arch}
            await self._json("POST", f"boot_sources/{source_id}/selections", f"select {choice.shown}", values)

    async def change_setting(self, name: str, *, value: bool) -> None:
        """Change a setting."""
        await self._json("PUT", f"configurations/{name}", f"set {name}", {"value": value})

    async def learn(self, source_id: int) -> None:  # noqa: ARG002 - one request is for all
        """Have MAAS read the lists of its sources."""
        await self._ask("POST", "boot_sources:update_manifest", "read its boot sources")

    async def start_import(self) -> None:
        """Start the import."""
        await self._ask("POST", "boot_sources:import", "import images")

    async def is_importing(self) -> bool:
        """Return whether something is downloaded. What failed waits for its download for ever."""
        return any(
            _BUSY in {str(one.get(name, "")).lower() for name in ("status", "update_status")}
            for one in await self._statuses()
        )

    async def images(self) -> Sequence[Image]:
        """Return how far it is with each selection that is used."""
        names = {
            one["id"]: f"{one['os']}/{one['release']} {one.get('architecture', '')}".strip()
            for one in await self._items("selections")
        }
        return [
            Image(
                name=names.get(one["id"], f"selection {one['id']}"),
                percent=float(one.get("sync_percentage") or 0.0),
                is_complete=str(one.get("status", "")).lower() == "ready",
            )
            for one in await self._statuses()
        ]

    async def _statuses(self) -> list[Any]:
        return [one for one in await self._items("selections/statuses") if one.get("selected") is not False]

    async def _items(self, path: str) -> list[Any]:
        """Return all pages of a list."""
        found: list[Any] = []
        page = 1
        while True:
            told = await self._read(f"{path}?page={page}&size={_PAGE}", "tell its boot sources")
            found += told["items"]
            if not told.get("next") or not told["items"]:
                return found
            page += 1

    async def _read(self, path: str, what: str) -> Any:
        try:
            return await self._http.ask_json("GET", _API + path, what, headers=self._headers())
        except MaasRefused as error:
            raise MaasFault(_TOO_OLD) if error.status == _NOT_FOUND else error from error

    async def _json(self, method: str, path: str, what: str, values: Any) -> Any:
        return await self._http.ask_json(method, _API + path, what, headers=self._headers(), values=values)

    async def _ask(self, method: str, path: str, what: str) -> None:
        await self._http.ask(method, _API + path, what, headers=self._headers())

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
