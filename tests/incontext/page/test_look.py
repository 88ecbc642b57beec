"""The look at a folder: the level that is drawn on, chosen once and kept."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from incontext.folders.segmenter_options import level_of
from incontext.page import look as looking
from incontext.page.look import Look, reduced
from incontext.page.store import STORE, opened
from tests.incontext.page.test_store import SQUARE
from tests.slide_files import write_pyramid

SIDES_PX = 96, 128


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of two slides, which are large enough for their levels to matter."""
    monkeypatch.setattr(looking, "SMALL_BYTES", 0)
    monkeypatch.setattr("megamed.readers.pyramid.MOST_PIXELS", 50 * 70)
    place = tmp_path / "in"
    place.mkdir()
    for seed, name in enumerate("ab"):
        write_pyramid(place / f"{name}.tif", np.random.default_rng(seed).integers(0, 255, (*SIDES_PX, 3), np.uint8))
    return place


def test_the_first_level_that_is_small_enough_is_taken_and_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(folder) as annotated:
        assert annotated.look == Look(level=1)
        assert annotated.open(0).drawing.planes.shape == (1, 48, 64)
        assert "All is drawn with --level 1" in annotated.notes[-1]
        annotated.open(0).drawing.stroke(0, SQUARE, "brush")
    monkeypatch.setattr("megamed.readers.pyramid.MOST_PIXELS", 10**6)
    with opened(folder) as annotated:
        assert annotated.look == Look(level=1)
    with (
        pytest.raises(ValueError, match=r"in was drawn on otherwise: expected --level 1, got --level 2"),
        opened(folder, level=2),
    ):
        pass


def test_a_level_can_be_chosen_until_something_is_drawn(folder: Path) -> None:
    for level in (2, 0, 1):
        with opened(folder, level=level) as annotated:
            assert annotated.open(0).case.planes.shape == (1, *(side >> level for side in SIDES_PX))
    with opened(folder, level=0) as annotated:
        annotated.open(0).drawing.stroke(0, SQUARE, "brush")
    with opened(folder) as annotated:
        assert annotated.look.level == 0


def test_what_was_drawn_before_levels_were_kept_is_of_the_full_resolution(folder: Path) -> None:
    with opened(folder, level=0) as annotated:
        annotated.open(0).drawing.stroke(0, SQUARE, "brush")
    (folder / STORE / looking.FILE).unlink(missing_ok=True)
    with opened(folder) as annotated:
        assert annotated.look == Look()


def test_the_level_of_the_card_is_taken_as_by_other_commands_until_something_is_drawn(folder: Path) -> None:
    with opened(folder) as annotated:
        assert annotated.look == Look(level=1)
    facts = 'id = "a"\nmodality = "H&E"\nlayout = "folder"\n[labels]\n1 = "gland"\n[files]\nlevel = {}\n'
    (folder / "card.toml").write_text(facts.format(2))
    with opened(folder) as annotated:
        assert annotated.look == Look(level=level_of(None, folder))
        assert annotated.look.level == 2
        assert annotated.classes[1].name == "gland"
    with opened(folder, level=1) as annotated:
        assert annotated.look.level == 1
    with opened(folder) as annotated:
        assert annotated.look.level == 2
        annotated.open(0).drawing.stroke(0, SQUARE, "brush")
    (folder / "card.toml").write_text(facts.format(1))
    with opened(folder) as annotated:
        assert annotated.look.level == 2


@pytest.mark.parametrize("level", [0, 2])
def test_labels_that_are_there_tell_the_level(folder: Path, level: int) -> None:
    (folder / "labels").mkdir()
    rows, columns = (side >> level for side in SIDES_PX)
    Image.fromarray(np.eye(rows, columns, dtype=np.uint8)).save(folder / "labels" / "b.png")
    with opened(folder) as annotated:
        assert annotated.look.level == level
        assert annotated.open(1).drawing.planes.sum() == min(rows, columns)


def test_pictures_of_one_resolution_are_looked_at_as_they_are(folder: Path) -> None:
    for path in folder.iterdir():
        path.unlink()
    Image.fromarray(np.zeros((200, 200), np.uint8)).save(folder / "a.png")
    with opened(folder) as annotated:
        assert annotated.look == Look()
        assert not (folder / STORE / looking.FILE).exists()


def test_the_coarsest_level_that_is_large_enough() -> None:
    sizes = [(512, 640), (256, 320), (128, 160)]
    assert [reduced(sizes, side) for side in (600, 512, 129, 128, 1)] == [0, 0, 1, 2, 2]
    assert reduced([], 88) == 0
