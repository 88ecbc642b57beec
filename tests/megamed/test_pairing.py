"""Images and labels are paired in every common arrangement; what has several readings is refused."""

import json
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from megamed.arrangement import find_arrangement
from megamed.layouts import find_subjects
from megamed.pairing import ImagePair, find_pairs
from megamed.path_templates import Templates, read_templates
from megamed.schema import DatasetCard


def write(folder: Path, files: str) -> Path:
    """Make empty files, for pairing looks at names alone."""
    for name in files.split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def described(folder: Path, pair: ImagePair) -> str:
    """Write a pair as `image: label + label, class=label`."""
    labels = [
        f"{name}={paths}" if name else paths
        for name, files in pair.labels.items()
        for paths in [" + ".join(path.relative_to(folder).as_posix() for path in files)]
    ]
    return f"{pair.image.relative_to(folder).as_posix()}: {', '.join(labels)}".strip()


def pairs_in(folder: Path, files: str) -> list[str]:
    found = find_pairs(write(folder, files))
    return [described(folder, pair) for pair in found.pairs]


ARRANGEMENTS = {
    "a mask for each cell": (
        "p1/images/p1.png p1/masks/6f.png p1/masks/8a.png p2/images/p2.png p2/masks/11.png p2/masks/c4.png",
        [
            "p1/images/p1.png: p1/masks/6f.png + p1/masks/8a.png",
            "p2/images/p2.png: p2/masks/11.png + p2/masks/c4.png",
        ],
    ),
    "Cellpose": ("a.tif a_cp_masks.png b.tif", ["a.tif: a_cp_masks.png", "b.tif:"]),
    "numbers with zeros before them": (
        "images/0001.png images/0002.png masks/1.png",
        ["images/0001.png: masks/1.png", "images/0002.png:"],
    ),
    "numbered people": (
        "images/1.png masks/1_r1.png masks/1_r2.png images/2.png masks/2_r2.png",
        ["images/1.png: masks/1_r1.png", "images/2.png: masks/2_r2.png"],
    ),
    "entities of BIDS": (
        "sub-1_T1w.nii.gz d/sub-1_space-T1w_label-a_mask.nii.gz d/sub-1_space-T1w_label-b_mask.nii.gz",
        [
            "sub-1_T1w.nii.gz: a=d/sub-1_space-T1w_label-a_mask.nii.gz, b=d/sub-1_space-T1w_label-b_mask.nii.gz",
        ],
    ),
    "prefixes": (
        "images/a.png images/label_a.png seg_b.png b.png",
        ["b.png: seg_b.png", "images/a.png: images/label_a.png"],
    ),
    "labels for some": ("images/a.png images/b.png labels/a.png", ["images/a.png: labels/a.png", "images/b.png:"]),
    "images in the folder itself": ("a.png b.png masks/b.png", ["a.png:", "b.png: masks/b.png"]),
    "segmentations": ("Scans/a.nii.gz Segmentations/a.nii.gz", ["Scans/a.nii.gz: Segmentations/a.nii.gz"]),
    "ground truth": ("img/1.jpg img/2.jpg gt/1.png", ["img/1.jpg: gt/1.png", "img/2.jpg:"]),
    "suffix mask": ("case.png case_mask.png other.png", ["case.png: case_mask.png", "other.png:"]),
    "suffix seg": ("case.nii.gz case_seg.nii.gz", ["case.nii.gz: case_seg.nii.gz"]),
    "suffix label": ("case.tif case_label.png", ["case.tif: case_label.png"]),
    "Slicer": ("case.nrrd case.seg.nrrd", ["case.nrrd: case.seg.nrrd"]),
    "Slicer, a folder each": (
        "p1/CT.nrrd p1/Segmentation.seg.nrrd p2/CT.nrrd",
        ["p1/CT.nrrd: p1/Segmentation.seg.nrrd", "p2/CT.nrrd:"],
    ),
    "a folder for each patient": (
        "p1/images/1.png p1/masks/1.png p2/images/1.png",
        ["p1/images/1.png: p1/masks/1.png", "p2/images/1.png:"],
    ),
    "patients below kinds": (
        "images/p1/1.png images/p2/1.png labels/p1/1.png labels/p2/1.png",
        ["images/p1/1.png: labels/p1/1.png", "images/p2/1.png: labels/p2/1.png"],
    ),
    "splits": (
        "train/images/1.png train/masks/1.png test/images/1.png",
        ["test/images/1.png:", "train/images/1.png: train/masks/1.png"],
    ),
    "any names, alone together": (
        "p1/t1_reg.nii p1/lesion_mask.nii p2/t1_reg.nii",
        ["p1/t1_reg.nii: p1/lesion_mask.nii", "p2/t1_reg.nii:"],
    ),
    "upper case": ("IMAGES/A.PNG IMAGES/B.PNG Masks/A_MASK.PNG", ["IMAGES/A.PNG: Masks/A_MASK.PNG", "IMAGES/B.PNG:"]),
    "nnU-Net": ("imagesTr/x_0000.nii.gz labelsTr/x.nii.gz", ["imagesTr/x_0000.nii.gz: labelsTr/x.nii.gz"]),
    "BIDS": (
        "sub-1/sub-1_T1w.nii.gz sub-1/sub-1_label-liver_mask.nii.gz sub-1/sub-1_label-spleen_mask.nii.gz",
        [
            "sub-1/sub-1_T1w.nii.gz: liver=sub-1/sub-1_label-liver_mask.nii.gz, "
            "spleen=sub-1/sub-1_label-spleen_mask.nii.gz"
        ],
    ),
    "a folder for each class": (
        "images/1.png images/2.png masks/liver/1.png masks/liver/2.png masks/spleen/1.png",
        ["images/1.png: liver=masks/liver/1.png, spleen=masks/spleen/1.png", "images/2.png: liver=masks/liver/2.png"],
    ),
    "a file for each organ": (
        "s1/ct.nii.gz s1/segmentations/liver.nii.gz s1/segmentations/spleen.nii.gz s2/ct.nii.gz",
        [
            "s1/ct.nii.gz: liver=s1/segmentations/liver.nii.gz, spleen=s1/segmentations/spleen.nii.gz",
            "s2/ct.nii.gz:",
        ],
    ),
    "a file for each lesion": (
        "a.png a_mask.png a_mask_1.png b.png b_mask.png",
        ["a.png: a_mask.png + a_mask_1.png", "b.png: b_mask.png"],
    ),
    "a mask beside a photograph": ("a.jpg a.png b.jpg", ["a.jpg: a.png", "b.jpg:"]),
    "splits below kinds": (
        "images/train/1.png images/val/1.png labels/train/1.png labels/val/1.png",
        ["images/train/1.png: labels/train/1.png", "images/val/1.png: labels/val/1.png"],
    ),
    "long names of folders": (
        "Skin2018_Task1-2_Training_Input/7.jpg Skin2018_Task1_Training_GroundTruth/7_segmentation.png",
        ["Skin2018_Task1-2_Training_Input/7.jpg: Skin2018_Task1_Training_GroundTruth/7_segmentation.png"],
    ),
    "folders that end in a word for labels": (
        "Images/7.jpg Disc_Cup_Masks/7.bmp",
        ["Images/7.jpg: Disc_Cup_Masks/7.bmp"],
    ),
    "classes in camel case": (
        "scans/7.png ManualMask/leftMask/7.png ManualMask/rightMask/7.png",
        ["scans/7.png: leftMask=ManualMask/leftMask/7.png, rightMask=ManualMask/rightMask/7.png"],
    ),
    "another case of letters": (
        "images/C001.PNG images/C002.PNG masks/c001.png",
        ["images/C001.PNG: masks/c001.png", "images/C002.PNG:"],
    ),
    "two words, a folder each": (
        "case_1/imaging.nii.gz case_1/segmentation.nii.gz case_2/imaging.nii.gz",
        ["case_1/imaging.nii.gz: case_1/segmentation.nii.gz", "case_2/imaging.nii.gz:"],
    ),
    "Slicer, a folder each, any name": (
        "p1/4_chest.nrrd p1/Segmentation.seg.nrrd",
        ["p1/4_chest.nrrd: p1/Segmentation.seg.nrrd"],
    ),
    "frames of a film": (
        "p1/p1_frame01.nii p1/p1_frame01_gt.nii p1/p1_frame12.nii p1/p1_4d.nii",
        ["p1/p1_frame01.nii: p1/p1_frame01_gt.nii", "p1/p1_frame12.nii:"],
    ),
    "what people drew, united in several ways": (
        "c/imaging.nii c/aggregated_AND_seg.nii c/aggregated_MAJ_seg.nii c/segmentations/kidney_annotation-1.nii",
        ["c/imaging.nii: c/aggregated_MAJ_seg.nii"],
    ),
    "words alone, a folder each": (
        "P1/scan.png P1/scan_seg.png P2/scan.png P2/scan_seg.png P3/scan.png",
        ["P1/scan.png: P1/scan_seg.png", "P2/scan.png: P2/scan_seg.png", "P3/scan.png:"],
    ),
    "films of tracked cells": (
        "F/01/t000.tif F/01/t001.tif F/02/t000.tif F/01_GT/SEG/man_seg001.tif F/01_GT/TRA/man_track000.tif "
        "F/01_ST/SEG/man_seg000.tif F/01_ST/SEG/man_seg001.tif F/02_ST/SEG/man_seg000.tif",
        ["F/01/t000.tif:", "F/01/t001.tif: F/01_GT/SEG/man_seg001.tif", "F/02/t000.tif: F/02_ST/SEG/man_seg000.tif"],
    ),
    "a case that a folder of labels begins with": (
        "images/1.png images/2.png 1st_manual/1_manual1.png 1st_manual/2_manual1.png mask/1_mask.png",
        ["images/1.png: 1st_manual/1_manual1.png", "images/2.png: 1st_manual/2_manual1.png"],
    ),
    "a folder of labels with two words more": (
        "a/1.2.3.mhd seg-lungs-AB/1.2.3.mhd",
        ["a/1.2.3.mhd: seg-lungs-AB/1.2.3.mhd"],
    ),
    "images and labels in folders of formats": ("png/a.png tif/a_mask.tif", ["png/a.png: tif/a_mask.tif"]),
    "films": ("a_4d.nii b_4d.nii b_4d_seg.nii", ["a_4d.nii:", "b_4d.nii: b_4d_seg.nii"]),
    "predictions of another program": (
        "images/a.png images/b.png images/b_overlay.png masks/a.png overlay/a.png predictions/b.png",
        ["images/a.png: masks/a.png", "images/b.png:"],
    ),
    "results alone": ("results/a.png results/b.png", ["results/a.png:", "results/b.png:"]),
    "frames of patients": (
        "p1/p1_frame01.nii.gz p1/p1_frame01_gt.nii.gz p1/p1_frame12.nii.gz p1/p1_frame12_gt.nii.gz",
        ["p1/p1_frame01.nii.gz: p1/p1_frame01_gt.nii.gz", "p1/p1_frame12.nii.gz: p1/p1_frame12_gt.nii.gz"],
    ),
    "regions beside labels": (
        "c1/c1_image/c1.bmp c1/c1_mask/c1_mask.bmp c1/c1_roi/c1_R1_label.bmp c1/c1_roi/c1_R2_label.bmp",
        ["c1/c1_image/c1.bmp: c1/c1_mask/c1_mask.bmp"],
    ),
    "regions alone": ("c1.bmp c1_roi/c1_label.bmp c2.bmp", ["c1.bmp: c1_roi/c1_label.bmp", "c2.bmp:"]),
    "fields of view beside numbered people": (
        "images/1.jpg manual1/1.tif mask/1_mask.tif",
        ["images/1.jpg: manual1/1.tif"],
    ),
    "VOC": (
        "ImageSets/Segmentation/train.txt JPEGImages/a.jpg JPEGImages/b.jpg SegmentationClass/a.png "
        "SegmentationObject/a.png Annotations/a.xml",
        ["JPEGImages/a.jpg: SegmentationClass/a.png", "JPEGImages/b.jpg:"],
    ),
    "VOC as labelme writes it": (
        "JPEGImages/a.jpg SegmentationClassPNG/a.png SegmentationClassNpy/a.npy SegmentationClassVisualization/a.jpg",
        ["JPEGImages/a.jpg: SegmentationClassPNG/a.png"],
    ),
    "sites with words of their own": (
        "a/images/1.png a/masks/1.png b/images/2.png b/segs/2.png",
        ["a/images/1.png: a/masks/1.png", "b/images/2.png: b/segs/2.png"],
    ),
    "dates in names": (
        "a.png a_2001_mask.png b.png b_2002_mask.png",
        ["a.png: a_2001_mask.png", "b.png: b_2002_mask.png"],
    ),
}


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_an_arrangement_is_understood(tmp_path: Path, name: str) -> None:
    files, expected = ARRANGEMENTS[name]
    assert pairs_in(tmp_path, files) == expected


