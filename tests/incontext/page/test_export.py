"""Masks that are taken away: all of them, in their formats and in those of tools, and the examples as a task."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from incontext import Segmenter
from incontext.page.export import archive, task_of
from incontext.page.live import Live
from incontext.page.prediction import Prediction
from incontext.page.store import AnnotatedFolder, opened
from tests.incontext.page.test_store import SIDE, draw_and_accept, plain_folder, segmenter

Given = tuple[AnnotatedFolder, Live]


@pytest.fixture
def given(tmp_path: Path) -> Iterator[Given]:
    with opened(plain_folder(tmp_path / "in"), {1: "disc", 2: "rim"}) as annotated:
        live = Live(annotated, segmenter)
        draw_and_accept(annotated)
        planes = np.zeros((1, SIDE, SIDE), np.uint8)
        planes[0, :5, :7] = 2
        live.predictions[2] = Prediction.packing(planes, 0.75, False, 1)
        yield annotated, live


def test_masks_of_labels_and_predictions_are_in_the_archive(given: Given) -> None:
    with zipfile.ZipFile(io.BytesIO(archive(*given, tool=None))) as found:
        assert sorted(found.namelist()) == ["images.csv", "masks/a.png", "masks/c.png"]
        sums = [np.asarray(Image.open(found.open(f"masks/{name}.png"))).sum() for name in "ac"]
        table = found.read("images.csv").decode().splitlines()
    assert sums == [81, 70]
    assert table == [
        "image,state,predicted_dice,disc (pixels),rim (pixels)",
        "a.png,accepted,,81,0",
        "c.png,predicted,0.75,0,35",
    ]


def test_tools_get_their_files(given: Given) -> None:
    with zipfile.ZipFile(io.BytesIO(archive(*given, tool="coco"))) as found:
        assert sorted(found.namelist()) == ["coco.json", "images.csv"]
        assert all(word in found.read("coco.json").decode() for word in ("a.png", "c.png", "disc", "rim"))


def test_without_a_mask_there_is_nothing_to_take_away(tmp_path: Path) -> None:
    with opened(plain_folder(tmp_path / "in")) as annotated, pytest.raises(ValueError, match="there is no mask yet"):
        archive(annotated, Live(annotated, segmenter), None)


def test_examples_without_weights_of_a_file_are_no_task(given: Given) -> None:
    annotated, live = given
    live._segmenter = Segmenter(segmenter().weights, size_px=SIDE).fit(
        [annotated.folder / "a.png"], [annotated.folder / "labels" / "a.png"]
    )
    with pytest.raises(ValueError, match="weights"):
        task_of(live)
