"""Weights that others released, by the layouts that their public code states, with random numbers in them."""

from collections.abc import Callable
from math import prod
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.predictors import Predictor, load_predictor
from benchmarks.predictors.released import CANDIDATES, load_released, multiverseg, tyche
from benchmarks.predictors.released_networks import MultiverSegNet, TycheNet

CHANNELS = (4, 6, 8, 4)
State = dict[str, Tensor]


def blocks(first: int) -> list[tuple[str, int, int, int]]:
    """Name, channels of query and support, and channels of the result, of each block in the public layout.

    Args:
        first: Channels of the query's images; a support has two.
    """
    encoder = zip((first, *CHANNELS), (2, *CHANNELS), CHANNELS, strict=False)
    below = (CHANNELS[-1], *CHANNELS[-2:0:-1])
    decoder = [(low + skip, low + skip, skip) for low, skip in zip(below, CHANNELS[-2::-1], strict=True)]
    named = [(f"enc_blocks.{i}", *shape) for i, shape in enumerate(encoder)]
    return named + [(f"dec_blocks.{i}", *shape) for i, shape in enumerate(decoder)]


def shapes_of_multiverseg() -> dict[str, tuple[int, ...]]:
    """Names and shapes of MultiverSeg's tensors, as `multiverseg/models/network.py` makes them."""
    found: dict[str, tuple[int, ...]] = {"out_conv.conv.weight": (1, CHANNELS[0], 1, 1), "out_conv.conv.bias": (1,)}
    for name, query, support, out in blocks(5):
        found[f"{name}.cross.cross_conv.weight"] = (out, query + support, 3, 3)
        found[f"{name}.cross.cross_conv.bias"] = (out,)
        for side in ("target", "support"):
            found[f"{name}.{side}.vmapped.conv.weight"] = (out, out, 3, 3)
            found |= {f"{name}.{side}.vmapped.{each}": (out,) for each in ("conv.bias", "norml.weight", "norml.bias")}
    return found


def shapes_of_tyche() -> dict[str, tuple[int, ...]]:
    """Names and shapes of Tyche's tensors, as `tyche/model.py` makes them."""
    found: dict[str, tuple[int, ...]] = {"out_conv.conv.weight": (1, CHANNELS[0], 1, 1), "out_conv.conv.bias": (1,)}
    for name, query, support, out in blocks(2):
        convs = {"cross.cross_conv": query + support, "meanconv.vmapped.conv": query + out}
        convs |= dict.fromkeys(("target.vmapped.conv", "support.vmapped.conv"), out)
        for conv, channels in convs.items():
            found |= {f"{name}.{conv}.weight": (out, channels, 3, 3), f"{name}.{conv}.bias": (out,)}
    return found


def drawn(shapes: dict[str, tuple[int, ...]]) -> State:
    """State dict of random numbers, by which maps neither vanish nor explode."""
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(shape, generator=generator) / prod(shape[1:]) ** 0.5 for name, shape in shapes.items()}


LAYOUTS = {"multiverseg": shapes_of_multiverseg, "tyche": shapes_of_tyche}


