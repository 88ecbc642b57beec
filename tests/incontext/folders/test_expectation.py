"""What a folder's labelled images let one expect, by file name."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from typer.testing import CliRunner

from incontext import Segmenter
from incontext.cli import app
from incontext.folders.expectation import PICTURE, Expectation, expect_of_folder, expectation_of, picture
from incontext.folders.segment_folder import SegmentOptions, segment_folder


class Thresholder(nn.Module):
    """Finds what is bright in the query, whatever the support shows."""

    def forward(self, query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
        return 20 * (query_images - 0.5)


def segmenter() -> Segmenter:
    return Segmenter(Thresholder(), size_px=32, device="cpu")


def write_folder(folder: Path, count: int = 6, swapped: tuple[int, int] | None = (1, 4)) -> Path:
    """Bright discs named c0, c1 …, of which two labels may be swapped, and one more image without a label."""
    rows, columns = np.mgrid[:40, :40]
    labels = [(rows - 20) ** 2 + (columns - 6 - 5 * i) ** 2 < 40 for i in range(count + 1)]
    order = list(range(count))
    if swapped:
        order[swapped[0]], order[swapped[1]] = swapped[::-1]
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for i, label in enumerate(labels):
        Image.fromarray((50 + 150 * label).astype(np.uint8)).save(folder / "images" / f"c{i}.png")
    for i, source in enumerate(order):
        Image.fromarray(labels[source].astype(np.uint8)).save(folder / "labels" / f"c{i}.png")
    return folder


def test_examples_that_look_wrong_are_called_by_their_files(tmp_path: Path) -> None:
    found = expect_of_folder(segmenter(), write_folder(tmp_path))
    assert found is not None
    assert {*found.suspects} == {"c1.png", "c4.png"}
    lines = list(found.lines())
    assert lines[0].startswith(f"Expect a Dice of about {found.dice[1]:.2f} ± ")
    assert lines[1] == f"Look at the label of {found.suspects[0]}: the other labelled images contradict it."


def test_examples_of_a_saved_task_are_numbered(tmp_path: Path) -> None:
    fitted = segmenter()
    expect_of_folder(fitted, write_folder(tmp_path))
    found = expectation_of(fitted)
    assert found is not None
    assert {*found.suspects} == {"Labelled image 2", "Labelled image 5"}


def test_a_plane_of_a_stack_is_named_beside_its_file() -> None:
    rng, rows = np.random.default_rng(0), np.mgrid[:32, :32][0]
    labels = np.stack([(rows > 4 + 2 * i) & (rows < 14 + 2 * i) for i in range(6)]).astype(np.uint8)
    images = (50 + 150 * labels + rng.integers(0, 5, labels.shape)).astype(np.uint8)
    labels[[1, 4]] = labels[[4, 1]]
    found = expectation_of(segmenter().fit([images[0], images[1:]], [labels[0], labels[1:]]), ["a.tif", "b.tif"])
    assert found is not None
    assert {*found.suspects} == {"b.tif, plane 0", "b.tif, plane 3"}


def test_too_few_examples_and_unusable_ones_let_nothing_be_expected(tmp_path: Path) -> None:
    assert expect_of_folder(segmenter(), write_folder(tmp_path / "few", 3, None)) is None
    empty = write_folder(tmp_path / "empty", 4, None)
    for path in (empty / "labels").iterdir():
        Image.fromarray(np.zeros((40, 40), np.uint8)).save(path)
    assert expect_of_folder(segmenter(), empty) is None


def test_a_run_begins_with_what_is_expected_and_draws_what_is_contradicted(tmp_path: Path) -> None:
    folder, out, told = write_folder(tmp_path / "in"), tmp_path / "out", []

    def track(pairs):
        assert len(told) == 4
        assert told[-1] == f"Drawn in {out / PICTURE}: what is contradicted, and what the others say."
        return pairs

    segment_folder(segmenter(), folder, None, out, track, SegmentOptions(tell=told.append))
    written = json.loads((out / "summary.json").read_text())["expected"]
    assert {*written["suspects"]} == {"c1.png", "c4.png"}
    assert written["dice"]["1"] == pytest.approx(written["interval"]["1"][0], abs=1)
    with Image.open(out / PICTURE) as picture:
        assert picture.size[0] > 3 * 160


def test_a_quiet_run_tells_all_but_its_progress(tmp_path: Path) -> None:
    arguments = ["segment", "--support", str(write_folder(tmp_path / "in")), "--out"]
    loud, quiet = (
        CliRunner().invoke(app, [*arguments, str(tmp_path / "out"), "--overwrite", *more]) for more in ([], ["--quiet"])
    )
    assert "Look at the label of c1.png: the other labelled images contradict it." in quiet.stderr.splitlines()
    assert {line for line in loud.stderr.splitlines() if "Segmenting" not in line} - {""} == {
        *quiet.stderr.splitlines()
    }
    assert loud.stdout == quiet.stdout


def test_a_picture_of_an_earlier_run_does_not_stay(tmp_path: Path) -> None:
    folder, out = write_folder(tmp_path / "in"), tmp_path / "out"
    segment_folder(segmenter(), folder, None, out)
    clean = write_folder(tmp_path / "clean", swapped=None)
    segment_folder(segmenter(), clean, None, out, options=SegmentOptions(overwrite=True))
    assert not (out / PICTURE).exists()


def test_check_tells_what_to_expect_and_its_exit_status_is_of_files_alone(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    result = CliRunner().invoke(app, ["check", str(folder)])
    assert result.exit_code == 0, result.output
    said = " ".join(CliRunner().invoke(app, ["check", "--help"], env={"COLUMNS": "200"}).output.split())
    assert "Exit status: 0 if nothing looks wrong with the files, whatever labels are contradicted, 3 if" in said
    assert "Expect a Dice of about 0." in result.stdout
    assert "Look at the label of c1.png: the other labelled images contradict it." in result.stdout
    alone = CliRunner().invoke(app, ["check", str(folder), "--no-expect"])
    assert result.stdout.startswith(alone.stdout)
    assert "Expect" not in alone.stdout
    as_json = json.loads(CliRunner().invoke(app, ["check", str(folder), "--json"]).stdout)
    assert {*as_json["expected"]["suspects"]} == {"c1.png", "c4.png"}
    assert torch.tensor(as_json["expected"]["interval"]["1"]).shape == (2,)


def test_an_image_that_probably_lacks_the_class_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("incontext.inference.presence.IMPROBABLE", 1.1)
    folder, out = write_folder(tmp_path / "in", swapped=None), tmp_path / "out"
    arguments = ["segment", "--support", folder, "--out", out, "--absent", "suppress", "--quiet"]
    result = CliRunner().invoke(app, [*map(str, arguments)])
    assert "Probably without label 1: c6.png." in result.stdout.splitlines()
    (report,) = json.loads((out / "summary.json").read_text())["images"]
    assert (report["absent"], report["area_px"]) == ([1], {"1": 0})


def test_classes_that_share_pixels_are_expected_as_segment_finds_them(tmp_path: Path) -> None:
    """One structure that is drawn twice, as its cells and as their mask, is told to be one."""
    folder = write_folder(tmp_path, swapped=None)
    (folder / "labels").rename(folder / "mask binary")
    (folder / "label cells").mkdir()
    for path in (folder / "mask binary").iterdir():
        Image.fromarray(np.asarray(Image.open(path)) * np.uint8(7)).save(folder / "label cells" / path.name)
    found = expect_of_folder(segmenter(), folder)
    assert found is not None
    assert len(found.dice) == 2
    assert min(found.dice.values()) > 0.9
    twins, overlap, *_ = found.lines()
    assert twins.startswith("Note: binary and cells cover the same pixels in all labels: one structure under two names")
    assert overlap == "Note: binary and cells share pixels in the labels: each class has a mask of its own."


def test_a_forgotten_label_is_told_in_words() -> None:
    found = Expectation({}, {}, ["c7.png", "c1.png"], [7, 1], {1: "1", 2: "liver"}, forgotten={"c7.png": 2})
    assert list(found.lines()) == [
        "Look at the label of c7.png: it says that there is no liver, and the other labelled images find one.",
        "Look at the label of c1.png: the other labelled images contradict it.",
    ]


def test_an_empty_label_of_an_image_that_shows_the_class_is_named_and_drawn(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "in", count=8, swapped=None)
    Image.fromarray(np.zeros((40, 40), np.uint8)).save(folder / "labels" / "c3.png")
    found = expect_of_folder(fitted := Segmenter(), folder)
    assert found is not None
    assert (found.suspects, found.forgotten) == (["c3.png"], {"c3.png": 1})
    _, label, mask = fitted.judgement.by_others(found.numbers[0])
    assert not label.any()
    assert mask.any()
    assert picture(fitted, found) is not None


def test_classes_without_names_are_called_by_their_label() -> None:
    found = Expectation({1: 0.9, 2: 0.8}, {1: (0.8, 1.0), 2: (0.7, 0.9)}, [], [], {1: "1", 2: "liver"})
    first, second = found.lines()
    assert first.startswith("Expect a Dice for label 1 of about 0.90")
    assert second.startswith("Expect a Dice for liver of about 0.80")
