"""Videos: their frames are the planes of a stack, and what is none says so."""

import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from megamed import formats
from megamed.readers.source import Source

av = pytest.importorskip("av")


PLAIN = (1, 0, 0, 0, 1, 0, 0, 0, 2**14)
TURNED = (0, 1, 0, -1, 0, 0, 0, 0, 2**14)
"""Display matrices of a track, whose last column has another unit."""


def write_video(path: Path, levels: tuple[int, ...]) -> Path:
    """Write a video of 32 × 48 pixels, each frame of one grey level."""
    return write_frames(path, [np.full((32, 48, 3), level, np.uint8) for level in levels])


def write_frames(path: Path, frames: list[np.ndarray]) -> Path:
    """Write a video of frames of 32 × 48 pixels in colour."""
    with av.open(str(path), "w") as film:
        stream = film.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 48, 32, "yuv420p"
        for frame in frames:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        film.mux(stream.encode())
    return path


@pytest.mark.parametrize("name", ["clip.mp4", "clip.AVI", "clip.mkv"])
def test_frames_are_planes_in_their_order(tmp_path: Path, name: str) -> None:
    stored = formats.read(Source((write_video(tmp_path / name, (20, 90, 160, 230)),)))
    assert (stored.array.shape, stored.axes, stored.dtype) == ((4, 32, 48, 3), "TYXC", np.uint8)
    np.testing.assert_allclose(stored.array.mean(axis=(1, 2, 3)), (20, 90, 160, 230), atol=4)
    assert stored.is_lossy


def test_frames_stand_as_people_see_them(tmp_path: Path) -> None:
    """A display matrix that turns by a right angle clockwise, as phones that are held upright write it."""
    clip = tmp_path / "clip.mp4"
    left = np.zeros((32, 48, 3), np.uint8)
    left[:, :24] = 220
    write_frames(clip, [left])
    content = clip.read_bytes()
    plain, turned = (struct.pack(">9i", *(round(2**16 * each) for each in matrix)) for matrix in (PLAIN, TURNED))
    place = content.index(plain, content.index(b"tkhd"))
    clip.write_bytes(content[:place] + turned + content[place + len(plain) :])
    (seen,) = formats.read(Source((clip,))).array
    assert seen.shape == (48, 32, 3)
    assert seen[:20].mean() > 200 > 20 > seen[-20:].mean()


def test_a_video_is_no_image_of_a_folder(tmp_path: Path) -> None:
    assert not formats.is_image(write_video(tmp_path / "clip.mp4", (20,)))


def test_what_is_no_video_or_too_long_says_so(tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    with pytest.raises(ValueError, match=r"broken.mp4 cannot be read: "):
        formats.read(Source((tmp_path / "broken.mp4",)))
    clip = write_video(tmp_path / "clip.mp4", (20, 90, 160))
    with pytest.raises(ValueError, match=r"clip.mp4 cannot be read: expected at most 4000 pixels, got 3 × 32 × 48"):
        formats.read(Source((clip,)), most_pixels=4000)


def test_without_the_library_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ImportError, match=r"Reading video needs PyAV: .*pip install \"incontext-seg\[video\]\""):
        formats.read(Source((tmp_path / "clip.mp4",)))