@pytest.mark.parametrize("name", ARRANGEMENTS)
def test_a_dataset_has_the_labels_of_an_arrangement(tmp_path: Path, name: str) -> None:
    """What a card is proposed for is what is paired; of people, each of whom is a task, the first is among them."""
    pairs = find_pairs(write(tmp_path, ARRANGEMENTS[name][0])).labelled
    if not pairs:
        return
    found = find_arrangement(tmp_path)
    facts = {"id": "any", "modality": "any", "labels": found.label_names or {1: "label"}, "layout": found.layout}
    subjects = find_subjects(tmp_path, DatasetCard.model_validate(facts | {"files": found.files}))
    drawn = [{label.source.files[0] for label in case.labels} for subject in subjects for case in subject.cases]
    assert all(any({*pair.files[1:]} <= labels for labels in drawn) for pair in pairs)
    assert len(drawn) == len(pairs)


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC")])
def test_both_forms_of_accented_letters_are_one_name(tmp_path: Path, forms: tuple[str, str]) -> None:
    image, label = (unicodedata.normalize(form, "Müller") for form in forms)
    found = find_pairs(write(tmp_path, f"images/{image}.png labels/{label}.png"))
    assert len(found.labelled) == len(found.pairs) == 1


def test_names_of_images_are_unique_below_their_folder(tmp_path: Path) -> None:
    nested = find_pairs(write(tmp_path / "nested", "images/p1/1.png images/p2/1.png"))
    assert [pair.name for pair in nested.pairs] == ["p1/1.png", "p2/1.png"]
    flat = find_pairs(write(tmp_path / "flat", "images/1.png labels/1.png"))
    assert [pair.name for pair in flat.pairs] == ["1.png"]


