"""Windows that are cut out of the images of a set."""

import numpy as np

from incontext.training.windows import SIDES, cut


def drawn(count: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """Images of 20×30 pixels with a bright structure in a corner, and its labels."""
    labels = np.zeros((count, 20, 30), np.uint8)
    labels[:, :4, :6] = 1
    return 255 * labels, labels


def test_windows_show_the_label_or_nothing_of_it() -> None:
    empty = np.arange(40) % 2 == 0
    images, labels = cut(*drawn(), empty, np.random.default_rng(0))
    assert images.shape == labels.shape == (40, 20, 30)
    assert np.array_equal(~labels.any((1, 2)), empty)
    assert np.array_equal(images.max((1, 2)) > 100, ~empty)


def test_a_structure_that_is_everywhere_stays() -> None:
    images, labels = cut(*np.ones((2, 3, 16, 16), np.uint8), np.ones(3, bool), np.random.default_rng(0))
    assert labels.all()
    assert images.all()


def test_what_is_shown_is_enlarged() -> None:
    areas = [cut(*drawn(2), np.zeros(2, bool), np.random.default_rng(seed))[1].sum((1, 2)).max() for seed in range(50)]
    most = 24 / min(SIDES) ** 2
    assert np.median(areas) > 48
    assert max(areas) < 1.3 * most


def test_equal_generators_cut_equal_windows() -> None:
    first, second = (cut(*drawn(), np.zeros(40, bool), np.random.default_rng(3)) for _ in range(2))
    assert all(map(np.array_equal, first, second))
