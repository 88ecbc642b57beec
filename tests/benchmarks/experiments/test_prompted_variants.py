"""Every variant of the prompted network lacks the part that it is named after, and is saved and learns as others do."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.experiments import prompted_variants
from benchmarks.experiments.network_variants import install
from benchmarks.experiments.prompted_variants import PROMPTED_VARIANTS
from incontext.networks import checkpoint
from incontext.networks.families import FAMILIES, build
from incontext.networks.prompted import INSIDE, OUTSIDE, PromptedConfig, PromptedNet, Reading

CONFIG = PromptedConfig((8, 8, 8, 8), (8, 8, 8, 8), matched_channels=4, heads=1, head_channels=8, geodesic=True)


def drawn(network: type[PromptedNet]) -> PromptedNet:
    """A network whose weights are drawn, all of them."""
    torch.manual_seed(0)
    made = network(CONFIG)
    for parameter in made.parameters():
        if not parameter.any() and parameter.requires_grad:
            torch.nn.init.normal_(parameter, std=0.1)
    return made.eval()


def reading(seed: int = 0) -> Reading:
    generator = torch.Generator().manual_seed(seed)
    stages = tuple(torch.randn(2, 16, side, side, generator=generator) for side in (16, 8, 4, 2))
    images, automatic = torch.rand(2, 2, 1, 32, 32, generator=generator)
    return Reading(images, automatic - 0.5, stages, torch.ones(2, 1, 1, 1))


def clicks() -> Tensor:
    maps = torch.zeros(2, 3, 32, 32)
    maps[:, INSIDE, 5, 6] = maps[:, OUTSIDE, 20, 25] = 1
    return maps


@pytest.mark.parametrize("name", PROMPTED_VARIANTS)
def test_a_variant_computes_something_else_with_the_same_weights(name: str) -> None:
    varied, plain = drawn(PROMPTED_VARIANTS[name]), drawn(PromptedNet)
    plain.load_state_dict(varied.state_dict(), strict=False)
    previous = torch.randn(2, 1, 32, 32)
    with torch.no_grad():
        found = [network.refine(network.begin(reading()), clicks(), previous) for network in (varied, plain)]
    assert torch.allclose(*found, atol=1e-4) == (name == "no bump")  # whose weight is the only difference


@pytest.mark.parametrize("name", PROMPTED_VARIANTS)
def test_all_that_a_variant_holds_can_be_saved_and_learned(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FAMILIES, "prompted", FAMILIES["prompted"])
    install(name)
    network = build(CONFIG)
    assert type(network) is PROMPTED_VARIANTS[name]
    network.correct(network.begin(reading()), clicks()).sum().backward()
    assert network.head.weight.grad is not None
    checkpoint.save(tmp_path / "w.safetensors", network, {})
    assert type(checkpoint.Checkpoint.read(tmp_path / "w.safetensors").build()) is type(network)


def test_attention_that_is_left_out_has_no_parameters() -> None:
    lacking = dict(PromptedNet(CONFIG).named_parameters()).keys() - dict(
        prompted_variants.AttentionFreeNet(CONFIG).named_parameters()
    )
    assert {name.split(".")[0] for name in lacking} == {"query_key", "log_temperature", "value", "mix"}


def test_coarser_stages_see_no_prompts_where_the_finest_alone_does() -> None:
    assert seen_by_stages(drawn(PromptedNet)) == [True] * 4
    assert seen_by_stages(drawn(prompted_variants.FinestOnlyNet)) == [True, False, False, False]


def seen_by_stages(network: PromptedNet) -> list[bool]:
    """Whether what enters each stage, features of other stages excepted, depends on the prompts."""
    entered: list[list[Tensor]] = []

    def note(_: object, given: tuple[Tensor, ...]) -> None:
        entered[-1].append(given[0])

    hooks = [stage.register_forward_pre_hook(note) for stage in network.encoder]
    begun = network.begin(reading())
    for maps in (torch.zeros(2, 3, 32, 32), clicks()):
        entered.append([])
        network.correct(begun, maps)
    for hook in hooks:
        hook.remove()
    # The first channels are those of the stage above.
    above = [0, *CONFIG.channels[:-1]]
    pairs = zip(above, *entered, strict=True)
    return [not torch.allclose(one[:, channels:], other[:, channels:]) for channels, one, other in pairs]


def test_pixels_are_not_compared_without_likeness_but_paths_stay() -> None:
    network, plain = (drawn(each) for each in (prompted_variants.LikenessFreeNet, PromptedNet))
    begun, shown = plain.begin(reading()), torch.rand(2, 2, 16, 16)
    given = begun.matched, 0, torch.nn.functional.adaptive_max_pool2d(clicks(), 16), shown
    (zeros, paths), (likeness, same) = network._compared(*given), plain._compared(*given)
    assert likeness.any()
    assert not zeros.any()
    assert torch.equal(paths, same)


def test_there_is_no_bump_and_none_is_learned() -> None:
    network = prompted_variants.BumpFreeNet(CONFIG)
    begun = network.begin(reading())
    assert torch.equal(network.correct(begun, clicks()), begun.reading.automatic)  # the head is silent at first
    assert not network.bump.requires_grad


def test_neither_the_mask_before_nor_the_features_are_seen_where_a_variant_says_so() -> None:
    forgetful, image_only = (drawn(PROMPTED_VARIANTS[name]) for name in ("no previous mask", "image alone"))
    begun = forgetful.begin(reading())
    masks = torch.randn(2, 2, 1, 32, 32)
    one, other = (forgetful.correct(begun, clicks(), each) for each in masks)
    assert torch.equal(one, other)
    changed = reading()._replace(stages=reading(seed=1).stages)
    one, other = (image_only.refine(image_only.begin(each), clicks()) for each in (reading(), changed))
    assert torch.equal(one, other)
