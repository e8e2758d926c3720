"""How the operator's pages become replies: templates, their filters, and the headers that go with them."""

import re
import time
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

import jinja2
from aiohttp import web

from proxy.readable import counted, duration, share, size
from proxy.reporting.mirror_state import mirror_state
from proxy.web import SERVER_NAME
from proxy.web.admin.permission import CHANGE_HEADER

_PAGE_POLICY = (
    "default-src 'none'; img-src 'self' blob:; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
_PICTURE_POLICY = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
_STATIC = {
    "dashboard.css": "text/css",
    "dashboard.js": "text/javascript",
    "copy.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}


_UNSEEN = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that turn the direction of what follows: a name could look like another."""


def _moment(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M %Z", time.localtime(when))


def _capitalize_first(text: str) -> str:
    return text[:1].upper() + text[1:]


# Read once, when the program starts: no request waits for the disk.
_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("proxy.web.admin"),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {
    "size": size,
    "duration": duration,
    "share": share,
    "moment": _moment,
    "counted": counted,
    "capitalize_first": _capitalize_first,
    "mirror_state": mirror_state,
}
_TEMPLATES.globals |= {"change_header": CHANGE_HEADER}
_FILES = {name: files("proxy.web.admin").joinpath("static").joinpath(name).read_bytes() for name in _STATIC}


@lru_cache
def _template(name: str) -> jinja2.Template:
    return _TEMPLATES.get_template(name)


for _name in _TEMPLATES.list_templates():
    _template(_name)


def render(template: str, values: Mapping[str, Any]) -> str:
    """Return what a template says of these values. May take long for large tables."""
    return _template(template).render(values)


def page_reply(text: str, **headers: str) -> web.Response:
    """Answer with a page, which spells out what nobody sees and names of files that are no UTF-8."""
    seen = _UNSEEN.sub(lambda found: ascii(found[0])[1:-1], text)
    return _reply(seen.encode(errors="backslashreplace"), "text/html", _PAGE_POLICY, headers)


def picture_reply(picture: bytes) -> web.Response:
    """Answer with a plot."""
    return _reply(picture, "image/svg+xml", _PICTURE_POLICY, {})


def static_reply(name: str) -> web.Response | None:
    """Answer with style or script, None when there is no such file."""
    return _reply(_FILES[name], _STATIC[name], _PAGE_POLICY, {}) if name in _STATIC else None


def _reply(body: bytes, content_type: str, policy: str, headers: Mapping[str, str]) -> web.Response:
    given = {
        "Server": SERVER_NAME,
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        **headers,
    }
    charset = None if content_type == "image/svg+xml" else "utf-8"
    return web.Response(body=body, content_type=content_type, charset=charset, headers=given)