def test_one_annotator_s_labels_are_used_and_that_is_said(tmp_path: Path) -> None:
    folder = write(tmp_path, "images/1.png masks/expert1/1.png masks/expert2/1.png")
    found = find_pairs(folder)
    assert [described(folder, pair) for pair in found.pairs] == ["images/1.png: masks/expert1/1.png"]
    assert found.notes == ("masks/expert2/1.png is left out, for another annotator's label of its image is used.",)


def test_the_arrangement_of_retinas_with_fields_of_view_is_understood(tmp_path: Path) -> None:
    names = [f"training/{name}" for name in ("images/21_training.tif", "1st_manual/21_manual1.gif")]
    names += [
        f"test/{name}" for name in ("images/01_test.tif", "1st_manual/01_manual1.gif", "2nd_manual/01_manual2.gif")
    ]
    folder = write(tmp_path, " ".join([*names, "training/mask/21_training_mask.gif", "test/mask/01_test_mask.gif"]))
    found = find_pairs(folder)
    assert {pair.image.name: [path.name for path in pair.files[1:]] for pair in found.pairs} == {
        "21_training.tif": ["21_manual1.gif"],
        "01_test.tif": ["01_manual1.gif"],
    }
    assert not found.classes
    assert [note.partition(" is left out, for ")[2] for note in found.notes] == [
        "beside what annotators drew it is taken for the field of view, and so are 1 others.",
        "another annotator's label of its image is used.",
    ]


