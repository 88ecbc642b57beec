"""The command line: from a folder of images to a table; wrong input ends in one line."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor
from typer.testing import CliRunner

from benchmarks.cli import app, call
from benchmarks.experiments import support_probe as probes
from benchmarks.scoring.results import read_rows
from incontext.networks.checkpoint import NAMED
from tests.benchmarks.squares import build_squares

RUNNER = CliRunner()


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_squares(tmp_path_factory.mktemp("benchmarks"), "heldout")


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
    assert {path.name for path in (tmp_path / "out").glob("[!.]*")} == {
        "costs.csv", "rows.csv", "settings.json", "summary.csv", "summary.json"
    }  # fmt: skip


def test_names_of_any_script_are_names(tmp_path: Path) -> None:
    collection = build_squares(tmp_path, "heldout", "病例", modality="磁共振", labels={"1": "كبد"})
    code, output, _ = run(collection, tmp_path / "out", "--support-size", 3, "--draws", 1, "--json")
    assert code == 0
    assert list(json.loads(output)["tasks"]) == ["squares/磁共振/2d/كبد"]
    assert {row.case for row in read_rows(tmp_path / "out/rows.csv")} == {f"病例{case}" for case in range(6)}
    for command in ("compare", "subgroups"):
        assert bench(command, tmp_path / "out")[0] == 0
    assert bench("report", tmp_path / "out", "--collection", collection)[0] == 0
    assert "كبد" in (tmp_path / "out/report.html").read_text(encoding="utf-8")


def test_json_is_the_summary_and_compare_agrees(collection: Path, tmp_path: Path) -> None:
    _, output, _ = run(collection, tmp_path / "out", "--support-size", 3, "--draws", 2, "--json")
    summary = json.loads(output)
    assert summary == json.loads((tmp_path / "out/summary.json").read_text())
    code, output, _ = bench("compare", tmp_path / "out", "--reference", "mean-mask", "--json")
    assert code == 0
    compared = json.loads(output)
    assert compared["overall"] == summary["overall"]
    assert compared["difference"]["reference"] == "mean-mask"


def test_several_sizes_go_to_folders_of_one_run(collection: Path, tmp_path: Path) -> None:
    sizes = ("--support-size", 1, "--support-size", 3, "--draws", 2, "--ensemble", 2, "--query-subjects", "test")
    code, output, _ = run(collection, tmp_path / "out", *sizes, "--json")
    assert code == 0
    assert [summary["settings"]["support_size"] for summary in json.loads(output)] == [1, 3]
    for size in (1, 3):
        summary = json.loads((tmp_path / "out" / f"S{size}" / "summary.json").read_text())
        assert summary["counts"]["mean-mask-x2"]["label_budget"] == 2 * size
        assert summary["settings"]["query_subjects"] == "test"
    code, output, _ = run(collection, tmp_path / "out", *sizes)
    assert code == 0
    assert output.count("milliseconds per query") == 2
    assert output.count("n: number of subjects.") == 3  # of a table for each size, and of one for both
    assert "Mean over" in output


def test_compare_takes_ensembles(collection: Path, tmp_path: Path) -> None:
    run(collection, tmp_path / "out", "--support-size", 3, "--draws", 2, "--ensemble", 2)
    code, output, _ = bench("compare", tmp_path / "out", "--json")
    assert code == 0
    assert set(json.loads(output)["overall"]) == {"mean-mask", "mean-mask-x2", "nearest-copy", "nearest-copy-x2"}


def test_a_failure_is_told_and_leaves_the_others(
    collection: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_predictor.py").write_text("def crash(*_):\n    return 1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    code, output, errors = run(collection, tmp_path / "out", "--predictor", "broken_predictor:crash")
    assert code == 3
    assert "mean over datasets" in output
    assert "failed broken_predictor:crash on squares/drawing/2d/square: ZeroDivisionError: division by zero" in errors


class Flood(torch.nn.Module):
    """Finds everything foreground, whatever the support says."""

    def __init__(self) -> None:
        super().__init__()
        self.logit = torch.nn.Parameter(torch.ones(1))

    def encode_support(self, support_images: Tensor, support_labels: Tensor) -> None:
        pass

    def segment(self, query_images: Tensor, code: None) -> Tensor:
        return self.logit.expand_as(query_images)


def test_probe_fails_a_network_that_ignores_its_support(collection: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probes, "load_network", lambda path, device: Flood())
    asked = ("probe", "--collection", collection, "--suite", "heldout", "--device", "cpu")
    code, output, _ = bench(*asked)
    assert code == 3
    assert "fail: it does not read its support\n  inverted support labels do not invert the mask" in output
    assert "foreground and background exchanged" in output
    code, output, _ = bench(*asked, "--json")
    assert code == 3
    result = json.loads(output)
    assert (result["passes"], len(result["objections"]), result["scores"]["restored"]) == (False, 1, 0)
    assert result["scores"]["true"] == result["scores"]["shuffled"] > 0


@pytest.mark.parametrize("name", ["default", "open"])
def test_probe_knows_networks_by_name(collection: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    loaded: list[Path] = []
    monkeypatch.setattr(probes, "load_network", lambda path, device: (loaded.append(path), Flood())[1])
    bench("probe", "--collection", collection, "--suite", "heldout", "--device", "cpu", "--weights", name)
    assert loaded == [NAMED[name]]


def test_probe_of_a_suite_without_tasks_ends_in_one_line(collection: Path) -> None:
    code, _, errors = bench("probe", "--collection", collection, "--device", "cpu")
    assert code == 1
    assert errors.startswith("Error: The collection has no task of suite 'dev': expected a dataset of role dev")


def test_list_names_suites_and_tasks(collection: Path) -> None:
    code, output, _ = bench("list", "--collection", collection)
    assert code == 0
    assert "heldout: datasets of role heldout" in output
    assert "squares/drawing/2d/square" in output


def test_a_frozen_list_runs_as_the_settings_do(collection: Path, tmp_path: Path) -> None:
    asked = ("--support-size", 3, "--draws", 2)
    code, told, _ = bench("freeze", "--collection", collection, "--out", tmp_path / "list.json", *asked)
    assert code == 0
    plan_hash = json.loads((tmp_path / "list.json").read_text())["plan_hash"]
    assert told.replace("\n", " ").endswith(f"list.json: plan {plan_hash}, 1 tasks, 12 queries with their supports ")
    run(collection, tmp_path / "asked", *asked)
    code, output, _ = run(collection, tmp_path / "listed", "--list", tmp_path / "list.json")
    assert code == 0
    assert plan_hash in output
    assert (tmp_path / "asked/rows.csv").read_bytes() == (tmp_path / "listed/rows.csv").read_bytes()
    assert plan_hash in bench("compare", tmp_path / "asked", tmp_path / "listed")[1]
    code, _, errors = run(collection, tmp_path / "listed", "--list", tmp_path / "list.json", *asked)
    assert code == 1
    assert "The list decides what is scored: expected none of the options above --list, got some." in errors


def test_shared_supports_reach_run_and_list(collection: Path, tmp_path: Path) -> None:
    asked = ("--support-size", 3, "--draws", 2, "--query-subjects", "test", "--supports", "shared")
    code, _, _ = run(collection, tmp_path / "out", *asked)
    assert code == 0
    assert json.loads((tmp_path / "out/settings.json").read_text())["supports"] == "shared"
    rows = read_rows(tmp_path / "out" / "rows.csv")
    assert len({(row.draw, row.support_hash) for row in rows}) == 2
    assert "supports shared" in bench("report", tmp_path / "out", "--format", "markdown")[1]
    bench("freeze", "--collection", collection, "--out", tmp_path / "list.json", *asked)
    plan_hash = json.loads((tmp_path / "list.json").read_text())["plan_hash"]
    assert plan_hash == json.loads((tmp_path / "out/settings.json").read_text())["plan_hash"]


def test_subgroups_are_tabulated(collection: Path, tmp_path: Path) -> None:
    run(collection, tmp_path / "out", "--support-size", 3, "--draws", 2)
    lines = [f"squares,case{case},{'old' if case % 2 else 'young'}" for case in range(6)]
    (tmp_path / "people.csv").write_text("\n".join(["dataset,subject,age", *lines]))
    asked = ("subgroups", tmp_path / "out", "--by", "anatomy", "--by", "age", "--attributes", tmp_path / "people.csv")
    code, output, _ = bench(*asked, "--collection", collection)
    assert code == 0
    assert "Dice by anatomy" in output
    code, output, _ = bench(*asked, "--collection", collection, "--json")
    groups = {table["attribute"]: [group["name"] for group in table["groups"]] for table in json.loads(output)}
    assert groups == {"anatomy": ["other"], "age": ["old", "young"]}
    assert "Dice by size" in bench("subgroups", tmp_path / "out")[1]
    code, _, errors = bench(*asked)
    assert code == 1
    assert errors.startswith(
        "Error: Unknown attribute: expected one of size, size-in-task, modality, age, got 'anatomy'."
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--suite", "held-out"), "Unknown suite"),
        (("--suite", "dev"), "no task of suite 'dev'"),
        (("--draws", "0"), "draws is too small"),
        (("--ensemble", "2"), "draws do not make whole ensembles: expected a multiple of 2, got 5. Use --draws 6."),
        (("--query-subjects", "val"), "Unknown query subjects: expected one of all, test, got 'val'"),
        (("--supports", "shared"), "expected queries of test subjects, got those of all. Use --query-subjects test."),
        (("--predictor", "oracle"), "Unknown predictor"),
        (("--device", "abacus"), "Device 'abacus'"),
        (("--collection", "missing"), "missing is not a collection"),
    ],
)
def test_bad_input_ends_in_one_line(collection: Path, tmp_path: Path, arguments: tuple[str, str], message: str) -> None:
    code, output, errors = run(collection, tmp_path / "out", *arguments)
    assert (code, output) == (1, "")
    assert errors.startswith("Error: ")
    assert message in errors
    assert errors.count("\n") == 1


def test_a_command_that_is_called_by_its_words_gives_its_exit_status(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert [call(words) for words in (["list"], ["list", "nothing"], ["compare", str(tmp_path / "none")])] == [0, 2, 1]
    assert "heldout" in capsys.readouterr().out
