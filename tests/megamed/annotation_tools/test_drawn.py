"""A tool's file and an image: which of the file's images is meant, on which planes, and what cannot be meant."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from megamed.annotation_tools import drawn
from megamed.annotation_tools.drawn import likeness, names_in, read_drawn, read_file
from megamed.readers.stored import Canvas, Geometry
from tests.tool_files import Drawing, Drawings, Region, coco, label_studio, labelme, square, yolo

SIZE = (8, 10)
BOX = square("lesion", 2, 3, 4)


def area(path: Path, canvas: Canvas) -> dict[str, int]:
    return {segment.name: int(segment.draw().sum()) for segment in read_drawn(path, canvas).segments}


@pytest.mark.parametrize(
    ("stated", "image"),
    [
        ("a.png", "x/a.png"),
        (r"C:\data\images\a.png", "elsewhere/a.png"),
        ("images/a.png", "a.png"),
        ("a.jpg", "converted/a.png"),
        ("A.PNG", "a.png"),
        ("cafe\u0301.png", "caf\u00e9.png"),
    ],
)
def test_an_image_is_found_by_its_name(tmp_path: Path, stated: str, image: str) -> None:
    coco(tmp_path, {stated: Drawing(SIZE, (BOX,)), "other.png": Drawing(SIZE)})
    assert area(tmp_path / "instances_default.json", Canvas(Path(image), SIZE)) == {"lesion": 16}


def test_folders_tell_images_of_one_name_apart(tmp_path: Path) -> None:
    coco(tmp_path, {"p1/a.png": Drawing(SIZE, (BOX,)), "p2/a.png": Drawing(SIZE, (square("lesion", 1, 1, 2),))})
    path = tmp_path / "instances_default.json"
    assert area(path, Canvas(Path("data/p1/a.png"), SIZE)) == {"lesion": 16}
    assert area(path, Canvas(Path("data/p2/a.png"), SIZE)) == {"lesion": 4}
    with pytest.raises(ValueError, match=r"images called a\.png: expected one, got p1/a\.png, p2/a\.png\. Keep"):
        read_drawn(path, Canvas(Path("a.png"), SIZE))


def test_the_more_alike_two_names_the_better() -> None:
    ways = ["x/p1/a.png", "x/p1/a.jpg", "x/a.png", "x/a.jpg"]
    found = [likeness(way, Path("x/p1/a.png")) for way in ways]
    assert sorted(found, reverse=True) == found


def test_an_image_that_is_not_mentioned_is_told(tmp_path: Path) -> None:
    coco(tmp_path, {"a.png": Drawing(SIZE, (BOX,)), "b.png": Drawing(SIZE)})
    expected = r"not mention c\.png: expected its name among those of the file's 2 images, got a\.png, b\.png\. Give"
    with pytest.raises(ValueError, match=expected):
        read_drawn(tmp_path / "instances_default.json", Canvas(Path("c.png"), SIZE))


def test_an_image_in_memory_is_the_only_one_of_a_file(tmp_path: Path) -> None:
    coco(tmp_path, {"a.png": Drawing(SIZE, (BOX,))})
    assert area(tmp_path / "instances_default.json", Canvas(None, SIZE)) == {"lesion": 16}


def test_nothing_drawn_is_an_empty_label(tmp_path: Path) -> None:
    coco(tmp_path, {"a.png": Drawing(SIZE, (BOX,)), "b.png": Drawing(SIZE)})
    found = read_drawn(tmp_path / "instances_default.json", Canvas(Path("b.png"), SIZE))
    assert (found.segments, found.is_complete, found.names) == ((), True, {1: "lesion"})


@pytest.mark.parametrize("regions", [(BOX,), ()])
def test_another_size_is_refused(tmp_path: Path, regions: tuple) -> None:
    coco(tmp_path, {"a.png": Drawing(SIZE, regions)})
    expected = r"expected \(9, 10\), got \(8, 10\)\. It stands in instances_default\.json: give it the image"
    with pytest.raises(ValueError, match=expected):
        read_drawn(tmp_path / "instances_default.json", Canvas(Path("a.png"), (9, 10)))


def test_a_volume_is_no_picture(tmp_path: Path) -> None:
    yolo(tmp_path, {"a.png": Drawing(SIZE, (BOX,))})
    with pytest.raises(ValueError, match=r"a\.txt was drawn on pictures: .* got a volume of \(4, 8, 10\)\. Save the"):
        read_drawn(tmp_path / "labels" / "a.txt", Canvas(Path("a.nii"), (4, *SIZE), Geometry(np.eye(4))))


def test_a_file_is_parsed_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    coco(tmp_path, {f"{number}.png": Drawing(SIZE, (BOX,)) for number in range(30)})
    path, calls = tmp_path / "instances_default.json", []
    monkeypatch.setattr(json, "loads", lambda text, loads=json.loads: calls.append(1) or loads(text))
    for number in range(30):
        assert area(path, Canvas(tmp_path / f"{number}.png", SIZE)) == {"lesion": 16}
    assert len(calls) == 1
    coco(tmp_path, {"0.png": Drawing(SIZE, (square("lesion", 1, 1, 2),))})
    assert area(path, Canvas(tmp_path / "0.png", SIZE)) == {"lesion": 4}


def test_a_changed_list_of_names_counts(tmp_path: Path) -> None:
    yolo(tmp_path, {"a.png": Drawing(SIZE, (BOX,))})
    assert names_in(tmp_path / "labels" / "a.txt") == {1: "lesion"}
    (tmp_path / "data.yaml").write_text("names: [melanoma]\n")
    assert names_in(tmp_path / "labels" / "a.txt") == {1: "melanoma"}


def test_an_empty_text_says_that_nothing_is_there(tmp_path: Path) -> None:
    yolo(tmp_path, {"a.png": Drawing(SIZE, (BOX,)), "b.png": Drawing(SIZE)})
    found = read_drawn(tmp_path / "labels" / "b.txt", Canvas(Path("b.png"), SIZE))
    assert (found.segments, found.is_complete) == ((), True)


def test_of_two_annotators_the_first_counts_and_the_other_is_told(tmp_path: Path) -> None:
    label_studio(tmp_path, {"a.png": Drawing(SIZE, (BOX,))})
    (path,) = tmp_path.glob("*.json")
    (task,) = json.loads(path.read_text())
    (first,) = task["annotations"]
    second = first | {"id": 2, "completed_by": 2, "result": []}
    path.write_text(json.dumps([task | {"annotations": [first, second]}]))
    found = read_drawn(path, Canvas(Path("a.png"), SIZE))
    assert [int(segment.draw().sum()) for segment in found.segments] == [16]
    assert any("annotated by 2 people" in note for note in found.notes)


def stacked(path: Path, positions: list[int]) -> Path:
    roifile = pytest.importorskip("roifile")
    rois = []
    for position in positions:
        roi = roifile.ImagejRoi.frompoints(BOX.rings[0].astype(np.float32), name="lesion")
        roi.position = position
        rois.append(roi)
    roifile.roiwrite(path, rois, name=[f"{number}" for number in range(len(rois))], mode="w")
    return path


def test_selections_lie_on_their_planes_of_a_stack(tmp_path: Path) -> None:
    found = read_drawn(stacked(tmp_path / "a_RoiSet.zip", [2, 3]), Canvas(Path("a.tif"), (4, *SIZE)))
    (segment,) = found.segments
    assert segment.draw().sum(axis=(1, 2)).tolist() == [0, 16, 16, 0]


@pytest.mark.parametrize(
    ("positions", "shape", "reason"),
    [
        ([0], (4, *SIZE), "does not tell the planes of its shapes: expected one of 4"),
        ([5], (4, *SIZE), "expected planes 1 to 4, got 5"),
        ([1, 2], SIZE, "expected planes 1 to 1, got 2"),
    ],
)
def test_planes_that_are_not_there_are_refused(
    tmp_path: Path, positions: list[int], shape: tuple[int, ...], reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        read_drawn(stacked(tmp_path / "a_RoiSet.zip", positions), Canvas(Path("a.tif"), shape))


def test_a_file_of_no_tool_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"a": 1}')
    with pytest.raises(ValueError, match=r"a\.json is no annotation: expected a file of COCO, LabelMe, .* Export"):
        read_file(tmp_path / "a.json")


def test_remarks_name_their_file(tmp_path: Path) -> None:
    labelme(tmp_path, {"a.png": Drawing(SIZE, (BOX,))})
    path = tmp_path / "a.json"
    path.write_text(path.read_text().replace('"polygon"', '"line"'))
    assert drawn.notes_in(path) == ["a.json: 1 × line left out: it has no inside"]


@pytest.mark.parametrize("write", [coco, labelme])
def test_slices_of_a_series_are_known_by_their_files(tmp_path: Path, write: Callable[[Path, Drawings], None]) -> None:
    """Whatever picture format they were converted to for the tool, and whatever order their names have."""
    files = tuple(tmp_path / f"{name}.dcm" for name in ("9", "1", "5"))
    canvas = Canvas(tmp_path, (3, *SIZE), Geometry(np.eye(4), files=files))
    write(tmp_path, {"5.png": Drawing(SIZE, (BOX,))})
    (segment,) = read_drawn(next(tmp_path.glob("*.json")), canvas).segments
    assert segment.draw().sum(axis=(1, 2)).tolist() == [0, 0, 16]
    assert np.array_equal(segment.draw()[2, 3:7, 2:6], np.ones((4, 4)))
    with pytest.raises(ValueError, match="or slices by their numbers, got a volume"):
        read_drawn(next(tmp_path.glob("*.json")), Canvas(tmp_path / "a.nii", (3, *SIZE), Geometry(np.eye(4))))


@pytest.mark.parametrize("is_stated", [True, False], ids=["COCO", "QuPath"])
def test_what_was_drawn_at_full_resolution_lies_on_a_level(tmp_path: Path, is_stated: bool) -> None:
    canvas = Canvas(Path("a.svs"), (10, 20), Geometry(full_size=(40, 80)))
    corners = [[8, 16], [40, 16], [40, 32], [8, 32], [8, 16]]
    if is_stated:
        coco(tmp_path, {"a.svs": Drawing((40, 80), (Region("cell", (np.array(corners[:-1], float),)),))})
    else:
        polygon = {"type": "Polygon", "coordinates": [corners]}
        properties = {"classification": {"name": "cell"}}
        (tmp_path / "a.geojson").write_text(
            json.dumps({"type": "Feature", "geometry": polygon, "properties": properties})
        )
    (path,) = tmp_path.iterdir()
    (segment,) = read_drawn(path, canvas).segments
    expected = np.zeros((10, 20), np.uint8)
    expected[4:8, 2:10] = 1
    assert np.array_equal(segment.draw()[0], expected)


def test_what_was_drawn_on_a_level_stays(tmp_path: Path) -> None:
    coco(tmp_path, {"a.svs": Drawing((10, 20), (square("cell", 2, 4, 4),))})
    canvas = Canvas(Path("a.svs"), (10, 20), Geometry(full_size=(40, 80)))
    assert area(tmp_path / "instances_default.json", canvas) == {"cell": 16}