def test_observers_are_annotators(tmp_path: Path) -> None:
    folder = write(tmp_path, "Image_01L.jpg Image_01L_1stHO.png Image_01L_2ndHO.png Image_02L.jpg")
    found = find_pairs(folder)
    assert [described(folder, pair) for pair in found.pairs] == ["Image_01L.jpg: Image_01L_1stHO.png", "Image_02L.jpg:"]
    assert len(found.notes) == 1


def test_folders_may_be_listed_by_numbers_and_letters(tmp_path: Path) -> None:
    for name in (
        "1. Original Images/a. Training Set/X_01.jpg",
        "1. Original Images/b. Testing Set/X_02.jpg",
        "2. All Segmentation Groundtruths/a. Training Set/1. Haemorrhages/X_01_HE.tif",
        "2. All Segmentation Groundtruths/a. Training Set/2. Optic Disc/X_01_OD.tif",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_pairs(tmp_path)
    assert found.classes == ("Haemorrhages HE", "Optic Disc OD")
    assert [len(pair.labels) for pair in found.pairs] == [2, 0]


def test_of_the_channels_of_a_case_the_first_is_looked_at(tmp_path: Path) -> None:
    files = "imagesTr/a_0000.nii.gz imagesTr/a_0001.nii.gz imagesTs/b_0000.nii.gz imagesTs/b_0001.nii.gz"
    found = find_pairs(write(tmp_path, f"{files} labelsTr/a.nii.gz"))
    assert [described(tmp_path, pair) for pair in found.pairs] == [
        "imagesTr/a_0000.nii.gz: labelsTr/a.nii.gz",
        "imagesTs/b_0000.nii.gz:",
    ]
    (note,) = found.notes
    assert note.startswith("of the sequences 0000, 0001 of each case 0000 is looked at. Choose another, such as ")
    assert note.endswith("--images 'imagesTr/{case}_0001' --labels 'labelsTr/{case}'.")
    frames = pairs_in(tmp_path / "f", "a_0000.png a_0001.png")
    assert frames == ["a_0000.png:", "a_0001.png:"]


def test_of_the_sequences_of_a_case_one_is_looked_at(tmp_path: Path) -> None:
    names = [f"P{case}/P{case}_{kind}.nii.gz" for case in (1, 2) for kind in ("t1", "t1ce", "t2", "flair")]
    folder = write(tmp_path, " ".join([*names, "P3/P3_t1gd.nii.gz", "P3/P3_t2f.nii.gz", "P1/P1_seg.nii.gz"]))
    found = find_pairs(folder)
    expected = ["P1/P1_flair.nii.gz: P1/P1_seg.nii.gz", "P2/P2_flair.nii.gz:"]
    assert [described(folder, pair) for pair in found.pairs] == expected
    note, absent = found.notes
    assert absent == "P3/P3_t1gd.nii.gz is left out, for its case has no flair."
    assert (
        "flair is looked at. Choose another, such as --images '{case}/{case}_t1' --labels '{case}/{case}_seg'." in note
    )
    chosen = find_pairs(folder, read_templates("{case}/{case}_t1", "{case}/{case}_seg"))
    assert described(folder, chosen.pairs[0]) == "P1/P1_t1.nii.gz: P1/P1_seg.nii.gz"


def test_a_label_without_an_image_is_left_out_and_that_is_said(tmp_path: Path) -> None:
    found = find_pairs(write(tmp_path, "images/1.png labels/1.png labels/2.png labels/3.png"))
    assert len(found.pairs) == 1
    assert found.notes == ("labels/2.png is left out, for it belongs to no image, and so are 1 others.",)


def test_renderings_of_labels_are_left_out_and_that_is_said(tmp_path: Path) -> None:
    files = "VOC2012/JPEGImages/a.jpg VOC2012/SegmentationClass/a.png VOC2012/SegmentationObject/a.png"
    (note,) = find_pairs(write(tmp_path, files)).notes
    assert note == "VOC2012/SegmentationObject/a.png is left out, for it renders another label anew."


@pytest.mark.parametrize("is_grey", [True, False])
def test_a_picture_beside_its_photograph_is_no_label(tmp_path: Path, is_grey: bool) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (32, 32) if is_grey else (32, 32, 3), np.uint8)
    for name in ("a.jpg", "a.png", "b.jpg", "b.png"):
        Image.fromarray(colours).save(tmp_path / name)
    found = find_pairs(tmp_path)
    assert [described(tmp_path, pair) for pair in found.pairs] == ["a.png:", "b.png:"]
    assert found.notes == ("a.jpg is left out, for a.png is the same picture, and so are 1 others.",)


