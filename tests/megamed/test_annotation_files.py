"""Folders in which annotation tools saved labels: each image has its own, and one that is not mentioned has none."""

from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from PIL import Image

from incontext.images.examples import Examples
from megamed.annotation_files import ToolFiles, named_file
from megamed.pairing import find_pairs
from megamed.path_templates import Templates
from tests.tool_files import (
    WRITERS,
    Drawing,
    coco,
    cvat,
    imagej,
    label_files,
    labelme,
    napari,
    qupath,
    square,
    write_images,
    yolo,
)

SIZE = (8, 10)
BOX = square("lesion", 2, 3, 4)
DRAWINGS = {"a.png": Drawing(SIZE, (BOX,)), "b.png": Drawing(SIZE, (BOX,))}
BARE = {"c.png": Drawing(SIZE)}


def labels_in(folder: Path, templates: Templates | None = None) -> dict[str, dict[str, list[str]]]:
    found = find_pairs(folder, templates)
    return {
        pair.name: {name: [path.name for path in paths] for name, paths in pair.labels.items()} for pair in found.pairs
    }


@pytest.mark.parametrize("tool", WRITERS)
@pytest.mark.parametrize("subfolder", ["", "images"])
def test_images_have_the_labels_that_a_tool_saved(tmp_path: Path, tool: str, subfolder: str) -> None:
    write_images(tmp_path / subfolder, DRAWINGS | BARE)
    WRITERS[tool](tmp_path / subfolder, DRAWINGS)
    found = find_pairs(tmp_path)
    assert {pair.image.name: [*pair.labels.values()] for pair in found.pairs} == {
        "a.png": [tuple(label_files(tmp_path, "a.png"))],
        "b.png": [tuple(label_files(tmp_path, "b.png"))],
        "c.png": [],
    }
    assert found.arrangement.endswith(f"({tool})")
    assert not found.notes


def test_labels_in_a_folder_of_their_own(tmp_path: Path) -> None:
    write_images(tmp_path / "images", DRAWINGS | BARE)
    (tmp_path / "rois").mkdir()
    imagej(tmp_path / "rois", DRAWINGS)
    found = labels_in(tmp_path)
    assert found == {"a.png": {"": ["a_RoiSet.zip"]}, "b.png": {"": ["b_RoiSet.zip"]}, "c.png": {}}


