"""Options of the segmenter that a command opens."""

from pathlib import Path

import numpy as np
import pytest

from incontext import Segmenter
from incontext.folders.segmenter_options import SegmenterOptions, level_of


def test_without_options_the_segmenter_is_the_packaged_one() -> None:
    assert SegmenterOptions().open().get_params() == Segmenter().get_params()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (SegmenterOptions(support_size=3), ("nearest", 3, 1)),
        (SegmenterOptions(ensemble=2), ("nearest", None, 2)),
        (SegmenterOptions(support="random", support_size=4, ensemble=2), ("random", 4, 2)),
    ],
)
def test_a_size_or_an_ensemble_selects_the_nearest_unless_told(
    options: SegmenterOptions, expected: tuple[str, int | None, int]
) -> None:
    segmenter = options.open()
    assert (segmenter.support, segmenter.support_size, segmenter.ensemble) == expected


def test_a_task_keeps_its_parameters_unless_told(tmp_path: Path) -> None:
    image = np.zeros((40, 40), np.float32)
    image[10:20, 10:20] = 1
    Segmenter(support="random", support_size=1).fit([image, image.T], [image > 0] * 2).save_task(tmp_path / "a.task")
    assert SegmenterOptions(task=tmp_path / "a.task").open().support == "random"
    assert SegmenterOptions(task=tmp_path / "a.task", support="diverse").open().support == "diverse"


@pytest.mark.parametrize("given", [{"support_size": 3}, {"ensemble": 2}])
def test_a_choice_of_all_with_a_number_is_refused_in_the_words_of_the_shell(given: dict[str, int]) -> None:
    name = "--support-size" if "support_size" in given else "--ensemble"
    with pytest.raises(ValueError, match=rf"{name} does not go with --select all: .* Drop it, or choose by --select"):
        SegmenterOptions(support="all", **given).open()


def test_a_card_says_the_level_unless_the_user_does(tmp_path: Path) -> None:
    assert level_of(None, None) is level_of(None, tmp_path) is None
    (tmp_path / "card.toml").write_text('id = "a"\nmodality = "CT"\n[labels]\n3 = "lung"\n[files]\nlevel = 2\n')
    assert (level_of(None, tmp_path), level_of(0, tmp_path), level_of(1, tmp_path)) == (2, 0, 1)
