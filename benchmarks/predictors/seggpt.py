"""SegGPT as a predictor: images painted beside their labels, by the network in the library transformers.

The network is not written here anew: it is a vision transformer of 370 million parameters that transformers has under
the licence of this project, so that the extra `seggpt` asks it only of those who have the weights.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.predictors.episode import Support, one_by_one
from benchmarks.predictors.protocol import Predictor
from incontext.networks.layers import check_sizes
from incontext.networks.tensors import misfit, unusable
from incontext.networks.universeg import read_state
from megamed.extras import require

MEAN = (0.485, 0.456, 0.406)
SPREAD = (0.229, 0.224, 0.225)
"""Mean and standard deviation of each channel, by which images and painted labels are scaled, as for ImageNet."""
EMBEDDING = "instance"
"""Kind of target that the network is told of: `instance`, as by default in the authors' program, or `semantic`."""
PAINTED_EPS = 1e-3
"""Distance from black and white that a painted grey value keeps, so that its logit is finite."""
WEIGHTS = "model.safetensors"
"""Name of the weights file in a folder of transformers."""

PIECES = (
    (r"^patch_embed\.proj\.", "model.embeddings.patch_embeddings.projection."),
    (r"^(mask_token)$", r"model.embeddings.\1"),
    (r"^segment_token_x$", "model.embeddings.segment_token_input"),
    (r"^segment_token_y$", "model.embeddings.segment_token_prompt"),
    (r"^type_token_cls$", "model.embeddings.type_token_semantic"),
    (r"^type_token_ins$", "model.embeddings.type_token_instance"),
    (r"^pos_embed$", "model.embeddings.position_embeddings"),
    (r"^blocks\.(\d+)\.attn\.", r"model.encoder.layers.\1.attention."),
    (r"^blocks\.(\d+)\.norm1\.", r"model.encoder.layers.\1.layernorm_before."),
    (r"^blocks\.(\d+)\.norm2\.", r"model.encoder.layers.\1.layernorm_after."),
    (r"^blocks\.(\d+)\.mlp\.fc1\.", r"model.encoder.layers.\1.mlp.lin1."),
    (r"^blocks\.(\d+)\.mlp\.fc2\.", r"model.encoder.layers.\1.mlp.lin2."),
    (r"^norm\.", "model.encoder.layernorm."),
    (r"^decoder_embed\.", "decoder.decoder_embed."),
    (r"^decoder_pred\.0\.", "decoder.decoder_pred.conv."),
    (r"^decoder_pred\.1\.", "decoder.decoder_pred.layernorm."),
    (r"^decoder_pred\.3\.", "decoder.decoder_pred.head."),
)
"""Patterns of the names in the authors' file, `seggpt_vit_large.pth`, and what transformers has in their place."""


def seggpt(path: Path, device: str = "cpu") -> Predictor:
    """Predictor of SegGPT's weights, in the authors' file or as transformers has them, given all of the support.

    Raises:
        ModuleNotFoundError: If transformers is missing.
        ValueError: If the file holds other weights.
    """
    network = load_seggpt(path).to(device)
    height, width = network.config.image_size
    size = height // 2, width

    def predict(query: Float[Tensor, "1 1 H W"], support: Support) -> Float[Tensor, "1 1 H W"]:
        count = len(support.images)
        painted = network(
            pixel_values=_scaled(query, size, "bicubic").expand(count, -1, -1, -1),
            prompt_pixel_values=_scaled(support.images, size, "bicubic"),
            prompt_masks=_scaled(support.labels, size, "nearest"),
            feature_ensemble=count > 1,
            embedding_type=EMBEDDING,
        ).pred_masks[:1, :, size[0] :]
        grey = (painted * _column(SPREAD, painted) + _column(MEAN, painted)).mean(1, keepdim=True)
        logits = torch.logit(grey.clamp(PAINTED_EPS, 1 - PAINTED_EPS))
        return F.interpolate(logits, query.shape[-2:], mode="bilinear", antialias=True, align_corners=False)

    return one_by_one(predict)


def load_seggpt(path: Path) -> Any:
    """Build SegGPT's network of the shape that its weights have, in evaluation mode.

    Args:
        path: The authors' file, or the file or the folder of transformers.

    Raises:
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If transformers is missing.
        ValueError: If the file is unreadable, or its tensors are not SegGPT's.
    """
    require("seggpt", "The predictor `seggpt`", "transformers")
    from transformers import SegGptForImageSegmentation

    path = path / WEIGHTS if path.is_dir() else path
    state = {to_transformers(name): value for name, value in read_state(path).items()}
    try:
        config = config_of(state)
    except KeyError as error:
        msg = f"{path} holds no weights of SegGPT: expected {error}, got no such tensor. Pass the authors' file."
        raise ValueError(msg) from error
    with torch.device("meta"):  # takes no memory before the weights are known to fit
        network: nn.Module = SegGptForImageSegmentation(config)
    if fault := misfit(network.state_dict(), state) or unusable(state):
        msg = f"{path} does not fit SegGPT {fault}. Pass the file as its authors released it."
        raise ValueError(msg)
    network.load_state_dict({name: value.to(torch.float32, copy=True) for name, value in state.items()}, assign=True)
    return network.eval()


def to_transformers(name: str) -> str:
    """Name that transformers has for a parameter in the authors' file; the name itself if it is of neither."""
    return next((re.sub(here, there, name) for here, there in PIECES if re.search(here, name)), name)


def config_of(state: Mapping[str, Tensor]) -> Any:
    """Configuration of the network that a state dict fits: its depth, widths and sizes are those of the tensors.

    Raises:
        KeyError: If a tensor that tells one of them is missing.
    """
    from transformers import SegGptConfig

    hidden, _, patch, _ = state["model.embeddings.patch_embeddings.projection.weight"].shape
    rows, columns = (state[f"model.encoder.layers.0.attention.rel_pos_{axis}"] for axis in "hw")
    positions = state["model.embeddings.position_embeddings"].shape[1] - 1
    joined = state["decoder.decoder_embed.weight"].shape[1] // hidden
    check_sizes(hidden=hidden, patch=patch, rows=len(rows), columns=len(columns), positions=positions)
    depth = len({name.split(".")[3] for name in state if name.startswith("model.encoder.layers.")})
    return SegGptConfig(
        hidden_size=hidden,
        num_hidden_layers=depth,
        num_attention_heads=hidden // rows.shape[1],
        image_size=(patch * (len(rows) + 1) // 2, patch * (len(columns) + 1) // 2),
        patch_size=patch,
        mlp_dim=state["model.encoder.layers.0.mlp.lin1.weight"].shape[0],
        pretrain_image_size=patch * round(positions**0.5),
        decoder_hidden_size=state["decoder.decoder_pred.conv.weight"].shape[0],
        intermediate_hidden_state_indices=[depth * (index + 1) // joined - 1 for index in range(joined)],
    )


def _scaled(maps: Float[Tensor, "N 1 H W"], size: tuple[int, int], mode: str) -> Float[Tensor, "N 3 h w"]:
    """Grey maps in [0, 1] as colour images of the network's size and scale."""
    smooth = {} if mode == "nearest" else {"align_corners": False, "antialias": True}
    colours = F.interpolate(maps, size, mode=mode, **smooth).clamp(0, 1).expand(-1, 3, -1, -1)
    return (colours - _column(MEAN, maps)) / _column(SPREAD, maps)


def _column(values: tuple[float, ...], like: Tensor) -> Float[Tensor, "1 3 1 1"]:
    return torch.tensor(values, device=like.device, dtype=like.dtype)[None, :, None, None]
