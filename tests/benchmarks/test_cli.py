"""The command line: from a folder of images to a table; wrong input ends in one line."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from benchmarks.cli import app
from megamed.build import BuildOptions, build
from megamed.standardise import Standard

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A held-out dataset of six bright squares, built as a user would."""
    root = tmp_path_factory.mktemp("benchmarks")
    for folder in ("images", "labels"):
        (root / "squares" / folder).mkdir(parents=True)
    card = {"id": "squares", "role": "heldout", "modality": "drawing", "labels": {"1": "square"}, "license": "CC0"}
    (root / "squares" / "meta.json").write_text(json.dumps(card))
    for case in range(6):
        label = np.zeros((32, 32), np.uint8)
        label[4 + 2 * case : 16 + 2 * case, 8:20] = 1
        Image.fromarray(label).save(root / "squares" / "labels" / f"case{case}.png")
        Image.fromarray(label * 200 + 10).save(root / "squares" / "images" / f"case{case}.png")
    with ThreadPoolExecutor(1) as executor:
        build(root, root / "collection", BuildOptions(Standard(size_px=32)), executor, lambda *_: None)
    return root / "collection"


def bench(*arguments: object) -> tuple[int, str, str]:
    result = RUNNER.invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def run(collection: Path, out: Path, *arguments: object) -> tuple[int, str, str]:
    baselines = ("--predictor", "nearest-copy", "--predictor", "mean-mask")
    return bench("run", "--collection", collection, "--out", out, "--device", "cpu", *baselines, *arguments)


def test_run_prints_a_table_and_writes_the_files(collection: Path, tmp_path: Path) -> None:
    code, output, _ = run(collection, tmp_path / "out", "--support-size", 3, "--draws", 2)
    assert code == 0
    assert "mean over datasets" in output
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "rows.csv", "settings.json", "summary.csv", "summary.json"
    }  # fmt: skip


def test_json_is_the_summary_and_compare_agrees(collection: Path, tmp_path: Path) -> None:
    _, output, _ = run(collection, tmp_path / "out", "--support-size", 3, "--draws", 2, "--json")
    summary = json.loads(output)
    assert summary == json.loads((tmp_path / "out/summary.json").read_text())
    code, output, _ = bench("compare", tmp_path / "out", "--reference", "mean-mask", "--json")
    assert code == 0
    compared = json.loads(output)
    assert compared["overall"] == summary["overall"]
    assert compared["difference"]["reference"] == "mean-mask"


def test_list_names_suites_and_tasks(collection: Path) -> None:
    code, output, _ = bench("list", "--collection", collection)
    assert code == 0
    assert "heldout: datasets of role heldout" in output
    assert "squares/drawing/2d/square" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--suite", "held-out"), "Unknown suite"),
        (("--suite", "dev"), "no task of suite 'dev'"),
        (("--draws", "0"), "draws is too small"),
        (("--predictor", "oracle"), "Unknown predictor"),
        (("--device", "abacus"), "Device 'abacus'"),
        (("--collection", "missing"), "missing is not a collection"),
    ],
)
def test_bad_input_ends_in_one_line(collection: Path, tmp_path: Path, arguments: tuple[str, str], message: str) -> None:
    code, output, errors = run(collection, tmp_path / "out", *arguments)
    assert (code, output) == (1, "")
    assert errors.startswith("error: ")
    assert message in errors
    assert errors.count("\n") == 1


def test_help_does_not_import_torch(repository: Path) -> None:
    code = (
        "import sys; from typer.testing import CliRunner; from benchmarks.cli import app; "
        "[CliRunner().invoke(app, [*c, '--help'], catch_exceptions=False) for c in ([], ['run'], ['compare'])]; "
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=repository, check=False).returncode == 0
