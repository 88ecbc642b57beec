"""Folders of OME-Zarr images, each of which is a folder: segmented, checked and built as files are."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from incontext import Segmenter
from incontext.folders.check_folder import check_folder
from incontext.folders.folder_images import read_folder
from incontext.folders.segment_folder import SegmentOptions, segment_folder
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from megamed.annotation_tools.model import LabelClass
from megamed.annotation_tools.ome_zarr import write_labels
from megamed.build import BuildOptions, build
from megamed.layouts import find_subjects
from megamed.pixels import read_image
from megamed.propose import propose
from megamed.standardise import Standard

zarr = pytest.importorskip("zarr")
CELL = [LabelClass("cell", 1)]


def write_image(path: Path, seed: int, labels: Path | None = None) -> np.ndarray:
    """Write noise with a bright block, and its label into a folder; the label."""
    label = np.zeros((24, 28), np.uint8)
    label[5:14, 4 + seed : 16 + seed] = 1
    image = (np.random.default_rng(seed).integers(0, 40, label.shape) + 120 * label).astype(np.uint8)
    group = zarr.open_group(path, mode="w", zarr_format=2)
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    scale = [{"type": "scale", "scale": [0.5, 0.5]}]
    group.attrs["multiscales"] = [
        {"version": "0.4", "axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    ]
    group.create_array("0", data=image)
    if labels:
        write_labels(labels, "cells", label, CELL)
    return label


@pytest.fixture(params=["own", "zarr", "png"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Three images, two of them with labels: in themselves, in folders beside them, or as pictures."""
    folder = tmp_path / "mine"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for index in range(3):
        image = folder / f"images/{index}.zarr"
        place = {"own": image, "zarr": folder / f"labels/{index}.zarr"}.get(request.param)
        label = write_image(image, index, place if index < 2 else None)
        if request.param == "png" and index < 2:
            Image.fromarray(label).save(folder / f"labels/{index}.png")
    return folder


def test_images_that_are_folders_are_segmented(folder: Path, tmp_path: Path) -> None:
    pairing = read_folder(folder)
    assert [(pair.name, bool(pair.labels)) for pair in pairing.pairs] == [
        ("0.zarr", True), ("1.zarr", True), ("2.zarr", False),
    ]  # fmt: skip
    torch.manual_seed(0)
    network = SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8))
    options = SegmentOptions(preview=False, tools=("qupath",))
    summary = segment_folder(Segmenter(network, size_px=32), folder, None, tmp_path / "out", options=options)
    assert (summary.failures, [report.mask for report in summary.images]) == ({}, ["2.png"])
    assert summary.images[0].area_mm2 == pytest.approx({1: summary.images[0].area_px[1] * 2.5e-7})
    assert (tmp_path / "out/qupath/2.geojson").is_file()
    again = segment_folder(Segmenter(network, size_px=32), folder, None, tmp_path / "out", options=options)
    assert again.resumed == 1
    zarr.open_array(folder / "images/2.zarr/0", mode="r+")[:3] = 200
    changed = segment_folder(Segmenter(network, size_px=32), folder, None, tmp_path / "out", options=options)
    assert changed.resumed == 0


def test_images_that_are_folders_are_checked(folder: Path) -> None:
    found = check_folder(folder)
    assert (found.labelled, found.bare, found.formats, found.problems) == (2, 1, {"OME-Zarr": 3}, ())
    assert found.classes[0].images == 2


def test_images_that_are_folders_are_cases(folder: Path) -> None:
    proposal = propose(folder)
    subjects = find_subjects(folder, proposal.card)
    usable = [case for subject in subjects for case in subject.cases]
    assert [case.name for case in usable] == ["0", "1"]
    assert np.shape(read_image(next(iter(usable[0].images.values())))) == (24, 28)
    assert "1 'label'" in " ".join(proposal.checks) or "1 'cell'" in " ".join(proposal.checks)


def test_a_changed_part_of_an_image_is_built_anew(tmp_path: Path) -> None:
    folder = tmp_path / "raw"
    for index in range(3):
        write_image(path := folder / f"images/{index}.zarr", index, path)
    files = 'image = "images/{case}"\nlabel = "images/{case}"\n'
    card = f'id = "cells"\nmodality = "light"\n[labels]\n1 = "cell"\n[files]\n{files}'
    (folder / "card.toml").write_text(card)

    def status() -> str:
        with ThreadPoolExecutor(1) as executor:
            options = BuildOptions(Standard(size_px=32))
            return build(folder, tmp_path / "out", options, executor, lambda *_: None).datasets["cells"].status

    assert [status(), status()] == ["built", "unchanged"]
    zarr.open_array(folder / "images/2.zarr/0", mode="r+")[:3] = 200
    assert status() == "built"
