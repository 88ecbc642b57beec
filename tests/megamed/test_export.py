"""What is exported is what the collection holds, and what we can build again is the same again."""

import csv
import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from megamed import Collection
from megamed.build import BuildReport
from megamed.export import export


@pytest.fixture
def built(make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path) -> Path:
    """Five subjects; the ring was annotated for all but p3."""
    make_dataset(5, annotated={"ring": ["p0", "p1", "p2", "p4"]}, role="heldout", anatomy="paper")
    build_folder(make_dataset(2, "data/other", id="other").parent)
    return tmp_path / "out"


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_npz_holds_the_arrays(built: Path, tmp_path: Path) -> None:
    assert export(built, tmp_path / "new", "npz") == [
        "drawn-ct-drawn-2d.npz: 10 images",
        "other-ct-drawn-2d.npz: 4 images",
    ]
    with np.load(tmp_path / "new" / "drawn-ct-drawn-2d.npz") as arrays, Collection(built) as collection:
        (disc,) = (task for task in collection.tasks(["drawn"]) if task.label == "disc")
        samples = collection.samples(disc)
        assert arrays["subject"].tolist() == [sample.subject for sample in samples]
        assert arrays["split"].tolist() == [sample.split for sample in samples]
        assert np.array_equal(arrays["images"], collection.images(disc, range(10)))
        assert np.array_equal(arrays["labels/disc"], collection.labels(disc, range(10)))
        assert (arrays["areas/ring"] == -1).tolist() == [subject == "p3" for subject in arrays["subject"]]


