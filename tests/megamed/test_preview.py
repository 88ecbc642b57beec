"""Contact sheets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from megamed import Collection
from megamed.build import BuildReport
from megamed.preview import CAPTION_PX, OUTLINE_RGB, contact_sheet, outlined, save_contact_sheet


def test_outline_is_the_rim_of_the_label() -> None:
    label = np.zeros((5, 5), np.uint8)
    label[1:4, 1:4] = 1
    painted = (outlined(np.full((5, 5), 9, np.uint8), label) == OUTLINE_RGB).all(axis=-1)
    assert painted.astype(int).tolist() == [
        [0, 0, 0, 0, 0],
        [0, 1, 1, 1, 0],
        [0, 1, 0, 1, 0],
        [0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0],
    ]


def test_sheet_has_a_line_for_each_task(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    build_folder(make_dataset(2))
    save_contact_sheet(tmp_path / "out", tmp_path / "sheet.png", ["drawn"])
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size == (6 * 16, 3 * (16 + CAPTION_PX))


def test_nothing_to_preview_is_an_error(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    build_folder(make_dataset(1))
    with Collection(tmp_path / "out") as collection, pytest.raises(ValueError, match="Nothing to preview"):
        contact_sheet(collection, [])
