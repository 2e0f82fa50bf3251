"""Which module of the project imports which, read from the source without running it."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path

FOLDERS = ("hwmodels", "adapters", "proto", "orchestrator")


@dataclass(frozen=True)
class Source:
    """One module: its text, whether it is a package's ``__init__``, and the file it comes from."""

    text: str
    package: bool = False
    path: Path | None = None


def sources(root: Path) -> dict[str, Source]:
    """Every module by its installed name; generated stubs left out."""
    found = {}
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            if "_pb2" in path.name:
                continue
            parts = path.relative_to(root).with_suffix("").parts
            parts = parts[1:] if folder == "proto" else ("metronome", *parts)
            package = parts[-1] == "__init__"
            found[".".join(parts[:-1] if package else parts)] = Source(path.read_text(), package, path)
    return found


def room(module: str, all_sources: Mapping[str, Source]) -> str:
    """The package that a module lies in; a package's own."""
    return module if all_sources[module].package else module.rpartition(".")[0]


def imports(module: str, all_sources: Mapping[str, Source], starting: bool = False) -> set[str]:
    """Modules of the project that one imports; with ``starting`` only what runs when it is imported itself."""
    nodes = _statements(all_sources[module].text, starting)
    found = set()
    for node in nodes:
        for name in _named(node, room(module, all_sources)):
            while name and name not in all_sources:
                name = name.rpartition(".")[0]
            if name and name != module:
                found.add(name)
    return found


def outsiders(text: str) -> set[str]:
    """Top-level names of everything else that a module imports."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    return found - {"metronome"}


def _named(node: ast.AST, package: str) -> Iterator[str]:
    """What an import statement names, in full."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        base = package.split(".")[: package.count(".") + 2 - node.level] if node.level else []
        parts = [*base, *([node.module] if node.module else [])]
        yield from (".".join([*parts, alias.name]) for alias in node.names)


@functools.cache
def _statements(text: str, starting: bool) -> list[ast.stmt]:
    tree = ast.parse(text)
    nodes = _run_at_import(tree.body) if starting else ast.walk(tree)
    return [node for node in nodes if isinstance(node, ast.Import | ast.ImportFrom)]


def _run_at_import(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Statements that run when a module is imported: neither functions' nor those for type checkers alone."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from _run_at_import(node.orelse)
            continue
        yield node
        for part in ("body", "orelse", "finalbody"):
            yield from _run_at_import(getattr(node, part, []))
        for handler in getattr(node, "handlers", []):
            yield from _run_at_import(handler.body)


def circle(graph: Mapping[str, Set[str]]) -> list[str]:
    """Names that lead from one back to itself; empty if there is no such way."""
    done: set[str] = set()

    def walk(name: str, way: list[str]) -> list[str]:
        if name in way:
            return [*way[way.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph.get(name, ())):
            if found := walk(other, [*way, name]):
                return found
        done.add(name)
        return []

    return next((found for name in sorted(graph) if (found := walk(name, []))), [])
