"""The operator's actions over HTTP: POST /-/api/v1/ACTION with a JSON object.

What may be asked is described once, in `openapi.json`, which is also served.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Collection
from functools import partial
from http import HTTPStatus
from importlib.resources import files
from typing import Any

from aiohttp import web

from proxy.digest import InvalidDigest, parse_digest
from proxy.errors import ProxyError
from proxy.jobs.actions import BY_HAND, Actions, ActionsFor, Aim
from proxy.jobs.audit import Done
from proxy.jobs.selection import Selection
from proxy.readable import meant
from proxy.simplestreams.filters import Filter
from proxy.system.threads import Threads
from proxy.web import SERVER_NAME
from proxy.web.access_log import COUNTERS
from proxy.web.admin.permission import LOCAL_SOCKET, NOBODY, AdminPermission, Asker

_BODY_TIMEOUT_S = 15.0
_MOST_FILTERS = 32


class BadOrder(ProxyError):
    """A body that does not say what to do."""


class _BadBody(ProxyError):
    """A body that is too large, or that did not come in time."""

    def __init__(self, status: HTTPStatus, problem: str) -> None:
        super().__init__(problem)
        self.status = status


def asker_of(request: web.Request) -> Asker:
    """Return what is known of who sends a request."""
    return Asker(_address(request), request.headers, is_encrypted=request.secure)


def _address(request: web.Request) -> str:
    """Return who sends a request: no address alone makes no local socket, it may just have been lost."""
    own = None if request.transport is None else request.transport.get_extra_info("sockname")
    return LOCAL_SOCKET if isinstance(own, (str, bytes)) else request.remote or NOBODY


class Api:
    """Answers what changes something."""

    def __init__(
        self, permission: AdminPermission, actions_for: ActionsFor, mirrors: tuple[str, ...], threads: Threads
    ) -> None:
        self._permission = permission
        self._actions_for = actions_for
        self._threads = threads
        self._mirrors = mirrors
        self._actions: dict[str, Callable[[Actions, _Order], Awaitable[Done]]] = {
            "pin": lambda actions, order: self._aimed(partial(actions.pin, name=_name(order)), order),
            "unpin": lambda actions, order: self._aimed(partial(actions.unpin, name=_name(order)), order),
            "evict": lambda actions, order: self._aimed(actions.evict, order),
            "purge": lambda actions, order: self._aimed(actions.purge, order),
            "refresh": self._refresh,
            "scrub": lambda actions, _: actions.scrub(),
            "prefetch": self._prefetch,
            "offline": lambda actions, order: actions.offline(on=order.flag("on")),
        }

    async def post_action(self, request: web.Request) -> web.Response:
        """Do what is asked for."""
        asker = asker_of(request)
        problem = self._permission.why_not_change(asker)
        if problem is not None:
            return answer(HTTPStatus.FORBIDDEN, {"problem": problem})
        name = request.match_info["action"]
        action = self._actions.get(name)
        if action is None:
            there = ", ".join(self._actions)
            return answer(HTTPStatus.NOT_FOUND, {"problem": f"there is no such action; there are: {there}"})
        try:
            order = _Order.read(await _body(request), _fields_of(name))
            done = await action(self._actions_for(f"client {asker.address}"), order)
        except _BadBody as error:
            request.app[COUNTERS].limits.met("request_bodies")
            return answer(error.status, {"problem": str(error)})
        except ProxyError as error:
            return answer(HTTPStatus.BAD_REQUEST, {"problem": str(error)})
        if done.problem:
            return answer(HTTPStatus.BAD_GATEWAY, {"problem": done.problem})
        return answer(
            HTTPStatus.OK,
            {
                "action": done.action,
                "text": done.text,
                "blobs": done.blobs,
                "bytes": done.bytes,
                "pins": done.pins,
            },
        )

    async def get_description(self, _: web.Request) -> web.Response:
        """Return the OpenAPI description."""
        return answer(HTTPStatus.OK, DESCRIPTION)

    async def _refresh(self, actions: Actions, order: "_Order") -> Done:
        if order.flag("accept_older", default=False):
            return await actions.accept_older(self._named_mirrors(order, ()))
        return await actions.refresh(self._named_mirrors(order, self._mirrors))

    async def _prefetch(self, actions: Actions, order: "_Order") -> Done:
        rule = order.text("rule", "")
        if not order.selects():
            return await actions.prefetch(rule)
        if rule:
            raise BadOrder("'rule' says it all: leave the selection out")
        return await self._aimed(actions.fetch, order)

    async def _aimed(self, action: Callable[[Aim], Awaitable[Done]], order: "_Order") -> Done:
        """Do what has an aim. Some regular expressions take a while to be understood."""
        return await action(await self._threads.slow(self._aim, order))

    def _aim(self, order: "_Order") -> Aim:
        filters, maas = order.texts("filters"), order.texts("maas")
        newest = order.number("max")
        if order.texts("arch") and not maas:
            raise BadOrder("'arch' goes with 'maas'; as a filter write 'arch=amd64'")
        if not all(name.strip() for name in (*maas, *order.texts("arch"))):
            raise BadOrder("'maas' or 'arch' has an empty name")
        selection = None
        if filters or maas or newest is not None:
            if len(filters) > _MOST_FILTERS:
                raise BadOrder(f"there are more than {_MOST_FILTERS} filters")
            selection = Selection(
                filters=tuple(Filter.parse(one) for one in filters),
                maas_releases=maas,
                maas_arches=order.texts("arch"),
                newest=newest,
            )
        try:
            digests = tuple(parse_digest(one) for one in order.texts("digests"))
        except InvalidDigest as error:
            raise BadOrder(str(error)) from error
        return Aim(
            mirrors=self._named_mirrors(order, self._mirrors[:1]), selection=selection, digests=digests
        )

    def _named_mirrors(self, order: "_Order", default: tuple[str, ...]) -> tuple[str, ...]:
        names = order.texts("mirrors") or default
        for name in names:
            if name not in self._mirrors:
                there = f"{', '.join(self._mirrors)}{meant(name, self._mirrors)}"
                raise BadOrder(f"there is no mirror {name!r}; there are: {there}")
        return names


class _Order:
    """The JSON object of a request, read field by field."""

    def __init__(self, fields: dict[str, Any]) -> None:
        self._fields = fields

    @classmethod
    def read(cls, data: bytes, known: Collection[str]) -> "_Order":
        """Read a body. What is not known is refused: without it, the rest may mean much more."""
        try:
            fields = json.loads(data or b"{}")
        except (ValueError, RecursionError) as error:
            raise BadOrder(f"the body is no JSON: {error}") from None
        if not isinstance(fields, dict):
            raise BadOrder("the body must be a JSON object")
        for key in fields:
            if key not in known:
                there = ", ".join(known) or "none"
                raise BadOrder(f"there is no field {key!r:.80}; there are: {there}")
        return cls(fields)

    def text(self, key: str, default: str) -> str:
        value = self._fields.get(key, default)
        if not isinstance(value, str):
            raise BadOrder(f"{key!r} must be a text")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        value = self._fields.get(key, [])
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise BadOrder(f"{key!r} must be a list of texts")
        return tuple(value)

    def selects(self) -> bool:
        """Whether it names more than a rule."""
        return bool(self._fields.keys() - {"rule"})

    def number(self, key: str) -> int | None:
        value = self._fields.get(key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
            raise BadOrder(f"{key!r} must be a whole number, at least 1")
        return value

    def flag(self, key: str, *, default: bool | None = None) -> bool:
        value = self._fields.get(key, default)
        if not isinstance(value, bool):
            raise BadOrder(f"{key!r} must be true or false")
        return value


def answer(status: HTTPStatus, value: object) -> web.Response:
    """Return a JSON answer."""
    headers = {"Server": SERVER_NAME, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
    return web.json_response(value, status=status, headers=headers)


def _name(order: _Order) -> str:
    return order.text("name", BY_HAND)


async def _body(request: web.Request) -> bytes:
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            return await request.read()
    except web.HTTPRequestEntityTooLarge as error:
        raise _BadBody(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, error.text or "the body is too large") from None
    except TimeoutError:
        problem = f"the body did not come within {_BODY_TIMEOUT_S:g} s"
        raise _BadBody(HTTPStatus.REQUEST_TIMEOUT, problem) from None


def _fields_of(action: str) -> Collection[str]:
    """Return the fields that an action's order may have."""
    body = DESCRIPTION["paths"][f"/api/v1/{action}"]["post"]["requestBody"]
    fields: dict[str, Any] = body["content"]["application/json"]["schema"]["properties"]
    return fields.keys()


DESCRIPTION: dict[str, Any] = json.loads(files("proxy.web.admin").joinpath("openapi.json").read_text())
