"""Datasets whose labels annotation tools saved: recognised, described by a card and built, whatever the layout."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from megamed import Collection, DatasetCard
from megamed.build import BuildReport
from megamed.labels import read_annotations
from megamed.layouts import Case, find_subjects
from megamed.pixels import read_image
from megamed.propose import propose, write_proposal
from megamed.readers.volume import stack
from tests.tool_files import WRITERS, Drawing, coco, imagej, labelme, square, write_images, yolo

SIZE = (24, 30)
DRAWINGS = {
    "a1.png": Drawing(SIZE, (square("organ", 2, 2, 18), square("lesion", 8, 8, 6))),
    "a2.png": Drawing(SIZE, (square("organ", 4, 3, 18),)),
    "a3.png": Drawing(SIZE, (square("lesion", 4, 3, 5),)),
}
BARE = {"a4.png": Drawing(SIZE)}


def cases_in(folder: Path, labels: dict[int, str], **facts: object) -> tuple[list[Case], DatasetCard]:
    card = DatasetCard.model_validate({"id": "d", "modality": "skin", "labels": labels, **facts})
    subjects = find_subjects(folder, card)
    assert not [problem for subject in subjects for problem in subject.problems]
    return [case for subject in subjects for case in subject.cases], card


def areas(case: Case, card: DatasetCard) -> dict[str, int | None]:
    """The area of each label in a case; None if it is unknown there."""
    annotation = read_annotations(case, card, read_image(case.images["skin"]))[""]
    masks = {name: annotation.union([value]) for value, name in card.labels.items()}
    return {name: None if mask is None else int(mask.sum()) for name, mask in masks.items()}


@pytest.mark.parametrize("subfolder", ["", "images"])
@pytest.mark.parametrize("tool", WRITERS)
def test_a_tool_is_recognised_and_its_card_builds(
    tmp_path: Path, build_folder: Callable[..., BuildReport], tool: str, subfolder: str
) -> None:
    root = tmp_path / "data"
    write_images(root / subfolder, DRAWINGS)
    WRITERS[tool](root / subfolder, DRAWINGS)
    proposal = propose(root)
    assert f"is what {tool} saved: it annotates 3 images" in proposal.checks[0]
    assert sorted(proposal.card.labels.values()) == ["lesion", "organ"]
    write_proposal(proposal, root)
    report = build_folder(root)
    assert report.complete, report.lines()
    with Collection(tmp_path / "out") as collection:
        shown = {task.label: sorted(each.case for each in collection.samples(task)) for task in collection.tasks()}
    assert shown == {"organ": ["a1", "a2"], "lesion": ["a1", "a3"]}


def test_labels_that_overlap_stay_whole_and_absent_ones_are_known(tmp_path: Path) -> None:
    write_images(tmp_path / "images", DRAWINGS | BARE)
    coco(tmp_path, DRAWINGS)
    cases, card = cases_in(tmp_path, {1: "lesion", 2: "organ"}, files={"label": "instances_default.json"})
    assert [case.name for case in cases] == ["a1", "a2", "a3"]
    assert [areas(case, card) for case in cases] == [
        {"lesion": 36, "organ": 324},
        {"lesion": 0, "organ": 324},
        {"lesion": 25, "organ": 0},
    ]


def test_classes_that_the_card_leaves_out_are_not_read(tmp_path: Path) -> None:
    write_images(tmp_path / "images", DRAWINGS)
    labelme(tmp_path / "images", DRAWINGS)
    cases, card = cases_in(tmp_path, {5: "organ"}, files={"label": "images/{case}.json"})
    assert areas(cases[0], card) == {"organ": 324}


def test_a_table_names_files_of_tools(tmp_path: Path) -> None:
    write_images(tmp_path, DRAWINGS)
    coco(tmp_path, DRAWINGS)
    labelme(tmp_path, {"a2.png": DRAWINGS["a2.png"]})
    lines = ["image,label", "a1.png,instances_default.json", "a2.png,a2.json"]
    (tmp_path / "cases.csv").write_text("\n".join(lines))
    cases, card = cases_in(tmp_path, {1: "organ", 2: "lesion"}, layout="table")
    assert [areas(case, card)["organ"] for case in cases] == [324, 324]


def test_lists_of_names_are_no_cases(tmp_path: Path) -> None:
    write_images(tmp_path / "images", DRAWINGS)
    yolo(tmp_path, DRAWINGS)
    (tmp_path / "labels" / "classes.txt").write_text("lesion\norgan\n")
    cases, _ = cases_in(tmp_path, {1: "organ"})
    assert len(cases) == 3


def test_selections_lie_on_the_pages_of_a_stack(tmp_path: Path) -> None:
    roifile, tifffile = pytest.importorskip("roifile"), pytest.importorskip("tifffile")
    pages = np.random.default_rng(0).integers(0, 200, (5, *SIZE), np.uint8)
    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images" / "a.tif", pages, imagej=True, metadata={"axes": "ZYX"})
    imagej(tmp_path / "images", {"a.png": Drawing(SIZE, (square("cell", 2, 3, 4),))})
    path = tmp_path / "images" / "a_RoiSet.zip"
    roi = roifile.ImagejRoi.fromfile(path)[0]
    roi.position = 2
    roifile.roiwrite(path, [roi], name=["cell"], mode="w")
    cases, card = cases_in(tmp_path, {1: "cell"}, files={"image": "images/{case}", "label": "images/{case}_RoiSet.zip"})
    image = read_image(cases[0].images["skin"])
    mask = read_annotations(cases[0], card, image)[""].union([1])
    assert mask is not None
    drawn = np.zeros((5, *SIZE), bool)
    drawn[1, 3:7, 2:6] = True
    np.testing.assert_array_equal(mask, stack(drawn.astype(np.uint8)).array > 0)
    assert image.array.shape == mask.shape


def test_images_in_folders_and_a_file_for_each_split(tmp_path: Path, build_folder: Callable[..., BuildReport]) -> None:
    root = tmp_path / "data"
    for split, (name, drawing) in zip(("train", "valid"), DRAWINGS.items(), strict=False):
        write_images(root / split, {name: drawing})
        coco(root / split, {name: drawing})
    proposal = propose(root)
    assert (proposal.card.files.image, proposal.card.files.label) == ("*/{case}", "*/instances_default.json")
    write_proposal(proposal, root)
    assert build_folder(root).datasets["data"].subjects == 2


def test_a_tool_that_saved_nothing_is_told(tmp_path: Path) -> None:
    write_images(tmp_path, BARE | DRAWINGS)
    coco(tmp_path, {name: Drawing(SIZE) for name in BARE | DRAWINGS})
    checks = propose(tmp_path).checks
    assert any("nothing is drawn in the 4 cases that were looked into" in check for check in checks)


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    write_images(tmp_path, DRAWINGS)
    labelme(tmp_path, DRAWINGS)
    path = tmp_path / "a1.json"
    path.write_text(path.read_text().replace('"polygon"', '"line"', 1))
    assert any("a1.json: 1 × line left out: it has no inside." in check for check in propose(tmp_path).checks)


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    write_images(tmp_path / "images", DRAWINGS)
    with pytest.raises(ValueError, match=r"has no labels: expected .* file annotations\.json, got none"):
        cases_in(tmp_path, {1: "organ"}, files={"label": "annotations.json"})


@pytest.mark.parametrize("template", ["annotations", "../coco.json", "{annotator}.json", "/coco.json"])
def test_only_a_file_stands_for_a_template(template: str) -> None:
    with pytest.raises(ValueError, match="template is unusable"):
        DatasetCard.model_validate({"id": "d", "modality": "skin", "files": {"label": template}})


def test_images_need_a_template() -> None:
    with pytest.raises(ValueError, match="template is unusable"):
        DatasetCard.model_validate({"id": "d", "modality": "skin", "files": {"image": "a.png", "label": "a.json"}})


def test_label_maps_beside_are_preferred(tmp_path: Path) -> None:
    write_images(tmp_path / "images", DRAWINGS)
    (tmp_path / "labels").mkdir()
    for name in DRAWINGS:
        Image.fromarray(np.eye(24, 30, dtype=np.uint8)).save(tmp_path / "labels" / name)
    labelme(tmp_path / "images", DRAWINGS)
    assert propose(tmp_path).card.labels == {1: "label"}


@pytest.mark.parametrize("where", ["labels/names.txt", "names.txt"])
def test_a_list_names_the_values_of_label_maps(
    tmp_path: Path, build_folder: Callable[..., BuildReport], where: str
) -> None:
    root = tmp_path / "data"
    write_images(root / "images", DRAWINGS)
    (root / "labels").mkdir()
    for name in DRAWINGS:
        Image.fromarray(3 * np.eye(24, 30, dtype=np.uint8)).save(root / "labels" / name)
    lines = ["# ITK-SnAP Label Description File", *(f'{n} 255 0 0 1 1 1 "kidney {n}"' for n in (2, 3))]
    (root / where).write_text("\n".join(lines) + "\n")
    proposal = propose(root)
    assert proposal.card.labels == {2: "kidney 2", 3: "kidney 3"}
    write_proposal(proposal, root)
    assert build_folder(root).complete
