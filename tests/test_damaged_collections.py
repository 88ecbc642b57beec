"""Whatever happened to a card or a collection, every command ends in a result or in one line.

`DAMAGED_FILES=200` in the environment tries so many changes of each kind of file, in place of a few.
"""

import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from benchmarks.cli import app as bench_app
from incontext.cli import app as incontext_app
from megamed.cli import app as megamed_app
from tests.benchmarks.mutations import MUTATIONS, mutated
from tests.benchmarks.squares import build_squares
from tests.incontext.test_damaged_files import TRAINING

MANY = int(os.environ.get("DAMAGED_FILES", "0")) or len(MUTATIONS)
LONGEST_SECONDS = 20


def outcome(app: typer.Typer, *arguments: object) -> tuple[int, str]:
    """Exit status and what was printed; a traceback or a hang fails the test."""
    started = time.process_time()
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert time.process_time() - started < LONGEST_SECONDS
    assert result.exception is None or isinstance(result.exception, SystemExit), repr(result.exception)
    assert result.exit_code in (0, 1, 3), result.output
    if result.exit_code == 1 and not result.stdout:
        assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    return result.exit_code, result.output


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset `squares`, and a collection of it that may be trained on; not to be changed."""
    home = tmp_path_factory.mktemp("damaged")
    build_squares(home, "train")
    (home / "small.toml").write_text(TRAINING)
    return home


@contextmanager
def one_thread(*_: object) -> Iterator[tuple[ThreadPoolExecutor, int]]:
    with ThreadPoolExecutor(1) as executor:
        yield executor, 8


def damages(path: Path) -> Iterator[int]:
    """Change a file in one way after another, and yield the number of each; at the end the file is as it was."""
    content = path.read_bytes()
    for seed in range(MANY):
        changed = mutated(content, seed)
        if changed != content:
            path.write_bytes(changed)
            yield seed
    path.write_bytes(content)


def test_damaged_cards(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("megamed.executors.open_executor", one_thread)
    shutil.copytree(home / "squares", tmp_path / "data" / "squares")
    for number in damages(tmp_path / "data" / "squares" / "meta.json"):
        built = tmp_path / str(number)
        code, told = outcome(megamed_app, "build", tmp_path / "data", "--out", built, "--size", 32, "--quiet")
        assert code in (0, 3), told
        assert outcome(megamed_app, "verify", built)[0] == 0
        outcome(incontext_app, "check", tmp_path / "data" / "squares")


@pytest.mark.parametrize("kind", ["manifest.json", "*.h5"])
def test_damaged_collections(home: Path, tmp_path: Path, kind: str) -> None:
    collection = tmp_path / "collection"
    shutil.copytree(home / "collection", collection)
    (path,) = collection.glob(kind)
    for number in damages(path):
        out = tmp_path / str(number)
        assert kind != "*.h5" or outcome(megamed_app, "verify", collection)[0] == 1
        outcome(megamed_app, "list", collection)
        outcome(megamed_app, "audit", collection)
        outcome(megamed_app, "preview", collection, "--out", out / "preview")
        outcome(megamed_app, "export", collection, "--out", out / "export", "--format", "npz")
        if number % 3:
            continue
        config = ("--config", home / "small.toml")
        outcome(incontext_app, "train", "--collection", collection, "--out", out / "run", *config)
        asked = ("--suite", "train", "--support-size", 2, "--draws", 1, "--workers", 1, "--predictor", "mean-mask")
        outcome(bench_app, "run", "--collection", collection, "--out", out / "bench", "--device", "cpu", *asked)
