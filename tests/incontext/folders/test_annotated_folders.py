"""Folders that annotation tools left: checked, segmented and scored as those with masks, by the names of classes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from incontext import Segmenter
from incontext.cli import app
from incontext.folders.check_folder import check_folder
from incontext.folders.class_names import read_classes
from incontext.folders.segment_folder import SegmentOptions, segment_folder
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from megamed.annotation_tools.tools import TOOLS
from megamed.path_templates import Templates
from tests.tool_files import WRITERS, Drawing, coco, label_files, labelme, square, write_images

SIZE = (24, 30)
EXAMPLES = {
    "a.png": Drawing(SIZE, (square("organ", 2, 2, 18), square("lesion", 8, 8, 6))),
    "b.png": Drawing(SIZE, (square("organ", 4, 3, 18),)),
}
BARE = {"c.png": Drawing(SIZE), "d.png": Drawing(SIZE)}


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8)), size_px=32)


@pytest.mark.parametrize("tool", WRITERS)
def test_a_folder_is_checked_and_the_rest_segmented(tmp_path: Path, segmenter: Segmenter, tool: str) -> None:
    folder = tmp_path / "data"
    write_images(folder, EXAMPLES | BARE)
    WRITERS[tool](folder, EXAMPLES)
    lines = list(check_folder(folder).lines())
    assert lines[0].startswith("2 labelled and 2 bare images (4 PNG); ")
    assert lines[0].endswith(f"({tool}).") or tool == "napari"
    told = {line.split(":")[0]: line for line in lines}
    assert "in 2 images, 45.00% of their pixels" in told["Label organ"]
    assert "in 1 images, 5.00% of their pixels" in told["Label lesion"]
    summary = segment_folder(segmenter, folder, None, tmp_path / "out")
    assert [*summary.support] == ["a.png", "b.png"]
    assert sorted(summary.classes.values()) == ["lesion", "organ"]
    assert [report.file for report in summary.images] == ["c.png", "d.png"]
    assert not summary.failures


def test_queries_are_scored_by_the_names_of_classes(tmp_path: Path, segmenter: Segmenter) -> None:
    write_images(tmp_path / "support", EXAMPLES)
    coco(tmp_path / "support", EXAMPLES)
    query = {"q.png": Drawing(SIZE, (square("organ", 2, 2, 18), square("nodule", 20, 20, 2)))}
    write_images(tmp_path / "query", query)
    labelme(tmp_path / "query", query)  # where organ is the second class, and nobody looked for lesions
    summary = segment_folder(segmenter, tmp_path / "support", tmp_path / "query", tmp_path / "out")
    assert not summary.failures
    (report,) = summary.images
    mask = np.array(Image.open(tmp_path / "out" / "masks" / "organ" / "q.png"))
    value = next(value for value, name in summary.classes.items() if name == "organ")
    drawn = np.zeros(SIZE, bool)
    drawn[2:20, 2:20] = True
    expected = 2 * np.count_nonzero(drawn & (mask == value)) / (drawn.sum() + np.count_nonzero(mask == value))
    assert report.dice is not None
    assert report.dice[value] == pytest.approx(expected)


def test_other_classes_are_told_by_name(tmp_path: Path, segmenter: Segmenter) -> None:
    write_images(tmp_path / "support", EXAMPLES)
    coco(tmp_path / "support", EXAMPLES)
    write_images(tmp_path / "query", {"q.png": Drawing(SIZE, (square("nodule", 2, 2, 4),))})
    labelme(tmp_path / "query", {"q.png": Drawing(SIZE, (square("nodule", 2, 2, 4),))})
    summary = segment_folder(segmenter, tmp_path / "support", tmp_path / "query", tmp_path / "out")
    assert any("expected names ('lesion', 'organ'), got ('nodule',)" in each for each in summary.warnings)


def test_the_file_of_all_labels_is_named(tmp_path: Path, segmenter: Segmenter) -> None:
    write_images(tmp_path / "images", EXAMPLES | BARE)
    coco(tmp_path, EXAMPLES)
    options = SegmentOptions(templates=Templates(label=str(tmp_path / "instances_default.json")))
    summary = segment_folder(segmenter, tmp_path / "images", None, tmp_path / "out", options=options)
    assert [report.file for report in summary.images] == ["c.png", "d.png"]


def test_one_file_is_given_for_all_images(tmp_path: Path, segmenter: Segmenter) -> None:
    write_images(tmp_path, EXAMPLES)
    coco(tmp_path, EXAMPLES)
    segmenter.fit([tmp_path / name for name in EXAMPLES], tmp_path / "instances_default.json")
    assert segmenter.fitted.names == {1: "lesion", 2: "organ"}
    assert segmenter.fitted.pool.labels.shape[:2] == (2, 2)


@pytest.mark.parametrize("tool", WRITERS)
def test_a_file_is_opened_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, segmenter: Segmenter, tool: str
) -> None:
    write_images(tmp_path / "data", EXAMPLES | BARE)
    WRITERS[tool](tmp_path / "data", EXAMPLES)
    (key,) = (name for name, each in TOOLS.items() if each.title == tool)
    read = []
    original = TOOLS[key].read
    monkeypatch.setitem(TOOLS[key].__dict__, "read", lambda path: read.append(path) or original(path))
    segment_folder(segmenter, tmp_path / "data", None, tmp_path / "out")
    assert sorted(read) == sorted({*label_files(tmp_path / "data", "a.png"), *label_files(tmp_path / "data", "b.png")})


def test_what_does_not_fit_is_a_problem(tmp_path: Path) -> None:
    write_images(tmp_path, EXAMPLES)
    coco(tmp_path, {name: Drawing((12, 15), drawing.regions) for name, drawing in EXAMPLES.items()})
    found = check_folder(tmp_path)
    assert any(
        "expected (24, 30), got (12, 15). It stands in instances_default.json" in each for each in found.problems
    )


def test_an_image_on_which_nothing_was_drawn_is_told(tmp_path: Path) -> None:
    write_images(tmp_path, EXAMPLES)
    coco(tmp_path, EXAMPLES | {"b.png": Drawing(SIZE)})
    found = check_folder(tmp_path)
    assert any("1 of 2 labels are empty, such as instances_default.json for b.png" in each for each in found.problems)


@pytest.mark.parametrize(
    "tool", [name for name in WRITERS if any(t.title == name and t.many_images for t in TOOLS.values())]
)
def test_images_that_a_tool_lists_before_anybody_drew_on_them_are_segmented(
    tmp_path: Path, segmenter: Segmenter, tool: str
) -> None:
    images = EXAMPLES | BARE | {"e.png": Drawing(SIZE)}
    write_images(tmp_path / "data", images)
    WRITERS[tool](tmp_path / "data", images)
    found = check_folder(tmp_path / "data")
    assert (found.labelled, found.bare) == (2, 3)
    expected = "draws nothing on 3 of 5 images, such as c.png: they are taken for not annotated yet"
    assert any(expected in note for note in found.notes)
    summary = segment_folder(segmenter, tmp_path / "data", None, tmp_path / "out")
    assert [report.file for report in summary.images] == ["c.png", "d.png", "e.png"]


@pytest.mark.parametrize("damage", [lambda text: text[:-30], lambda text: text.replace('"images"', '"pictures"')])
def test_a_damaged_file_is_one_line(tmp_path: Path, damage: object) -> None:
    write_images(tmp_path, EXAMPLES)
    coco(tmp_path, EXAMPLES)
    path = tmp_path / "instances_default.json"
    path.write_text(damage(path.read_text()))  # type: ignore[operator]
    for command in (["check", str(tmp_path)], ["segment", "--support", str(tmp_path), "--out", str(tmp_path / "out")]):
        result = CliRunner().invoke(app, command)
        assert result.exit_code == 1
        (line,) = result.output.strip().splitlines()
        assert line.startswith("Error: instances_default.json ")


SNAP = """\
# ITK-SnAP Label Description File
    0     0    0    0        0  0  0    "Clear Label"
    3   255    0    0        1  1  1    "left kidney"
