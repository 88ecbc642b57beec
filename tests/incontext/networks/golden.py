"""Drawn episodes and the logits that the packaged weights give for them: arithmetic that must not drift unnoticed.

`golden_logits.json` holds, for each of the packaged weights, each support size and each image size, the logits of two
queries at fixed pixels, and their mean and standard deviation over the whole maps; and for the weights that take
prompts, the same after two rounds of them. Whoever means to change what the networks compute, or the weights, writes
the file anew and says so in CHANGELOG.md:

    python -m tests.incontext.networks.golden
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from incontext.networks.prompted import BOX, INSIDE, OUTSIDE, PromptedNet, read
from incontext.networks.support_once import SupportOnceNet

FILE = Path(__file__).with_name("golden_logits.json")
SUPPORT_SIZES = (1, 3, 8)
SIZES_PX = ((64, 96), (128, 128))
PROMPTED_SIZES = (0, 3)
"""Support sizes of the episodes that are prompted."""
PROMPTED_PX = (128, 128)
PIXELS = 32
"""Pinned pixels of each query."""


def draw_case(index: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright ellipse on a wavy ground with a brighter distractor; the image in [0, 1], and the ellipse's label."""
    y, x = np.meshgrid((np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij")
    turn = 0.7 * index
    ellipse = ((x - 0.45 - 0.12 * np.cos(turn)) / (0.16 + 0.02 * (index % 3))) ** 2
    ellipse = ellipse + ((y - 0.5 - 0.12 * np.sin(turn)) / (0.22 - 0.02 * (index % 4))) ** 2
    distractor = ((x - 0.8) ** 2 + (y - 0.2 - (0.05 * index) % 0.5) ** 2) / 0.01
    ground = 0.3 + 0.1 * np.sin(9 * x + index) * np.cos(7 * y - 0.5 * index)
    image = ground + 0.3 * np.exp(-(ellipse**2)) + 0.35 * np.exp(-distractor)
    return image.clip(0, 1).astype(np.float32), (ellipse < 1).astype(np.float32)


def draw_episode(support_size: int, size_px: tuple[int, int]) -> tuple[Tensor, Tensor, Tensor]:
    """Two queries (2, 1, H, W), and one support set: images and labels (1, S, 1, H, W)."""
    drawn = [draw_case(index, *size_px) for index in range(support_size + 2)]
    images, labels = (torch.from_numpy(np.stack(each))[:, None] for each in zip(*drawn, strict=True))
    return images[:2], images[2:][None], labels[2:][None]


def pinned(logits: Tensor) -> dict[str, list[float]]:
    """What is kept of logits (N, 1, H, W): fixed pixels of every query, and the maps' means and deviations."""
    height, width = logits.shape[-2:]
    steps = torch.arange(PIXELS)
    # Steps that share no factor with the sides, so that pixels of every phase of the network's strides are met.
    rows, columns = (37 * steps + 11) % height, (59 * steps + 7) % width
    return {
        "pixels": logits[:, 0, rows, columns].flatten().tolist(),
        "means": logits.mean((1, 2, 3)).tolist(),
        "deviations": logits.std((1, 2, 3)).tolist(),
    }


def case_name(weights: str, support_size: int, size_px: tuple[int, int]) -> str:
    """The name of an episode in the file."""
    return f"{weights}, S = {support_size}, {size_px[0]} × {size_px[1]}"


def expected(case: str) -> dict[str, list[float]]:
    """What the file holds of an episode."""
    return json.loads(FILE.read_text(encoding="utf-8"))[case]


def prompted_name(support_size: int) -> str:
    """The name in the file of an episode that is prompted."""
    return f"default-prompts, S = {support_size}"


def prompted(network: SupportOnceNet, prompts: PromptedNet, support_size: int) -> Tensor:
    """Logits of the queries after a click inside and one outside, and a box and a line that follow them."""
    queries, images, labels = draw_episode(max(1, support_size), PROMPTED_PX)
    code = network.encode_support(images, labels) if support_size else None
    begun = prompts.begin(read(network, queries, code))
    maps = torch.zeros(2, 3, *PROMPTED_PX)
    maps[:, INSIDE, 60, 70] = maps[:, OUTSIDE, 100, 20] = 1
    logits = prompts.refine(begun, maps)
    maps[0, BOX, 20:90, 30:100] = maps[1, OUTSIDE, 30, 10:60] = 1
    return prompts.refine(begun, maps, logits)


def rounded(logits: Tensor) -> dict[str, list[float]]:
    """What is kept of logits, to a millionth."""
    return {part: [round(value, 6) for value in values] for part, values in pinned(logits).items()}


def write(
    load: Callable[[str], Any], load_prompts: Callable[[str], PromptedNet], names: tuple[str, ...] = ("default", "open")
) -> None:
    """Write the file anew from what networks, loaded by the name of their weights, compute now."""
    kept = {}
    prompts = load_prompts("default")
    for name in names:
        network = load(name)
        for support_size in SUPPORT_SIZES:
            for size_px in SIZES_PX:
                queries, images, labels = draw_episode(support_size, size_px)
                with torch.inference_mode():
                    logits = network(queries, *(each.repeat(len(queries), 1, 1, 1, 1) for each in (images, labels)))
                kept[case_name(name, support_size, size_px)] = rounded(logits)
    for support_size in PROMPTED_SIZES:
        with torch.inference_mode():
            kept[prompted_name(support_size)] = rounded(prompted(load("default"), prompts, support_size))
    rows = (f"{json.dumps(name, ensure_ascii=False)}: {json.dumps(each)}" for name, each in kept.items())
    FILE.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    from incontext.networks.checkpoint import load_pretrained
    from incontext.networks.prompted_weights import load_prompted

    write(load_pretrained, load_prompted)
