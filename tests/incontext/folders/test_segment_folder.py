"""Folders of images of every kind: masks in their formats, a preview, a summary."""

import copy
import errno
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from incontext import Segmenter
from incontext.folders.check_folder import check_folder
from incontext.folders.expectation import PICTURE
from incontext.folders.folder_images import read_folder
from incontext.folders.mask_files import EDITED
from incontext.folders.run_log import LOG
from incontext.folders.segment_folder import SegmentOptions, segment_folder
from incontext.folders.user_folder import fit_folder
from incontext.images.source_image import read_label_image, read_source_image
from incontext.inference import chosen_settings
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from megamed import files
from megamed.files import LEDGER_NAME, exclusive, move_into_place, sha256_of
from tests.dicom_files import series_affine, write_segmentation, write_series


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8)), size_px=32)


def volume(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Noise with a bright block in the middle planes, and its label, 2."""
    label = np.zeros((20, 24, 6), dtype=np.uint8)
    label[5:12, 6 + seed : 14 + seed, 2:5] = 2
    return (np.random.default_rng(seed).normal(100, 10, label.shape) + 60 * label).astype(np.float32), label


def write_volumes(folder: Path, names: list[str]) -> Path:
    nibabel = pytest.importorskip("nibabel")
    affine = np.diag([1.0, 1.0, 4.0, 1.0])
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for seed, name in enumerate(names):
        for part, array in zip(("images", "labels"), volume(seed), strict=True):
            nibabel.save(nibabel.Nifti1Image(array, affine), folder / part / name)
    return folder


def test_a_folder_of_volumes_gives_volumes(tmp_path: Path, segmenter: Segmenter) -> None:
    nibabel = pytest.importorskip("nibabel")
    support = write_volumes(tmp_path / "support", ["a.nii.gz", "b.nii.gz"])
    query = write_volumes(tmp_path / "query", ["c.nii.gz"])
    summary = segment_folder(segmenter, support, query, tmp_path / "out")
    assert not summary.failures
    written = nibabel.load(tmp_path / "out" / "masks" / "c.nii.gz")
    original = nibabel.load(query / "images" / "c.nii.gz")
    mask = np.asanyarray(written.dataobj)
    np.testing.assert_array_equal(written.affine, original.affine)
    assert mask.shape == original.shape
    assert summary.images[0].area_px == {2: np.count_nonzero(mask == 2)}
    label = volume(0)[1] == 2
    both = np.count_nonzero((mask == 2) & label)
    expected = 2 * both / (np.count_nonzero(mask) + np.count_nonzero(label))
    assert summary.mean_dice == {2: pytest.approx(expected)}


def test_the_summary_tells_how_images_were_prepared(tmp_path: Path, segmenter: Segmenter) -> None:
    support = write_volumes(tmp_path / "support", ["a.nii"])
    segment_folder(segmenter, support, support, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert content["normalisation"] == str(segmenter.fitted.preparation.normalisation)
    assert content["tiling"].startswith("the whole image: structures are ")
    assert content["classes"] == {"2": "2"}


def test_what_looks_wrong_is_told_once(tmp_path: Path, segmenter: Segmenter) -> None:
    support, query = tmp_path / "support", tmp_path / "query"
    for part in (support / "images", support / "labels", query):
        part.mkdir(parents=True)
    image, label = (plane[..., 3] for plane in volume(0))
    grey = np.clip(image, 0, 255).astype(np.uint8)
    Image.fromarray(grey).save(support / "images" / "a.png")
    Image.fromarray(label).save(support / "labels" / "a.png")
    for name in "bc":
        Image.fromarray(255 - grey // 4).save(query / f"{name}.png")
    summary = segment_folder(segmenter, support, query, tmp_path / "out")
    assert len(summary.images) == 2
    assert len(summary.warnings) == len(set(summary.warnings)) > 0


def write_pictures(folder: Path, names: list[str], labelled: bool = True) -> Path:
    for part in ("images", "labels")[: 1 + labelled]:
        (folder / part).mkdir(parents=True)
    for seed, name in enumerate(names):
        image, label = (plane[..., 3] for plane in volume(seed))
        Image.fromarray(np.clip(image, 0, 255).astype(np.uint8)).save(folder / "images" / name)
        if labelled:
            Image.fromarray(label).save(folder / "labels" / name)
    return folder


def test_labelled_images_choose_settings(tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chosen_settings, "CANDIDATES", ({"scaling": "min-max"},))
    segmenter = copy.copy(segmenter)
    support = write_pictures(tmp_path / "support", [f"{number}.png" for number in range(8)])
    query = write_pictures(tmp_path / "query", ["a.png"], labelled=False)
    summary = segment_folder(segmenter, support, query, tmp_path / "out", options=SegmentOptions(choose=True))
    (note,) = [note for note in summary.notes if note.startswith("Settings tried")]
    assert "as given: Dice" in note
    assert "scaling='min-max': Dice" in note
    assert note in json.loads((tmp_path / "out" / "summary.json").read_text())["notes"]
    with pytest.raises(ValueError, match="expected a folder of them, got none"):
        segment_folder(segmenter, None, query, tmp_path / "again", options=SegmentOptions(choose=True))


def test_reports_measure_what_masks_show(tmp_path: Path, segmenter: Segmenter) -> None:
    support = write_volumes(tmp_path / "support", ["a.nii", "b.nii"])
    whole = segment_folder(segmenter, support, support, tmp_path / "whole").images[0]
    assert (whole.volume_mm3, whole.area_mm2) == ({2: 4.0 * whole.area_px[2]}, None)
    found = segmenter.predict(support / "images" / "a.nii")
    assert 0 < whole.area_px[2] < found.masks[0].size
    assert whole.confidence == pytest.approx(found.probabilities[0][found.masks[0] == 2].mean(), rel=1e-5)

    pytest.importorskip("highdicom")
    slices = write_series(
        tmp_path / "scan", volume(0)[0].astype(np.int16), series_affine(np.eye(3), (4, 0.5, 3), (0, 0, 0))
    )
    one = segment_folder(segmenter, support, slices[0], tmp_path / "one").images[0]
    assert (one.volume_mm3, one.area_mm2) == (None, {2: 1.5 * one.area_px[2]})


def test_no_presence_is_told_of_a_class_that_few_images_show(tmp_path: Path) -> None:
    support = write_pictures(tmp_path / "support", [f"{number}.png" for number in range(4)])
    with Image.open(file := support / "labels" / "0.png") as label:
        other = np.array(label)
    other[:4, :4] = 7
    Image.fromarray(other).save(file)
    query = write_pictures(tmp_path / "query", ["q.png"], labelled=False)
    out = tmp_path / "out"
    (report,) = segment_folder(Segmenter(device="cpu"), support, query / "images" / "q.png", out).images
    assert report.presence is not None
    assert list(report.presence) == [2]


def test_a_query_whose_label_is_empty_is_scored(tmp_path: Path, segmenter: Segmenter) -> None:
    support = write_pictures(tmp_path / "support", ["a.png", "b.png"])
    query = write_pictures(tmp_path / "query", ["c.png"])
    Image.fromarray(np.zeros((20, 24), np.uint8)).save(query / "labels" / "c.png")
    summary = segment_folder(segmenter, support, query, tmp_path / "out")
    assert not summary.failures
    (report,) = summary.images
    assert report.dice == {2: 0.0 if report.area_px[2] else 1.0}


def test_images_without_a_label_are_segmented_by_the_others(tmp_path: Path, segmenter: Segmenter) -> None:
    folder = write_pictures(tmp_path / "mine", ["a.png", "b.png", "c.png"])
    (folder / "labels" / "b.png").unlink()
    summary = segment_folder(segmenter, folder, None, folder / "result")
    assert [report.file for report in summary.images] == ["b.png"]
    assert summary.support == ["a.png", "c.png"]
    assert summary.notes == [
        "images/a.png has the label labels/a.png.",
        "2 labelled images are the support, the 1 other is segmented.",
    ]
    again = segment_folder(segmenter, folder, folder, folder / "result")
    assert (again.resumed, again.images) == (1, summary.images)
    apart = segment_folder(segmenter, folder, folder / "images" / "a.png", tmp_path / "out")
    assert "1 image beside the labelled ones has no label, and no use." in apart.notes


def test_labels_that_are_left_out_do_not_count_as_support(tmp_path: Path, segmenter: Segmenter) -> None:
    folder = write_pictures(tmp_path / "mine", ["a.png", "b.png", "c.png"])
    (folder / "labels" / "b.png").unlink()
    (folder / "labels" / "c.png").write_bytes(b"no picture")
    summary = segment_folder(segmenter, folder, None, tmp_path / "out")
    assert summary.support == ["a.png"]
    assert "1 labelled image is the support, the 1 other is segmented." in summary.notes


def test_without_images_to_segment_one_is_asked_for_them(tmp_path: Path, segmenter: Segmenter) -> None:
    folder = write_pictures(tmp_path / "mine", ["a.png"])
    with pytest.raises(ValueError, match=r"has no image to segment: .*got labels for all 1"):
        segment_folder(segmenter, folder, None, tmp_path / "out")
    with pytest.raises(ValueError, match="query is missing"):
        segment_folder(segmenter, None, None, tmp_path / "out")


def test_masks_lie_in_the_folders_of_their_images(tmp_path: Path, segmenter: Segmenter) -> None:
    for patient in ("p1", "p2"):
        write_pictures(tmp_path / "mine" / patient, ["1.png"], labelled=patient == "p1")
    write_pictures(tmp_path / "query" / "p3", ["1.png"], labelled=False)
    write_pictures(tmp_path / "query" / "p4", ["1.png"])
    summary = segment_folder(segmenter, tmp_path / "mine", tmp_path / "query", tmp_path / "out")
    assert [report.mask for report in summary.images] == ["p3/images/1.png", "p4/images/1.png"]
    assert all((tmp_path / "out" / "masks" / report.mask).is_file() for report in summary.images)
    assert [report.dice is None for report in summary.images] == [True, False]


def test_a_file_for_each_class_teaches_as_a_map_does(tmp_path: Path, segmenter: Segmenter) -> None:
    mapped, apart = tmp_path / "mapped", tmp_path / "apart"
    write_pictures(mapped, ["a.png", "b.png"])
    write_pictures(apart, ["a.png", "b.png"], labelled=False)
    for name in ("a.png", "b.png"):
        label = np.array(Image.open(mapped / "labels" / name))
        label[:, :12][label[:, :12] > 0] = 1
        Image.fromarray(label).save(mapped / "labels" / name)
        for value, part in ((1, "left"), (2, "right")):
            (apart / "masks" / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.where(label == value, 255, 0).astype(np.uint8)).save(apart / "masks" / part / name)
    (apart / "masks" / "left" / "b.png").unlink()
    by_map = segment_folder(segmenter, mapped, apart, tmp_path / "one", options=SegmentOptions({1: "left", 2: "right"}))
    assert by_map.classes == {1: "left", 2: "right"}
    assert [sorted(report.dice or ()) for report in by_map.images] == [[1, 2], [2]]
    by_file = segment_folder(segmenter, apart, mapped, tmp_path / "two")
    assert by_file.classes == by_map.classes
    assert sorted(by_file.mean_dice) == [1, 2]


def test_folders_that_are_called_as_values_have_the_names_of_these(tmp_path: Path, segmenter: Segmenter) -> None:
    folder = write_pictures(tmp_path / "data", ["a.png", "b.png", "c.png"])
    (folder / "labels" / "c.png").unlink()
    for value in (1, 2):
        (folder / "labels" / f"{value}").mkdir()
        for name in ("a.png", "b.png"):
            label = np.array(Image.open(folder / "labels" / name))
            Image.fromarray(label * (np.arange(label.shape[1]) % 2 == value - 1)).save(
                folder / "labels" / f"{value}" / name
            )
    for name in ("a.png", "b.png"):
        (folder / "labels" / name).unlink()
    names = {1: "liver", 2: "spleen"}
    options = SegmentOptions(classes=names)
    summary = segment_folder(segmenter, folder, None, tmp_path / "out", options=options)
    assert summary.classes == names
    assert [each.name for each in check_folder(folder, names=names).classes] == ["liver", "spleen"]


@pytest.mark.parametrize("place", ["scans/a/seg.dcm", "labels/a/seg.dcm"])
def test_a_label_drawn_on_a_series_is_its_label(tmp_path: Path, segmenter: Segmenter, place: str) -> None:
    pytest.importorskip("highdicom")
    image, label = (np.moveaxis(array, -1, 0) for array in volume(0))
    affine = series_affine(np.eye(3), (4.0, 0.5, 0.75), (0, 0, 0))
    for name in ("a", "b"):
        slices = write_series(tmp_path / "mine" / "scans" / name, image.astype(np.int16), affine)
        if name == "a":
            drawn = tmp_path / "mine" / place
            drawn.parent.mkdir(parents=True, exist_ok=True)
            write_segmentation(drawn, slices, {"block": label > 0})
    folder = tmp_path / "mine" / "scans" if "scans" in place else tmp_path / "mine"
    summary = segment_folder(segmenter, folder, None, tmp_path / "out")
    assert (summary.support, summary.classes) == (["a"], {1: "block"})
    assert [report.file for report in summary.images] == ["b"]
    assert not summary.failures


def test_an_interrupted_run_goes_on(tmp_path: Path, segmenter: Segmenter) -> None:
    support = write_pictures(tmp_path / "support", ["a.png", "b.png"])
    query = write_pictures(tmp_path / "query", ["c.png", "d.png", "e.png"])
    whole = segment_folder(segmenter, support, query, tmp_path / "whole")

    def interrupted(pairs):
        yield pairs[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        segment_folder(segmenter, support, query, tmp_path / "out", interrupted)
    asked = []
    summary = segment_folder(segmenter, support, query, tmp_path / "out", lambda pairs: asked.extend(pairs) or pairs)
    assert [pair.name for pair in asked] == ["d.png", "e.png"]
    assert (summary.resumed, summary.images) == (1, whole.images)
    for name in ("overlay.png", "masks/c.png", "masks/e.png"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_replaced_image_is_segmented_again(tmp_path: Path, segmenter: Segmenter) -> None:
    support = write_pictures(tmp_path / "support", ["a.png"])
    query = write_pictures(tmp_path / "query", ["c.png", "d.png"], labelled=False)
    segment_folder(segmenter, support, query, tmp_path / "out")
    Image.fromarray(np.eye(30, dtype=np.uint8)).save(query / "images" / "d.png")
    summary = segment_folder(segmenter, support, query, tmp_path / "out")
    assert summary.resumed == 1
    assert summary.images[1].size_px == (30, 30)


def test_an_image_of_the_same_size_and_time_is_another_image(tmp_path: Path, segmenter: Segmenter) -> None:
    support = write_pictures(tmp_path / "support", ["a.png", "b.png"])
    query = write_pictures(tmp_path / "query", ["c.png"], labelled=False)
    image = (query / "images" / "c.png").rename(query / "images" / "c.bmp")
    Image.open(support / "images" / "a.png").save(image)
    before = image.stat()
    first = segment_folder(segmenter, support, query, tmp_path / "out")
    Image.open(support / "images" / "b.png").save(image)
    os.utime(image, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert image.stat().st_size == before.st_size
    again = segment_folder(segmenter, support, query, tmp_path / "out")
    assert again.resumed == 0
    assert again.images != first.images


def damaged(name: str, content: bytes) -> bytes:
    return {
        "emptied": b"",
        "zeroed": bytes(len(content)),
        "cut": content[: len(content) // 2],
        "of its end": content[:-5],
        "scrambled": content[:20] + bytes(20) + content[40:],
    }[name]


@pytest.mark.parametrize("damage", ["deleted", "emptied", "zeroed", "cut", "of its end", "scrambled"])
def test_a_damaged_mask_is_made_anew(tmp_path: Path, segmenter: Segmenter, damage: str) -> None:
    support = write_pictures(tmp_path / "support", ["a.png"])
    query = write_pictures(tmp_path / "query", ["c.png", "d.png"], labelled=False)
    whole = segment_folder(segmenter, support, query, tmp_path / "out")
    mask = tmp_path / "out" / "masks" / "c.png"
    before = mask.read_bytes()
    if damage == "deleted":
        mask.unlink()
    else:
        mask.write_bytes(damaged(damage, before))
    again = segment_folder(segmenter, support, query, tmp_path / "out")
    assert mask.read_bytes() == before
    assert (again.resumed, again.images, again.warnings) == (1, whole.images, whole.warnings)


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_mask_that_somebody_edited_is_kept_and_measured(
    tmp_path: Path, segmenter: Segmenter, overwrite: bool
) -> None:
    support = write_pictures(tmp_path / "support", ["a.png"])
    query = write_pictures(tmp_path / "query", ["c.png", "d.png"])
    options = SegmentOptions(statistics=True)
    segment_folder(segmenter, support, query, out := tmp_path / "out", options=options)
    drawn = np.zeros((20, 24), np.uint8)
    drawn[3:8, 3:6] = 2
    Image.fromarray(drawn).save(out / "masks" / "c.png")
    mine = (out / "masks" / "c.png").read_bytes()
    for turn in range(2):
        options = SegmentOptions(statistics=True, overwrite=overwrite and not turn)
        summary = segment_folder(segmenter, support, query, out, options=options)
        assert (out / "masks" / "c.png").read_bytes() == mine
        assert [message for message in summary.warnings if "edited" in message] == [f"c.png: {EDITED}"]
        assert (summary.images[0].area_px, summary.images[0].confidence) == ({2: 15}, None)
        label = np.asarray(Image.open(query / "labels" / "c.png")) == 2
        both = np.count_nonzero(label & (drawn == 2))
        assert summary.images[0].dice == {2: pytest.approx(2 * both / (15 + np.count_nonzero(label)))}
        assert "c.png,c.png,2,2,15," in (out / "statistics.csv").read_text()
    assert summary.resumed == 2


@pytest.mark.parametrize("name", ["summary.json", "overlay.png", "statistics.csv", "progress.jsonl"])
@pytest.mark.parametrize("when", ["before", "between"])
def test_a_file_of_somebody_else_stops_the_run_before_any_work(
    tmp_path: Path, segmenter: Segmenter, name: str, when: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    support = write_pictures(tmp_path / "support", ["a.png"])
    out = tmp_path / "out"
    options = SegmentOptions(statistics=True)
    if when == "between":
        segment_folder(segmenter, support, support, out, options=options)
    out.mkdir(exist_ok=True)
    (out / name).write_text("mine")
    monkeypatch.setattr(segmenter, "predict", None)
    with pytest.raises(ValueError, match=rf"{name} is somebody's own: .* Move it away, or write elsewhere\."):
        segment_folder(segmenter, support, support, out, options=SegmentOptions(statistics=True, overwrite=True))
    assert (out / name).read_text() == "mine"


@pytest.mark.parametrize(
    ("number", "places"), [(errno.ENOSPC, (1, 3, 5, 6, 7)), (errno.EDQUOT, (3,)), (errno.EROFS, (5,))]
)
def test_a_disk_that_takes_no_more_stops_the_run_which_goes_on_later(
    tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch, number: int, places: Sequence[int]
) -> None:
    support = write_pictures(tmp_path / "support", ["a.png"])
    query = write_pictures(tmp_path / "query", ["c.png", "d.png", "e.png"], labelled=False)
    options = SegmentOptions(statistics=True)
    segment_folder(segmenter, support, query, tmp_path / "whole", options=options)
    whole = contents(tmp_path / "whole")
    written = 0

    def full(finished: Path, path: Path) -> None:
        nonlocal written
        written += 1
        if written == left:
            raise OSError(number, os.strerror(number), str(finished))
        move_into_place(finished, path)

    for left in places:
        written, out = 0, tmp_path / f"out{left}"
        monkeypatch.setattr(files, "move_into_place", full)
        with pytest.raises(OSError, match=r"cannot be written: expected .*, got .*\. .*(again|elsewhere)\.$"):
            segment_folder(segmenter, support, query, out, options=options)
        assert contents(out).items() <= {**whole, "progress.jsonl": contents(out).get("progress.jsonl")}.items()
        monkeypatch.undo()
        segment_folder(segmenter, support, query, out, options=options)
        assert {**contents(out), "summary.json": b""} == {**whole, "summary.json": b""}


def contents(folder: Path) -> dict[str, bytes]:
    """Contents of the files that a user sees."""
    found = [path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".")]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found}


def test_what_can_no_longer_be_read_is_no_longer_done(tmp_path: Path, segmenter: Segmenter) -> None:
    support = write_pictures(tmp_path / "support", ["a.png"])
    query = write_pictures(tmp_path / "query", ["c.png", "d.png"], labelled=False)
    segment_folder(segmenter, support, query, tmp_path / "out")
    (query / "images" / "d.png").write_bytes(b"no picture")
    summary = segment_folder(segmenter, support, query, tmp_path / "out")
    assert list(summary.failures) == ["d.png"]
    assert [report.file for report in summary.images] == ["c.png"]


def test_results_among_the_queries_are_no_image(tmp_path: Path, segmenter: Segmenter) -> None:
    pytest.importorskip("highdicom")
    support = write_pictures(tmp_path / "support", ["a.png"])
    affine = series_affine(np.eye(3), (4.0, 0.5, 0.75), (0, 0, 0))
    write_series(tmp_path / "query" / "scan", np.moveaxis(volume(0)[0], -1, 0).astype(np.int16), affine)
    segment_folder(segmenter, support, tmp_path / "query", tmp_path / "query" / "out")
    assert list((tmp_path / "query" / "out" / "masks").glob("*.dcm"))
    assert [pair.image.name for pair in read_folder(tmp_path / "query").pairs] == ["scan"]


def test_results_of_a_version_without_ledger_are_overwritten_but_for_edited_masks(
    tmp_path: Path, segmenter: Segmenter
) -> None:
    support = write_pictures(tmp_path / "support", ["a.png"])
    query = write_pictures(tmp_path / "query", ["c.png", "d.png", "e.png"], labelled=False)
    segment_folder(segmenter, support, query, out := tmp_path / "out")
    masks = [out / "masks" / name for name in ("c.png", "d.png", "e.png")]
    ours = [sha256_of(path) for path in masks]
    for path, rows in zip(masks[:2], (5, 10), strict=True):
        drawn = np.zeros((20, 24), np.uint8)
        drawn[:rows] = 2
        Image.fromarray(drawn).save(path)
    segment_folder(segmenter, support, query, out)  # whose log tells of two edited masks
    log = (out / LOG).read_text().replace('"version": "', '"version": "former')
    written, *lines = log.splitlines(keepends=True)
    lines = [line.replace(EDITED, "") if '"file":"d.png"' in line else line for line in lines]  # made by that version
    (out / LOG).write_text(written + "".join(lines))
    (out / LEDGER_NAME).unlink()
    summary = segment_folder(segmenter, support, query, out, options=SegmentOptions(overwrite=True))
    assert [message for message in summary.warnings if "edited" in message] == [f"c.png: {EDITED}"]
    assert [sha256_of(path) == before for path, before in zip(masks, ours, strict=True)] == [False, True, True]


def test_another_run_needs_overwrite(tmp_path: Path, segmenter: Segmenter) -> None:
    support = write_pictures(tmp_path / "support", ["a.png"])
    query = write_pictures(tmp_path / "query", ["c.png"], labelled=False)
    segment_folder(segmenter, support, query, tmp_path / "out")
    with pytest.raises(ValueError, match="got another support"):
        segment_folder(
            segmenter, query.parent / "support", query, tmp_path / "out", options=SegmentOptions({2: "block"})
        )
    summary = segment_folder(
        segmenter, support, query, tmp_path / "out", options=SegmentOptions({2: "block"}, overwrite=True)
    )
    assert (summary.resumed, summary.classes) == (0, {2: "block"})


def test_statistics_know_the_size_of_voxels(tmp_path: Path, segmenter: Segmenter) -> None:
    support = write_volumes(tmp_path / "support", ["a.nii.gz"])
    options = SegmentOptions({2: "block"}, ".nrrd", preview=False, statistics=True)
    (report,) = segment_folder(
        segmenter, support, support / "images" / "a.nii.gz", tmp_path / "out", options=options
    ).images
    assert report.mask == "a.nrrd"
    assert report.area_mm2 is None
    assert report.volume_mm3 == {2: 4.0 * report.area_px[2]}
    (row,) = (tmp_path / "out" / "statistics.csv").read_text().splitlines()[1:]
    assert row.startswith(f"a.nii.gz,a.nrrd,2,block,{report.area_px[2]},,{4 * report.area_px[2]:.6g},")
    assert not (tmp_path / "out" / "overlay.png").exists()


def test_a_fitted_segmenter_needs_no_support(tmp_path: Path, segmenter: Segmenter) -> None:
    support = write_pictures(tmp_path / "support", ["a.png"])
    with_support = segment_folder(segmenter, support, support, tmp_path / "one")
    fit_folder(segmenter, support)
    without = segment_folder(segmenter, None, support, tmp_path / "two")
    assert without.images == with_support.images
    assert without.support == []


@pytest.mark.parametrize(
    "content", ["truncated", "zeros", "text"], ids=["a truncated archive", "an archive of zeros", "a text"]
)
def test_a_damaged_volume_does_not_stop_the_rest(tmp_path: Path, segmenter: Segmenter, content: str) -> None:
    support = write_volumes(tmp_path / "support", ["a.nii.gz"])
    query = write_volumes(tmp_path / "query", ["b.nii.gz", "c.nii.gz"]) / "images"
    whole = (query / "b.nii.gz").read_bytes()
    damaged = {"truncated": whole[: len(whole) // 2], "zeros": whole[:20] + bytes(5000), "text": b"no volume"}
    (query / "b.nii.gz").write_bytes(damaged[content])
    summary = segment_folder(segmenter, support, query, tmp_path / "out")
    assert list(summary.failures) == ["b.nii.gz"]
    assert [report.file for report in summary.images] == ["c.nii.gz"]


def test_a_support_image_that_cannot_be_read_is_left_out_and_that_is_said(tmp_path: Path, segmenter: Segmenter) -> None:
    support = write_pictures(tmp_path / "support", ["a.png", "b.png", "c.png"])
    query = write_pictures(tmp_path / "query", ["q.png"], labelled=False)
    (support / "images" / "b.png").write_bytes(b"no picture")
    Image.fromarray(np.ones((3, 4), np.uint8)).save(support / "labels" / "c.png")
    summary = segment_folder(segmenter, support, query, tmp_path / "out")
    assert summary.support == ["a.png"]
    assert [report.file for report in summary.images] == ["q.png"]
    told = [note for note in summary.notes if "is left out of the support" in note]
    assert [note.split()[0] for note in told] == ["b.png", "c.png"]
    with pytest.warns(UserWarning, match=r"b\.png is left out: .*\nc\.png is left out"):
        fit_folder(segmenter, support)
    (support / "images" / "a.png").unlink()
    (support / "labels" / "a.png").unlink()
    with pytest.raises(OSError, match=r"b\.png"):
        segment_folder(segmenter, support, query, tmp_path / "none")


def test_a_query_whose_label_does_not_fit_is_segmented(tmp_path: Path, segmenter: Segmenter) -> None:
    support = write_pictures(tmp_path / "support", ["a.png"])
    query = write_pictures(tmp_path / "query", ["b.png", "c.png", "d.png"])
    (query / "labels" / "b.png").write_bytes(b"no picture")
    Image.fromarray(np.full((20, 24), 7, np.uint8)).save(query / "labels" / "c.png")
    summary = segment_folder(segmenter, support, query, tmp_path / "out")
    assert not summary.failures
    assert [report.dice is None for report in summary.images] == [True, True, False]
    assert [text.split(",")[0] for text in summary.warnings if "not scored" in text] == [
        "b.png is segmented",
        "c.png is segmented",
    ]


def test_objects_are_scored_as_the_class_that_they_were_learnt_as(tmp_path: Path, segmenter: Segmenter) -> None:
    """A query with few objects does not tell by itself that its values number them; the support does."""
    numbered = np.arange(1, 17, dtype=np.uint8).reshape(4, 4).repeat(6, axis=0).repeat(6, axis=1)
    cells = numbered * np.tile(np.pad(np.ones((4, 4), np.uint8), 1), (4, 4))
    few = np.where(cells > 13, cells - 12, 0).astype(np.uint8)
    for folder, name, label in (("support", "a.png", cells), ("query", "q.png", few)):
        for part in ("images", "labels"):
            (tmp_path / folder / part).mkdir(parents=True)
        image = np.random.default_rng(0).integers(0, 60, label.shape) + 150 * (label > 0)
        Image.fromarray(image.astype(np.uint8)).save(tmp_path / folder / "images" / name)
        Image.fromarray(label).save(tmp_path / folder / "labels" / name)
    summary = segment_folder(segmenter, tmp_path / "support", tmp_path / "query", tmp_path / "out")
    assert summary.classes.keys() == {1}
    (report,) = summary.images
    mask = np.asarray(Image.open(tmp_path / "out" / "masks" / "q.png")) > 0
    both = np.count_nonzero(mask & (few > 0))
    assert report.dice == {1: pytest.approx(2 * both / (mask.sum() + np.count_nonzero(few)))}


def test_a_folder_s_own_card_names_the_classes(tmp_path: Path, segmenter: Segmenter) -> None:
    support = write_pictures(tmp_path / "support", ["a.png", "b.png"])
    (support / "labels").rename(support / "drawn")
    (support / "meta.json").write_text(
        '{"id": "a", "modality": "CT", "labels": {"1": "liver", "2": "block"}, "files": {"label": "drawn/{case}"}}'
    )
    (support / "drawn" / "b.png").unlink()
    summary = segment_folder(segmenter, support, None, tmp_path / "out")
    assert summary.support == ["a.png"]
    assert summary.classes == {2: "block"}


def test_a_class_that_no_label_has_is_a_mistake(tmp_path: Path, segmenter: Segmenter) -> None:
    support = write_pictures(tmp_path / "support", ["a.png"])
    with pytest.raises(ValueError, match="classes name values that no label has: expected some of 2, got 1"):
        fit_folder(segmenter, support, {1: "block"})


@pytest.mark.parametrize(("mask_format", "name"), [(None, "scan.dcm"), (".nii.gz", "scan.nii.gz")])
def test_a_series_is_a_volume_wherever_it_lies(
    tmp_path: Path, segmenter: Segmenter, mask_format: str | None, name: str
) -> None:
    pytest.importorskip("highdicom")
    image, label = (np.moveaxis(array, -1, 0) for array in volume(0))
    affine = series_affine(np.eye(3), (4.0, 0.5, 0.75), (0, 0, 0))
    write_series(tmp_path / "query" / "scan", image.astype(np.int16), affine)
    support = write_pictures(tmp_path / "support", ["a.png"])
    options = SegmentOptions(mask_format=mask_format)
    found = [
        segment_folder(segmenter, support, query, tmp_path / f"out{i}", options=options).images
        for i, query in enumerate([tmp_path / "query", tmp_path / "query" / "scan"])
    ]
    assert found[0] == found[1]
    (report,) = found[0]
    assert (report.mask, report.size_px) == (name, label.shape)
    assert report.volume_mm3 == {2: pytest.approx(1.5 * report.area_px[2])}
    case = read_source_image(tmp_path / "query" / "scan", "scan")
    mask = read_label_image(tmp_path / "out0" / "masks" / name, "mask", case)
    assert np.count_nonzero(mask.planes) == report.area_px[2]


def test_two_runs_do_not_write_into_one_folder(tmp_path: Path, segmenter: Segmenter) -> None:
    support = write_pictures(tmp_path / "support", ["a.png"])
    query = write_pictures(tmp_path / "query", ["c.png"], labelled=False)
    out = tmp_path / "out"
    out.mkdir()
    with exclusive(out, "segment"), pytest.raises(ValueError, match="is in use: expected to segment there alone"):
        segment_folder(segmenter, support, query, out)
    assert not (out / "masks").exists()
    assert len(segment_folder(segmenter, support, query, out).images) == 1


def test_colours_and_channel_hold_for_support_and_queries(tmp_path: Path, segmenter: Segmenter) -> None:
    names = ["a.png", "b.png", "c.png"]
    plain, coloured = (write_pictures(tmp_path / name, names) for name in ("plain", "coloured"))
    for name in names:
        picture, label = (np.asarray(Image.open(coloured / part / name)) for part in ("images", "labels"))
        Image.fromarray(np.dstack([255 - picture, picture, picture * 0])).save(coloured / "images" / name)
        drawn = (label > 0)[..., None] * np.array([0, 200, 30], np.uint8)
        drawn[0, 0] = 9, 9, 9
        Image.fromarray(drawn).save(coloured / "labels" / name)
    scores = segment_folder(segmenter, plain, plain, tmp_path / "1").mean_dice
    with pytest.raises(ValueError, match="is drawn in colours: "):
        segment_folder(segmenter, coloured, coloured, tmp_path / "2")
    other = Segmenter(segmenter.weights, size_px=32, channel="green", colours={"#00C81E": 2, "#090909": 0})
    assert segment_folder(other, coloured, coloured, tmp_path / "2").mean_dice == scores


def test_the_pixels_of_a_microscope_have_a_size(tmp_path: Path, segmenter: Segmenter) -> None:
    tifffile = pytest.importorskip("tifffile")
    support = write_pictures(tmp_path / "support", ["a.png", "b.png"])
    array = np.asarray(Image.open(support / "images" / "a.png"))
    tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, resolution=(2.0, 4.0), metadata={"unit": "um"})
    (report,) = segment_folder(segmenter, support, tmp_path / "a.tif", tmp_path / "out").images
    assert report.area_mm2 == pytest.approx({2: 0.125e-6 * report.area_px[2]})
    mask = read_source_image(tmp_path / "out" / "masks" / report.mask, "mask")
    assert mask.spacing_mm == pytest.approx((1, 0.25e-3, 0.5e-3))


def test_what_is_not_drawn_here_is_not_removed(tmp_path: Path, segmenter: Segmenter) -> None:
    folder, out = draw_some(tmp_path / "mine", labelled=4), tmp_path / "out"
    out.mkdir()
    (out / PICTURE).write_bytes(b"a figure of mine")
    segment_folder(segmenter, folder, None, out, options=SegmentOptions(preview=False))
    assert (out / PICTURE).read_bytes() == b"a figure of mine"


def test_a_file_in_the_place_of_a_mask_is_not_replaced_where_none_was_written(
    tmp_path: Path, segmenter: Segmenter
) -> None:
    folder, out = draw_some(tmp_path / "mine", labelled=2, bare=2), tmp_path / "out"
    (out / "masks").mkdir(parents=True)
    (out / "masks/2.png").write_bytes(b"notes of mine")
    summary = segment_folder(segmenter, folder, None, out, options=SegmentOptions(overwrite=True, preview=False))
    assert [report.file for report in summary.images] == ["3.png"]
    assert "masks/2.png is somebody's own" in summary.failures["2.png"]
    assert (out / "masks/2.png").read_bytes() == b"notes of mine"


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_in_the_place_of_a_mask_stays_and_fails_alone(
    tmp_path: Path, segmenter: Segmenter, make: Callable[[Path], None]
) -> None:
    support = write_pictures(tmp_path / "support", ["a.png", "b.png"])
    out = tmp_path / "out"
    segment_folder(segmenter, support, support, out)
    (out / "masks" / "a.png").unlink()
    make(out / "masks" / "a.png")
    summary = segment_folder(segmenter, support, support, out)
    assert "a.png is somebody's own" in summary.failures["a.png"]
    assert [each.file for each in summary.images] == ["b.png"]


def test_a_name_that_is_no_text_is_told_with_the_remedy(tmp_path: Path, segmenter: Segmenter) -> None:
    support = write_pictures(tmp_path / "support", ["a.png", "b.png"])
    odd = os.fsdecode(b"M\xfcller.png")
    (support / "images" / "b.png").rename(support / "images" / odd)
    (support / "labels" / "b.png").unlink()
    summary = segment_folder(segmenter, support, None, tmp_path / "out")
    assert summary.failures == {odd: r"name is no text: expected UTF-8, got M\udcfcller.png. Rename the file."}


def test_a_link_to_itself_fails_alone(tmp_path: Path, segmenter: Segmenter) -> None:
    folder = draw_some(tmp_path / "mine", labelled=1)
    (folder / "images/loop.png").symlink_to(folder / "images/loop.png")
    summary = segment_folder(segmenter, folder, None, tmp_path / "out", options=SegmentOptions(preview=False))
    assert ([report.file for report in summary.images], [*summary.failures]) == (["1.png"], ["loop.png"])


def draw_some(folder: Path, labelled: int, bare: int = 1) -> Path:
    """Noise with a bright block, and labels of the first images."""
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for index in range(labelled + bare):
        label = np.zeros((20, 24), np.uint8)
        label[5:12, 4 + index : 14 + index] = 1
        image = np.random.default_rng(index).integers(0, 40, label.shape) + 120 * label
        Image.fromarray(image.astype(np.uint8)).save(folder / "images" / f"{index}.png")
        if index < labelled:
            Image.fromarray(label).save(folder / "labels" / f"{index}.png")
    return folder
