"""Whole slides and other pyramids, of which a level is looked at: from Python, in the shell, and back in QuPath."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from incontext import Segmenter
from incontext.cli import app
from incontext.images.examples import Examples
from incontext.images.source_image import read_label_image, read_source_image
from incontext.networks import checkpoint
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from megamed.annotation_tools import qupath
from tests.slide_files import UM, write_pyramid, write_slide

RECTANGLE = (8, 16, 40, 48)
"""Left, top, right and bottom of what is drawn, at full resolution."""


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)


def label() -> np.ndarray:
    drawn = np.zeros((96, 128), np.uint8)
    left, top, right, bottom = RECTANGLE
    drawn[top:bottom, left:right] = 1
    return drawn


def picture(seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).integers(0, 90, (96, 128, 3))
    return (noise + 100 * label()[..., None]).astype(np.uint8)


def write_annotation(path: Path) -> Path:
    left, top, right, bottom = RECTANGLE
    ring = [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]
    properties = {"objectType": "annotation", "classification": {"name": "Tumor"}}
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": properties}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return path


def network() -> SupportOnceNet:
    torch.manual_seed(0)
    return SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), stem_px=2, heads=1, head_channels=8))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    checkpoint.save(path, network(), {"seed": 0})
    return path


@pytest.mark.parametrize("level", [0, 1, 2])
def test_an_annotation_lies_on_the_level_that_is_looked_at(tmp_path: Path, level: int) -> None:
    image, drawn = write_pyramid(tmp_path / "a.tif", picture()), write_annotation(tmp_path / "a.geojson")
    (example,) = Examples([image], [drawn], level=level)
    step = 2**level
    assert example.case.spacing_mm == pytest.approx((1, step * UM / 1000, step * UM / 1000))
    assert np.array_equal(example.masks[1][0], label()[::step, ::step] > 0)


def test_of_a_label_that_is_a_pyramid_the_same_level_is_read(tmp_path: Path) -> None:
    image = read_source_image(write_pyramid(tmp_path / "a.tif", picture()), "image", level=2)
    read = read_label_image(write_pyramid(tmp_path / "label.tif", label()), "label", image)
    assert np.array_equal(read.planes[0], label()[::4, ::4])


def test_masks_of_a_level_come_back_to_qupath_at_full_resolution(tmp_path: Path) -> None:
    paths = [write_pyramid(tmp_path / f"{name}.tif", picture(seed)) for seed, name in enumerate("ab")]
    segmenter = Segmenter(network(), size_px=32, level=1)
    found = segmenter.fit(paths[:1], [write_annotation(tmp_path / "a.geojson")]).predict(paths[1:])
    (mask,) = found.masks
    assert mask.shape == (48, 64)
    (path,) = found.write_as("qupath", tmp_path / "out")
    (image,) = qupath.read(path)
    expected = (mask > 0).repeat(2, 0).repeat(2, 1)
    assert np.array_equal(image.labels((96, 128)).get("Tumor", np.zeros((96, 128), bool)), expected)
    assert expected.any()


@pytest.mark.parametrize("card", [False, True])
def test_a_folder_of_slides_is_segmented_at_a_level(tmp_path: Path, weights: Path, card: bool) -> None:
    pytest.importorskip("tiffslide")
    folder = tmp_path / "slides"
    folder.mkdir()
    for seed, name in enumerate("abc"):
        write_slide(folder / f"{name}.svs", picture(seed))
    for name in "ab":
        write_annotation(folder / f"{name}.geojson")
    if card:
        facts = 'id = "a"\nmodality = "H&E"\nlayout = "folder"\n[labels]\n1 = "Tumor"\n[files]\nlevel = 1\n'
        (folder / "card.toml").write_text(facts)
    level = () if card else ("--level", 1)
    options = ("--support", folder, *level, "--weights", weights, "--quiet", "--write", "qupath")
    outcome = run("segment", *options, "--out", tmp_path / "out", "--no-preview")
    assert outcome.exit_code == 0, outcome.output
    found = json.loads(run("check", folder, *level, "--json", "--no-expect").output)
    assert found["sizes_px"] == [[48, 64], [48, 64]]
    (report,) = json.loads((tmp_path / "out/summary.json").read_text())["images"]
    assert (report["file"], report["size_px"], report["full_size_px"]) == ("c.svs", [48, 64], [96, 128])
    with tifffile.TiffFile(tmp_path / "out/masks/c.tif") as file:
        mask = file.asarray()
        across, unit = file.pages[0].tags.valueof(282), file.pages[0].tags.valueof(296)
    assert (across[0] / across[1], unit) == (pytest.approx(1e4 / (2 * UM)), 3)  # pixels in a centimetre
    assert report["area_mm2"]["1"] == pytest.approx((mask > 0).sum() * (2 * UM / 1000) ** 2)
    (image,) = qupath.read(tmp_path / "out/qupath/c.geojson")
    drawn = image.labels((96, 128)).get("Tumor", np.zeros((96, 128), bool))
    assert np.array_equal(drawn, (mask > 0).repeat(2, 0).repeat(2, 1))


def test_a_task_is_of_the_level_that_it_was_saved_with(tmp_path: Path, weights: Path) -> None:
    folder = tmp_path / "examples"
    folder.mkdir()
    write_annotation(folder / "a.geojson")
    write_pyramid(folder / "a.tif", picture())
    task = tmp_path / "a.task"
    assert run("save-task", "--support", folder, "--out", task, "--level", 2, "--weights", weights).exit_code == 0
    segmenter = Segmenter.load_task(task, weights)
    assert segmenter.level == 2
    assert segmenter.predict(folder / "a.tif").masks[0].shape == (24, 32)


def test_an_image_joins_at_the_level_of_the_others(tmp_path: Path) -> None:
    paths = [write_pyramid(tmp_path / f"{name}.tif", picture(seed)) for seed, name in enumerate("abc")]
    drawn = label()[::2, ::2]
    joined = Segmenter(network(), size_px=32, level=1).fit(paths[:1], [drawn]).add(paths[1], drawn)
    both = Segmenter(network(), size_px=32, level=1).fit(paths[:2], [drawn, drawn])
    assert np.array_equal(joined.predict(paths[2]).masks[0], both.predict(paths[2]).masks[0])


def test_check_looks_at_the_level(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    write_annotation(tmp_path / "images/a.geojson")
    write_pyramid(tmp_path / "images/a.tif", picture())
    found = run("check", tmp_path, "--no-expect", "--level", 1)
    assert (found.exit_code, "48×64" in found.output) == (0, True), found.output
    Image.fromarray(picture()).save(tmp_path / "images/b.png")
    assert "b.png has no level 1: expected a slide or a pyramid" in run("check", tmp_path, "--level", 1).output
