"""Weights of prompted networks: a file beside that of the network that they were trained beside."""

from pathlib import Path

import torch

from incontext.networks.checkpoint import Checkpoint, locate
from incontext.networks.prompted import PromptedNet
from megamed.files import sha256_of

ENDING = "-prompts"
"""Ending of the name of the prompted network's file, after the name of the other and before the suffix."""


def prompted_beside(weights: Path) -> Path:
    """Path of the weights of the prompted network that stands beside that of a weights file."""
    return weights.with_name(f"{weights.stem}{ENDING}{weights.suffix}")


def load_prompted(weights: str | Path | None, device: torch.device | str = "cpu") -> PromptedNet:
    """Build the prompted network that stands beside the one of a weights file, in float32 and evaluation mode.

    Args:
        weights: Weights of the support-once network, by name, by path, or None for the default ones.
        device: Device to put it on.

    Raises:
        FileNotFoundError: If there is none.
        ValueError: If it is of another family, damaged, of a later version, or was trained beside other weights.
    """
    base = locate(weights)
    path = prompted_beside(base)
    if not path.is_file():
        msg = (
            f"{base} takes no prompts: expected a prompted network in {path}, got none. Use the default weights, or "
            'train one with `incontext train`, network.family = "prompted" and prompts.beside = these weights.'
        )
        raise FileNotFoundError(msg)
    checkpoint = Checkpoint.read(path)
    network = checkpoint.build()
    if not isinstance(network, PromptedNet):
        msg = f"{path} is no prompted network: expected weights of that family, got others. Train or copy it anew."
        raise ValueError(msg)
    told = (checkpoint.metadata.get("provenance", {}).get("beside") or {}).get("sha256")
    if told != (found := sha256_of(base)):
        msg = (
            f"{path} does not fit {base.name}: expected to have been trained beside SHA-256 {found}, got {told}. "
            "Put the file there that was trained beside these weights."
        )
        raise ValueError(msg)
    return network.to(device)
