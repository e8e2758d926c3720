"""Version 3 of MAAS's API, which knows boot sources from MAAS 3.8 on; asked with a user's password.

It cannot change a source's URL, and what it is handed as a keyring it keeps in base64,
with which MAAS then cannot verify anything: keyrings are named as files of the region's.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from proxy.connect.errors import KeyFault, MaasFault, MaasLacks, MaasRefused
from proxy.connect.maas_api.http import MaasHttp, Reply
from proxy.connect.maas_api.model import NO_PROXY, Choice, Image, Site, Source, Version
from proxy.connect.maas_api.v2 import read_version, source_made
from proxy.connect.maas_api.values import items, truth

_API = "a/v3/"
_PAGE = 100
_WITH_SOURCES = Version("3.8 or newer")
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
        http.hide(password)

    async def enter(self) -> None:
        """Log in."""
        form = {"username": self._user, "password": self._password}
        try:
            told = await self._http.ask_json(
                "POST", f"{_API}auth/login", f"let {self._user} in", headers={}, form=form
            )
            self._token = str(told["access_token"])
            self._http.hide(self._token)
        except (KeyError, TypeError) as error:
            raise MaasFault("MAAS does not answer a login as its API does") from error
        except MaasRefused as error:
            if isinstance(error, MaasLacks):
                raise MaasFault(_TOO_OLD) from error
            raise KeyFault(f"MAAS does not let {self._user!r} in: {error.reasons}") from error

    async def look(self) -> Site:
        """Read version, sources, what is selected, and the setting."""
        version = await read_version(self._http, self._headers()) or _WITH_SOURCES
        version.check()
        if not version.has_priorities:
            raise MaasFault(_TOO_OLD)
        try:
            sources = await self._sources()
            told = {one.id: await self._selections(one.id) for one in sources}
            choices = {number: tuple(map(Choice.read, these or ())) for number, these in told.items()}
        except MaasLacks as error:
            raise MaasFault(_TOO_OLD) from error
        except (KeyError, TypeError, ValueError) as error:
            raise MaasFault("MAAS tells its boot sources in a form that is not known") from error
        no_proxy: bool | None = None
        with suppress(MaasRefused, KeyError, TypeError):
            no_proxy = truth((await self._read(f"configurations/{NO_PROXY}", f"tell {NO_PROXY}"))["value"])
        return Site(
            version,
            sources,
            choices,
            are_choices_told=None not in told.values(),
            no_proxy=no_proxy,
            can_take_keys=False,
        )

    async def _sources(self) -> tuple[Source, ...]:
        return tuple([Source.read(one) for one in await self._items("boot_sources")])

    async def _selections(self, source_id: int) -> list[Any] | None:
        """Return what is selected of a source; None where MAAS does not tell."""
        try:
            return await self._items(f"boot_sources/{source_id}/selections")
        except MaasLacks:
            return None

    async def make_source(self, values: Mapping[str, Any]) -> Source:
        """Make a source."""
        reply = await self._ask("POST", "boot_sources", "make a boot source", dict(values))
        return await source_made(reply.body, values["url"], self._sources)

    async def change_source(self, source_id: int, values: Mapping[str, Any]) -> None:
        """Change some fields of a source: all that can be set are sent, as version 3 wants them."""
        source = next((one for one in await self._sources() if one.id == source_id), None)
        if source is None:
            raise MaasFault(f"boot source {source_id} of this MAAS is gone")
        told = source.values()
        now = {name: value for name, value in told.items() if name not in {"url", "keyring_data"}}
        changed = {**now, **{name: value for name, value in values.items() if name in now}}
        await self._ask("PUT", f"boot_sources/{source_id}", "change the boot source", changed)

    async def remove_source(self, source_id: int) -> None:
        """Remove a source."""
        with suppress(MaasLacks):
            await self._ask("DELETE", f"boot_sources/{source_id}", "remove the boot source")

    async def select(self, source_id: int, choice: Choice) -> None:
        """Select something of a source, for each architecture."""
        for arch in choice.arches:
            values = {"os": choice.os, "release": choice.release, "arch": arch}
            await self._ask("POST", f"boot_sources/{source_id}/selections", f"select {choice.shown}", values)

    async def deselect(self, source_id: int, choice: Choice) -> None:
        """Take away what was selected of a source."""
        for one in await self._selections(source_id) or ():
            if Choice.read(one).is_like(choice):
                path = f"boot_sources/{source_id}/selections/{int(one['id'])}"
                with suppress(MaasLacks):
                    await self._ask("DELETE", path, f"deselect {choice.shown}")

    async def change_setting(self, name: str, *, value: bool) -> None:
        """Change a setting."""
        await self._ask("PUT", f"configurations/{name}", f"set {name}", {"value": value})

    async def learn(self, *, by_import: bool) -> bool:  # noqa: ARG002 - no import is needed for it
        """Have MAAS read the lists of its sources."""
        await self._ask("POST", "boot_sources:update_manifest", "read its boot sources")
        return True

    async def start_import(self) -> None:
        """Start the import: of all at once, or where MAAS cannot do that, of each selection."""
        try:
            await self._ask("POST", "boot_sources:import", "import images")
        except MaasLacks:
            for source in await self._sources():
                for one in (await self._selections(source.id) if source.is_used else None) or ():
                    path = f"boot_sources/{source.id}/selections/{int(one['id'])}:sync"
                    await self._ask("POST", path, "import images")

    async def is_importing(self) -> bool | None:
        """Return whether something is downloaded; None where MAAS does not tell.

        What failed waits for its download for ever.
        """
        try:
            statuses = await self._statuses()
        except MaasRefused:
            return None
        return any(
            _BUSY in {str(one.get(name, "")).lower() for name in ("status", "update_status")}
            for one in statuses
        )

    async def images(self) -> Sequence[Image] | None:
        """Return how far it is with each selection that is used; None where MAAS does not tell."""
        try:
            return await self._images()
        except MaasRefused:
            return None
        except (KeyError, TypeError, ValueError) as error:
            raise MaasFault("MAAS tells its images in a form that is not known") from error

    async def _images(self) -> list[Image]:
        statuses, names = await self._statuses(), {}
        with suppress(MaasLacks):
            for one in await self._items("selections"):
                name = f"{one['os']}/{one['release']} {one.get('architecture') or one.get('arch') or ''}"
                names[one["id"]] = name.strip()
        return [
            Image(
                name=names.get(one["id"], f"selection {one['id']}"),
                percent=float(one.get("sync_percentage") or 0.0),
                is_complete=str(one.get("status", "")).lower() == "ready",
            )
            for one in statuses
        ]

    async def _statuses(self) -> list[Any]:
        told = await self._items("selections/statuses")
        return [one for one in told if truth(one.get("selected")) is not False]

    async def _items(self, path: str) -> list[Any]:
        """Return all pages of a list."""
        found: list[Any] = []
        page = 1
        while True:
            told = await self._read(f"{path}?page={page}&size={_PAGE}", "tell its boot sources")
            further = items(told)
            found += further
            if not further or not isinstance(told, dict) or not told.get("next"):
                return found
            page += 1

    async def _read(self, path: str, what: str) -> Any:
        return await self._http.ask_json("GET", _API + path, what, headers=self._headers())

    async def _ask(self, method: str, path: str, what: str, values: Any = None) -> Reply:
        return await self._http.ask(method, _API + path, what, headers=self._headers(), values=values)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}", "Accept": "application/json"}
