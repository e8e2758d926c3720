"""What we use of libraries that they do not promise: every such name, where and why, and that it is there.

pyproject.toml allows no release but those in which all of it has been tried. When a new one is let
in, these tests run before all others and say what is gone or has changed. What is still there may
mean something else: read what has become of it, then run the whole suite.
"""

import ast
import importlib
import inspect
import pkgutil
import sys
import textwrap
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import diskcache
import pytest
from packaging.requirements import Requirement

import proxy

ROOT = Path(__file__).parents[3]
LIBRARIES = ("aiohttp", "diskcache")
PROMISED = {"aiohttp", "aiohttp.web", "aiohttp.abc", "aiohttp.typedefs", "diskcache"}
"""Modules of theirs that their documentation describes."""

ATTRIBUTE, PROPERTY, NAME = "attribute", "property", "name"
CLIENT = "aiohttp.client_proto.ResponseHandler"
SERVER = "aiohttp.web_protocol.RequestHandler"
PROTOCOL = "aiohttp.base_protocol.BaseProtocol"
STREAM = "aiohttp.streams.StreamReader"
CACHE = "diskcache.core.Cache"


class Use(NamedTuple):
    """One name that no documentation promises."""

    owner: str
    name: str
    form: str
    """ATTRIBUTE of instances, PROPERTY, NAME in a module, or the parameters of a function."""
    why: str