@pytest.fixture(params=LAYOUTS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def weights(kind: str, tmp_path: Path) -> Path:
    """File of random weights in the layout of a network."""
    torch.save({"model": drawn(LAYOUTS[kind]()), "epoch": 3}, path := tmp_path / f"{kind}_v1.pt")
    return path


def test_released_weights_are_loaded_by_name(
    kind: str, weights: Path, check_exact: Callable[[Callable[[], Predictor]], None]
) -> None:
    found = load_predictor(f"{kind}@{weights}")
    assert found.name == f"{kind}@{kind}_v1"
    check_exact(lambda: load_predictor(f"{kind}@{weights}").predict)  # type: ignore[arg-type, return-value]
    assert load_predictor(f"{kind}@{weights}+noise-0.1").name == f"{kind}@{kind}_v1+noise-0.1"


def test_what_a_support_shows_matters(kind: str, weights: Path, episodes: tuple[Tensor, Tensor, Tensor]) -> None:
    predict = load_predictor(f"{kind}@{weights}").predict
    query, images, labels = episodes
    with torch.inference_mode():
        assert not torch.allclose(predict(query, images, labels), predict(query, images, 1 - labels))  # type: ignore[operator]


def test_other_weights_are_refused(kind: str, weights: Path, tmp_path: Path) -> None:
    state = drawn(LAYOUTS[kind]())
    torch.save(state | {"dec_blocks.1.cross.cross_conv.bias": torch.zeros(5)}, other := tmp_path / "other.pt")
    with pytest.raises(
        ValueError,
        match=r"other.pt does not fit .* at dec_blocks.1.cross.cross_conv.bias: expected \(6,\), got \(5,\)",
    ):
        load_predictor(f"{kind}@{other}")
    torch.save({name: value for name, value in state.items() if not name.startswith("out_conv")}, other)
    with pytest.raises(ValueError, match=r"at out_conv.conv.bias: expected \(1,\), got no such tensor"):
        load_predictor(f"{kind}@{other}")
    torch.save({"fc.weight": torch.ones(1, 1)}, other)
    with pytest.raises(ValueError, match=r"other.pt holds no weights of .*: expected at least two 'enc_blocks', got 0"):
        load_predictor(f"{kind}@{other}")
    with pytest.raises(FileNotFoundError, match=f"Weights of {kind} are missing: expected a file, got 'none.pt'"):
        load_predictor(f"{kind}@none.pt")


class Trap:
    """Object whose unpickling writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_pickle_is_never_executed(kind: str, tmp_path: Path) -> None:
    torch.save({"model": drawn(LAYOUTS[kind]()), "trap": Trap(tmp_path / "sprung")}, path := tmp_path / "trap.pt")
    with pytest.raises(ValueError, match=r"trap.pt is not readable: expected tensors and nothing else"):
        load_predictor(f"{kind}@{path}")
    assert not (tmp_path / "sprung").exists()


def walked(state: State, query: Tensor, support: Tensor, stage: Callable[..., tuple[Tensor, Tensor]]) -> Tensor:
    """Encoder and decoder as published, on sets (K, C, H, W) and (S, 2, H, W), by a function for the blocks."""
    skips = []
    for i in range(len(CHANNELS)):
        query, support = stage(state, f"enc_blocks.{i}", query, support)
        skips.append((query, support))
        query, support = F.max_pool2d(query, 2), F.max_pool2d(support, 2)
    query, support = skips.pop()
    for i, (query_skip, support_skip) in enumerate(reversed(skips)):
        query, support = (
            F.interpolate(each, scale_factor=2, mode="bilinear", align_corners=True) for each in (query, support)
        )
        joined = torch.cat([query, query_skip], 1), torch.cat([support, support_skip], 1)
        query, support = stage(state, f"dec_blocks.{i}", *joined)
    return F.conv2d(query, state["out_conv.conv.weight"], state["out_conv.conv.bias"])


def convolved(state: State, name: str, maps: Tensor) -> Tensor:
    return F.leaky_relu(F.conv2d(maps, state[f"{name}.weight"], state[f"{name}.bias"], padding=1))


def crossed(state: State, name: str, query: Tensor, support: Tensor) -> Tensor:
    """The cross-convolution of one query with every support image, by concatenation."""
    pairs = torch.cat([query.expand(len(support), -1, -1, -1), support], 1)
    return convolved(state, f"{name}.cross.cross_conv", pairs)


def stage_of_multiverseg(state: State, name: str, query: Tensor, support: Tensor) -> tuple[Tensor, Tensor]:
    both = crossed(state, name, query, support)

    def normal(side: str, maps: Tensor) -> Tensor:
        at = f"{name}.{side}.vmapped"
        return F.group_norm(
            convolved(state, f"{at}.conv", maps), 1, state[f"{at}.norml.weight"], state[f"{at}.norml.bias"]
        )

    return normal("target", both.mean(0, keepdim=True)), normal("support", both)


def stage_of_tyche(state: State, name: str, query: Tensor, support: Tensor) -> tuple[Tensor, Tensor]:
    both = crossed(state, name, query.mean(0, keepdim=True), support)
    shared = both.mean(0, keepdim=True).expand(len(query), -1, -1, -1)
    query = convolved(state, f"{name}.meanconv.vmapped.conv", torch.cat([query, shared], 1))
    return convolved(state, f"{name}.target.vmapped.conv", query), convolved(
        state, f"{name}.support.vmapped.conv", both
    )


@torch.inference_mode()
def test_multiverseg_computes_what_is_published(tmp_path: Path, episodes: tuple[Tensor, Tensor, Tensor]) -> None:
    torch.save(state := drawn(shapes_of_multiverseg()), path := tmp_path / "weights.pt")
    (query, *_), (images, *_), (labels, *_) = episodes
    prompted = torch.cat([query[None], torch.zeros(1, 4, *query.shape[1:])], 1)
    expected = walked(state, prompted, torch.cat([images, labels], 1), stage_of_multiverseg)
    torch.testing.assert_close(
        load_released(path, MultiverSegNet, "MultiverSeg")(query[None], images, labels), expected
    )
    torch.testing.assert_close(multiverseg(path)(query[None], images[None], labels[None]), expected)


@torch.inference_mode()
def test_tyche_computes_what_is_published(tmp_path: Path, episodes: tuple[Tensor, Tensor, Tensor]) -> None:
    torch.save(state := drawn(shapes_of_tyche()), path := tmp_path / "weights.pt")
    (query, *_), (images, *_), (labels, *_) = episodes
    noise = torch.randn(CANDIDATES, *query.shape, generator=torch.Generator().manual_seed(0))
    pairs = torch.cat([query.expand_as(noise), noise], 1)
    expected = walked(state, pairs, torch.cat([images, labels], 1), stage_of_tyche)
    torch.testing.assert_close(load_released(path, TycheNet, "Tyche")(query[None], noise, images, labels), expected)
    mean = torch.logit(expected.sigmoid().mean(0, keepdim=True), eps=1e-6)
    torch.testing.assert_close(tyche(path)(query[None], images[None], labels[None]), mean)
