"""The directions of imports, and what an import may cost."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGES = ("megamed", "incontext", "benchmarks")

MAY_IMPORT = {
    ("incontext", "megamed"): {"episodes.py", "train.py", "cases.py", "medical.py", "cli.py"},
    ("benchmarks", "incontext"): {
        *("predictors", "experiments", "perf"),
        *("probe.py", "study.py", "pace.py", "variants.py", "volumes.py", "cli.py"),
    },
    ("benchmarks", "megamed"): None,
}
"""Which files of a package may import a sibling; None allows all, what is not named here is forbidden."""


def modules(repository: Path, package: str) -> list[Path]:
    return sorted((repository / package).rglob("*.py"))


def imported_packages(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module or "")
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("package", PACKAGES)
def test_siblings_are_imported_where_allowed(repository: Path, package: str) -> None:
    for path in modules(repository, package):
        for sibling in imported_packages(path) & (set(PACKAGES) - {package}):
            allowed = MAY_IMPORT.get((package, sibling), set())
            place = path.relative_to(repository / package).parts[0]
            assert allowed is None or place in allowed, f"{path} imports {sibling}"


def test_megamed_knows_no_torch(repository: Path) -> None:
    assert not [path for path in modules(repository, "megamed") if "torch" in imported_packages(path)]


def test_one_module_knows_hdf5(repository: Path) -> None:
    users = [
        path.relative_to(repository)
        for package in PACKAGES
        for path in modules(repository, package)
        if "h5py" in imported_packages(path) and path.parent.name != "perf"  # they measure what else HDF5 can do
    ]
    assert users == [Path("megamed/collection.py")]


@pytest.mark.parametrize("package", PACKAGES)
def test_every_module_opens_with_its_responsibility(repository: Path, package: str) -> None:
    for path in modules(repository, package):
        assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"


@pytest.mark.parametrize("package", PACKAGES)
def test_help_is_fast_and_free_of_torch(repository: Path, package: str) -> None:
    program = f"""
import sys, time
import {package}
from {package}.cli import app
sys.argv = [{package!r}, "--help"]
try:
    app()
except SystemExit as exit:
    assert not exit.code
assert "torch" not in sys.modules, "torch was imported"
assert time.process_time() < 0.5, f"took {{time.process_time():.2f}} s of processor time"
"""
    subprocess.run([sys.executable, "-c", program], cwd=repository, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("package", PACKAGES)
def test_help_of_every_command_is_free_of_torch(repository: Path, package: str) -> None:
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
    assert "torch" not in sys.modules, f"{{name}} imports torch"
"""
    subprocess.run([sys.executable, "-c", program], cwd=repository, check=True, stdout=subprocess.DEVNULL)