def test_another_picture_of_a_photograph_s_name_is_not_left_out(tmp_path: Path) -> None:
    for seed, name in enumerate(("a.jpg", "a.png")):
        Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32), np.uint8)).save(tmp_path / name)
    with pytest.raises(ValueError, match=r"two images of one name: expected one, got a\.jpg and a\.png"):
        find_pairs(tmp_path)


@pytest.mark.parametrize(("name", "content"), [("a.json", '{"version": "5.4", "shapes": [{"lab'), ("a.txt", "0 0.1 x")])
def test_a_damaged_annotation_is_said(tmp_path: Path, name: str, content: str) -> None:
    for each in ("a.png", "b.png"):
        Image.fromarray(np.arange(256, dtype=np.uint8).reshape(16, 16)).save(tmp_path / each)
    (tmp_path / name).write_text(content)
    (tmp_path / "notes.txt").write_text("drawn on Monday")
    found = find_pairs(tmp_path)
    assert found.notes == (f"{name} is left out, for it has the form of no annotation tool's file.",)


def test_a_mask_beside_a_photograph_is_its_label(tmp_path: Path) -> None:
    mask = np.zeros((32, 32), np.uint8)
    mask[8:20, 8:20] = 255
    mask[7, 8:20] = np.arange(12) * 20
    for name in ("a.jpg", "a.png"):
        Image.fromarray(mask).save(tmp_path / name)
    assert [described(tmp_path, pair) for pair in find_pairs(tmp_path).pairs] == ["a.jpg: a.png"]


