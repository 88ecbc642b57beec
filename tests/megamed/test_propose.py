"""Any common arrangement becomes a card that builds, and the guesses are said to be guesses."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from megamed import Collection, DatasetCard
from megamed.annotation import masks_of
from megamed.build import BuildReport
from megamed.labels import read_annotations
from megamed.layouts import find_subjects
from megamed.propose import propose, to_toml, write_proposal
from tests.slide_files import write_pyramid

SIZE_PX = 24


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (SIZE_PX, SIZE_PX), np.uint8)


def label(*values: int) -> np.ndarray:
    """Squares of 8×8, one per value, side by side."""
    drawn = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    for place, value in enumerate(values):
        drawn[8:16, 8 * place : 8 * place + 8] = value
    return drawn


def save(root: Path, name: str, array: np.ndarray) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if name.endswith(".nii.gz"):
        nibabel = pytest.importorskip("nibabel")
        nibabel.save(nibabel.Nifti1Image(np.repeat(array[..., None], 4, axis=2), np.diag([1, 1, 3, 1.0])), path)
    else:
        Image.fromarray(array).save(path)


Arrangement = Callable[[Path], None]


def with_folders(root: Path) -> None:
    for case in ("p1_a", "p1_b", "p2_a"):
        save(root, f"images/{case}.png", image())
        save(root, f"labels/{case}.png", label(1, 2))


def with_patient_folders(root: Path) -> None:
    for patient in ("Anna Ö", "Bo Ä", "Cy"):
        for case in range(2):
            save(root, f"Images/{patient}/{case}.png", image())
            save(root, f"Labels/{patient}/{case}.png", label(1, 2))


def with_patients_around(root: Path) -> None:
    for patient in ("p1", "p2"):
        for day in ("1", "2"):
            save(root, f"{patient}/{day}/images/a.png", image())
            save(root, f"{patient}/{day}/masks/a.png", label(1))


def with_suffix(root: Path) -> None:
    for case in range(3):
        save(root, f"img{case}.png", image())
        save(root, f"img{case}_mask.png", label(255))


def with_suffix_and_numbers(root: Path) -> None:
    for case in (1, 2, 12):
        save(root, f"benign/benign ({case}).png", image())
        save(root, f"benign/benign ({case})_mask.png", label(255))
    save(root, "benign/benign (12)_mask_1.png", label(0, 255))


def with_prefixes(root: Path) -> None:
    for case in ("001", "002"):
        save(root, f"Images/img_{case}.jpg", image())
        save(root, f"Ground_truth/gt_{case}.png", label(1))


def with_longer_images(root: Path) -> None:
    for case in ("21", "22"):
        save(root, f"images/{case}_training.tif", image())
        save(root, f"1st_manual/{case}_manual1.gif", label(255))


def with_class_folders(root: Path) -> None:
    for case in ("a1", "a2"):
        save(root, f"images/{case}.png", image())
        save(root, f"masks/Left Lung/{case}.png", label(255))
        save(root, f"masks/heart/{case}.png", label(0, 255))


def with_class_suffixes(root: Path) -> None:
    for case in ("IDRiD_01", "IDRiD_02"):
        save(root, f"images/{case}.jpg", image())
        save(root, f"masks/{case}_EX.png", label(255))
        save(root, f"masks/{case}_HE.png", label(0, 255))


def with_split_folders(root: Path) -> None:
    for split, case in (("train", "1"), ("train", "2"), ("val", "3")):
        save(root, f"{split}/images/{case}.png", image())
        save(root, f"{split}/masks/{case}.png", label(1))


def with_annotators(root: Path) -> None:
    for case in ("1", "2"):
        save(root, f"images/{case}.png", image())
        save(root, f"masks/expert1/{case}.png", label(1))
        save(root, f"masks/expert2/{case}.png", label(1, 1))


def with_tools_and_gold(root: Path) -> None:
    for case in ("1", "2"):
        save(root, f"images/{case}.png", image())
        for name in ("expert1_amira", "expert1_imagej", "expert2_amira", "gold"):
            save(root, f"labels/{name}/{case}.png", label(1, 1))


def with_colours(root: Path) -> None:
    for case in ("1", "2"):
        save(root, f"images/{case}.png", image())
        drawn = np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8)
        drawn[:8], drawn[8:16] = (255, 0, 0), (0, 0, 255)
        save(root, f"labels/{case}.png", drawn)


def with_blurred_masks(root: Path) -> None:
    for case in ("1", "2"):
        save(root, f"images/{case}.png", image())
        edge = np.repeat(np.arange(0, 48, 2, dtype=np.uint8)[None], SIZE_PX, axis=0)
        edge[:, 8:], edge[0, :8] = 255, np.arange(236, 252, 2)
        save(root, f"labels/{case}.png", (edge // 2 + 128 * (edge > 60)).astype(np.uint8))


def with_objects(root: Path) -> None:
    for case in ("1", "2"):
        save(root, f"images/{case}.png", image())
        numbered = np.arange(SIZE_PX**2, dtype=np.uint16).reshape(SIZE_PX, SIZE_PX)
        save(root, f"labels/{case}.png", numbered)


def with_volumes(root: Path) -> None:
    for case in ("1", "2"):
        save(root, f"p{case}/ct.nii.gz", image().astype(np.int16) * 5 - 1000)
        save(root, f"p{case}/mask.nii.gz", label(1, 3))


def with_case_folders(root: Path) -> None:
    for case in ("x1", "x2"):
        save(root, f"{case}/image.nii.gz", image())
        save(root, f"{case}/label.nii.gz", label(1))


def with_brats_names(root: Path) -> None:
    for case in ("BraTS_001", "BraTS_002"):
        save(root, f"{case}/{case}_flair.nii.gz", image())
        save(root, f"{case}/{case}_seg.nii.gz", label(1, 2, 4))


def with_nnunet(root: Path) -> None:
    facts = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, "file_ending": ".nii.gz"}
    root.mkdir()
    (root / "dataset.json").write_text(json.dumps(facts))
    for case in ("1", "2"):
        save(root, f"imagesTr/liver_{case}_0000.nii.gz", image())
        save(root, f"labelsTr/liver_{case}.nii.gz", label(1))


def with_regions(root: Path) -> None:
    names = {"background": 0, "whole tumour": [1, 2], "core": [2], "both": ["1", "2", 3], "cyst": "3"}
    facts = {"channel_names": {"0": "MRI"}, "labels": names, "regions_class_order": [1, 2], "file_ending": ".nii.gz"}
    root.mkdir()
    (root / "dataset.json").write_text(json.dumps(facts))
    for case in ("1", "2"):
        save(root, f"imagesTr/{case}_0000.nii.gz", image())
        save(root, f"labelsTr/{case}.nii.gz", label(1, 2, 3))


def with_msd(root: Path) -> None:
    pairs = [{"image": f"./imagesTr/{case}.nii.gz", "label": f"./labelsTr/{case}.nii.gz"} for case in "ab"]
    facts = {"modality": {"0": "MRI"}, "labels": {"0": "background", "1": "spleen"}, "training": pairs}
    root.mkdir()
    (root / "dataset.json").write_text(json.dumps(facts))
    for case in "ab":
        save(root, f"imagesTr/{case}.nii.gz", image())
        save(root, f"labelsTr/{case}.nii.gz", label(1))


def with_bids(root: Path) -> None:
    for subject in ("01", "02"):
        for suffix in ("T1w", "FLAIR"):
            save(root, f"sub-{subject}/anat/sub-{subject}_{suffix}.nii.gz", image())
        save(root, f"derivatives/m/sub-{subject}/anat/sub-{subject}_dseg.nii.gz", label(1))


def with_bids_names(root: Path) -> None:
    for subject in ("01", "02"):
        save(root, f"sub-{subject}/sub-{subject}_T1w.nii.gz", image())
        (root / f"sub-{subject}/sub-{subject}_T1w.nii.gz").rename(root / f"sub-{subject}/sub-{subject}_T1w.NII.GZ")
        save(root, f"derivatives/fs/sub-{subject}_dseg.nii.gz", label(1, 4))
    (root / "derivatives" / "fs" / "dseg.tsv").write_text(
        "index\tname\tcolor\n0\tBackground\t#000000\n1\tgrey matter\t#ff0000\n4\t\u8111\t#00ff00\n1001\tfar\t\n"
    )


def with_bids_masks(root: Path) -> None:
    for subject in ("01", "02"):
        save(root, f"sub-{subject}/sub-{subject}_T1w.nii.gz", image())
        for name in ("L", "R"):
            save(root, f"derivatives/hand/sub-{subject}/sub-{subject}_label-{name}_mask.nii.gz", label(1))


def with_table(root: Path) -> None:
    lines = ["image,label,subject"]
    for case in ("1", "2"):
        save(root, f"here/{case}.png", image())
        save(root, f"there/{case}m.png", label(1))
        lines.append(f"here/{case}.png,there/{case}m.png,s{case}")
    (root / "list.csv").write_text("\n".join(lines))


def with_npz(root: Path) -> None:
    root.mkdir()
    arrays = {"images": np.stack([image(), image(1)]), "label": np.stack([label(1), label(1)])}
    np.savez(root / "set_128.npz", **{f"train_{name}": array for name, array in arrays.items()})


def with_dicom(root: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    new_uid = pydicom.uid.generate_uid

    def write(name: str, modality: str, **facts: object) -> None:
        dataset = pydicom.Dataset()
        dataset.file_meta = pydicom.dataset.FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = pydicom.uid.CTImageStorage
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = facts.pop("uid")
        dataset.Modality = modality
        for key, value in facts.items():
            setattr(dataset, key, value)
        dataset.save_as(root / name, enforce_file_format=True)

    def item(**facts: object) -> object:
        dataset = pydicom.Dataset()
        for key, value in facts.items():
            setattr(dataset, key, value)
        return dataset

    root.mkdir()
    for patient in ("A", "B"):
        series, uids = new_uid(), [new_uid() for _ in range(4)]
        for number, uid in enumerate(uids):
            facts = {"Rows": SIZE_PX, "Columns": SIZE_PX, "SamplesPerPixel": 1, "PixelRepresentation": 0}
            facts |= {"BitsAllocated": 8, "BitsStored": 8, "HighBit": 7, "PhotometricInterpretation": "MONOCHROME2"}
            facts |= {"PixelSpacing": [1, 1], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
            facts |= {"ImagePositionPatient": [0, 0, 3 * number], "PixelData": image(number).tobytes()}
            facts |= {"SeriesInstanceUID": series, "PatientID": patient, "RescaleSlope": 1, "RescaleIntercept": 0}
            write(f"{patient}{number}.dcm", "CT", uid=uid, **facts)
        square = [4, 4, 3, 14, 4, 3, 14, 14, 3, 4, 14, 3]
        contour = item(ContourGeometricType="CLOSED_PLANAR", NumberOfContourPoints=4, ContourData=square)
        contour.ContourImageSequence = [item(ReferencedSOPInstanceUID=uids[1])]
        referred = item(RTReferencedSeriesSequence=[item(SeriesInstanceUID=series)])
        write(
            f"{patient}.dcm",
            "RTSTRUCT",
            uid=new_uid(),
            SeriesInstanceUID=new_uid(),
            PatientID=patient,
            StructureSetROISequence=[item(ROINumber=7, ROIName="Left Kidney")],
            ROIContourSequence=[item(ReferencedROINumber=7, ContourSequence=[contour])],
            ReferencedFrameOfReferenceSequence=[item(RTReferencedStudySequence=[referred])],
        )


def with_radiographs(root: Path) -> None:
    dicom_files = pytest.importorskip("tests.dicom_files")
    for case in ("p1", "p2"):
        (file,) = dicom_files.write_series(root / case, image()[None].astype(int), np.eye(4), "DX")
        (root / "images").mkdir(exist_ok=True)
        file.rename(root / "images" / f"{case}.dcm")
        (root / case).rmdir()
        save(root, f"labels/{case}.png", label(1))


CASES: dict[Arrangement, tuple[int, set[str]]] = {
    with_folders: (2, {"label-1", "label-2"}),
    with_patient_folders: (3, {"label-1", "label-2"}),
    with_patients_around: (2, {"label"}),
    with_suffix: (3, {"label"}),
    with_suffix_and_numbers: (3, {"label"}),
    with_prefixes: (2, {"label"}),
    with_longer_images: (2, {"label"}),
    with_class_folders: (2, {"heart", "left-lung"}),
    with_class_suffixes: (2, {"ex", "he"}),
    with_split_folders: (3, {"label"}),
    with_annotators: (2, {"label", "label-by-expert1", "label-by-expert2"}),
    with_tools_and_gold: (2, {"label", "label-by-expert1_amira", "label-by-expert1_imagej", "label-by-expert2_amira"}),
    with_colours: (2, {"label-1", "label-2"}),
    with_blurred_masks: (2, {"label"}),
    with_objects: (2, {"object"}),
    with_volumes: (2, {"label-1", "label-3"}),
    with_case_folders: (2, {"label"}),
    with_brats_names: (2, {"label-1", "label-2", "label-4"}),
    with_nnunet: (2, {"liver"}),
    with_regions: (2, {"label-1", "whole-tumour", "core", "both", "cyst"}),
    with_msd: (2, {"spleen"}),
    with_bids: (2, {"label"}),
    with_bids_names: (2, {"grey-matter", "\u8111"}),
    with_bids_masks: (2, {"l", "r"}),
    with_table: (2, {"label"}),
    with_npz: (2, {"label"}),
    with_dicom: (2, {"left-kidney"}),
    with_radiographs: (2, {"label"}),
}
"""Per arrangement, its subjects and labels."""


@pytest.mark.parametrize("arrange", CASES, ids=lambda arrange: arrange.__name__)
def test_proposed_card_builds(arrange: Arrangement, build_folder: Callable[..., BuildReport], tmp_path: Path) -> None:
    root = tmp_path / "My data"
    arrange(root)
    write_proposal(propose(root), root)
    report = build_folder(root)
    subjects, labels = CASES[arrange]
    assert report.complete, report.lines()
    assert report.datasets["my-data"].subjects == subjects
    with Collection(tmp_path / "out") as collection:
        assert {task.label for task in collection.tasks()} == labels


def test_checks_stand_above_the_card(tmp_path: Path) -> None:
    root = tmp_path / "Brain MRI"
    with_folders(root)
    text = write_proposal(propose(root), root).read_text()
    assert text.startswith("# Check: 3 cases found; images are images/{case}, labels are labels/{case}.\n")
    assert "1 'label 1' (11.1% where present, in 3 of 3 cases)" in text
    assert "3 cases of 2 subjects: case 'p1_a' is taken to be of 'p1'" in text
    assert 'modality = "MRI"' in text


@pytest.mark.parametrize(("step", "most_pixels", "level"), [(4, 2**24, 2), (1, 2**24, 0), (0, 2**12, 1), (0, 2**24, 0)])
def test_a_level_is_proposed_for_pyramids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int, most_pixels: int, level: int
) -> None:
    pytest.importorskip("tifffile")
    monkeypatch.setattr("megamed.readers.pyramid.MOST_PIXELS", most_pixels)
    drawn = np.zeros((64, 96), np.uint8)
    drawn[16:40, 24:64] = 1
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    write_pyramid(tmp_path / "images" / "a.tif", np.random.default_rng(0).integers(0, 200, (64, 96)).astype(np.uint8))
    if step:
        Image.fromarray(drawn[::step, ::step]).save(tmp_path / "labels" / "a.png")
    else:
        write_pyramid(tmp_path / "labels" / "a.tif", drawn)
    proposal = propose(tmp_path)
    assert proposal.card.files.level == level
    assert any(f"at level {level}" in check for check in proposal.checks) == (level > 0)


@pytest.mark.parametrize(
    ("name", "low", "modality"), [("scans", -1000, "CT"), ("scans", 0, "MRI"), ("ultrasound_2", 0, "Ultrasound")]
)
def test_modality_is_guessed_from_words_then_values(tmp_path: Path, name: str, low: int, modality: str) -> None:
    root = tmp_path / name
    save(root, "volumes/a_image.nii.gz", image().astype(np.int16) * 5 + low)
    save(root, "volumes/a_label.nii.gz", label(1))
    assert propose(root).card.modality == modality


def test_channels_become_modalities(tmp_path: Path, build_folder: Callable[..., BuildReport]) -> None:
    tifffile = pytest.importorskip("tifffile")
    (tmp_path / "cells/images").mkdir(parents=True)
    stains = {"axes": "CYX", "Labels": ["DAPI", "actin (488)"]}
    for case in "ab":
        tifffile.imwrite(
            tmp_path / f"cells/images/{case}.tif", np.stack([image(1), image(2)]), imagej=True, metadata=stains
        )
        save(tmp_path, f"cells/labels/{case}.png", label(1))
    (tmp_path / "cells/images/a.tif").write_bytes((tmp_path / "cells/images/b.tif").read_bytes()[:9])  # is told later
    proposal = propose(tmp_path / "cells")
    assert any("channels DAPI, actin (488) are modalities of their own" in check for check in proposal.checks)
    write_proposal(proposal, tmp_path / "cells")
    build_folder(tmp_path / "cells")
    assert {task.modality for task in Collection(tmp_path / "out").tasks()} == {"dapi", "actin-488"}


@pytest.mark.parametrize(("values", "unknown", "labels"), [((2, 1, 3), 3, {1, 2}), ((0, 255, 128), 128, {1})])
def test_the_border_of_a_trimap_is_unknown(
    tmp_path: Path, values: tuple[int, int, int], unknown: int, labels: set[int]
) -> None:
    """Oxford-IIIT Pet counts foreground, background and border from 1, programs for matting use greys."""
    background, foreground, border = values
    drawn = np.full((SIZE_PX, SIZE_PX), background, np.uint8)
    drawn[4:20, 4:20], drawn[6:18, 6:18] = border, foreground
    for case in "ab":
        save(tmp_path, f"images/{case}.png", image())
        save(tmp_path, f"annotations/trimaps/{case}.png", drawn)
    card = propose(tmp_path).card
    assert (card.files.unknown, set(card.labels)) == ((unknown,), labels)
    case = find_subjects(tmp_path, card)[0].cases[0]
    masks = masks_of(read_annotations(case, card, image()), card.masks)
    assert np.array_equal(masks["label"], np.where(drawn == border, 255, drawn == foreground))


def test_card_is_never_overwritten_unasked(tmp_path: Path) -> None:
    root = tmp_path / "data"
    with_folders(root)
    path = write_proposal(propose(root), root)
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="has a card"):
        write_proposal(propose(root), root)
    assert path.read_text() == "mine"
    write_proposal(propose(root), root, force=True)
    assert path.read_text() != "mine"


def test_meta_json_is_never_shadowed(tmp_path: Path) -> None:
    root = tmp_path / "data"
    with_folders(root)
    (root / "meta.json").write_text("{}")
    with pytest.raises(FileExistsError, match=r"got meta\.json"):
        write_proposal(propose(root), root, force=True)


def nothing(root: Path) -> None:
    root.mkdir()


def only_images(root: Path) -> None:
    save(root, "a.png", image())


def empty_labels(root: Path) -> None:
    save(root, "images/a.png", image())
    save(root, "labels/a.png", label())


def unreadable_labels(root: Path) -> None:
    save(root, "images/a.png", image())
    (root / "labels").mkdir()
    (root / "labels" / "a.png").write_bytes(b"no picture")


def bad_description(root: Path) -> None:
    root.mkdir()
    (root / "dataset.json").write_text("{")


@pytest.mark.parametrize(
    ("arrange", "reason"),
    [
        (lambda root: None, "is no folder"),
        (nothing, "got 0 images and 0 labels"),
        (only_images, "got 1 images and 0 labels"),
        (empty_labels, "has no labelled pixel: expected some in 1 cases, got only zeros"),
        (unreadable_labels, "has no labelled pixel.*cannot be read"),
        (bad_description, "not readable: expected JSON"),
    ],
)
def test_folder_without_data_is_refused(tmp_path: Path, arrange: Arrangement, reason: str) -> None:
    root = tmp_path / "data"
    arrange(root)
    with pytest.raises(ValueError, match=reason):
        propose(root)


def test_unusable_cases_are_told(tmp_path: Path) -> None:
    root = tmp_path / "data"
    with_nnunet(root)
    next((root / "labelsTr").iterdir()).unlink()
    assert any(check.startswith("1 cases are unusable") for check in propose(root).checks)


def test_images_without_a_label_lose_no_patient(build_folder: Callable[..., BuildReport], tmp_path: Path) -> None:
    root = tmp_path / "my-data"
    with_folders(root)
    (root / "labels" / "p2_a.png").unlink()
    found = propose(root)
    write_proposal(found, root)
    assert "1 images without a label are left out" in found.checks[0]
    assert build_folder(root).complete


def test_a_background_that_is_not_0_is_told(tmp_path: Path) -> None:
    root = tmp_path / "data"
    with_folders(root)
    for path in (root / "labels").iterdir():
        label = np.asarray(Image.open(path))
        Image.fromarray(np.where(label, 128, 255).astype(np.uint8)).save(path)
    checks = propose(root).checks
    assert any(check.startswith("all labels have 255 in their corners: if that is the background") for check in checks)


TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1).filter(str.strip)


@settings(deadline=None)
@given(
    title=TEXTS,
    names=st.dictionaries(st.integers(1, 255), st.from_regex("[a-z]{1,8}", fullmatch=True), min_size=1),
    subjects=st.lists(TEXTS),
)
def test_every_card_survives_toml(
    tmp_path_factory: pytest.TempPathFactory, title: str, names: dict[int, str], subjects: list[str]
) -> None:
    unique = {value: f"{name} {value}" for value, name in names.items()}
    card = DatasetCard(
        id="a",
        title=title,
        modality="CT",
        labels=unique,
        annotated={next(iter(unique.values())): tuple(subjects)},
        files={"classes": {title: next(iter(unique))}},
    )
    path = tmp_path_factory.mktemp("card") / "card.toml"
    path.write_text(to_toml(card), encoding="utf-8")
    assert DatasetCard.from_toml(path) == card


@pytest.fixture
def linked(shared: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A real dataset without its card."""

    def link(name: str) -> Path:
        root = tmp_path / name
        root.mkdir()
        for path in (shared / "data" / name).iterdir():
            if path.is_dir():
                (root / path.name).symlink_to(path)
        return root

    return link


@pytest.mark.parametrize("name", ["stare", "ms_lesion_flair_mr"])
def test_real_folders_build_without_their_card(
    name: str, linked: Callable[[str], Path], shared: Path, build_folder: Callable[..., BuildReport]
) -> None:
    root = linked(name)
    write_proposal(propose(root), root)
    outcome = build_folder(root, size_px=32).datasets[name]
    assert not outcome.rejected
    assert outcome.subjects == DatasetCard.from_json(shared / "data" / name / "meta.json").n_subjects
