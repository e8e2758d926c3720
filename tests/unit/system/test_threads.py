"""Each kind of blocking work has threads of its own, and nobody uses those that all would share."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import proxy

MODULES = sorted(Path(proxy.__file__).parent.rglob("*.py"))
SHARED = {"to_thread", "getaddrinfo", "getnameinfo", "sock_connect"}
"""What asyncio does with the pool of the loop, for whoever calls it."""


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    """Yield the methods that are called. Functions of `socket` block whoever calls them, wherever."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = node.func.attr
            yield ("" if ast.unparse(node.func.value) == "socket" else name), node


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(MODULES[0].parent)))
def test_nothing_runs_in_the_pool_of_the_event_loop(path: Path) -> None:
    """What hangs there, a disk or a name server, would stop all the others."""
    for name, call in calls(path):
        where = f"{path}:{call.lineno}"
        assert name not in SHARED, where
        if name == "run_in_executor":
            assert not isinstance(call.args[0], ast.Constant), where
