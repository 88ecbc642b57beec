"""A run remembers what it has done, and knows itself again."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from incontext import Segmenter
from incontext.folders.report import ImageReport
from incontext.folders.run_log import LOG, Done, RunLog, identity, stamp
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from megamed.files import sha256_of
from megamed.pairing import ImagePair
from tests.dicom_files import series_affine, write_series

RUN = {"version": "1", "weights": "a", "support": "b", "options": "{}"}


def done(file: str) -> Done:
    report = ImageReport(file, file, (4, 4), {1: 3}, {1: 0.75}, None, None, None, None, {1: 0.5})
    return Done("stamp", sha256_of(b""), report, ("looks odd",))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder in which two images were done."""
    (tmp_path / "masks").mkdir()
    log = RunLog(tmp_path, RUN)
    for name in ("a.png", "b.png"):
        (tmp_path / "masks" / name).touch()
        log.add(done(name))
    return tmp_path


def test_a_run_remembers_what_it_has_done(out: Path) -> None:
    assert RunLog(out, RUN).done == {"a.png": done("a.png"), "b.png": done("b.png")}


def test_what_has_no_mask_is_not_done(out: Path) -> None:
    (out / "masks" / "a.png").unlink()
    assert list(RunLog(out, RUN).done) == ["b.png"]


@pytest.mark.parametrize("cut", [1, 30, 80])
def test_a_line_that_was_cut_off_is_not_done(out: Path, cut: int) -> None:
    content = (out / LOG).read_bytes()
    (out / LOG).write_bytes(content[:-cut])
    log = RunLog(out, RUN)
    assert list(log.done) == (["a.png", "b.png"] if cut == 1 else ["a.png"])
    log.add(done("b.png"))
    assert (out / LOG).read_bytes().count(b"\n") >= 3
    assert list(RunLog(out, RUN).done) == ["a.png", "b.png"]


def test_another_run_is_refused_unless_told_to_overwrite(out: Path) -> None:
    other = {**RUN, "weights": "c", "options": "{1}"}
    with pytest.raises(ValueError, match=r"got another weights and options\. Write elsewhere, or add --overwrite"):
        RunLog(out, other)
    assert RunLog(out, other, overwrite=True).done == {}
    assert RunLog(out, other).done == {}


def test_masks_of_unknown_origin_are_not_touched(out: Path) -> None:
    (out / LOG).unlink()
    with pytest.raises(ValueError, match="holds masks already"):
        RunLog(out, RUN)


@pytest.mark.parametrize("content", ["", "no json\n", "[1]\n"])
def test_a_log_of_something_else_is_another_run(out: Path, content: str) -> None:
    (out / LOG).write_text(content)
    with pytest.raises(ValueError, match="got another version and weights and support and options"):
        RunLog(out, RUN)


def fitted(seed: int = 0, bright: float = 1.0, **parameters: object) -> Segmenter:
    torch.manual_seed(seed)
    network = SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8))
    image = np.linspace(0, bright, 256).reshape(16, 16) ** 2
    return Segmenter(network, size_px=32, scaling="min-max", **parameters).fit(image**bright, image > 0.5)


@pytest.mark.parametrize(
    ("other", "changed"),
    [
        ({}, set()),
        ({"memory_gb": 0.5}, set()),
        ({"device": "cpu"}, set()),
        ({"seed": 1}, {"weights"}),
        ({"bright": 2.0}, {"support"}),
        ({"flips": True}, {"options"}),
    ],
    ids=["same", "memory", "device", "weights", "support", "flips"],
)
def test_an_identity_tells_what_differs(other: dict, changed: set[str]) -> None:
    first, second = (identity(each, {"mask_format": None}) for each in (fitted(), fitted(**other)))
    assert {name for name in first if first[name] != second[name]} == changed


def test_a_stamp_tells_changed_content_and_nothing_else(tmp_path: Path) -> None:
    series, header = tmp_path / "series", tmp_path / "a.mhd"
    series.mkdir()
    for path in (tmp_path / "a.png", tmp_path / "label.png", series / "1.dcm", tmp_path / "pixels.raw"):
        path.write_text("one")
    header.write_text("NDims = 3\nElementDataFile = pixels.raw\n")
    label = {"": (tmp_path / "label.png",)}
    pairs = [ImagePair(tmp_path / "a.png", "a", label), ImagePair(series, "s"), ImagePair(header, "h")]
    before = [stamp(pair) for pair in pairs]
    os.utime(tmp_path / "a.png", (0, 0))
    assert [stamp(pair) for pair in pairs] == before
    assert stamp(ImagePair(tmp_path / "a.png", "a", {"liver": label[""]})) != before[0]
    for path in (tmp_path / "label.png", series / "1.dcm", tmp_path / "pixels.raw"):
        times = path.stat()
        path.write_text("two")
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert all(stamp(pair) != old for pair, old in zip(pairs, before, strict=True))
    assert stamp(ImagePair(tmp_path / "missing.png", "m")) == stamp(ImagePair(tmp_path / "missing.png", "n"))


def test_pixels_are_not_read_for_the_names_of_files(tmp_path: Path) -> None:
    (tmp_path / "a.mha").write_bytes(b"NDims = 3\nElementDataFile = LOCAL\n" + 2**10 * b"x" + b"\n" + 9 * b"b.txt\n")
    (tmp_path / "b.txt").write_text("one")
    before = stamp(ImagePair(tmp_path / "a.mha", "a"))
    (tmp_path / "b.txt").write_text("two")
    assert stamp(ImagePair(tmp_path / "a.mha", "a")) == before


@pytest.mark.parametrize("content", [b"other", b""])
def test_only_the_mask_that_was_written_of_this_image_is_done(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "masks").mkdir()
    image, mask = tmp_path / "a.png", tmp_path / "masks" / "a.png"
    image.write_text("image")
    pair, log = ImagePair(image, "a.png"), RunLog(tmp_path, RUN)
    assert not log.is_done(pair)
    mask.write_text("mask")
    log.add(replace(done("a.png"), stamp=stamp(pair), sha256=sha256_of(mask)))
    assert log.is_done(pair)
    mask.write_bytes(content)
    assert not log.is_done(pair)


def test_the_stamp_of_one_of_several_series_is_of_its_files_alone(tmp_path: Path) -> None:
    pydicom = pytest.importorskip("pydicom")
    own, other = (
        write_series(tmp_path / name, np.ones((3, 4, 5), np.int16), series_affine(np.eye(3), (1, 1, 2), (0, 0, 0)))
        for name in ("own", "other")
    )
    uid = str(pydicom.dcmread(own[0]).SeriesInstanceUID)
    (tmp_path / "scan").mkdir()
    own, other = (
        [file.rename(tmp_path / "scan" / f"{file.parent.name}{file.name}") for file in files] for files in (own, other)
    )
    pair = ImagePair(tmp_path / "scan" / uid, uid)
    before = stamp(pair)
    other[0].write_bytes(other[0].read_bytes() + b"more")
    assert stamp(pair) == before
    own[0].write_bytes(own[0].read_bytes() + bytes(2))
    assert stamp(pair) != before