def test_files_of_one_name_in_the_folders_of_patients_are_labels_by_their_content(tmp_path: Path) -> None:
    """Of sequences whose label none is called as, one is looked at; the templates that choose another are told."""
    for patient in ("p1", "p2"):
        for name, pixels in (("orig/FLAIR", texture(48)), ("orig/T1", texture(49)), ("lesion", np.tri(48, dtype="u1"))):
            path = tmp_path / patient / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    found = find_pairs(tmp_path)
    assert [described(tmp_path, pair) for pair in found.pairs] == [
        f"{patient}/orig/FLAIR.png: {patient}/lesion.png" for patient in ("p1", "p2")
    ]
    assert found.notes == (
        "p1/lesion.png is taken for a label, as its content tells, and so are 1 others of its name.",
        "of the sequences flair, t1 of each case flair is looked at. Choose another, such as --images "
        "'{case}/orig/T1' --labels '{case}/lesion'.",
    )
    other = find_pairs(tmp_path, Templates("{case}/orig/T1", "{case}/lesion"))
    assert [pair.image.stem for pair in other.labelled] == ["T1", "T1"]


@pytest.mark.parametrize("shift", [1, 9])
def test_numbered_labels_of_the_same_are_those_of_people(tmp_path: Path, shift: int) -> None:
    """Two people's masks of one lesion overlap, those of two lesions do not."""
    mask = np.zeros((24, 24), np.uint8)
    mask[3:11, 3:11] = 255
    for case in "ab":
        for name, pixels in (
            ("images/{}", texture(24)),
            ("masks/{}_mask1", mask),
            ("masks/{}_mask2", np.roll(mask, shift)),
        ):
            path = tmp_path / f"{name.format(case)}.png"
            path.parent.mkdir(exist_ok=True)
            Image.fromarray(pixels).save(path)
    found = find_pairs(tmp_path)
    assert [len(pair.labels[""]) for pair in found.pairs] == [1 if shift == 1 else 2] * 2
    told = "labels of the same drawings" if shift == 1 else "masks/a_mask1.png and a_mask2.png are read as parts"
    assert found.notes[0].startswith(told)


@pytest.mark.parametrize("name", ["{kind}/{case}.{ending}", "{ending}/{kind}/{case}.{ending}"])
def test_pictures_in_two_formats_are_used_once(tmp_path: Path, name: str) -> None:
    for case, ending in ((case, ending) for case in "ab" for ending in ("tif", "png")):
        for kind, pixels in (("Original", texture(12)), ("Ground Truth", np.tri(12, dtype="u1") * 255)):
            path = tmp_path / name.format(kind=kind, case=case, ending=ending)
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    found = find_pairs(tmp_path)
    expected = {
        kind: [name.format(kind=kind, case=case, ending="png") for case in "ab"]
        for kind in ("Original", "Ground Truth")
    }
    assert [described(tmp_path, pair) for pair in found.pairs] == [
        f"{image}: {label}" for image, label in zip(*expected.values(), strict=True)
    ]
    assert [note.partition(",")[0] for note in found.notes] == [
        name.format(kind=kind, case="a", ending="tif") + " is left out" for kind in expected
    ]


def test_pictures_of_one_name_in_folders_of_formats_may_differ(tmp_path: Path) -> None:
    for place in ("png", "tif"):
        (tmp_path / place).mkdir()
        Image.fromarray(texture(len(place) + (place == "tif"))).save(tmp_path / place / f"a.{place}")
    assert len(find_pairs(tmp_path).pairs) == 2


def texture(side: int) -> np.ndarray:
    return np.random.default_rng(side).integers(0, 255, (side, side, 3), dtype=np.uint8)


def disc(radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:32, :32] - 15
    return np.uint8(255 * (np.hypot(rows, columns) < radius))


def test_labels_may_be_called_as_their_images_and_their_structure(tmp_path: Path) -> None:
    for case in ("c1", "c2"):
        for name, pixels in {"photo/{}": texture(32), "lesion/{}_lesion": disc(9)}.items():
            path = tmp_path / case / f"{case}_{name.format(case)}.bmp"
            path.parent.mkdir(parents=True)
            Image.fromarray(pixels).save(path)
    found = find_pairs(tmp_path)
    assert [described(tmp_path, pair) for pair in found.pairs] == [
        f"{case}/{case}_photo/{case}.bmp: {case}/{case}_lesion/{case}_lesion.bmp" for case in ("c1", "c2")
    ]
    (note,) = found.notes
    assert note.startswith("c1_lesion.bmp is taken for the label of c1.bmp")


