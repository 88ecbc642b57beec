"""Films from a folder or a video: frames in the order of their numbers, labels of some, a mask of each."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor, nn

from incontext import Segmenter
from incontext.folders.propagate_film import MASKS, PREVIEW, is_film, propagate_film

FRAMES = (8, 9, 10, 11)


class Brightness(nn.Module):
    """Finds what is bright, whatever it is shown."""

    def forward(self, query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
        return 40 * (query_images - 0.5)


@pytest.fixture
def segmenter() -> Segmenter:
    return Segmenter(Brightness(), size_px=32, device="cpu")


def disc(number: int) -> np.ndarray:
    """A disc (32, 32) that moves with the number of its frame."""
    rows, columns = np.mgrid[:32, :32]
    return ((rows - 16) ** 2 + (columns - number) ** 2 < 30).astype(np.uint8)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes frames, of which some have labels, into a folder."""

    def written(labelled: tuple[int, ...] = (8,), labels: str = "film/labels", name: str = "f{}.png") -> Path:
        for folder in ("film/images", labels):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for number in FRAMES:
            Image.fromarray(40 + 200 * disc(number)).save(tmp_path / "film" / "images" / f"f{number}.png")
        for number in labelled:
            Image.fromarray(3 * disc(number)).save(tmp_path / labels / name.format(number))
        return tmp_path / "film"

    return written


def masks_in(out: Path) -> dict[str, np.ndarray]:
    return {path.name: np.asarray(Image.open(path)) for path in sorted((out / MASKS).iterdir())}


def test_every_frame_of_a_folder_gets_a_mask(write: Callable[..., Path], tmp_path: Path, segmenter: Segmenter) -> None:
    told: list[tuple[int, int]] = []
    film = write()
    assert is_film(film, tmp_path / "out.1")
    found = propagate_film(segmenter, film, tmp_path / "out", classes={3: "disc"}, told=lambda *each: told.append(each))
    assert (found.masks, found.warnings) == (4, ())
    assert told == [(2, 4), (3, 4), (4, 4)]
    masks = masks_in(tmp_path / "out")
    assert masks.keys() == {f"f{number}.png" for number in FRAMES}
    for number in FRAMES:
        np.testing.assert_array_equal(masks[f"f{number}.png"], 3 * disc(number))
    with Image.open(tmp_path / "out" / PREVIEW) as preview:
        assert preview.n_frames == 4
    assert found.next_frame in {"f9", "f10", "f11"}


@pytest.mark.parametrize("name", ["f{}.png", "frame_{:04}.png"])
def test_labels_in_a_folder_of_their_own_are_found_by_name_or_number(
    write: Callable[..., Path], tmp_path: Path, segmenter: Segmenter, name: str
) -> None:
    film = write((9, 10), "drawn", name)
    propagate_film(segmenter, film, tmp_path / "out", tmp_path / "drawn")
    np.testing.assert_array_equal(masks_in(tmp_path / "out")["f9.png"], 3 * disc(9))
    Image.fromarray(disc(12)).save(tmp_path / "drawn" / "frame_12.png")
    with pytest.raises(ValueError, match=r"frame_12.png is the label of no frame: expected a name or number"):
        propagate_film(segmenter, film, tmp_path / "out", tmp_path / "drawn")


def test_classes_that_have_files_of_their_own_are_found(tmp_path: Path, segmenter: Segmenter) -> None:
    for number in FRAMES:
        for folder in ("images", "masks/left", "masks/right"):
            (tmp_path / "film" / folder).mkdir(parents=True, exist_ok=True)
        Image.fromarray(40 + 200 * disc(number)).save(tmp_path / "film" / "images" / f"f{number}.png")
    for name, half in (("left", np.arange(32) < 8), ("right", np.arange(32) >= 8)):
        Image.fromarray(255 * disc(8) * half.astype(np.uint8)).save(tmp_path / "film" / "masks" / name / "f8.png")
    propagate_film(segmenter, tmp_path / "film", tmp_path / "out")
    np.testing.assert_array_equal(masks_in(tmp_path / "out")["f8.png"], disc(8) * np.where(np.arange(32) < 8, 1, 2))


def test_masks_that_are_made_stay_and_somebody_elses_too(
    write: Callable[..., Path], tmp_path: Path, segmenter: Segmenter, monkeypatch: pytest.MonkeyPatch
) -> None:
    film = write()
    propagate_film(segmenter, film, tmp_path / "out")
    (tmp_path / "out" / MASKS / "f9.png").unlink()
    assert propagate_film(segmenter, film, tmp_path / "out").masks == 4
    monkeypatch.setattr(segmenter, "propagate", None)
    again = propagate_film(segmenter, film, tmp_path / "out")
    assert again.masks == 0
    assert "made of the same frames and options before" in again.warnings[0]
    (tmp_path / "out" / MASKS / "f9.png").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"f9\.png is somebody's own"):
        propagate_film(segmenter, film, tmp_path / "out")
    with pytest.raises(ValueError, match="out is a folder of inputs"):
        propagate_film(segmenter, film, film)


def test_the_frames_of_a_video_are_numbered(tmp_path: Path, segmenter: Segmenter) -> None:
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "clip.mp4"), "w") as film:
        stream = film.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        for number in range(11):
            frame = np.repeat(40 + 200 * disc(number + 8)[..., None], 3, axis=2).astype(np.uint8)
            film.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        film.mux(stream.encode())
    (tmp_path / "labels").mkdir()
    for number in (0, 10):
        Image.fromarray(disc(8 + number)).save(tmp_path / "labels" / f"{number}.png")
    assert is_film(tmp_path / "clip.mp4", tmp_path / "out")
    assert not is_film(tmp_path / "clip.mp4", tmp_path / "mask.tif")
    found = propagate_film(segmenter, tmp_path / "clip.mp4", tmp_path / "out", tmp_path / "labels")
    masks = masks_in(tmp_path / "out")
    assert found.masks == 11
    assert list(masks) == [f"{number:02}.png" for number in range(11)]
    np.testing.assert_array_equal(masks["10.png"], disc(18))
    assert (masks["05.png"] & disc(13)).sum() > 0.8 * disc(13).sum()


def test_volumes_and_pictures_are_no_films(tmp_path: Path) -> None:
    Image.fromarray(disc(8)).save(tmp_path / "a.png")
    assert not is_film(tmp_path / "a.png", tmp_path / "out")
    assert not is_film(tmp_path / "b.png", tmp_path / "out")


def test_two_labels_of_one_frame_are_refused(write: Callable[..., Path], tmp_path: Path, segmenter: Segmenter) -> None:
    film = write((8,), "drawn", "{}.png")
    write((8,), "drawn", "f{}.png")
    with pytest.raises(ValueError, match=r"8.png and f8.png are labels of one frame: expected one, got two"):
        propagate_film(segmenter, film, tmp_path / "out", tmp_path / "drawn")


def test_a_preview_that_is_missing_is_drawn_again(
    write: Callable[..., Path], tmp_path: Path, segmenter: Segmenter
) -> None:
    film = write()
    propagate_film(segmenter, film, tmp_path / "out")
    (tmp_path / "out" / PREVIEW).unlink()
    propagate_film(segmenter, film, tmp_path / "out")
    assert (tmp_path / "out" / PREVIEW).is_file()
