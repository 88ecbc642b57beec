"""Filters by hand and against scipy; the forest learns what is bright."""

import sys
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.predictors import forest, load_predictor
from benchmarks.predictors.forest import SCALES_PX, choose_pixels, eigenvalues, filter_features, smooth


def test_smoothing_equals_scipys_away_from_the_border() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    image = torch.rand(1, 1, 40, 48, generator=torch.Generator().manual_seed(0))
    expected = ndimage.gaussian_filter(image[0, 0].numpy(), 1.6, truncate=8)
    np.testing.assert_allclose(smooth(image, 1.6)[0, 0, 12:-12, 12:-12], expected[12:-12, 12:-12], atol=1e-5)


def test_eigenvalues_by_hand() -> None:
    found = eigenvalues(*map(torch.tensor, (2.0, 1.0, 2.0)))
    assert [value.item() for value in found] == pytest.approx([3, 1])


def test_a_flat_image_has_no_features_but_its_intensity() -> None:
    features = filter_features(torch.full((1, 1, 16, 16), 0.5)).unflatten(1, (len(SCALES_PX), 7))
    torch.testing.assert_close(features[:, :, 0], torch.full((1, len(SCALES_PX), 16, 16), 0.5))
    assert features[:, :, 1:].abs().max() < 1e-5


def test_a_ramp_has_its_slope_as_gradient() -> None:
    ramp = (0.1 * torch.arange(64)).expand(1, 1, 64, 64)
    gradient = filter_features(ramp).unflatten(1, (len(SCALES_PX), 7))[0, 0, 1]
    torch.testing.assert_close(gradient[8:-8, 8:-8], torch.full((48, 48), 0.1))


def test_pixels_stand_for_all_of_their_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forest, "PIXELS", 4)
    labels = torch.arange(14) < 2
    chosen, weights = choose_pixels(labels, seed=0)
    assert labels[chosen].tolist() == [True, True, False, False, False, False]
    assert weights.tolist() == [1, 1, 3, 3, 3, 3]
    assert torch.equal(choose_pixels(labels, seed=0)[0], chosen)


def test_bright_discs_are_found_exactly(
    episodes: Any, check_exact: Any, dice: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("sklearn")
    monkeypatch.setattr(forest, "TREES", 5)
    monkeypatch.setattr(forest, "PIXELS", 200)
    assert dice(forest.forest) > 0.9
    check_exact(lambda: forest.forest)


@pytest.mark.parametrize("kind", [0.0, 1.0])
def test_a_support_of_one_kind_is_answered_with_it(episodes: Any, kind: float) -> None:
    query, images, labels = episodes
    assert (forest.forest(query, images, torch.full_like(labels, kind)) >= 0).float().unique().tolist() == [kind]


def test_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ModuleNotFoundError, match=r"needs sklearn: .*pip install \"incontext-seg\[forest\]\""):
        load_predictor("forest")
