"""All doors lead through the one table of formats: nothing is parsed twice, and a new format is known everywhere."""

import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from incontext import Segmenter
from incontext.folders.segment_folder import segment_folder
from incontext.images.source_image import read_label_image, read_source_image, write_mask
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from megamed import Collection, formats
from megamed.build import BuildOptions, BuildReport, build
from megamed.propose import propose, write_proposal
from megamed.readers import dicom_headers
from megamed.readers.faults import one_error
from megamed.readers.source import Source
from megamed.readers.stored import MaskImage, StoredImage
from megamed.standardise import Standard
from tests.dicom_files import series_affine, write_segmentation, write_series

pytest.importorskip("highdicom")
pydicom = pytest.importorskip("pydicom")

SLICES = 7
AFFINE = series_affine(np.eye(3), (3.0, 1.0, 1.0), (0.0, 0.0, 0.0))


def blocks(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Slices of noise with a bright block in some, and its label."""
    label = np.zeros((SLICES, 24, 24), np.uint8)
    label[2:5, 6 : 14 + seed, 8:16] = 1
    return np.random.default_rng(seed).integers(0, 200, label.shape) + np.int64(600) * label, label


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    torch.manual_seed(0)
    return Segmenter(SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8)), size_px=32)


@pytest.fixture
def parsed(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each DICOM file is parsed, by whichever library."""
    counts: Counter[str] = Counter()
    original = pydicom.dcmread

    def counting(file: Any, *args: Any, **options: Any) -> Any:
        counts[str(file)] += 1
        return original(file, *args, **options)

    for module in list(sys.modules.values()):
        if vars(module).get("dcmread") is original:  # asking a module itself may load what is not installed
            monkeypatch.setattr(module, "dcmread", counting)
    return counts


def build_here(root: Path, out: Path) -> BuildReport:
    with ThreadPoolExecutor(1) as executor:
        return build(root, out, BuildOptions(Standard(size_px=16)), executor, lambda *_: None)


# -------------------------------------------------------------------------------------------- nothing is parsed twice


def test_segment_parses_each_slice_once(tmp_path: Path, segmenter: Segmenter, parsed: Counter[str]) -> None:
    image, label = blocks(0)
    files = write_series(tmp_path / "support" / "images" / "scan", image, AFFINE)
    (tmp_path / "support" / "labels").mkdir()
    write_segmentation(tmp_path / "support" / "labels" / "scan.dcm", files, {"block": label})
    queries = write_series(tmp_path / "query", blocks(1)[0], AFFINE)  # the folder itself is the series
    parsed.clear()
    summary = segment_folder(segmenter, tmp_path / "support", tmp_path / "query", tmp_path / "out")
    assert not summary.failures
    assert [report.mask for report in summary.images] == ["query.dcm"]
    assert {str(file) for file in (*files, *queries)} <= parsed.keys()
    assert set(parsed.values()) == {1}


def test_reading_writing_and_labels_parse_each_slice_once(tmp_path: Path, parsed: Counter[str]) -> None:
    image, label = blocks(0)
    write_series(tmp_path / "scan", image, AFFINE)
    case = read_source_image(tmp_path / "scan", "image")
    written = write_mask(label, case, tmp_path / "mask.dcm")
    assert np.array_equal(case.view.array(read_label_image(written, "label", case).planes), label)
    assert len(parsed) == SLICES + 1
    assert set(parsed.values()) == {1}


def test_init_and_build_parse_each_slice_once(tmp_path: Path, parsed: Counter[str]) -> None:
    for patient in range(2):
        image, label = blocks(patient)
        files = write_series(tmp_path / "data" / f"scan{patient}", image, AFFINE, PatientID=f"P{patient}")
        write_segmentation(tmp_path / "data" / f"seg{patient}.dcm", files, {"block": label})
    parsed.clear()
    write_proposal(propose(tmp_path / "data"), tmp_path / "data")
    report = build_here(tmp_path / "data", tmp_path / "out")
    assert report.datasets["data"].status == "built"
    assert report.datasets["data"].rows
    assert len(parsed) == 2 * (SLICES + 1)
    assert set(parsed.values()) == {1}


def test_a_slice_that_changed_is_parsed_again(tmp_path: Path) -> None:
    files = write_series(tmp_path / "scan", blocks(0)[0], AFFINE)
    before = formats.read(Source((files[0],))).array
    dataset = pydicom.dcmread(files[0])
    dataset.RescaleIntercept = 0
    dataset.PatientComments = "so that the size changes too"
    dataset.save_as(files[0])
    assert np.array_equal(formats.read(Source((files[0],))).array, before + 1024)


def test_remembered_headers_hold_no_pixels(tmp_path: Path) -> None:
    (path,) = write_series(tmp_path / "scan", np.zeros((1, 64, 64), int), AFFINE)
    for _ in range(2):
        assert not formats.read(Source((path,))).array.any()
    header = dicom_headers.header_of(path)
    assert header.get_item("PixelData", keep_deferred=True).value is None
    assert getattr(header, "_pixel_array", None) is None


# ------------------------------------------------------------------------------------- a further format, in one line


def read_text(source: Source, most_pixels: int) -> StoredImage:
    """Read rows of numbers below a line with the names of their values."""
    (path,) = source.files
    with one_error(path, ValueError, IndexError):
        names, *rows = path.read_text().splitlines()
        array = np.array([[int(value) for value in row.split()] for row in rows], np.uint8)
    return StoredImage(array, "YX", names=dict(enumerate(names.split(), start=1)))


def write_text(mask: MaskImage, suffix: str) -> bytes:
    return as_text(mask.array[0], *mask.names.values()).encode()


def as_text(array: np.ndarray, *names: str) -> str:
    return "\n".join([" ".join(names), *(" ".join(map(str, row)) for row in array.tolist())])


@pytest.fixture
def write_case(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, str, int], None]:
    """Add a format of text, and write cases in it."""
    text = formats.FileFormat(
        "text", (".drawn.txt",), read_text, write=write_text, writes=(".drawn.txt",), holds=frozenset({"image"})
    )
    monkeypatch.setattr(formats, "FORMATS", (text, *formats.FORMATS))

    def write(folder: Path, name: str, seed: int) -> None:
        image, label = (array[3] for array in blocks(seed))
        for part, content in (("images", as_text(image // 4)), ("labels", as_text(label, "block"))):
            (folder / part).mkdir(parents=True, exist_ok=True)
            (folder / part / f"{name}.drawn.txt").write_text(content)

    return write


def test_a_new_format_is_segmented(
    tmp_path: Path, segmenter: Segmenter, write_case: Callable[[Path, str, int], None]
) -> None:
    write_case(tmp_path / "support", "a", 0)
    write_case(tmp_path / "query", "b", 1)
    summary = segment_folder(segmenter, tmp_path / "support", tmp_path / "query", tmp_path / "out")
    assert not summary.failures
    assert [report.mask for report in summary.images] == ["b.drawn.txt"]
    query = tmp_path / "query" / "images" / "b.drawn.txt"
    result, case = segmenter.predict(query), read_source_image(query, "query")
    assert np.array_equal(case.planes[0], blocks(1)[0][3] // 4)
    mask = read_label_image(tmp_path / "out" / "masks" / "b.drawn.txt", "mask", case)
    assert np.array_equal(mask.planes[0], result.masks[0])
    assert mask.names == {1: "block"}


def test_a_new_format_is_recognised_and_built(tmp_path: Path, write_case: Callable[[Path, str, int], None]) -> None:
    for seed in range(3):
        write_case(tmp_path / "data", f"p{seed}", seed)
    proposal = propose(tmp_path / "data")
    assert proposal.card.layout == "folder"
    write_proposal(proposal, tmp_path / "data")
    report = build_here(tmp_path / "data", tmp_path / "out")
    assert report.datasets["data"].rows == 3
    with Collection(tmp_path / "out") as collection:
        (task,) = collection.tasks()
        assert sorted(sample.case for sample in collection.samples(task)) == ["p0", "p1", "p2"]
