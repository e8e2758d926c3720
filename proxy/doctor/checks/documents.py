"""From the reply for an index or a list to its text, and what a client trips over on the way. Pure."""

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from proxy.doctor.bounds import Bounds
from proxy.doctor.checks.replies import (
    BadEncoding,
    encodings,
    in_trouble,
    is_page,
    looks_packed,
    of_caches,
    of_status,
    unpacked,
)
from proxy.doctor.clients import Client
from proxy.doctor.exchange import Exchange
from proxy.doctor.findings import Finding
from proxy.doctor.wording import Voice
from proxy.errors import ProxyError
from proxy.simplestreams.shape import TooComplex, check_shape

_CHARSET = re.compile(r"charset\s*=\s*\"?([^\s\";]+)", re.IGNORECASE)
_BEGIN = b"-----BEGIN PGP SIGNED MESSAGE-----"
_SIGNATURE = b"-----BEGIN PGP SIGNATURE-----"
_HEADERS = re.compile(rb"-----BEGIN PGP SIGNED MESSAGE-----[^\n]*\n((?:[A-Za-z]+:[^\n]*\n)*)[ \t\r]*\n")
_OK = 200


class NotJson(ProxyError):
    """A text that no client can read."""


@dataclass(slots=True)
class Document:
    """An index or list, as far as it could be read."""

    subject: str
    url: str
    raw: bytes = b""
    """As served, unpacked."""
    findings: list[Finding] = field(default_factory=list)
    content: dict[str, Any] | None = None

    @property
    def is_clearsigned(self) -> bool:
        """Whether there is a signed block in it."""
        return _BEGIN in self.raw


def received(
    client: Client, voice: Voice, subject: str, exchange: Exchange, host: str, bounds: Bounds
) -> Document:
    """Return what came, with all that is wrong about how it came."""
    document = Document(subject, exchange.url)
    document.findings += in_trouble(voice, subject, exchange, host)
    document.findings += of_status(voice, subject, exchange, is_item=False, follows=True)
    document.findings += of_caches(voice, subject, exchange)
    if exchange.status != _OK or exchange.trouble is not None:
        return document
    if not exchange.is_whole:
        facts = {"subject": subject, "limit": bounds.document_bytes, "url": exchange.url}
        document.findings.append(voice.fault("too-large", **facts))
        return document
    raw = exchange.body
    for encoding in encodings(exchange):
        facts = {"subject": subject, "encoding": encoding, "url": exchange.url}
        if encoding.removeprefix("x-") not in client.encodings:
            document.findings.append(voice.fault("encoding-unasked", **facts))
        try:
            raw = unpacked(raw, encoding, bounds.document_bytes)
        except BadEncoding as error:
            document.findings.append(voice.fault("encoding-false", **facts, detail=error))
            return document
    if len(raw) > bounds.document_bytes:
        facts = {"subject": subject, "limit": bounds.document_bytes, "url": exchange.url}
        document.findings.append(voice.fault("too-large", **facts))
        return document
    document.findings += _of_bytes(voice, subject, exchange, raw)
    if not any(one.severity == "fault" for one in document.findings):
        document.findings += _of_charset(client, voice, subject, exchange, raw)
        document.raw = raw
    return document


def _of_bytes(voice: Voice, subject: str, exchange: Exchange, raw: bytes) -> Iterator[Finding]:
    facts = {"subject": subject, "url": exchange.url}
    if not raw.strip():
        yield voice.fault("empty", **facts)
    elif not raw.strip(b"\0"):
        yield voice.fault("zeros", **facts)
    elif is_page(exchange):
        yield voice.fault("login-page", **facts)
    elif looks_packed(raw):
        yield voice.fault("compressed", **facts)


def _of_charset(
    client: Client, voice: Voice, subject: str, exchange: Exchange, raw: bytes
) -> Iterator[Finding]:
    match = _CHARSET.search(exchange.header("Content-Type"))
    if match is None or not client.decodes_charset:
        return
    facts = {"subject": subject, "charset": match[1], "url": exchange.url}
    try:
        name = codecs.lookup(match[1]).name
        is_same = raw.decode(name).encode() == raw
    except LookupError:
        return  # Who does not know a charset takes UTF-8.
    except (UnicodeError, ValueError):
        is_same = False
    if not is_same:
        yield voice.fault("charset", **facts)
    elif name != "utf-8":
        yield voice.fault("charset-odd", **facts)


def read(client: Client, voice: Voice, document: Document) -> None:
    """Read the JSON of a document, as the client cuts it out; what is wrong is added to the findings."""
    facts = {"subject": document.subject, "url": document.url}
    try:
        document.content = _parsed(_text(document.raw) if client.is_signed else document.raw)
    except NotJson as error:
        document.findings.append(voice.fault("not-json", **facts, detail=error))


def envelope_problem(raw: bytes, *, is_simplestreams: bool) -> str:
    """Return what clients that cut the text out of a signed block stumble over, "" if nothing.

    `is_simplestreams`: python-simplestreams, and MAAS up to 3.7 with it, pass over one header.
    """
    if not raw.startswith(_BEGIN):
        return "something stands before it"
    match = _HEADERS.match(raw)
    if match is None:
        return "its headers do not end"
    if is_simplestreams and match[1].count(b"\n") > 1:
        return "it has several headers, and only one is passed over"
    return ""


def _text(raw: bytes) -> bytes:
    """Return the text of the first signed block, or all where there is none."""
    begin = raw.find(_BEGIN)
    if begin < 0:
        return raw
    match = _HEADERS.match(raw, begin)
    start = begin if match is None else match.end()
    end = raw.find(b"\n" + _SIGNATURE, start)
    lines = raw[start : end if end >= 0 else len(raw)].split(b"\n")
    return b"\n".join(line.removeprefix(b"- ") for line in lines)


def _parsed(text: bytes) -> dict[str, Any]:
    try:
        check_shape(text)
        found = json.loads(text.decode())
    except UnicodeDecodeError as error:
        raise NotJson(f"byte {error.start} is not UTF-8") from None
    except TooComplex as error:
        raise NotJson(str(error)) from None
    except RecursionError:
        raise NotJson("it is nested too deeply") from None
    except ValueError as error:
        raise NotJson(f"{error}; it begins with {text[:40]!r}") from None
    if not isinstance(found, dict):
        raise NotJson("it is no object")
    return found