"""
TABLE = "# Color table file\n0 Background 0 0 0 0\n3 left_kidney 128 174 128 255\n"


@pytest.mark.parametrize(("name", "text"), [("labels.txt", SNAP), ("colours.ctbl", TABLE)])
def test_a_list_names_the_values_of_label_maps(tmp_path: Path, segmenter: Segmenter, name: str, text: str) -> None:
    write_images(tmp_path / "images", EXAMPLES)
    (tmp_path / "labels").mkdir()
    for image in EXAMPLES:
        label = np.zeros(SIZE, np.uint8)
        label[4:12, 4:12] = 3
        Image.fromarray(label).save(tmp_path / "labels" / image)
    (tmp_path / "labels" / name).write_text(text)
    assert [each.name for each in check_folder(tmp_path).classes] == ["left kidney"]
    segmenter.fit(
        [tmp_path / "images" / image for image in EXAMPLES], [tmp_path / "labels" / image for image in EXAMPLES]
    )
    assert segmenter.fitted.names == {3: "left kidney"}
    assert read_classes(str(tmp_path / "labels" / name)) == {3: "left kidney"}


def test_the_one_file_of_many_images_is_parsed_once(tmp_path: Path) -> None:
    drawings = {f"{number:04}.png": Drawing((4, 4), (square("cell", 1, 1, 2),)) for number in range(300)}
    coco(tmp_path, drawings)
    for name in drawings:
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / name)
    parsed: list[str] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json, "loads", lambda text, loads=json.loads: parsed.append(text) or loads(text))
        assert check_folder(tmp_path).labelled == 300
    assert len(parsed) == 1
