"""The directions of imports, and what an import may cost."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from functools import cache
from pathlib import Path

import pytest

from tests.sources import PACKAGES, modules, parsed, statements

MAY_IMPORT = {
    "megamed": "",
    "incontext": "incontext.*",
    "incontext.images": "incontext megamed",
    "incontext.networks": "megamed",
    "incontext.synthesis": "",
    "incontext.training": "incontext.networks incontext.synthesis megamed",
    "incontext.inference": "incontext.images incontext.networks incontext.training megamed",
    "incontext.segmenter": "incontext.inference incontext.images incontext.networks megamed",
    "incontext.folders": "incontext incontext.segmenter incontext.inference incontext.images megamed",
    "incontext.page": "incontext incontext.folders incontext.segmenter incontext.inference incontext.images megamed",
    "incontext.cli": "incontext.page incontext.folders incontext.segmenter incontext.training incontext.networks "
    "megamed",
    "benchmarks": "",
    "benchmarks.plans": "megamed",
    "benchmarks.predictors": "benchmarks.plans incontext.networks incontext.training megamed",
    "benchmarks.scoring": "benchmarks.predictors benchmarks.plans incontext.networks megamed",
    "benchmarks.analysis": "benchmarks.scoring benchmarks.plans megamed",
    "benchmarks.run": "benchmarks.analysis benchmarks.scoring benchmarks.predictors benchmarks.plans megamed",
    "benchmarks.reports": "benchmarks.analysis benchmarks.scoring benchmarks.predictors benchmarks.plans "
    "incontext.networks megamed",
    "benchmarks.board": "benchmarks.reports benchmarks.analysis benchmarks.scoring benchmarks.plans megamed",
    "benchmarks.evidence": "benchmarks.options megamed",
    "benchmarks.experiments": "benchmarks.* incontext.* megamed",
    "benchmarks.messages": "megamed",
    "benchmarks.options": "",
    "benchmarks.cli": "benchmarks.* incontext.networks megamed",
    "benchmarks.perf": "benchmarks.* incontext.* megamed",
}
"""What each room may import of the others. A room is a folder, or a module that stands alone, of `incontext` or
`benchmarks`; the bare name of these is their face, `megamed` is one room, and `*` opens every room."""
COSTLY = {"torch", "numpy", "h5py", "pydantic", "jaxtyping", "PIL", "kornia", "matplotlib"}
"""Packages that `--help` can do without: each takes a tenth of a second or more to import."""


def room_of(module: str) -> str:
    package, *inner = module.split(".")
    return package if package == "megamed" or not inner else f"{package}.{inner[0]}"


@cache
def imported_modules(path: Path, repository: Path) -> set[str]:
    """All that a module imports; of `from room import module`, the module."""
    names = set()
    for node in statements(parsed(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.module, f"{path}: relative import"
            folder = repository.joinpath(*node.module.split("."))
            own = {alias.name for alias in node.names} if folder.is_dir() else set()
            inner = {name for name in own if (folder / f"{name}.py").is_file() or any(folder.glob(f"{name}/*.py"))}
            names |= {f"{node.module}.{name}" for name in inner}
            names |= {node.module} if len(inner) < len(node.names) else set()
    return names


@pytest.mark.parametrize("package", PACKAGES)
def test_rooms_are_imported_where_allowed(repository: Path, package: str) -> None:
    for path in modules(repository, package):
        room = room_of(".".join(path.relative_to(repository).with_suffix("").parts).removesuffix(".__init__"))
        allowed = MAY_IMPORT[room].split()
        for name in imported_modules(path, repository):
            other = room_of(name)
            if name.split(".")[0] in PACKAGES and other != room:
                assert other in allowed or f"{other.split('.')[0]}.*" in allowed, f"{path} imports {name}"


def test_contributing_states_the_same_rule(repository: Path) -> None:
    rows = re.findall(r"^\| `([a-z_.]+)` \| (.*) \|$", (repository / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert {room: " ".join(re.findall(r"`([^`]+)`", others)) for room, others in rows} == MAY_IMPORT


def test_no_rooms_import_each_other() -> None:
    for room, others in MAY_IMPORT.items():
        if room == "incontext":  # the face names what it offers, and imports it on first use
            continue
        rooms = {
            other for word in others.split() for other in MAY_IMPORT if word in (other, f"{other.split('.')[0]}.*")
        }
        assert not [other for other in rooms - {room} if room in MAY_IMPORT[other].split()]


def test_the_package_is_easily_taken_in(repository: Path) -> None:
    unread = ("__pycache__", "py.typed")  # the second is an empty mark for type checkers
    assert len([path for path in (repository / "incontext").iterdir() if path.name not in unread]) <= 10


def test_class_names_are_unique(repository: Path) -> None:
    homes = defaultdict(list)
    for package in PACKAGES:
        for path in modules(repository, package):
            for node in parsed(path).body:
                if isinstance(node, ast.ClassDef):
                    homes[node.name].append(path)
    assert not {name: paths for name, paths in homes.items() if len(paths) > 1}


def imported_packages(path: Path, repository: Path) -> set[str]:
    return {name.split(".")[0] for name in imported_modules(path, repository)}


def test_megamed_knows_no_torch(repository: Path) -> None:
    assert not [path for path in modules(repository, "megamed") if "torch" in imported_packages(path, repository)]


def test_one_module_knows_hdf5(repository: Path) -> None:
    users = [
        path.relative_to(repository)
        for package in PACKAGES
        for path in modules(repository, package)
        if "h5py" in imported_packages(path, repository)
        and path.parent.name != "perf"  # they measure what else HDF5 can do
    ]
    assert users == [Path("megamed/collection.py")]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_opens_with_its_responsibility(repository: Path, package: str) -> None:
    for path in modules(repository, package):
        assert ast.get_docstring(parsed(path)), f"{path} has no docstring"


@pytest.mark.parametrize("package", PACKAGES)
def test_help_imports_nothing_costly(repository: Path, package: str) -> None:
    program = f"""
import sys
import {package}
from {package}.cli import app
sys.argv = [{package!r}, "--help"]
try:
    app()
except SystemExit as exit:
    assert not exit.code
costly = {COSTLY} & set(sys.modules)
assert not costly, f"{{costly}} were imported"
"""
    subprocess.run([sys.executable, "-c", program], cwd=repository, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("package", PACKAGES)
def test_help_of_every_command_imports_nothing_costly(repository: Path, package: str) -> None:
    program = f"""
import sys
from typer.main import get_command
from typer.testing import CliRunner
from {package}.cli import app
commands = get_command(app).commands
assert len(commands) > 3
for name in commands:
    result = CliRunner().invoke(app, [name, "--help"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    costly = {COSTLY - {"pydantic"}} & set(sys.modules)  # which typer itself imports to read options
    assert not costly, f"{{name}} imports {{costly}}"
"""
    subprocess.run([sys.executable, "-c", program], cwd=repository, check=True, stdout=subprocess.DEVNULL)
