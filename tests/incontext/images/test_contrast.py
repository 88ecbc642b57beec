"""Images are as far apart in contrast as their quantiles are."""

import numpy as np
import pytest

from incontext.images.contrast import CONTRAST, CONTRAST_OF_FEW, FEW, distances, most_apart


def test_the_most_similar_image_counts() -> None:
    ours, theirs = np.array([[0.0, 0.2], [1.0, 1.0]]), np.array([[0.0, 0.0], [0.5, 0.9]])
    assert distances(ours, theirs).tolist() == pytest.approx([0.1, 0.3])


def test_few_examples_are_judged_less_strictly() -> None:
    assert (most_apart(FEW - 1), most_apart(FEW)) == (CONTRAST_OF_FEW, CONTRAST)
