"""A predictor is known by all of a user's that decides its answers, and by nothing else."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.predictors import load_predictor, source_identity
from benchmarks.predictors.source_identity import identity_of, project_sources
from megamed.files import sha256_of

PREDICT = "def p(query_images, support_images, support_labels):\n    return query_images\n"
PROJECT = {
    "pack/__init__.py": "",
    "pack/model.py": f"import numpy, json, torch\nfrom . import parts\n{PREDICT}",
    "pack/parts/__init__.py": "from .blocks import block\n",
    "pack/parts/blocks.py": "def block():\n    import lazy_helper\n    from importlib import import_module\n"
    "    return import_module('lazier_helper')\n",
    "lazy_helper.py": "import pack.model\n",
    "lazier_helper.py": "",
    "unrelated.py": "",
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package, the working directory, and a folder on Python's path with modules that functions import."""
    for name, text in PROJECT.items():
        path = tmp_path / ("work" if name.startswith("pack") else "elsewhere") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path / "work")
    monkeypatch.syspath_prepend(tmp_path / "elsewhere")
    monkeypatch.syspath_prepend(tmp_path / "work")
    monkeypatch.setattr("benchmarks.predictors.source_identity._imported", {})
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("pack", "lazy_helper", "mine")]:
        del sys.modules[name]


def identity() -> str:
    """Identity as a new process would find it."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("pack", "mine")]:
        del sys.modules[name]
    source_identity._imported.clear()
    importlib.invalidate_caches()
    return load_predictor("pack.model:p").fingerprint


def test_the_modules_of_the_project_count_wherever_they_are_imported(project: Path) -> None:
    module = importlib.import_module("pack.model")
    assert set(project_sources(module)) == {
        *("pack", "pack.model", "pack.parts", "pack.parts.blocks"), "lazy_helper", "lazier_helper"
    }  # fmt: skip


@pytest.mark.parametrize("name", [name for name in PROJECT if name != "unrelated.py"])
def test_a_change_of_any_of_them_makes_another_predictor(project: Path, name: str) -> None:
    before = identity()
    (path,) = project.glob(f"*/{name}")
    path.write_text(f"{path.read_text()}# changed\n")
    assert identity() != before


def test_nothing_else_counts(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity()
    (project / "elsewhere/unrelated.py").write_text("changed = True\n")
    (project / "work/pack/notes.txt").write_text("changed")
    assert identity() == before
    (project / "work").rename(project / "moved")
    monkeypatch.chdir(project / "moved")
    monkeypatch.syspath_prepend(project / "moved")
    assert identity() == before


def test_a_module_by_itself_is_known_by_its_file_as_before(project: Path) -> None:
    (project / "work/mine.py").write_text(f"import torch\n{PREDICT}")
    assert load_predictor("mine:p").fingerprint == sha256_of(project / "work/mine.py")


@pytest.mark.parametrize("declared", ["weights_files = ['w.pt']", "p.weights_files = 'w.pt'", "weights_files = ['.']"])
def test_declared_files_count_by_content(project: Path, declared: str) -> None:
    """Size and time of a file may stay while its content changes."""
    weights = project / "work/pack/w.pt"
    weights.write_bytes(b"aaaa")
    with (project / "work/pack/model.py").open("a") as file:
        file.write(declared + "\n")
    before, times = identity(), weights.stat()
    weights.write_bytes(b"bbbb")
    os.utime(weights, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert identity() != before


def test_a_declared_file_that_is_missing_is_named(project: Path) -> None:
    with (project / "work/pack/model.py").open("a") as file:
        file.write("weights_files = ['gone.pt']\n")
    with pytest.raises(ValueError, match=r"weights_files of pack\.model names no file: .* got 'gone\.pt'"):
        load_predictor("pack.model:p")


def test_a_process_that_runs_an_older_version_says_so(project: Path) -> None:
    module = importlib.import_module("pack.model")
    identity_of(module, module.p)
    (project / "work/pack/parts/blocks.py").write_text("# changed\n")
    with pytest.raises(ValueError, match=r"blocks\.py was changed after it was imported: .* Start Python"):
        identity_of(module, module.p)


def test_an_import_that_is_broken_or_absent_stops_nothing(project: Path) -> None:
    (project / "elsewhere/lazy_helper.py").write_text("def (:\n")
    (project / "elsewhere/lazier_helper.py").unlink()
    assert len(identity()) == 64