USES: dict[str, tuple[Use, ...]] = {
    # A connection to an origin, with our reader of heads before aiohttp's parser.
    "proxy/sources/http/sessions.py": (
        Use("aiohttp.client_proto", "ResponseHandler", NAME, "its subclass mends heads"),
        Use("aiohttp.connector.BaseConnector", "_factory", ATTRIBUTE, "makes our subclass"),
        Use(CLIENT, "__init__", "self, loop", "overridden"),
        Use(CLIENT, "data_received", "self, data", "overridden: heads are rewritten"),
        Use(CLIENT, "is_connected", "self", "overridden: nothing unasked has come"),
        Use(
            CLIENT,
            "set_response_params",
            "self, timer, skip_payload, read_until_eof, auto_decompress, read_timeout, read_bufsize,"
            " timeout_ceil_threshold, max_line_size, max_field_size, max_headers",
            "overridden: a reply is expected from then on",
        ),
        Use(CLIENT, "start_timeout", "self", "overridden: silence counts once a request is sent"),
        Use(CLIENT, "connection_lost", "self, exc", "overridden: silence ends with it"),
        Use(CLIENT, "should_close", PROPERTY, "whether it may be used again"),
        Use(CLIENT, "set_exception", "self, exc, exc_cause", "a head without sense"),
        Use(CLIENT, "_payload", ATTRIBUTE, "whether a body is under way"),
        Use(PROTOCOL, "_parser", ATTRIBUTE, "whether a reply is expected"),
        Use(PROTOCOL, "transport", ATTRIBUTE, "its socket, and its end"),
    ),
    # TLS to an origin, whose session a drawing thread may use.
    "proxy/sources/http/connector.py": (
        Use("aiohttp.client_proto", "ResponseHandler", NAME, "a type"),
        Use(
            "aiohttp.connector.TCPConnector",
            "_wrap_create_connection",
            "self, args, addr_infos, req, timeout, client_error, kwargs",
            "overridden: TLS is ours; client_error tells a parent proxy",
        ),
        Use("aiohttp.client_reqrep.ClientRequest", "connection_key", PROPERTY, "named by errors"),
    ),
    # What had arrived of a body when its connection broke.
    "proxy/sources/http/reply.py": (
        Use(STREAM, "_buffer", ATTRIBUTE, "whether anything had"),
        Use(STREAM, "_read_nowait", "self, n", "takes it though the stream has failed"),
    ),
    # The rest of a large body, read from its socket past the library.
    "proxy/sources/http/socket_body.py": (
        Use("aiohttp.client_reqrep.ClientResponse", "connection", PROPERTY, "whose it is"),
        Use("aiohttp.connector.Connection", "protocol", PROPERTY, "who has its transport"),
        Use("aiohttp.connector.Connection", "transport", PROPERTY, "its socket"),
        Use(PROTOCOL, "transport", ATTRIBUTE, "taken away while we read, and given back"),
        Use(STREAM, "total_bytes", ATTRIBUTE, "how much the library has received"),
        Use(STREAM, "feed_eof", "self", "gives the connection back to the library"),
    ),
    # A client's connection, with our cached replies before aiohttp's parser.
    "proxy/web/wire/connection.py": (
        Use("aiohttp.http", "RawRequestMessage", NAME, "what its parser makes"),
        Use("aiohttp.streams", "EMPTY_PAYLOAD", NAME, "the body of what is no request"),
        Use("aiohttp.streams", "StreamReader", NAME, "its type"),
        Use("aiohttp.web_protocol", "RequestHandler", NAME, "its subclass is ours"),
        Use("aiohttp.web_protocol", "_ErrInfo", NAME, "how it queues what is no request"),
        Use("aiohttp.web_protocol._ErrInfo", "__init__", "self, status, exc, message", "ours"),
        Use("aiohttp.web_server", "Server", NAME, "who has all connections"),
        Use("aiohttp.http_exceptions", "BadHttpMessage", NAME, "what is told as no request"),
        Use("aiohttp.http_exceptions", "HttpProcessingError", NAME, "told in our words"),
        Use("aiohttp.http_exceptions", "InvalidURLError", NAME, "told in our words"),
        Use("aiohttp.http_exceptions", "LineTooLong", NAME, "told in our words"),
        Use(SERVER, "connection_made", "self, transport", "overridden: who may come in"),
        Use(SERVER, "connection_lost", "self, exc", "overridden: who has left"),
        Use(SERVER, "data_received", "self, data", "overridden: cached replies, stray chunks"),
        Use(SERVER, "handle_error", "self, request, status, exc, message", "overridden: our words"),
        Use(
            SERVER,
            "finish_response",
            "self, request, resp, start_time",
            "overridden: what is cut is noted; a retired connection ends with its reply",
        ),
        Use(SERVER, "_process_keepalive", "self", "overridden: counts half requests"),
        Use(SERVER, "close", "self", "ends after the reply under way"),
        Use(SERVER, "force_close", "self", "ends now"),
        Use(SERVER, "max_line_size", ATTRIBUTE, "told to who sends longer ones"),
        Use(SERVER, "_waiter", ATTRIBUTE, "whether it waits for a request"),
        Use(SERVER, "_messages", ATTRIBUTE, "requests that wait for their turn"),
        Use(SERVER, "_request_count", ATTRIBUTE, "whether a head was swallowed"),
        Use(SERVER, "_close", ATTRIBUTE, "whether it ends after this reply"),
        Use(SERVER, "_force_close", ATTRIBUTE, "whether it has ended"),
        Use(SERVER, "_task_handler", ATTRIBUTE, "the connection ends with its task"),
        Use(SERVER, "_keepalive_timeout", ATTRIBUTE, "how long it may be idle"),
        Use(SERVER, "_next_keepalive_close_time", ATTRIBUTE, "moved by each cached reply"),
        Use(PROTOCOL, "_upgraded", ATTRIBUTE, "whether it speaks something else"),
        Use(PROTOCOL, "_buffer_paused", ATTRIBUTE, "whether the parser keeps some back"),
        Use(PROTOCOL, "_loop", ATTRIBUTE, "its clock, and its turns"),
        Use(PROTOCOL, "transport", ATTRIBUTE, "where cached replies go"),
    ),
    # All connections of a worker that ends.
    "proxy/web/app.py": (
        Use("aiohttp.web_runner.BaseRunner", "server", PROPERTY, "whom connections belong to"),
        Use("aiohttp.web_server.Server", "connections", PROPERTY, "to retire them all"),
    ),
    # Words for what aiohttp logs.
    "proxy/logs/set_up.py": (
        Use("aiohttp.http_exceptions", "HttpProcessingError", NAME, "no fault of ours"),
        Use("aiohttp.web_protocol", "RequestPayloadError", NAME, "no fault of ours"),
    ),
    # The ledger's table: diskcache without its endless patience, read by the beginning of keys.
    "proxy/store/table.py": (
        Use(CACHE, "_con", PROPERTY, "overridden: a file that was replaced is opened anew"),
        Use(CACHE, "_sql", PROPERTY, "how it queries"),
        Use(CACHE, "_sql_retry", PROPERTY, "overridden: its patience is a minute"),
        Use(CACHE, "_transact", "self, retry, filename", "overridden: it waits for ever"),
        Use(CACHE, "_local", ATTRIBUTE, "what each thread has of it"),
        Use(CACHE, "_directory", ATTRIBUTE, "where it lies"),
        Use(CACHE, "_disk", ATTRIBUTE, "reads keys and values of our queries"),
        Use("diskcache.core", "MODE_RAW", NAME, "the mode of a value that is in the database"),
        Use("diskcache.core.Disk", "put", "self, key", "overridden: keys are text"),
        Use("diskcache.core.Disk", "get", "self, key, raw", "overridden: no pickles"),
        Use("diskcache.core.Disk", "store", "self, value, read, key", "overridden: JSON"),
        Use("diskcache.core.Disk", "fetch", "self, mode, filename, value, read", "overridden"),
    ),
}
COLUMNS = {"key", "raw", "store_time", "expire_time", "mode", "filename", "value"}
"""Of diskcache's table `Cache`, which our queries name."""


