"""Each import that the contracts forbid, written into a copy of the tree, makes `lint-imports` fail."""

import re
import shutil
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.linter import Linter

ROOT = Path(__file__).parents[3]
LAYERS = "Imports go down only"
CIRCLES = "No package has a circle of imports within it"
PURE = "What calls itself pure has no I/O, no clock, no chance and no event loop"
AIOHTTP = "aiohttp is known to the HTTP sources and to the web"
SERVER = "aiohttp's server is known to the web"
CLIENT = "aiohttp's client is known to the HTTP sources"
DISKCACHE = "diskcache is known to the ledger's table"
SCHEMAS = "msgspec is known to the schemas of records"
SQLITE = "SQLite is known to the ledger"
PLACES = "Where blobs lie is known to the store"
DNSPYTHON = "dnspython is known to the client of name servers"
GNUPG = "gnupg is known to the keyring"
TERMINALS = "Terminals are known to the command line"
TEMPLATES = "Templates are known to the operator's pages"
REPORTS = "Plots and metrics are known to reporting"
CRON = "Cron expressions are known to schedules"
LOOPS = "Which event loop runs is known to those who start one"
BLOCKING = "The event loop is unknown to what blocks"
PROGRAMS = "Other programs are run by those who say so"
FORKS = "Nothing forks by multiprocessing"
SOCKETS = "Sockets are known to sources, web and processes"
MIRRORS = "The store knows digests, never mirrors"
UNKNOWING = "Counters and the reader of TOML know nothing of what they carry"
KINDS = "Which kinds of origins there are is known to the runtime"
EVERY_KIND = "What is true of every origin knows no kind of origin"

FORBIDDEN = [
    # A package: its `__init__`, which every tree has, imports what it may not.
    ("jobs", "import diskcache", DISKCACHE),
    ("store", "import diskcache", DISKCACHE),
    ("config", "import dns.name", DNSPYTHON),
    ("sources/http", "from dns.resolver import Resolver", DNSPYTHON),
    ("reporting", "import gnupg", GNUPG),
    ("signatures", "import gnupg", GNUPG),
    ("store", "from aiohttp import web", AIOHTTP),
    ("service", "import aiohttp.web", AIOHTTP),
    ("fills", "from aiohttp import ClientResponse", AIOHTTP),
    ("sources/http", "from aiohttp import web", SERVER),
    ("sources/http", "from aiohttp import (\n    ClientError,\n    web,\n)", SERVER),
    ("sources/http", "import aiohttp.web_protocol", SERVER),
    ("sources/http", "import aiohttp", SERVER),
    ("sources/http", "def late() -> None:\n    from aiohttp.web_server import Server", SERVER),
    ("web", "from aiohttp import ClientSession", CLIENT),
    ("web/wire", "from aiohttp import TCPConnector", CLIENT),
    ("web/admin", "from aiohttp.client_proto import ResponseHandler", CLIENT),
    ("web", "import sqlite3", SQLITE),
    ("cli", "import sqlite3", SQLITE),
    ("documents", "import msgspec", SCHEMAS),
    ("store", "import sqlite3", SQLITE),
    ("documents", "import sqlite3", SQLITE),
    ("jobs", "from proxy.store.local.store import LocalStore", PLACES),
    ("runtime.py", "from proxy.store.local.folders import Folders", PLACES),
    ("web", "import click", TERMINALS),
    ("jobs", "from rich.console import Console", TERMINALS),
    ("cli", "import jinja2", TEMPLATES),
    ("reporting", "import jinja2", TEMPLATES),
    ("web/admin", "import pygal", REPORTS),
    ("web", "import prometheus_client", REPORTS),
    ("config", "from cronsim import CronSim", CRON),
    ("web", "import uvloop", LOOPS),
    ("store", "import asyncio", BLOCKING),
    ("signatures", "import asyncio", BLOCKING),
    ("web", "import subprocess", PROGRAMS),
    ("fills", "from subprocess import run", PROGRAMS),
    ("processes", "import multiprocessing", FORKS),
    ("jobs", "from concurrent.futures import ProcessPoolExecutor\nimport multiprocessing.pool", FORKS),
    ("documents", "import socket", SOCKETS),
    ("store", "import ssl", SOCKETS),
    ("store", "from proxy.mirror import Mirror", MIRRORS),
    ("fills", "from proxy.mirror import Mirror", MIRRORS),
    ("counting", "from proxy.store import limits", UNKNOWING),
    ("documents", "from proxy.sources.http.origin import HttpOrigin", KINDS),
    ("fills", "from proxy.sources.http import socket_body", KINDS),
    ("cli", "import proxy.sources.http", KINDS),
    ("config", "from proxy.sources.http import redirects", KINDS),
    ("jobs", "from proxy.sources.http import sessions", KINDS),
    ("config", "from proxy.sources.folder import file", KINDS),
    ("sources/folder", "from proxy.sources.http import fields", EVERY_KIND),
    ("sources/pull.py", "from proxy.sources.http.item import HttpItem", EVERY_KIND),
    ("sources/origin.py", "from proxy.sources import route", EVERY_KIND),
    ("sources/novelty.py", '"""Of no known standing."""', EVERY_KIND),
    ("documents", "from proxy.fills import feed", LAYERS),
    ("fills", "from proxy.documents import freshness", LAYERS),
    ("sources", "from proxy.store import limits", LAYERS),
    ("store", "from proxy.sources import errors", LAYERS),
    ("store", "from proxy.signatures import keyring", LAYERS),
    ("service", "from proxy import web", LAYERS),
    ("jobs", "from proxy import web", LAYERS),
    ("web", "from proxy import cli", LAYERS),
    ("system", "from proxy import store", LAYERS),
    ("digest.py", "from proxy import store", LAYERS),
    ("mirror.py", "from proxy import readable", LAYERS),
    ("novelty.py", '"""A module that nobody has given a layer."""', LAYERS),
    ("simplestreams/model.py", "from proxy.simplestreams import catalog", CIRCLES),
    ("errors.py", "from proxy import digest", CIRCLES),
    ("simplestreams", "import os", PURE),
    ("simplestreams", "from time import time", PURE),
    ("simplestreams", "from proxy.system import durable", PURE),
    ("moments.py", "import time", PURE),
    ("fills/feed.py", "import asyncio", PURE),
    ("novelty/__init__.py", '"""A pure thought."""\n\nimport random', PURE),
    ("fills/novelty.py", '"""Adds up.\n\nPure."""\n\nfrom proxy.system import durable', PURE),
    ("config/novelty.py", '"""Adds up."""\n\nfrom proxy.system import durable', None),
]
"""Where in `proxy` what is written, and the contract that it breaks, if any."""


CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]


def upwards(contract: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Yield what breaks a contract of layers: the lowest imports the highest, a new one has no layer."""
    (package,) = contract["containers"]
    highest, lowest = (contract["layers"][end].partition(" ")[0] for end in (0, -1))
    folder = package.removeprefix("proxy").lstrip(".").replace(".", "/")
    is_module = (ROOT / "proxy" / folder / f"{lowest}.py").exists()
    place = f"{folder}/{lowest}{'.py' if is_module else ''}".lstrip("/")
    yield place, f"from {package} import {highest}", contract["name"]
    yield f"{folder}/novelty.py".lstrip("/"), '"""Of no known standing."""', contract["name"]


IN_LAYERS = [row for one in CONTRACTS if one["type"] == "layers" for row in upwards(one)]


def with_ids(settings: str) -> str:
    """Give each contract its name for an id, by which `lint-imports` is asked for one alone."""
    begin = "[[tool.importlinter.contracts]]\n"
    return re.sub(re.escape(begin) + r"name = (.+)\n", r"\g<0>id = \1\n", settings)


class Tree:
    """A copy of what `lint-imports` reads, to be broken and mended."""

    def __init__(self, linter: Linter, proxy: Path) -> None:
        self._linter = linter
        self._proxy = proxy

    @contextmanager
    def written(self, place: str, text: str) -> Iterator[None]:
        """Add text to a module, or to the `__init__` of a package, meanwhile; a new one has nothing else."""
        file = self._proxy / place
        if file.is_dir():
            file /= "__init__.py"
        is_new_folder = not file.parent.exists()
        before = file.read_text() if file.exists() else None
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{before}\n{text}\n" if before else f"{text}\n")
        try:
            yield
        finally:
            if before is None:
                file.unlink()
            else:
                file.write_text(before)
            if is_new_folder:
                file.parent.rmdir()

    def broken(self, *names: str) -> set[str]:
        """Run lint-imports as CI does, for these contracts or for all; name those that it finds broken."""
        status, told = self._linter.lint(*names)
        found = set(re.findall(r"^(.+) BROKEN\b", told, re.MULTILINE))
        counted = re.search(r"Contracts: \d+ kept, (\d+) broken\.", told)
        assert counted, told
        assert (int(counted[1]), status) == (len(found), int(bool(found))), told
        return found


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tree]:
    """Return the tree as it is."""
    folder = tmp_path_factory.mktemp("tree")
    shutil.copytree(ROOT / "proxy", folder / "proxy", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "import_contracts.py", folder)
    (folder / "pyproject.toml").write_text(with_ids((ROOT / "pyproject.toml").read_text()))
    with Linter(folder) as linter:
        yield Tree(linter, folder / "proxy")


def test_the_tree_as_it_is_breaks_no_contract(tree: Tree) -> None:
    assert tree.broken() == set()


@pytest.mark.parametrize(("place", "text", "contract"), [*FORBIDDEN, *IN_LAYERS])
def test_an_import_breaks_the_contract_that_forbids_it(
    tree: Tree, place: str, text: str, contract: str | None
) -> None:
    """And a row without a contract breaks none: the others are refused for what they import."""
    with tree.written(place, text):
        found = tree.broken(contract) if contract else tree.broken()
    assert (contract in found) if contract else not found, found


def test_every_contract_is_tried() -> None:
    assert {one["name"] for one in CONTRACTS} == {row[2] for row in [*FORBIDDEN, *IN_LAYERS] if row[2]}
    assert all(one["exhaustive"] for one in CONTRACTS if one["type"] == "layers")
