"""Nothing is used that the oldest allowed libraries lack: `nox -s lowest` runs the tests with them."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[3]


def subscripted(source: str) -> list[str]:
    """Return the names of click that are subscripted where the program runs."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Subscript) and ast.unparse(node.value).startswith("click.")
    ]


def test_no_class_of_click_is_subscripted_for_those_of_8_1_are_not_generic() -> None:
    assert subscripted("class Limit(click.ParamType[int]): ...") == ["click.ParamType[int]"]
    found = {str(file): subscripted(file.read_text()) for file in (ROOT / "proxy").rglob("*.py")}
    assert found
    assert {file: names for file, names in found.items() if names} == {}
