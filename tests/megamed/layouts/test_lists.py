"""Layouts that list their files: nnU-Net, the Decathlon, MedSegBench, tables and BIDS."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from megamed.layouts import find_subjects
from megamed.schema import DatasetCard

Describe = Callable[..., None]
Draw = Callable[..., np.ndarray]
Prepare = Callable[..., tuple]
FACTS = {"id": "drawn", "modality": "MRI", "labels": {1: "disc", 2: "cup"}}
SHAPE = (8, 8, 8)


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 1000, (*SHAPE, 2)).astype(np.int16)


@pytest.fixture
def label() -> np.ndarray:
    array = np.zeros(SHAPE, np.uint8)
    array[:, 2:4, 4] = 1
    return array


def test_nnunet_has_a_file_per_channel(
    save_volume: Callable[..., None],
    describe: Callable[..., None],
    prepare: Prepare,
    noise: np.ndarray,
    label: np.ndarray,
) -> None:
    describe(channel_names={"0": "T1", "1": "CT"}, labels={"background": 0, "disc": 1}, file_ending=".nii.gz")
    for case in ("p_1", "p_2"):
        save_volume(f"labelsTr/{case}.nii.gz", label)
        save_volume(f"imagesTr/{case}_0000.nii.gz", noise[..., 0])
    save_volume("imagesTr/p_1_0001.nii.gz", noise[..., 1])
    save_volume("imagesTr/p_3_0000.nii.gz", noise[..., 1])
    found = prepare(layout="nnunet")
    assert {row.modality for row in found.rows} == {"mri-t1", "ct"}
    assert found.areas("p_1:4", "ct") == {"disc": 16, "cup": 0}
    assert "lacks channels" in found.problems["p_2"][0]
    assert "lacks channels" in found.problems["p_3"][0]


def test_nnunet_may_list_the_files_of_its_cases(
    tmp_path: Path,
    save_volume: Callable[..., None],
    describe: Callable[..., None],
    prepare: Prepare,
    noise: np.ndarray,
    label: np.ndarray,
) -> None:
    save_volume("scans/one.nii.gz", noise[..., 0])
    save_volume("scans/two.nii.gz", noise[..., 1])
    save_volume("drawn/by_hand.nii.gz", label)
    pair = {"images": ["scans/one.nii.gz", str(tmp_path / "scans" / "two.nii.gz")], "label": "drawn/by_hand.nii.gz"}
    cases = {"p1": pair, "p2": pair | {"label": "drawn/gone.nii.gz"}, "p3": pair | {"images": ["/etc/passwd", "/"]}}
    describe(channel_names={"0": "T1", "1": "CT"}, labels={"disc": 1}, file_ending=".nii.gz", dataset=cases)
    found = prepare(layout="nnunet")
    assert found.areas("p1:4", "mri-t1") == found.areas("p1:4", "ct") == {"disc": 16, "cup": 0}
    assert "expected one label, got none" in found.problems["p2"][0]
    assert "lacks channels" in found.problems["p3"][0]


def test_nnunet_listed_files_may_lie_in_the_dataset_beside_it(tmp_path: Path, draw: Draw, describe: Describe) -> None:
    draw("Dataset001/imagesTr/a_0000.png")
    draw("Dataset002/labelsTr/a.png", {0: 1})
    describe(
        "Dataset002",
        channel_names={"0": "x"},
        labels={"disc": 1},
        file_ending=".png",
        dataset={"a": {"images": ["../Dataset001/imagesTr/a_0000.png"], "label": "labelsTr/a.png"}},
    )
    (subject,) = find_subjects(tmp_path / "Dataset002", DatasetCard.model_validate(FACTS | {"layout": "nnunet"}))
    assert [path.name for path in subject.files] == ["a_0000.png", "a.png"]


@pytest.mark.parametrize("ending", [".png", "png", ".PNG"])
def test_nnunet_files_may_end_in_capitals(draw: Draw, describe: Describe, prepare: Prepare, ending: str) -> None:
    draw("imagesTr/a_0000.PNG")
    draw("labelsTr/a.Png", {0: 1})
    describe(channel_names={"0": "x"}, labels={"disc": 1}, file_ending=ending)
    assert prepare(layout="nnunet").areas("a") == {"disc": 8, "cup": 0}


@pytest.mark.parametrize(
    ("names", "modalities"),
    [
        (["R", "G", "B"], {"mri"}),
        (["Blue", "Green", "Red"], {"mri"}),
        (["DAPI", "actin", "tubulin"], {"mri-dapi", "mri-actin", "mri-tubulin"}),
    ],
)
def test_nnunet_channels_may_be_the_colours_of_one_picture(
    draw: Draw, describe: Describe, prepare: Prepare, names: list[str], modalities: set[str]
) -> None:
    draw("imagesTr/a_0000.png", {row: (250 - row, 10 * row, row) for row in range(8)}, colour=True)
    draw("labelsTr/a.png", {0: 1})
    describe(channel_names=dict(enumerate(names)), labels={"disc": 1}, file_ending=".png")
    found = prepare(layout="nnunet")
    assert not found.problems
    assert {row.modality for row in found.rows} == modalities
    if len(modalities) > 1:
        images = {row.modality: row.image for row in found.rows}
        assert images["mri-dapi"][0, 0] > images["mri-dapi"][-1, 0], "red falls"
        assert images["mri-tubulin"][0, 0] < images["mri-tubulin"][-1, 0], "blue rises"


def test_decathlon_may_have_a_file_per_channel_as_the_first_nnunet(
    save_volume: Callable[..., None], describe: Describe, prepare: Prepare, noise: np.ndarray, label: np.ndarray
) -> None:
    describe(
        modality={"0": "FLAIR", "1": "T1w"},
        training=[{"image": "./imagesTr/b_1.nii.gz", "label": "./labelsTr/b_1.nii.gz"}],
        labels={"0": "background"},
    )
    for channel in (0, 1):
        save_volume(f"imagesTr/b_1_000{channel}.nii.gz", noise[..., channel])
    save_volume("labelsTr/b_1.nii.gz", label)
    found = prepare(layout="msd")
    assert found.areas("b_1:4", "mri-flair") == found.areas("b_1:4", "mri-t1w") == {"disc": 16, "cup": 0}


def test_decathlon_has_channels_on_the_fourth_axis(
    save_volume: Callable[..., None],
    describe: Callable[..., None],
    prepare: Prepare,
    noise: np.ndarray,
    label: np.ndarray,
) -> None:
    pairs = [{"image": f"./imagesTr/b_{n}.nii.gz", "label": f"./labelsTr/b_{n}.nii.gz"} for n in (1, 2)]
    describe(modality={"0": "FLAIR", "1": "T1w"}, training=pairs, labels={"0": "background"})
    save_volume("imagesTr/b_1.nii.gz", noise)
    save_volume("labelsTr/b_1.nii.gz", label)
    found = prepare(layout="msd")
    assert {row.modality for row in found.rows} == {"mri-flair", "mri-t1w"}
    assert found.areas("b_1:4", "mri-flair") == found.areas("b_1:4", "mri-t1w") == {"disc": 16, "cup": 0}
    assert "not a pair" in found.problems["b_2"][0]
    renamed = prepare(layout="msd", files={"channels": {"1": "T1"}})
    assert {row.modality for row in renamed.rows} == {"t1"}


@pytest.mark.parametrize("layout", ["msd", "nnunet"])
@pytest.mark.parametrize("content", [None, "[]", "{", "{}"])
def test_unusable_description_is_refused(tmp_path: Path, prepare: Prepare, layout: str, content: str | None) -> None:
    if content is not None:
        (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(ValueError, match=r"dataset\.json"):
        prepare(layout=layout)


def test_decathlon_paths_stay_below(describe: Callable[..., None], prepare: Prepare) -> None:
    describe(modality={"0": "CT"}, training=[{"image": "../../a.nii.gz", "label": "/etc/passwd"}])
    with pytest.raises(ValueError, match="leads out"):
        prepare(layout="msd")


def test_medsegbench_has_splits_and_colours(tmp_path: Path, prepare: Prepare) -> None:
    rng = np.random.default_rng(0)
    label = np.zeros((3, 8, 8), np.uint8)
    label[:, 0] = 1
    arrays = {}
    for split in ("train", "test"):
        arrays |= {f"{split}_images": rng.integers(0, 255, (3, 8, 8, 3), np.uint8), f"{split}_label": label}
    np.savez_compressed(tmp_path / "drawn_8.npz", **arrays)
    found = prepare(layout="medsegbench")
    assert [row.case for row in found.rows] == [f"{split}_{n:05d}" for split in ("test", "train") for n in range(3)]
    assert found.areas("test_00002") == {"disc": 8, "cup": 0}
    np.savez_compressed(tmp_path / "drawn_8.npz", **arrays | {"test_label": label[:2]})
    with pytest.raises(ValueError, match="as many test labels"):
        prepare(layout="medsegbench")


def test_medsegbench_never_unpickles(tmp_path: Path, prepare: Prepare) -> None:
    objects = np.array([{}], dtype=object)
    np.savez(tmp_path / "a.npz", train_images=objects, train_label=objects)
    assert "floats or booleans, got object" in prepare(layout="medsegbench").problems["train_00000"][0]


def test_table_names_subjects_splits_annotators_and_classes(
    tmp_path: Path, draw: Callable[..., np.ndarray], prepare: Prepare
) -> None:
    for case in "abcdef":
        draw(f"{case}.png")
    for name, rows in {"a1": (0, 1), "a2": (1, 2), "b": (3,), "c": (3,)}.items():
        draw(f"{name}_disc.png", dict.fromkeys(rows, 255))
    lines = [
        "image,label,subject,split,annotator,class",
        "a.png,a1_disc.png,s1,test,One,disc",
        "a.png,a2_disc.png,s1,test,Two,disc",
        "b.png,b_disc.png,s2,,,Disc",
        "c.png,gone.png,s3,,,disc",
        "d.png,c_disc.png,s4,,,dsic",
        "e.png,../up.png,s5,,,disc",
        "f.png,c_disc.png,s6,exam,,disc",
    ]
    (tmp_path / "cases.csv").write_text("\n".join(lines))
    found = prepare(layout="table")
    assert found.areas("a") == {"disc": 8, "disc-by-one": 16, "disc-by-two": 16}
    assert found.areas("b") == {"disc": 8}
    reasons = {"s3": "no such file", "s4": "unknown class", "s5": "leads out", "s6": "expected a split"}
    assert found.problems.keys() == reasons.keys()
    for subject, reason in reasons.items():
        assert reason in found.problems[subject][0]


@pytest.mark.parametrize("text", ["", "image\na.png", "image,label,age\na,b,c", "image,label\na", "image,label\na,b,c"])
def test_malformed_table_is_refused(tmp_path: Path, prepare: Prepare, text: str) -> None:
    (tmp_path / "cases.csv").write_text(text)
    with pytest.raises(ValueError, match="no table of cases"):
        prepare(layout="table")


def test_bids_labels_find_their_images(
    save_volume: Callable[..., None], prepare: Prepare, noise: np.ndarray, label: np.ndarray
) -> None:
    for entities in ("sub-01_ses-1", "sub-01_ses-2", "sub-02"):
        folder = entities.replace("_", "/") + "/anat"
        save_volume(f"{folder}/{entities}_T1w.nii.gz", noise[..., 0])
        save_volume(f"derivatives/hand/{folder}/{entities}_desc-hand_dseg.nii.gz", label)
    save_volume("sub-01/ses-1/anat/sub-01_ses-1_FLAIR.nii.gz", noise[..., 1])
    found = prepare(layout="bids", files={"channels": {"T1w": "MRI T1"}})
    assert {row.subject for row in found.rows} == {"01", "02"}
    assert found.areas("sub-01_ses-2:4", "mri-t1") == {"disc": 16, "cup": 0}
    both = prepare(layout="bids", files={"channels": {"T1w": "T1", "FLAIR": "FLAIR"}})
    assert both.problems.keys() == {"01", "02"}
    assert "expected one image" in prepare(layout="bids").problems["01"][0]


def test_bids_masks_are_of_the_structure_in_their_name(
    save_volume: Callable[..., None], prepare: Prepare, noise: np.ndarray, label: np.ndarray
) -> None:
    for session in ("ses-1_run-1", "ses-1_run-2"):
        save_volume(f"sub-1/anat/sub-1_{session}_T1w.nii.gz", noise[..., 0])
        save_volume(f"derivatives/preproc/sub-1_{session}_desc-preproc_T1w.nii.gz", noise[..., 0])
        save_volume(f"derivatives/hand/sub-1_{session}_label-disc_mask.nii.gz", label)
        save_volume(f"derivatives/hand/sub-1_{session}_label-disc_probseg.nii.gz", noise[..., 0])
        save_volume(f"derivatives/hand/sub-1_{session}_desc-brain_mask.nii.gz", np.ones(SHAPE, np.uint8))
    save_volume("derivatives/hand/sub-1_ses-1_run-2_label-Cup_mask.nii.gz", 7 * label[:, ::-1])
    found = prepare(layout="bids")
    assert found.areas("sub-1_ses-1_run-1:4") == {"disc": 16}
    assert found.areas("sub-1_ses-1_run-2:4") == {"disc": 16, "cup": 16}


def test_bids_labels_may_name_the_image_they_were_drawn_on(
    save_volume: Callable[..., None], prepare: Prepare, noise: np.ndarray, label: np.ndarray
) -> None:
    for number, suffix in enumerate(("T1w", "T2w")):
        save_volume(f"sub-1/sub-1_{suffix}.nii.gz", noise[..., number])
    save_volume("derivatives/labels/sub-1_T2w_label-lesion_dseg.nii.gz", label)
    found = prepare(layout="bids")
    assert found.areas("sub-1:4") == {"disc": 16, "cup": 0}
    assert {row.modality for row in found.rows} == {"mri"}


@pytest.mark.parametrize(("space", "suffixes"), [("T2w", ("T1w", "T2w")), ("orig", ("T2w",)), ("MNI152", ())])
def test_bids_labels_in_the_space_of_an_image_are_its_own(
    save_volume: Callable[..., None],
    prepare: Prepare,
    noise: np.ndarray,
    label: np.ndarray,
    space: str,
    suffixes: tuple[str, ...],
) -> None:
    for suffix in suffixes or ("T2w",):
        save_volume(f"sub-1/sub-1_{suffix}.nii.gz", noise[..., 0])
    save_volume(f"derivatives/labels/sub-1_space-{space}_dseg.nii.gz", label)
    found = prepare(layout="bids")
    if suffixes:
        assert found.areas("sub-1:4") == {"disc": 16, "cup": 0}
    else:
        assert "expected one image, got none" in found.problems["1"][0]


def test_bids_raters_are_annotators(
    save_volume: Callable[..., None], prepare: Prepare, noise: np.ndarray, label: np.ndarray
) -> None:
    save_volume("sub-1_FLAIR.nii.gz", noise[..., 0])
    for rater in ("rater1", "rater2"):
        save_volume(f"sub-1_desc-{rater}_dseg.nii.gz", label)
    assert {"disc-by-rater1", "disc-by-rater2"} < prepare(layout="bids").areas("sub-1:4").keys()
    save_volume("derivatives/other/sub-1_desc-rater1_dseg.nii.gz", label)
    assert "expected one label" in prepare(layout="bids").problems["1"][0]


@pytest.mark.parametrize("place", ["{outside}", "../outside.csv", "a/../../outside.csv"])
def test_a_table_lies_in_its_dataset(tmp_path: Path, place: str) -> None:
    """Nothing of any other file is told."""
    outside = tmp_path / "outside.csv"
    outside.write_text("secret:x:0\n")
    (tmp_path / "data").mkdir()
    card = DatasetCard(**FACTS, layout="table", files={"table": place.format(outside=outside)})
    with pytest.raises(ValueError, match=r"leads out of data: expected a relative path below it") as refused:
        list(find_subjects(tmp_path / "data", card))
    assert "secret" not in str(refused.value)
