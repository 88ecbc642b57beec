"""The parts of the page put together: what a saved task brings along."""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")

from incontext import Segmenter
from incontext.folders.segment_folder import SegmentOptions, segment_folder
from incontext.page.assembled import APART, FINISHED, assembled
from incontext.page.look import Look
from incontext.page.messages import PromptMessage
from incontext.page.state import Page
from incontext.page.target import PageOptions, Target
from tests.incontext.page.served import write_networks
from tests.incontext.page.test_store import SQUARE, plain_folder
from tests.killed_runs import drawn
from tests.slide_files import write_pyramid

PATIENCE_S = 60


def wait_for_masks(page: Page, count: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while len(page.live.predictions) < count or page.live.progress.stage != "idle":
        assert time.monotonic() < end
        assert not page.live.failures
        time.sleep(0.02)


def wait_for_round(page: Page, number: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while page.live.progress.stage != "idle" or page.live.predictions[2].round < number:
        assert time.monotonic() < end
        time.sleep(0.02)


def test_classes_of_a_task_that_overlap_lie_apart_on_the_page(tmp_path: Path) -> None:
    weights, (image, label) = write_networks(tmp_path / "weights.safetensors"), drawn(0)
    masks = {"disc": [label[0] > 0], "rim": [np.roll(label[0] > 0, 3, 1)]}
    task = Segmenter(weights, size_px=32, overlap=True).fit([image[0]], masks).save_task(tmp_path / "a.task")
    with assembled(plain_folder(tmp_path / "in"), PageOptions(task, str(weights))) as page:
        wait_for_masks(page, 3)
        for value, column in ((1, 7), (2, 20)):
            said = PromptMessage(plane=0, value=value, kind="click", points=[(5, column)])
            assert page.prompt(0, said).runs
            assert page.open(0).drawing.planes[0, 5, column] == value
        assert {each.name for each in page.session().classes} == {"disc", "rim"}
        assert APART in page.session().notes


def test_a_task_brings_its_level(tmp_path: Path) -> None:
    weights, folder = write_networks(tmp_path / "weights.safetensors"), tmp_path / "in"
    folder.mkdir()
    colours = np.random.default_rng(0).integers(0, 255, (96, 128, 3), np.uint8)
    slide = write_pyramid(folder / "a.tif", colours)
    learner = Segmenter(weights, size_px=32, level=1).fit([slide], [np.eye(48, 64, dtype=np.uint8)])
    task = learner.save_task(tmp_path / "a.task")
    with assembled(folder, PageOptions(task, str(weights))) as page:
        assert page.folder.look == Look(level=1)
        wait_for_masks(page, 1)
        assert page.live.predictions[0].shape == (1, 48, 64)


def test_a_level_is_that_of_the_segmenter_too(tmp_path: Path) -> None:
    weights, folder = write_networks(tmp_path / "weights.safetensors"), tmp_path / "in"
    folder.mkdir()
    for name in "ab":
        write_pyramid(folder / f"{name}.tif", np.random.default_rng(0).integers(0, 255, (96, 128), np.uint8))
    with assembled(folder, PageOptions(weights=str(weights), level=2)) as page:
        page.open(0).drawing.stroke(0, {1: [40, 9]}, "brush")
        page.accept(0)
        wait_for_masks(page, 1)
        assert page.live.predictions[1].shape == (1, 24, 32)


@pytest.mark.parametrize("codes_only", [False, True])
def test_what_is_accepted_joins_a_task_if_that_can_learn(tmp_path: Path, codes_only: bool) -> None:
    weights = write_networks(tmp_path / "weights.safetensors")
    images, labels = zip(*(drawn(seed) for seed in range(20, 24)), strict=True)
    learner = Segmenter(weights, size_px=32).fit([each[0] for each in images], [each[0] for each in labels])
    task = learner.save_task(tmp_path / "a.task", codes_only=codes_only)
    with assembled(plain_folder(tmp_path / "in"), PageOptions(task, str(weights))) as page:
        wait_for_masks(page, 3)
        page.open(1).drawing.stroke(0, SQUARE, "brush")
        page.accept(1)
        wait_for_round(page, 2)
        assert page.live._segmenter
        assert page.live._segmenter.fitted.pool.label_budget == (0 if codes_only else 5)
        assert (FINISHED in page.session().notes) == codes_only
        assert not page.live.progress.error
        learner.add(page.folder.images[1].pair.image, page.folder.images[1].pair.files[1])
        by_all = learner.predict(page.folder.images[2].pair.image)[0]
        assert np.array_equal(page.live.predictions[2].planes[0], by_all) or codes_only


def test_what_made_results_goes_on_as_examples_and_as_it_looked_at_images(tmp_path: Path) -> None:
    weights, support, folder = write_networks(tmp_path / "weights.safetensors"), tmp_path / "support", tmp_path / "in"
    for place in (support, support / "labels", folder):
        place.mkdir()
    for seed, path in enumerate((folder / "a.tif", folder / "b.tif", support / "x.tif")):
        write_pyramid(path, np.random.default_rng(seed).integers(0, 255, (96, 128), np.uint8))
    Image.fromarray(np.eye(48, 64, dtype=np.uint8)).save(support / "labels" / "x.png")
    learner = Segmenter(weights, size_px=32, level=1)
    segment_folder(learner, support, folder, tmp_path / "out", options=SegmentOptions({1: "vessel"}))
    target = Target.named(tmp_path / "out", PageOptions(weights=str(weights)))
    with assembled(target.folder, target.options) as page:
        wait_for_masks(page, 2)
        assert page.folder.look == Look(level=1)
        assert {each.name for each in page.session().classes} == {"vessel"}
        assert page.session().notes[-1].startswith("2 of 2 images have a mask in")
        assert page.live.predictions[0].round == 1
        page.open(0).drawing.stroke(0, SQUARE, "brush")
        page.accept(0)
        end = time.monotonic() + PATIENCE_S
        while page.live.predictions[1].round < 2 or page.live.progress.stage != "idle":
            assert time.monotonic() < end
            time.sleep(0.02)
        assert page.live._segmenter
        assert page.live._segmenter.fitted.pool.label_budget == 2
        page.folder.classes.keep([replace(page.folder.classes[1], name="artery")])
    with assembled(target.folder, target.options) as page:
        assert {each.name for each in page.session().classes} == {"artery"}
