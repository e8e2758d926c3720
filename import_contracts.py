"""Two kinds of import contract that import-linter lacks; `lint-imports` loads them from here.

`pure` holds modules to what their docstrings say: one that calls itself pure, or lies in a
package that does, reaches nothing that reads a clock, a file, a socket or a random number.
`library_part` says who may import one half of a library, where the other half is for others.
"""

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any

from grimp import ImportGraph
from importlinter import Contract, ContractCheck, fields, output
from importlinter.application.contract_utils import AlertLevel, remove_ignored_imports

_CALLS_ITSELF_PURE = re.compile(r"\bpure\b", re.IGNORECASE)


class PureContract(Contract):
    """Modules that call themselves pure import nothing that acts, by no chain of imports."""

    type_name = "pure"

    acting: Any = fields.ListField(subfield=fields.StringField())
    """Libraries that read or change something outside of the arguments they are given."""
    types_from: Any = fields.SetField(subfield=fields.ImportExpressionField(), default=frozenset())
    """Imports of types alone, from modules that act: no chain is followed there."""

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002 - import-linter's signature
        """Look for a chain from each pure module to each acting library."""
        warnings = remove_ignored_imports(graph, self.types_from, AlertLevel.WARN)
        pure = self._pure(graph)
        acting = [library for library in self.acting if library in graph.modules]
        chains = [graph.find_shortest_chain(module, library) for module, library in product(pure, acting)]
        found = [" -> ".join(chain) for chain in chains if chain]
        metadata = {"found": found, "are_any": bool(pure)}
        return ContractCheck(kept=bool(pure) and not found, metadata=metadata, warnings=warnings)

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Write each chain on a line."""
        if not check.metadata["are_any"]:
            output.print_error("No module calls itself pure: the contract holds nothing.")
        for chain in check.metadata["found"]:
            output.print_error(chain, bold=False)

    def _pure(self, graph: ImportGraph) -> list[str]:
        """Name the modules that call themselves pure, and those below packages that do."""
        roots = self.session_options["root_packages"]
        ours = [name for root in roots for name in sorted(graph.find_descendants(root))]
        pure = {name for name in ours if _calls_itself_pure(_source(name))}
        return [name for name in ours if not pure.isdisjoint(_with_packages(name))]


class LibraryPartContract(Contract):
    """A part of a library is imported by the modules named, and by no others."""

    type_name = "library_part"

    library: Any = fields.StringField()
    parts: Any = fields.ListField(subfield=fields.StringField())
    """Patterns of dotted names, such as `aiohttp.web_*`, of what is imported."""
    allowed_importers: Any = fields.SetField(subfield=fields.ModuleField())
    """Modules, and all that lies below them."""

    def check(self, graph: ImportGraph, verbose: bool) -> ContractCheck:  # noqa: ARG002 - import-linter's signature
        """Read the import statements of all who import the library and may not import this part."""
        allowed = {module.name for module in self.allowed_importers}
        missing = allowed - graph.modules
        if missing:
            raise ValueError(f"{', '.join(sorted(missing))}: an importer is named that does not exist")
        others = [
            name
            for name in sorted(graph.find_modules_that_directly_import(self.library))
            if allowed.isdisjoint(_with_packages(name))
        ]
        found = [
            f"{name} -> {imported} (l.{line})"
            for name in others
            for imported, line in _imported_from(self.library, _source(name))
            if any(fnmatchcase(imported, part) for part in self.parts)
        ]
        return ContractCheck(kept=not found, metadata={"found": found})

    def render_broken_contract(self, check: ContractCheck) -> None:
        """Write each import on a line."""
        for imported in check.metadata["found"]:
            output.print_error(imported, bold=False)


def _with_packages(module: str) -> Iterator[str]:
    """Yield a module's name, and those of the packages that it lies in, but for the outermost."""
    while "." in module:
        yield module
        module = module.rpartition(".")[0]


@cache
def _calls_itself_pure(text: str) -> bool:
    if not _CALLS_ITSELF_PURE.search(text):
        return False
    return bool(_CALLS_ITSELF_PURE.search(ast.get_docstring(ast.parse(text)) or ""))


def _source(module: str) -> str:
    root, *names = module.split(".")
    path = _folder(root).joinpath(*names)
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return file.read_text()


@cache
def _folder(package: str) -> Path:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ValueError(f"{package} is no package that can be imported")
    return Path(spec.origin).parent


@cache
def _imported_from(library: str, text: str) -> list[tuple[str, int]]:
    """Return the dotted names imported from a library, with their lines.

    Of `import library` alone, which gives away all of it, the name is `library.*`.
    """
    found = []
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [f"{alias.name}.*" for alias in node.names]
        else:
            continue
        found += [(name, node.lineno) for name in names if name.startswith(f"{library}.")]
    return found
