"""Frames that are passed one by one are the planes of one stack."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from incontext.images.frames import read_frames
from incontext.images.source_image import read_source_image

FILM = np.random.default_rng(0).integers(0, 255, (3, 6, 8), np.uint8)


def test_frames_are_the_planes_of_a_stack(tmp_path: Path) -> None:
    for index, frame in enumerate(FILM):
        Image.fromarray(frame).save(tmp_path / f"{index}.png")
    paths = sorted(tmp_path.iterdir())
    for frames in (list(FILM), tuple(map(Image.fromarray, FILM)), paths, [read_source_image(paths[0], "a"), *FILM[1:]]):
        case = read_frames(frames)
        assert (case.kind, case.shape, case.axis, case.dtype) == ("stack", (3, 6, 8), 0, np.uint8)
        np.testing.assert_array_equal(case.planes, FILM)


def test_frames_in_colour_are_grey_as_images_are() -> None:
    colour = np.stack([FILM[0], FILM[1], FILM[2]], axis=-1)
    np.testing.assert_array_equal(read_frames([colour]).planes, read_source_image(colour, "colour").planes)
    assert (read_frames([colour], channel="green").planes[0] == FILM[1]).all()


@pytest.mark.parametrize(
    ("frames", "fault"),
    [
        ([], "frames are missing: expected at least one"),
        ([FILM[0], FILM[0, 1:]], r"frames\[1\] is of another size: expected \(6, 8\) .* got \(5, 8\)"),
        ([np.zeros((9, 6, 8), np.uint8)], r"frames\[0\] is no frame: expected a single image, got a stack"),
    ],
)
def test_what_is_no_film_is_refused(frames: list[np.ndarray], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        read_frames(frames)