def test_yolo_has_a_folder_for_each_split(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write_images(tmp_path / "images" / split, {"a.png": DRAWINGS["a.png"]})
        (tmp_path / "labels" / split).mkdir(parents=True)
        (tmp_path / "labels" / split / "a.txt").write_text("0 0.1 0.1 0.6 0.2 0.5 0.8\n")
    found = {pair.name: pair.labels[""] for pair in find_pairs(tmp_path).pairs}
    assert found == {f"{split}/a.png": (tmp_path / "labels" / split / "a.txt",) for split in ("train", "val")}


def test_lists_of_names_are_no_labels(tmp_path: Path) -> None:
    write_images(tmp_path / "images", DRAWINGS)
    yolo(tmp_path, DRAWINGS)
    (tmp_path / "labels" / "classes.txt").write_text("")
    assert not find_pairs(tmp_path).notes


def test_classes_in_files_of_their_own(tmp_path: Path) -> None:
    drawings = {name: Drawing(SIZE, (BOX, square("organ", 1, 1, 6))) for name in ("a.png", "b.png")}
    write_images(tmp_path, drawings)
    napari(tmp_path, drawings)
    assert labels_in(tmp_path) == {
        f"{name}.png": {"lesion": [f"{name}_lesion.csv"], "organ": [f"{name}_organ.csv"]} for name in "ab"
    }


def test_label_maps_come_first(tmp_path: Path) -> None:
    write_images(tmp_path / "images", DRAWINGS)
    write_images(tmp_path / "masks", {"a.png": Drawing(SIZE)})
    labelme(tmp_path / "images", DRAWINGS)
    assert labels_in(tmp_path) == {"a.png": {"": ["a.png"]}, "b.png": {"": ["b.json"]}}


def test_each_split_has_a_file(tmp_path: Path) -> None:
    for split in ("train", "valid"):
        write_images(tmp_path / split, {"a.png": Drawing(SIZE)})
        coco(tmp_path / split, {"a.png": Drawing(SIZE, (BOX,))})
    found = {pair.name: pair.labels[""][0].parent.name for pair in find_pairs(tmp_path).pairs}
    assert found == {"train/a.png": "train", "valid/a.png": "valid"}


def test_a_file_is_called_as_the_folder_of_its_images(tmp_path: Path) -> None:
    for split in ("train2017", "val2017"):
        write_images(tmp_path / split, {"a.png": Drawing(SIZE)})
        coco(tmp_path, {"a.png": Drawing(SIZE, (BOX,))})
        (tmp_path / "instances_default.json").rename(tmp_path / f"instances_{split}.json")
    found = {pair.name: pair.labels[""][0].name for pair in find_pairs(tmp_path).pairs}
    assert found == {f"{split}/a.png": f"instances_{split}.json" for split in ("train2017", "val2017")}


def test_a_name_of_several_images_is_refused(tmp_path: Path) -> None:
    for patient in ("p1", "p2"):
        write_images(tmp_path / patient, {"a.png": Drawing(SIZE)})
    coco(tmp_path, {"a.png": Drawing(SIZE, (BOX,))})
    with pytest.raises(ValueError, match=r"mentions a\.png, which may be any of several images: .* got .*p1"):
        find_pairs(tmp_path)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    write_images(tmp_path, DRAWINGS)
    coco(tmp_path, DRAWINGS)
    path = tmp_path / "instances_default.json"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(ValueError, match=r"^instances_default\.json is no JSON: expected a whole document, .* Export"):
        find_pairs(tmp_path)


def test_what_is_not_used_is_told(tmp_path: Path) -> None:
    write_images(tmp_path, DRAWINGS)
    coco(tmp_path, DRAWINGS | {"gone.png": Drawing(SIZE)})
    cvat(tmp_path, DRAWINGS)
    labelme(tmp_path, {"other.png": Drawing(SIZE)})
    notes = find_pairs(tmp_path).notes
    assert any(
        "instances_default.json mentions 1 images that have no file, such as gone.png." in note for note in notes
    )
    assert any(
        "instances_default.json is left out for 2 images that have another label, such as a.png, whose is annotations"
        in note
        for note in notes
    )
    assert any("other.json" in note for note in notes)


def test_a_renamed_file_states_its_image(tmp_path: Path) -> None:
    write_images(tmp_path, DRAWINGS)
    labelme(tmp_path, {"a.png": DRAWINGS["a.png"]})
    (tmp_path / "a.json").rename(tmp_path / "reviewed by me.json")
    assert labels_in(tmp_path) == {"a.png": {"": ["reviewed by me.json"]}, "b.png": {}}


def test_a_template_chooses_files_of_a_tool(tmp_path: Path) -> None:
    write_images(tmp_path / "pics", DRAWINGS)
    (tmp_path / "round2").mkdir()
    labelme(tmp_path / "pics", DRAWINGS)
    labelme(tmp_path / "round2", {"a.png": DRAWINGS["a.png"]})
    found = find_pairs(tmp_path, Templates("pics/{case}", "round2/{case}"))
    assert [pair.labels for pair in found.pairs] == [{"": (tmp_path / "round2" / "a.json",)}, {}]


@pytest.mark.parametrize("where", ["inside", "elsewhere"])
def test_the_file_of_all_labels_is_named(tmp_path: Path, where: str) -> None:
    write_images(tmp_path / "images", DRAWINGS)
    write_images(tmp_path / "masks", DRAWINGS)
    folder = tmp_path / "images" if where == "inside" else tmp_path.parent
    coco(folder, {"a.png": DRAWINGS["a.png"]})
    path = folder / "instances_default.json"
    label = "images/instances_default.json" if where == "inside" else str(path)
    found = find_pairs(tmp_path, Templates(label=label))
    assert {pair.name: pair.labels for pair in found.pairs} == {"a.png": {"": (path,)}, "b.png": {}}
    assert found.arrangement.endswith("(COCO)")


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"labels are not found: expected a path with {case} or .* got 'none\.json'"):
        named_file(tmp_path, "none.json")
    assert named_file(tmp_path, "labels/{case}.json") is None
    assert Templates("x/{case}", "none.json").elsewhere(tmp_path) == Templates("x/{case}")


def test_ordinary_files_are_passed_over(tmp_path: Path) -> None:
    write_images(tmp_path, DRAWINGS)
    for name in ("notes.txt", "settings.json", "table.csv", "page.xml", "old.zip"):
        (tmp_path / name).write_text("something else")
    found = find_pairs(tmp_path)
    assert not found.labelled
    assert not found.notes
    tools = ToolFiles.among(tmp_path, [PurePosixPath(name) for name in ("notes.txt", "old.zip")])
    assert not tools.beside
    assert not tools.common


def test_of_two_tools_that_annotate_an_image_the_one_with_more_images_is_used(tmp_path: Path) -> None:
    write_images(tmp_path, DRAWINGS)
    labelme(tmp_path, DRAWINGS)
    qupath(tmp_path, {"a.png": DRAWINGS["b.png"]})
    found = find_pairs(tmp_path)
    assert [pair.labels for pair in found.pairs] == [{"": (tmp_path / f"{name}.json",)} for name in "ab"]
    assert found.notes == ("a.geojson (QuPath) is left out, for LabelMe annotates its image too, and no fewer images.",)


