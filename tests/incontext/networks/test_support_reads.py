"""The two ways to read a support, by hand and by law."""

import torch

from incontext.networks.support_reads import FittedRead, TokenMatch, label_patches, positions_like

TOLERANCE = {"atol": 1e-5, "rtol": 1e-4}


def draw(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
def test_moments_are_means_whatever_the_number_of_pixels():
    """A constant is 1 in every pixel, so that its products are the share of each kind and the mean of its targets."""
    torch.manual_seed(0)
    read = FittedRead(channels=3, fitted_channels=2)
    features, labels = draw(2, 3, 4, 6), (draw(2, 1, 4, 6, seed=2) > 0.5).float()
    moments = read.moments(read.inputs(features), labels.repeat_interleave(4, 2).repeat_interleave(4, 3))
    share = labels.mean((1, 2, 3))
    shares = torch.stack([share, 1 - share], 1)
    torch.testing.assert_close(moments[:, :, 2, 2], shares)
    torch.testing.assert_close(moments[:, :, 2, 3:], torch.stack([share, share - 1], 1)[..., None].expand(2, 2, 4))
    larger, drawn = (part.repeat_interleave(2, 2).repeat_interleave(2, 3) for part in (features, labels))
    again = read.moments(read.inputs(larger), drawn.repeat_interleave(4, 2).repeat_interleave(4, 3))
    torch.testing.assert_close(again, moments)


@torch.no_grad()
def test_fit_is_weighted_ridge_regression():
    torch.manual_seed(0)
    fit, features, labels = FittedRead(3, 2), draw(2, 3, 4, 4), (draw(2, 1, 8, 8, seed=2) > 0.7).float()
    maps = fit.inputs(features)
    scores = fit(maps, fit.moments(maps, labels).mean(0, keepdim=True))
    inputs = torch.cat([fit.project(features), torch.ones(2, 1, 4, 4)], 1).permute(0, 2, 3, 1).reshape(-1, 3).double()
    parts = labels.reshape(2, 4, 2, 4, 2).permute(0, 1, 3, 2, 4).reshape(-1, 4).double()
    share = parts.mean(1)
    weight = 0.5 * share / (share.mean() + fit.MASS) + 0.5 * (1 - share) / (1 - share.mean() + fit.MASS)
    gram = inputs.T @ (weight[:, None] * inputs) / len(inputs)
    ridge = fit.log_ridge.double().exp() * gram.diagonal().mean()
    target = inputs.T @ (weight[:, None] * (2 * parts - 1)) / len(inputs)
    expected = inputs @ torch.linalg.solve(gram + ridge * torch.eye(3, dtype=torch.double), target)
    torch.testing.assert_close(scores.permute(0, 2, 3, 1).reshape(-1, 4), expected.float(), atol=1e-4, rtol=1e-3)


@torch.no_grad()
def test_fit_tells_apart_what_differs_from_the_mean_in_no_channel_alone():
    """Foreground lies where two strongly correlated channels disagree: prototypes see nothing, a fit does."""
    common, difference = draw(1, 1, 16, 16), (draw(1, 1, 16, 16, seed=2) > 0.9).float()
    features = torch.cat([common + 0.02 * difference, common], 1)
    fit = FittedRead(2, 2)
    fit.project.weight.copy_(torch.eye(2)[:, :, None, None])
    fit.log_ridge.fill_(-14.0)
    labels = difference.repeat_interleave(2, 2).repeat_interleave(2, 3)
    maps = fit.inputs(features)
    scores = fit(maps, fit.moments(maps, labels))
    assert ((scores.mean(1, keepdim=True) > 0) == difference.bool()).float().mean() > 0.99


def test_label_patches_hold_the_pixels_under_each_token():
    labels = torch.zeros(1, 1, 16, 16)
    labels[0, 0, 8:, :8] = 1
    patches = label_patches(labels, torch.zeros(1, 3, 2, 2))
    assert patches.shape == (1, 64, 2, 2)
    assert patches[0, :, 1, 0].eq(1).all()
    assert patches[0].sum() == 64


def test_positions_differ_everywhere():
    positions = positions_like(torch.zeros(1, 2, 4, 4))[0].flatten(1).T
    assert torch.cdist(positions, positions).add(torch.eye(16)).min() > 0.1


@torch.no_grad()
def test_a_temperature_that_runs_away_is_bounded():
    match = TokenMatch(8, heads=2, head_channels=8, positions=True)
    features = draw(1, 8, 4, 6)
    match.log_temperature.copy_(torch.tensor([2.0, 200.0]).view(2, 1, 1))
    lengths = match.queries(features).norm(dim=-1)  # of unit vectors times the temperature
    torch.testing.assert_close(lengths[:, 0], torch.full_like(lengths[:, 0], 2.0).exp(), **TOLERANCE)
    torch.testing.assert_close(lengths[:, 1], torch.full_like(lengths[:, 1], 4.5).exp(), **TOLERANCE)


@torch.no_grad()
def test_only_positions_make_equal_tokens_differ() -> None:
    torch.manual_seed(0)
    features, patches = torch.ones(1, 8, 4, 4), torch.zeros(1, 64, 4, 4)
    for positions in (True, False):
        match = TokenMatch(8, heads=2, head_channels=8, positions=positions)
        keys = match.keys(features, patches)
        assert keys.shape == (1, 2, 16, 8)
        torch.testing.assert_close(keys.norm(dim=-1), torch.ones(1, 2, 16))
        assert torch.allclose(keys, keys[:, :, :1].expand_as(keys), atol=1e-5) is not positions
