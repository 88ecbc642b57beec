"""Commands, their exit codes and their one-line errors."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from megamed.build import BuildReport
from megamed.cli import app
from megamed.manifest import read_manifest

RUNNER = CliRunner()


def megamed(*arguments: object) -> tuple[int, str, str]:
    result = RUNNER.invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def test_from_folder_to_picture(make_dataset: Callable[..., Path], out: Path) -> None:
    root = make_dataset(3, role="heldout")
    code, stdout, _ = megamed("build", root, "--out", out, "--size", 16, "--workers", 1, "--quiet")
    assert code == 0
    assert "1 datasets: 1 built; 3 subjects, 6 images." in stdout
    assert megamed("verify", out)[:2] == (0, "No problem found.\n")
    assert "drawn" in megamed("list", out)[1]
    assert json.loads(megamed("list", out, "--role", "dev", "--json")[1]) == []
    (row,) = json.loads(megamed("list", out, "--role", "heldout", "--json")[1])
    assert (row["dataset"], row["subjects"], row["tasks"], row["samples"]) == ("drawn", 3, 3, 18)
    assert megamed("preview", out, "--out", out.parent / "preview", "--dataset", "drawn")[0] == 0
    assert (out.parent / "preview" / "drawn.png").stat().st_size > 0


def test_names_of_any_script_are_names(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], out: Path
) -> None:
    """A modality, labels and cases that no letter of English is in; the good dataset beside one without any stays."""
    names = {"modality": "磁共振", "labels": {"1": "肝", "2": "كبد"}, "derived_labels": {"печень": [1, 2]}}
    root = make_dataset(3, **names, subject_pattern="^(.+)_")
    for path in root.glob("*/*.png"):
        path.rename(path.with_name(f"病例{path.name}"))
    make_dataset(1, "data/odd", id="odd", labels={"1": "🫁"}, derived_labels={})
    report = build_folder(root.parent)
    assert report.datasets["drawn"].subjects == 3
    assert "name has no letters: expected letters or digits of any script, got '🫁'" in report.datasets["odd"].reason
    for command in ("verify", "list"):
        assert megamed(command, out)[0] == 0
    code, stdout, _ = megamed("audit", out, "--json")
    assert (code, json.loads(stdout)["images"]) == (0, 6)
    for form in ("png", "npz", "nnunet"):
        assert megamed("export", out, "--out", out.parent / form, "--format", form)[0] == 0
    (table,) = (out.parent / "png").glob("*/cases.csv")
    assert ",病例p0_a,病例p0," in table.read_text(encoding="utf-8")
    assert megamed("preview", out, "--out", out.parent / "preview")[0] == 0


def test_a_file_name_that_is_no_text_is_told(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport]
) -> None:
    root = make_dataset(2)
    for folder in ("images", "labels"):
        (root / folder / "p0_a.png").rename(os.fsdecode(os.fsencode(root / folder) + b"/p0_\xff.png"))
    report = build_folder(root)
    assert report.datasets["drawn"].subjects == 2
    assert "has no name: expected text in UTF-8" in str(report.datasets["drawn"].rejected)


def test_build_options_reach_the_build(make_dataset: Callable[..., Path], out: Path) -> None:
    make_dataset(2)
    root = make_dataset(1, "data/closed", id="closed", license="unknown").parent
    standard = ("--size", 16, "--fit", "stretch", "--label-resize", "nearest", "--every-nth", 2)
    code, stdout, _ = megamed("build", root, "--out", out, *standard, "--licence", "open", "--workers", 1, "--quiet")
    assert (code, "1 built" in stdout, "not open: closed." in stdout) == (0, True, True)
    (entry,) = read_manifest(out).datasets.values()
    assert entry.provenance is not None
    expected = {"size_px": 16, "fit": "stretch", "label_resize": "nearest", "every_nth": 2}
    assert entry.provenance.standard == expected
    code, _, stderr = megamed("build", root, "--out", out, "--size", 16, "--only", "drwn")
    assert (code, "Did you mean 'drawn'" in stderr) == (1, True)


def test_one_file_can_be_verified_and_exported(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], out: Path
) -> None:
    build_folder(make_dataset(1))
    (file,) = out.glob("*.h5")
    assert megamed("verify", file)[0] == 0
    code, stdout, _ = megamed("export", file, "--out", out.parent / "arrays", "--format", "npz")
    assert (code, stdout) == (0, "drawn-ct-drawn-2d.npz: 2 images\n")
    code, _, stderr = megamed("export", file, "--out", out.parent / "arrays", "--format", "npz")
    assert (code, "is not empty" in stderr) == (1, True)


def test_rejection_shows_in_the_exit_code(make_dataset: Callable[..., Path], out: Path) -> None:
    root = make_dataset(2)
    (root / "labels" / "p0_a.png").unlink()
    code, stdout, _ = megamed("build", root, "--out", out, "--size", 16, "--workers", 1, "--quiet")
    assert code == 3
    assert "rejected drawn, subject p0: case 'p0_a' is not a pair: expected one label, got none." in stdout
    assert "p0" in (out / "build_report.json").read_text()


def test_damage_shows_in_the_exit_code(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], out: Path
) -> None:
    build_folder(make_dataset(1))
    next(out.glob("*.h5")).unlink()
    code, stdout, _ = megamed("verify", out)
    assert code == 1
    assert "is missing" in stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ("build", "nowhere", "--out", "out"),
        ("build", ".", "--out", "out"),
        ("list", "."),
        ("verify", "."),
        ("preview", "."),
        ("audit", "."),
        ("init", "."),
        ("init", "nowhere"),
        ("download", "file:///etc/hostname", "--sha256", "0", "--out", "out"),
    ],
)
def test_bad_input_is_one_line(arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, stdout, stderr = megamed(*arguments)
    assert (code, stdout.strip()) == (1, "")
    assert stderr.startswith("Error: ")
    assert stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_own_folder_becomes_a_collection(make_dataset: Callable[..., Path], out: Path) -> None:
    root = make_dataset(3)
    (root / "meta.json").unlink()
    code, _, stderr = megamed("build", root, "--out", out)
    assert (code, stderr.strip().endswith("`megamed init` writes one.")) == (1, True)
    code, stdout, _ = megamed("init", root)
    assert code == 0
    assert "check: 6 cases of 3 subjects" in stdout
    assert megamed("init", root)[0] == 1
    assert megamed("init", root, "--force")[0] == 0
    assert megamed("build", root, "--out", out, "--size", 16, "--workers", 1, "--quiet")[0] == 0


def test_leak_shows_in_the_exit_code(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], out: Path
) -> None:
    root = make_dataset(3)
    build_folder(root)
    code, stdout, _ = megamed("audit", out)
    assert code == 0
    assert "few subjects: drawn: 3 labels with 3" in stdout
    shutil.copy(root / "images" / "p0_a.png", root / "images" / "p1_a.png")
    build_folder(root)
    code, stdout, _ = megamed("audit", out, "--json", "--enough-subjects", 3)
    assert code == 3
    assert [pair["second"]["case"] for pair in json.loads(stdout)["duplicates"]] == ["p1_a"]
    assert json.loads(stdout)["scarce"] == {}


def test_damaged_manifest_is_one_line(out: Path) -> None:
    out.mkdir()
    (out / "manifest.json").write_text('{"format": "megamed-9", "size_px": "large"}')
    code, _, stderr = megamed("list", out)
    assert code == 1
    assert stderr.count("\n") == 1
    assert "not a manifest of this version" in stderr


def test_help_and_import_need_no_torch(repository: Path) -> None:
    program = (
        "import sys, megamed.cli, megamed.build, megamed.preview, megamed.audit; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, cwd=repository)
    code, stdout, _ = megamed("--help")
    assert code == 0
    assert all(command in stdout for command in ("build", "list", "verify", "preview", "init", "audit"))
