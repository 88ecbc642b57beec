"""Bars on the size of modules and functions, which keep each of them to one story."""

import ast
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.sources import PACKAGES, modules, parsed, statements, within

MOST_MODULE_LINES = 450
MOST_FUNCTION_LINES = 60
P95_FUNCTION_LINES = 22
MOST_PARAMETERS = 8
ESTIMATORS = ("Segmenter",)
"""Classes whose constructor has a parameter for each setting, as scikit-learn asks."""

Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Functions and methods of a module, by name with their class."""
    for node in statements(tree):
        name = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        for inner in within(node):
            if isinstance(inner, Function):
                yield f"{name}{inner.name}", inner


def is_command(function: Function) -> bool:
    return any("app.command" in ast.unparse(decorator) for decorator in function.decorator_list)


def code_lines(function: Function, source: list[str]) -> int:
    """Number of lines of a function that are neither empty, nor comment, nor docstring."""
    told = set()
    for node in statements(function):
        if isinstance(node, Function | ast.ClassDef) and ast.get_docstring(node):
            told |= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    lines = ((i, source[i - 1].strip()) for i in range(function.lineno, (function.end_lineno or 0) + 1))
    return sum(bool(line) and not line.startswith("#") and i not in told for i, line in lines)


def parameters(function: Function) -> int:
    """Number of parameters, without the object or class itself."""
    told = function.args
    names = [each.arg for each in (*told.posonlyargs, *told.args, *told.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def too_large(path: Path) -> Iterator[str]:
    """Bars that a module exceeds."""
    source = path.read_text().splitlines()
    if len(source) > MOST_MODULE_LINES:
        yield f"{path}: {len(source)} lines"
    for name, function in functions(parsed(path)):
        if (lines := code_lines(function, source)) > MOST_FUNCTION_LINES:
            yield f"{path}: {name} has {lines} lines"
        exempt = (
            is_command(function) or path.name == "command.py" or name in [f"{each}.__init__" for each in ESTIMATORS]
        )
        if not exempt and (count := parameters(function)) > MOST_PARAMETERS:
            yield f"{path}: {name} has {count} parameters"


MEASURED = '''
def measured(
    self, first, *, second
):
    """Say
    what."""
    # why

    def inner():
        """Tell."""

    return inner
'''
"""A function of five lines of code and two parameters."""


def test_the_measure() -> None:
    (name, function), _ = functions(ast.parse(MEASURED))
    assert (name, code_lines(function, MEASURED.splitlines()), parameters(function)) == ("measured", 5, 2)


def test_no_module_or_function_is_too_large(repository: Path) -> None:
    found = [fault for path in modules(repository, *PACKAGES) for fault in too_large(path)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("package", PACKAGES)
def test_most_functions_are_short(repository: Path, package: str) -> None:
    lengths = []
    for path in modules(repository, package):
        source = path.read_text().splitlines()
        lengths += [code_lines(function, source) for _, function in functions(parsed(path))]
    assert np.percentile(lengths, 95) <= P95_FUNCTION_LINES