def test_what_a_tool_saved_for_an_image_with_a_label_map_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    write_images(tmp_path, DRAWINGS)
    Image.new("L", (SIZE[1], SIZE[0])).save(tmp_path / "a_mask.png")
    labelme(tmp_path, DRAWINGS)
    found = find_pairs(tmp_path)
    assert [pair.files[1].name for pair in found.pairs] == ["a_mask.png", "b.json"]
    assert found.notes == ("a.json is left out, for its image has another label.",)


def test_a_file_that_names_its_classes_lies_beside_files_of_each_class(tmp_path: Path) -> None:
    write_images(tmp_path, DRAWINGS)
    for name in ("Organ", "vessel"):
        (tmp_path / "labels" / name).mkdir(parents=True)
        Image.new("L", (SIZE[1], SIZE[0])).save(tmp_path / "labels" / name / "a.png")
    drawn = Drawing(SIZE, (square("organ", 2, 2, 5), square("nodule", 9, 9, 3)))
    labelme(tmp_path, {"b.png": drawn})
    path = tmp_path / "b.json"
    assert find_pairs(tmp_path).pairs[1].labels == {"Organ": (path,), "nodule": (path,)}


def test_folders_of_people_are_no_classes_where_files_name_theirs(tmp_path: Path) -> None:
    write_images(tmp_path / "images", DRAWINGS)
    for who in ("anna", "bob"):
        (tmp_path / who).mkdir()
        labelme(tmp_path / who, DRAWINGS)
    found = find_pairs(tmp_path)
    assert [pair.labels for pair in found.pairs] == [{"": (tmp_path / f"anna/{name}.json",)} for name in "ab"]
    assert found.notes == (
        "bob/a.json is left out, for another annotator's label of its image is used, and so are 1 others.",
    )


def test_files_of_different_classes_go_together(tmp_path: Path) -> None:
    write_images(tmp_path / "images", DRAWINGS)
    for name in ("lesion", "organ"):
        (tmp_path / name).mkdir()
        labelme(tmp_path / name, {"a.png": Drawing(SIZE, (square(name, 1, 1, 3),))})
    found = find_pairs(tmp_path)
    assert found.pairs[0].labels == {"": (tmp_path / "lesion/a.json", tmp_path / "organ/a.json")}
    assert not found.notes


def test_a_damaged_file_beside_an_image_loses_no_other(tmp_path: Path) -> None:
    write_images(tmp_path, DRAWINGS)
    labelme(tmp_path, DRAWINGS)
    path = tmp_path / "a.json"
    path.write_text(path.read_text()[:-20])
    assert [pair.files[1].name for pair in find_pairs(tmp_path).pairs] == ["a.json", "b.json"]


@pytest.mark.parametrize(("write", "files"), [(coco, 1), (labelme, 2)])
def test_pictures_of_slices_are_drawn_on_a_volume(
    tmp_path: Path, write: Callable[[Path, Mapping[str, Drawing]], None], files: int
) -> None:
    nibabel = pytest.importorskip("nibabel")
    for name in ("scan", "other"):
        nibabel.save(nibabel.Nifti1Image(np.zeros((10, 8, 4), np.uint8), np.eye(4)), tmp_path / f"{name}.nii.gz")
    write(tmp_path, {f"scan_{number:03}.png": Drawing(SIZE, (BOX,)) for number in (1, 2)})
    found = find_pairs(tmp_path)
    assert {pair.name: len(pair.labels.get("", ())) for pair in found.pairs} == {
        "other.nii.gz": 0,
        "scan.nii.gz": files,
    }
    assert not found.notes
    (pair,) = found.labelled
    (example,) = Examples([pair.image], [pair.labels[""]])
    assert sorted(example.shown) == [1, 2]
    assert example.masks[1].sum() == 2 * 16


def test_regions_that_name_no_image_are_those_of_the_only_one(tmp_path: Path) -> None:
    imagej(tmp_path, {"a.png": DRAWINGS["a.png"]})
    (saved,) = (path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".png")
    saved.rename(tmp_path / "RoiSet.zip")
    write_images(tmp_path, {"a.png": DRAWINGS["a.png"]})
    assert labels_in(tmp_path) == {"a.png": {"": ["RoiSet.zip"]}}
    write_images(tmp_path, BARE)
    assert labels_in(tmp_path) == {"a.png": {}, "c.png": {}}
    assert "RoiSet.zip does not tell which of 2 images it is for: call it as its image, such as a_RoiSet.zip." in (
        find_pairs(tmp_path).notes
    )