def test_png_folders_build_the_same_tasks(
    built: Path, build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    export(built, tmp_path / "new", "png", ["drawn"])
    report = build_folder(tmp_path / "new", tmp_path / "again")
    assert report.complete, report.lines()
    with Collection(built) as first, Collection(tmp_path / "again") as second:
        (name,) = second.datasets
        assert (second.card(name).role, second.card(name).anatomy) == ("heldout", "paper")
        for task in first.tasks(["drawn"]):
            same = task.model_copy(update={"dataset": name})
            assert second.samples(same) == first.samples(task)
            rows = [sample.row for sample in first.samples(task)]
            assert np.array_equal(second.labels(same, rows), first.labels(task, rows))


def test_nnunet_holds_label_maps(built: Path, tmp_path: Path) -> None:
    lines = export(built, tmp_path / "new", "nnunet", ["drawn"])
    folder = tmp_path / "new" / "Dataset001_drawn_ct_drawn_2d"
    assert lines == [
        f"{folder.name}: 8 images, 2 left out, since a label is unknown on them, "
        "unions and single annotators left out: both-of-them"
    ]
    facts = json.loads((folder / "dataset.json").read_text())
    assert facts["labels"] == {"background": 0, "disc": 1, "ring": 2}
    assert (facts["channel_names"], facts["file_ending"]) == ({"0": "rescale_to_0_1"}, ".png")
    assert facts["numTraining"] == len(list((folder / "imagesTr").iterdir()))
    cases = table(folder / "cases.csv")
    (folds,) = json.loads((folder / "splits_final.json").read_text())
    with Collection(built) as collection:
        disc, ring = (task for task in collection.tasks(["drawn"]) if task.label in ("disc", "ring"))
        for sample in collection.samples(ring):
            (case,) = (case for case in cases if case["case"] == sample.case)
            part = "Ts" if sample.split == "test" else "Tr"
            label = read(folder / f"labels{part}" / f"{case['file']}.png")
            image = read(folder / f"images{part}" / f"{case['file']}_0000.png")
            assert np.array_equal(image, collection.image(ring, sample.row))
            assert np.array_equal(label == 2, collection.label(ring, sample.row) == 1)
            assert np.array_equal(
                label > 0, (collection.label(ring, sample.row) | collection.label(disc, sample.row)) == 1
            )
            assert (case["file"] in folds.get(sample.split, [])) == (sample.split != "test")


def draw_apart(root: Path, masks: Mapping[str, np.ndarray]) -> None:
    """Give every image of a dataset the same masks, each class in a folder of its own."""
    for name, mask in masks.items():
        (root / "labels" / name).mkdir()
        for image in (root / "images").iterdir():
            Image.fromarray(mask).save(root / "labels" / name / image.name)
    for label in (root / "labels").glob("*.png"):
        label.unlink()


def test_nnunet_tells_of_edges_that_labels_share(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    files = {"label": "labels/{class}/{case}"}
    root = make_dataset(3, labels={1: "left", 2: "right"}, derived_labels={}, files=files)
    masks = {name: np.zeros((24, 24), np.uint8) for name in ("left", "right")}
    masks["left"][2:22, 0:13], masks["right"][2:22, 12:24] = 255, 255
    draw_apart(root, masks)
    assert build_folder(root, size_px=24).complete
    (line,) = export(tmp_path / "out", tmp_path / "new", "nnunet")
    assert line.endswith(": 6 images, 120 pixels at edges that labels share are of the smaller label alone")


@pytest.mark.parametrize("names", [("organ", "tumour"), ("tumour", "organ")])
def test_nnunet_keeps_a_tumour_in_an_organ(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path, names: tuple[str, str]
) -> None:
    """Whichever comes first on the card, the masks of both can be read back from the map."""
    files = {"label": "labels/{class}/{case}"}
    root = make_dataset(3, labels=dict(enumerate(names, start=1)), derived_labels={}, files=files)
    masks = {name: np.zeros((24, 24), np.uint8) for name in names}
    masks["organ"][4:20, 4:20], masks["tumour"][8:12, 8:12] = 255, 255
    draw_apart(root, masks)
    assert build_folder(root, size_px=24).complete
    (line,) = export(tmp_path / "out", tmp_path / "new", "nnunet")
    folder = tmp_path / "new" / "Dataset001_drawn_ct_drawn_2d"
    assert line == f"{folder.name}: 6 images, labels are regions, since {' and '.join(names)} overlap"
    facts = json.loads((folder / "dataset.json").read_text())
    assert facts["labels"] == {"background": 0, "organ": [1, 2], "tumour": 2}
    assert list(facts["labels"]) == ["background", "organ", "tumour"], "nnU-Net paints them in this order"
    assert facts["regions_class_order"] == [1, 2]
    for path in folder.glob("labels*/*.png"):
        for name, mask in masks.items():
            assert np.array_equal(np.isin(read(path), facts["labels"][name]), mask > 0)


@pytest.mark.parametrize("consensus", [None, "b"])
def test_several_annotators_stay_apart(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path, consensus: str | None
) -> None:
    """What they agreed on is derived again, or was drawn and stays what it is."""
    facts = {"labels": {"1": "disc"}, "derived_labels": {}, "files": {"positive_above": 0}}
    root = make_dataset(2, layout="table", consensus=consensus, **facts)
    lines = ["image,label,subject,annotator"]
    for subject in range(2):
        for view, annotator in ("aa", "ab", "bb"):
            lines.append(f"images/p{subject}_{view}.png,labels/p{subject}_{view}.png,p{subject},{annotator}")
    (root / "cases.csv").write_text("\n".join(lines))
    assert build_folder(root).complete
    export(tmp_path / "out", tmp_path / "new", "png")
    report = build_folder(tmp_path / "new", tmp_path / "again")
    assert report.complete, report.lines()
    with Collection(tmp_path / "out") as first, Collection(tmp_path / "again") as second:
        assert [task.label for task in second.tasks()] == [task.label for task in first.tasks()]
        assert [task.label for task in first.tasks()] == ["disc", "disc-by-a", "disc-by-b"][: 2 if consensus else 3]
        for before, after in zip(first.tasks(), second.tasks(), strict=True):
            assert second.samples(after) == first.samples(before)


def test_nothing_is_overwritten(built: Path) -> None:
    with pytest.raises(ValueError, match="is not empty"):
        export(built, built, "png")


def test_unknown_dataset_is_refused_before_anything_is_written(built: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Did you mean 'drawn'"):
        export(built, tmp_path / "new", "png", ["drown"])
    assert not (tmp_path / "new").exists()
