"""The modules of the project, parsed once, for the tests of how they are written."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGES = ("megamed", "incontext", "benchmarks")
BLOCKS = ("body", "handlers", "orelse", "finalbody", "cases")
"""Fields of a node that are lists of statements, or of what holds such lists."""


def modules(repository: Path, *packages: str) -> list[Path]:
    """Paths of the modules of packages."""
    return [path for package in packages for path in sorted((repository / package).rglob("*.py"))]


@cache
def parsed(path: Path) -> ast.Module:
    """The tree of a module."""
    return ast.parse(path.read_text())


def within(node: ast.AST) -> Iterator[ast.AST]:
    """Statements directly in a node."""
    for block in BLOCKS:
        yield from getattr(node, block, ())


def statements(node: ast.AST) -> Iterator[ast.AST]:
    """A node, and all statements in it at any depth: a fifth of what `ast.walk` passes, which enters expressions."""
    yield node
    for inner in within(node):
        yield from statements(inner)
