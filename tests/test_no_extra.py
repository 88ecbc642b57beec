"""What is installed without any extra starts all programs, and says of what it lacks which extra that is."""

import json
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HIDING = """
import json
import sys
from importlib.machinery import PathFinder
find, hidden = PathFinder.find_spec, json.loads(sys.argv[1])
PathFinder.find_spec = lambda name, *where: None if name.partition(".")[0] in hidden else find(name, *where)
del sys.argv[:2]
"""
PROGRAM = f"""{HIDING}
from importlib import import_module
import_module(f"{{sys.argv[0]}}.cli").app()
"""
MODULE = f"""{HIDING}
import runpy
runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
"""


@pytest.fixture(scope="module")
def hidden(repository: Path) -> str:
    """Names, as JSON, of all installed packages that no dependency brings along."""
    project = tomllib.loads((repository / "pyproject.toml").read_text())["project"]
    wanted, found = list(project["dependencies"]), set()
    while wanted:
        needed = Requirement(wanted.pop())
        name = canonicalize_name(needed.name)
        if name not in found and (needed.marker is None or needed.marker.evaluate({"extra": ""})):
            found.add(name)
            wanted += metadata.requires(name) or ()
    every = metadata.packages_distributions().items()
    others = [name for name, brought_by in every if found.isdisjoint(map(canonicalize_name, brought_by))]
    return json.dumps(sorted(set(others) - {"incontext", "megamed", "benchmarks", "tests"}))


def called(program: str, hidden: str, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program, hidden, *words], capture_output=True, text=True)


@pytest.mark.parametrize(
    "words",
    [
        "incontext info",
        "megamed list",
        *(f"benchmarks list {name}" for name in ("suites", "predictors", "experiments")),
    ],
)
def test_programs_start(hidden: str, words: str) -> None:
    done = called(PROGRAM, hidden, *words.split())
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    ("program", "words", "extra"),
    [
        (PROGRAM, "incontext annotate FOLDER --example --no-browser", "page"),
        (PROGRAM, "incontext serve --port 0", "nninteractive"),
        (MODULE, "incontext.page.label_studio_backend my.task FOLDER", "page"),
    ],
    ids=["annotate", "serve", "label-studio"],
)
def test_what_is_missing_is_told_in_a_line(hidden: str, program: str, words: str, extra: str, tmp_path: Path) -> None:
    done = called(program, hidden, *words.replace("FOLDER", str(tmp_path / "none")).split())
    (line,) = done.stderr.splitlines()
    assert done.returncode == 1
    assert line.endswith(f'Run: pip install "incontext-seg[{extra}]"')
    assert not list(tmp_path.iterdir())