@pytest.mark.parametrize(
    "places", [("X", "Y"), ("train/X", "train/Y"), ("X/train", "Y/train")], ids=["folders", "within", "around"]
)
def test_folders_of_names_that_say_nothing_are_told_by_their_content(tmp_path: Path, places: tuple[str, str]) -> None:
    for name in "ab":
        for place, pixels in zip(places, (texture(32), np.tri(32, dtype=np.uint8)), strict=True):
            path = tmp_path / place / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    found = find_pairs(tmp_path)
    assert [described(tmp_path, pair) for pair in found.pairs] == [
        f"{places[0]}/{name}.png: {places[1]}/{name}.png" for name in "ab"
    ]
    (note,) = found.notes
    assert note == f"the files in {places[1]} are taken for labels of those in {places[0]}, as their content tells."


def test_several_folders_that_content_tells_are_classes(tmp_path: Path) -> None:
    for name in "ab":
        for place, pixels in (
            ("X", texture(32)),
            ("Y", np.tri(32, dtype=np.uint8)),
            ("Z", np.eye(32, dtype=np.uint8)[::-1]),
        ):
            path = tmp_path / place / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    assert pairs_in(tmp_path, "") == [f"X/{name}.png: Y=Y/{name}.png, Z=Z/{name}.png" for name in "ab"]


def test_names_that_go_on_may_be_the_same_in_each_folder(tmp_path: Path) -> None:
    for patient in ("p1", "p2"):
        (tmp_path / patient).mkdir()
        Image.fromarray(texture(32)).save(tmp_path / patient / "view.png")
        Image.fromarray(np.tri(32, dtype=np.uint8)).save(tmp_path / patient / "view_ah.png")
    assert pairs_in(tmp_path, "") == [f"{patient}/view.png: {patient}/view_ah.png" for patient in ("p1", "p2")]


def test_labels_may_be_called_as_their_images_and_who_drew_them(tmp_path: Path) -> None:
    for case in range(3):
        for name, pixels in {"": texture(32), ".ah": disc(9 + case), ".vk": disc(8.5 + case)}.items():
            Image.fromarray(pixels).save(tmp_path / f"im{case}{name}.ppm")
    found = find_pairs(tmp_path)
    assert [described(tmp_path, pair) for pair in found.pairs] == [f"im{n}.ppm: im{n}.ah.ppm" for n in range(3)]
    assert "labels of the same drawings are those of annotators: ah, vk." in found.notes


def test_an_image_of_a_structure_is_no_label(tmp_path: Path) -> None:
    for name in ("head", "head_brain", "head2", "head_2"):
        Image.fromarray(texture(32)).save(tmp_path / f"{name}.png")
    assert not find_pairs(tmp_path).labelled


def test_a_folder_called_by_its_uid_is_one_series(tmp_path: Path) -> None:
    found = find_pairs(write(tmp_path, "1.2.8/1.dcm 1.2.8/2.dcm 1.2.9/1.dcm 1.2.9/2.dcm"))
    assert [pair.name for pair in found.pairs] == ["1.2.8", "1.2.9"]


def test_results_and_hidden_files_are_left_out(tmp_path: Path) -> None:
    folder = write(tmp_path, "a.png .b.png out/masks/a.png out/done.log .git/c.png notes.txt")
    assert [pair.name for pair in find_pairs(folder, marks=("done.log",)).pairs] == ["a.png"]


def test_templates_say_what_names_do_not(tmp_path: Path) -> None:
    folder = write(tmp_path, "p1/p1_early.nii p1/p1_late.nii p1/p1_seg.nii")
    reason = (
        r"p1_seg\.nii may belong to several images: expected one, got p1/p1_early.*--images '{case}/{case}_early' --l"
    )
    with pytest.raises(ValueError, match=reason):
        find_pairs(folder)
    found = find_pairs(folder, Templates("{case}/{case}_late", "{case}/{case}_seg"))
    assert [described(folder, pair) for pair in found.pairs] == ["p1/p1_late.nii: p1/p1_seg.nii"]
    by_class = write(tmp_path / "more", "x/1.png y/liver/1.png y/spleen/1.png")
    found = find_pairs(by_class, Templates("x/{case}", "y/{class}/{case}"))
    assert found.classes == ("liver", "spleen")