ROWS = [pytest.param(where, use, id=f"{use.name} in {where}") for where, uses in USES.items() for use in uses]


@pytest.mark.parametrize(("where", "use"), ROWS)
def test_what_is_used_is_there_and_as_it_was(where: str, use: Use) -> None:
    library = use.owner.partition(".")[0]
    told = f"{library} {version(library)}: {use.owner}.{use.name}, for {where} ({use.why})"
    owner = found(use.owner)
    assert owner is not None, f"{told}: there is no {use.owner}"
    assert form_of(owner, use.name) == use.form, told


def test_the_table_of_diskcache_has_the_columns_that_are_queried(tmp_path: Path) -> None:
    with diskcache.Cache(str(tmp_path)) as cache:
        rows = cache._sql("PRAGMA table_info(Cache)").fetchall()
    assert {row[1] for row in rows} >= COLUMNS


@pytest.mark.parametrize("library", LIBRARIES)
def test_no_release_is_allowed_but_those_that_were_tried(library: str) -> None:
    """A minor release may change anything that is not promised."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    (requirement,) = [one for one in map(Requirement, listed) if one.name == library]
    installed = version(library)
    major, minor = map(int, installed.split(".")[:2])
    assert requirement.specifier.contains(installed)
    assert not requirement.specifier.contains(f"{major}.{minor + 1}")
    assert not requirement.specifier.contains(f"{major}.{minor - 1}.99")


def test_every_use_is_listed() -> None:
    """As far as a program can tell: inherited names, private names of others, and modules not promised."""
    used = set(private_of_bases()) | set(private_of_others()) | set(imported())
    listed = {(where, use.name) for where, uses in USES.items() for use in uses}
    assert used - listed == set()
    hidden = {(where, name) for where, name in listed if name.startswith("_") and name != "__init__"}
    assert hidden - used == set(), "listed, and used no more"


def form_of(owner: Any, name: str) -> str:
    """Say what kind of thing a name of a class or module is; "nothing" if there is no such name."""
    if isinstance(owner, ModuleType):
        return NAME if hasattr(owner, name) else "nothing"
    there = inspect.getattr_static(owner, name, None)
    if isinstance(there, property):
        return PROPERTY
    if inspect.isfunction(there):
        return ", ".join(inspect.signature(there).parameters)
    return ATTRIBUTE if name in own_attributes(owner) else "nothing"


def found(dotted: str) -> Any:
    """Return the module or class of that name, None if there is none."""
    try:
        return importlib.import_module(dotted)
    except ImportError:
        module, _, name = dotted.rpartition(".")
        return getattr(importlib.import_module(module), name, None)


@cache
def own_attributes(owner: type) -> frozenset[str]:
    """Name what a class defines, and what its own methods set of their instances."""
    try:
        body = ast.parse(textwrap.dedent(inspect.getsource(owner)))
    except OSError:  # Compiled.
        return frozenset(vars(owner))
    set_by_methods = {
        node.attr
        for node in ast.walk(body)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
        and isinstance(node.ctx, ast.Store)
    }
    return frozenset(vars(owner)) | set_by_methods


@cache
def parsed() -> dict[str, ast.Module]:
    """Parse all modules of the proxy, by their paths."""
    return {
        str(path.relative_to(ROOT)): ast.parse(path.read_text())
        for path in sorted(Path(proxy.__path__[0]).rglob("*.py"))
    }


def private_of_bases() -> Iterator[tuple[str, str]]:
    """Find private names that classes of ours use, or override, of classes that are not ours."""
    for info in pkgutil.walk_packages(proxy.__path__, "proxy."):
        if info.name == "proxy.__main__":
            continue
        module = importlib.import_module(info.name)
        assert module.__file__ is not None
        where = str(Path(module.__file__).relative_to(ROOT))
        for node in ast.walk(parsed()[where]):
            ours = getattr(module, node.name, None) if isinstance(node, ast.ClassDef) else None
            if isinstance(ours, type) and isinstance(node, ast.ClassDef):
                theirs = [own_attributes(base) for base in ours.__mro__[1:] if is_theirs(base)]
                yield from (
                    (where, name) for name in names_of_self(node) if any(name in one for one in theirs)
                )


def names_of_self(node: ast.ClassDef) -> set[str]:
    """Name the private methods that a class defines, and private names of itself that it uses."""
    methods = {one.name for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}
    used = {
        one.attr
        for one in ast.walk(node)
        if isinstance(one, ast.Attribute) and ast.unparse(one.value) in {"self", "super()", "cls"}
    }
    return {name for name in methods | used if is_private(name)}


def is_theirs(base: type) -> bool:
    """Whether a class is neither ours nor Python's."""
    return base.__module__.partition(".")[0] not in {"proxy", "builtins", *sys.stdlib_module_names}


def is_private(name: str) -> bool:
    """Whether a name is not for others to use; Python documents some that look so."""
    return name.startswith("_") and not name.endswith("__") and name not in {"_asdict", "_exit", "_replace"}


def private_of_others() -> Iterator[tuple[str, str]]:
    """Find private names that are used of anything but the class at hand, where no such name is made."""
    for where, tree in parsed().items():
        used, made = set(), set()
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                made.add(node.name)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                made.add(node.id)
            elif isinstance(node, ast.Attribute) and is_private(node.attr):
                if ast.unparse(node.value) not in {"self", "super()", "cls"}:
                    used.add(node.attr)
                elif isinstance(node.ctx, ast.Store):
                    made.add(node.attr)
        yield from ((where, name) for name in used - made)


def imported() -> Iterator[tuple[str, str]]:
    """Find what is imported from modules that the libraries do not promise, and private names from any."""
    for where, tree in parsed().items():
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.ImportFrom)
                and node.module
                and node.module.partition(".")[0] in LIBRARIES
            ):
                is_promised = node.module in PROMISED
                yield from (
                    (where, one.name) for one in node.names if not is_promised or is_private(one.name)
                )
