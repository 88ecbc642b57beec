"""SegGPT's weights, by the layout that its public code states, small and with random numbers in them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.predictors import Predictor, load_predictor
from benchmarks.predictors.seggpt import load_seggpt

pytest.importorskip("transformers")

HIDDEN, DEPTH, PATCH, DECODER, HEAD, MLP = 8, 4, 4, 6, 4, 16
ROWS, COLUMNS, PRETRAINED = 16, 8, 2
"""Patches on a side of an image on its example, and of the images that positions were trained on."""
JOINED = 1
"""Number of layers whose features the decoder joins."""


def shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors, as `SegGPT_inference/models_seggpt.py` makes them."""
    tokens = ("mask_token", "segment_token_x", "segment_token_y", "type_token_cls", "type_token_ins")
    found: dict[str, tuple[int, ...]] = dict.fromkeys(tokens, (1, 1, 1, HIDDEN))
    found["pos_embed"] = (1, PRETRAINED**2 + 1, HIDDEN)
    layers = {"patch_embed.proj": (HIDDEN, 3, PATCH, PATCH), "norm": (HIDDEN,)}
    for i in range(DEPTH):
        found[f"blocks.{i}.attn.rel_pos_h"] = (2 * ROWS - 1, HEAD)
        found[f"blocks.{i}.attn.rel_pos_w"] = (2 * COLUMNS - 1, HEAD)
        layers |= {f"blocks.{i}.attn.qkv": (3 * HIDDEN, HIDDEN), f"blocks.{i}.attn.proj": (HIDDEN, HIDDEN)}
        layers |= {f"blocks.{i}.mlp.fc1": (MLP, HIDDEN), f"blocks.{i}.mlp.fc2": (HIDDEN, MLP)}
        layers |= {f"blocks.{i}.norm1": (HIDDEN,), f"blocks.{i}.norm2": (HIDDEN,)}
    layers |= {"decoder_embed": (PATCH**2 * DECODER, JOINED * HIDDEN), "decoder_pred.0": (DECODER, DECODER, 3, 3)}
    layers |= {"decoder_pred.1": (DECODER,), "decoder_pred.3": (3, DECODER, 1, 1)}
    for name, shape in layers.items():
        found |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return found


def drawn() -> dict[str, Tensor]:
    """State dict of random numbers."""
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes().items()}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.save({"model": drawn()}, path := tmp_path / "seggpt_vit_large.pth")
    return path


def test_the_shape_of_the_network_is_that_of_its_tensors(weights: Path) -> None:
    config = load_seggpt(weights).config
    assert config.image_size == (ROWS * PATCH, COLUMNS * PATCH)
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (HIDDEN, DEPTH, HIDDEN // HEAD)
    assert list(config.intermediate_hidden_state_indices) == [DEPTH - 1]


def test_the_names_of_the_authors_and_of_transformers_are_the_same_weights(weights: Path, tmp_path: Path) -> None:
    network = load_seggpt(weights)
    network.save_pretrained(tmp_path / "seggpt-vit-large")
    again = load_predictor(f"seggpt@{tmp_path / 'seggpt-vit-large'}")
    assert again.name == "seggpt@seggpt-vit-large"
    for name, value in load_seggpt(tmp_path / "seggpt-vit-large").state_dict().items():
        assert torch.equal(value, network.state_dict()[name])


def test_neither_batch_nor_order_changes_anything(
    weights: Path, check_exact: Callable[[Callable[[], Predictor]], None]
) -> None:
    check_exact(lambda: load_predictor(f"seggpt@{weights}").predict)  # type: ignore[arg-type, return-value]


def test_a_single_example_is_enough_and_its_label_matters(
    weights: Path, episodes: tuple[Tensor, Tensor, Tensor]
) -> None:
    query, images, labels = episodes
    predict = load_predictor(f"seggpt@{weights}").predict
    with torch.inference_mode():
        logits = [predict(query, images[:, :1], each[:, :1]) for each in (labels, 1 - labels)]  # type: ignore[operator]
    assert logits[0].shape == query.shape
    assert not torch.allclose(*logits)


def test_other_weights_are_refused(tmp_path: Path) -> None:
    torch.save({"model": drawn() | {"blocks.1.mlp.fc1.bias": torch.zeros(3)}}, other := tmp_path / "other.pth")
    with pytest.raises(
        ValueError, match=r"other.pth does not fit SegGPT at .*layers.1.mlp.lin1.bias: expected \(16,\), got \(3,\)"
    ):
        load_predictor(f"seggpt@{other}")
    torch.save({"fc.weight": torch.ones(1, 1)}, other)
    with pytest.raises(ValueError, match=r"other.pth holds no weights of SegGPT: expected"):
        load_predictor(f"seggpt@{other}")