@pytest.mark.parametrize(
    ("files", "error"),
    [
        ("a.png a.bmp", r"holds two images of one name: expected one, got a.bmp and a.png"),
        ("labels/a.png", "has no images: expected files ending in .*, got 1 labels"),
        ("notes.txt", "has no images: .*, got none"),
        ("a.czi b.jp2 labels.json", "has no images: .*, got 2 others, such as a.czi. Name"),
        ("a.png a_mask.png a_seg.png", "label the same image: expected one label, got 2"),
        ("images/a.png labels/a.png masks/a.png", "label the same image: expected one label, got 2"),
        ("images/a.png labels/b.png", "labels share no name with images"),
    ],
)
def test_what_has_no_single_reading_is_refused(tmp_path: Path, files: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        find_pairs(write(tmp_path, files))


def test_images_that_are_not_looked_for_are_told(tmp_path: Path) -> None:
    write(tmp_path, "a.png b.jfif c.JP2 d.npz e.czi readme.md thumbs.db")
    found = find_pairs(tmp_path)
    assert [pair.name for pair in found.pairs] == ["a.png", "b.jfif"]
    assert [note.partition(",")[0] for note in found.notes] == ["c.JP2 is left out"]
    assert found.notes[0].endswith("and so are 2 others.")


@pytest.mark.parametrize(
    ("labels", "note"),
    [
        ("a_1 a_2 b_1 b_2", "a_1.png and a_2.png are read as parts of one label, and so it is with 1 more."),
        ("a/1 a/2 b/1", "a/1.png and 2.png are read as parts of one label."),
        ("a b a_copy", "a_copy.png is left out, for masks/a.png is the label of its image."),
        ("a b", None),
    ],
)
def test_labels_that_are_united_or_left_out_are_told(tmp_path: Path, labels: str, note: str | None) -> None:
    write(tmp_path, " ".join(["images/a.png", "images/b.png", *(f"masks/{label}.png" for label in labels.split())]))
    assert find_pairs(tmp_path).notes == (() if note is None else (f"masks/{note}",))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=re.escape(f"{tmp_path / 'x'} does not exist")):
        find_pairs(tmp_path / "x")


def dicom(folder: Path, names: str) -> None:
    for name in names.split():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(bytes(128) + b"DICM")


def test_a_folder_of_dicom_files_is_an_image(tmp_path: Path) -> None:
    dicom(
        tmp_path,
        "images/p1/1.dcm images/p1/2.dcm images/p2/study/IM1 images/p2/study/IM2 images/p3.dcm labels/p2/s.dcm",
    )
    write(tmp_path, "labels/p1.nii.gz")
    assert pairs_in(tmp_path, "") == [
        "images/p1: labels/p1.nii.gz",
        "images/p2: labels/p2/s.dcm",
        "images/p3.dcm:",
    ]


def test_a_series_beside_its_label_is_an_image(tmp_path: Path) -> None:
    dicom(tmp_path, "p1/ct/1.dcm p1/ct/2.dcm")
    assert pairs_in(tmp_path, "p1/mask.nii.gz") == ["p1/ct: p1/mask.nii.gz"]


def test_one_template_completes_the_other() -> None:
    assert read_templates(None, None) is None
    assert read_templates(None, "drawn/{case}") == Templates("images/{case}", "drawn/{case}")


def test_arrays_of_objects_are_no_labels(tmp_path: Path) -> None:
    write(tmp_path, "a.png a_cp_masks.png")
    np.save(tmp_path / "a_seg.npy", {"masks": np.zeros(3)}, allow_pickle=True)
    found = find_pairs(tmp_path)
    assert [described(tmp_path, pair) for pair in found.pairs] == ["a.png: a_cp_masks.png"]
    assert "a_seg.npy is left out, for it holds no image." in found.notes


def test_masks_of_label_studio_belong_to_the_only_image_or_need_its_json(tmp_path: Path) -> None:
    masks = " ".join(f"out/task-3-annotation-7-by-1-tag-{name}-0.png" for name in ("dead", "alive"))
    write(tmp_path, f"images/a.png {masks}")
    (pair,) = find_pairs(tmp_path).pairs
    assert {name: [path.name for path in paths] for name, paths in pair.labels.items()} == {
        name: [f"task-3-annotation-7-by-1-tag-{name}-0.png"] for name in ("alive", "dead")
    }
    write(tmp_path, "images/b.png")
    with pytest.raises(ValueError, match=r"do not tell their images: expected its JSON export .*Export it as JSON"):
        find_pairs(tmp_path)
    task = {"data": {"image": "/data/upload/1/0a1b2c3d-a.png"}, "annotations": [{"result": []}]}
    (tmp_path / "export.json").write_text(json.dumps([task]))
    pairing = find_pairs(tmp_path)
    assert [pair.name for pair in pairing.labelled] == ["a.png"]
    assert any("tells no image" in note for note in pairing.notes)
