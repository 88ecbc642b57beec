"""Docstrings and `--help` that can be read without the name above them."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.sources import PACKAGES, modules, parsed, statements

SHARED = "shell_options.py"
"""Options that several commands have."""
SHELL = ("cli.py", SHARED)

FRAGMENT = re.compile(
    r"(?:Of|By|As|From|For|In|On|With|Without|Per|To|At|Into|Along|Under|Among|Between|Through|Across|Over|Against"
    r"|Those|These|This|That|It|Its|They|Their|Such|Both|So|Whose|Whom|The same|Also|And|Or|But|Apart)\b"
)
"""Beginnings that lean on the name above: prepositions, conjunctions and pronouns."""
CLAUSE = re.compile(r"(?:What|How|Where|Which|Who|When|Why)\b")
"""Beginnings of clauses that circle around a noun of the field: *number of*, not how many."""
SECTION = re.compile(r"^(?:Args|Attributes|Returns|Yields|Raises):$")
ENTRY = re.compile(r"^    (?:\*{0,2}[a-z_]\w*: )(.+)$")
LEAST_WORDS = 3


def docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of the docstrings of a module, its classes, functions, constants and fields."""
    for node in statements(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            if text := ast.get_docstring(node):
                yield node.body[0].lineno, text
            for before, after in zip(node.body, node.body[1:], strict=False):
                match before, after:
                    case ast.Assign() | ast.AnnAssign(), ast.Expr(value=ast.Constant(value=str(text))):
                        yield after.lineno, text


def faults(text: str) -> Iterator[str]:
    """What keeps a docstring from being read by itself."""
    if FRAGMENT.match(text) or CLAUSE.match(text):
        yield f"{text.splitlines()[0]!r} begins in the middle of a sentence"
    if len(text.partition("\n\n")[0].split()) < LEAST_WORDS:
        yield f"{text.splitlines()[0]!r} is too short to tell anything"
    for entry in entries(text):
        if FRAGMENT.match(entry):
            yield f"entry {entry!r} begins in the middle of a sentence"


def entries(text: str) -> Iterator[str]:
    """What the sections of a docstring say of each argument or attribute."""
    inside = False
    for line in text.splitlines():
        if line and not line.startswith(" "):
            inside = SECTION.match(line) is not None
        elif inside and (entry := ENTRY.match(line)):
            yield entry[1]


def constants_of(tree: ast.Module) -> dict[str, ast.expr]:
    """Values of what a module assigns to names."""
    return {
        node.targets[0].id: node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
    }


def option_helps(tree: ast.Module, constants: Mapping[str, ast.expr]) -> Iterator[tuple[int, str | None]]:
    """Line and help of each option and argument of a command, which may name a constant."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("typer.Option", "typer.Argument"):
            told = {each.arg: each.value for each in node.keywords}.get("help")
            text = constants[told.id] if isinstance(told, ast.Name) else told
            yield node.lineno, str(ast.literal_eval(text)) if text else None


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("Index of the dataset in its suite.", 0),
        ("Whether a mask is empty.", 0),
        ("Of its dataset.", 1),
        ("Those that occur in it.", 1),
        ("Standard deviation.", 1),
        ("How many there are.", 1),
        ("Size of a folder.\n\nArgs:\n    folder: The folder.\n    unit: Of the size.\n", 1),
        ("Sum of numbers.\n\nThe sum\n    of: By what it counts.\n", 0),
    ],
)
def test_the_rule(text: str, number: int) -> None:
    assert len(list(faults(text))) == number


def test_docstrings_stand_by_themselves(repository: Path) -> None:
    found = [
        f"{path.relative_to(repository)}:{line}: {fault}"
        for path in modules(repository, *PACKAGES)
        for line, text in docstrings(parsed(path))
        for fault in faults(text)
    ]
    assert not found, "\n".join(found)


def test_every_option_says_what_it_does(repository: Path) -> None:
    trees = {path: parsed(path) for path in modules(repository, *PACKAGES) if path.name in SHELL}
    shared = {
        name: value for path, tree in trees.items() if path.name == SHARED for name, value in constants_of(tree).items()
    }
    for path, tree in trees.items():
        for line, text in option_helps(tree, shared | constants_of(tree)):
            assert text, f"{path}:{line} has no help"
            assert not list(faults(text)), f"{path}:{line}: {list(faults(text))}"
