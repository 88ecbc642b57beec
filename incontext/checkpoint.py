"""Networks on disk: safetensors, in float16 by default, with the JSON config and the provenance in the header."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from incontext.files import replacing
from incontext.model import CrossBlockConfig, CrossBlockNet
from incontext.support_once import SupportOnceConfig, SupportOnceNet

PACKAGED = Path(__file__).parent / "weights" / "support_once.safetensors"

FAMILIES: dict[str, tuple[type, type[nn.Module]]] = {
    "support-once": (SupportOnceConfig, SupportOnceNet),
    "cross-block": (CrossBlockConfig, CrossBlockNet),
}


def save(path: Path, network: nn.Module, provenance: Mapping[str, Any], dtype: torch.dtype = torch.float16) -> None:
    """Write weights with config and provenance; the file is replaced at once or not at all.

    Raises:
        ValueError: If the network is of no known family.
    """
    family = next((name for name, (_, kind) in FAMILIES.items() if isinstance(network, kind)), None)
    if family is None:
        msg = (
            f"network cannot be saved: expected one of {', '.join(FAMILIES)}, got {type(network).__name__}. "
            "Save its state_dict with safetensors instead."
        )
        raise ValueError(msg)
    config = {"family": family, **dataclasses.asdict(network.config)}  # type: ignore[call-overload]
    tensors = {name: value.detach().cpu().to(dtype).contiguous() for name, value in network.state_dict().items()}
    metadata = {"config": json.dumps(config), "provenance": json.dumps(dict(provenance))}
    with replacing(path) as partial:
        save_file(tensors, partial, metadata)


def read_metadata(path: Path) -> dict[str, Any]:
    """The config and provenance of a weights file, without its tensors.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a weights file of this library.
    """
    if not path.is_file():
        msg = f"weights are missing: expected a file at {path}, got none. Check the path."
        raise FileNotFoundError(msg)
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
    except SafetensorError as error:
        msg = f"{path} is not readable: expected a safetensors file, got: {error}. Save it anew."
        raise ValueError(msg) from error
    if "config" not in metadata:
        msg = (
            f"{path} has no config: expected weights saved by this library, got bare tensors. "
            "For official UniverSeg weights use incontext.load_universeg."
        )
        raise ValueError(msg)
    return {name: json.loads(text) for name, text in metadata.items() if name in ("config", "provenance")}


def load(path: Path, device: torch.device | str = "cpu") -> nn.Module:
    """Build the network that a weights file describes, in float32 and evaluation mode.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If its config names no known family, or its tensors do not fit the config.
    """
    config = dict(read_metadata(path)["config"])
    family = config.pop("family", None)
    if family not in FAMILIES:
        msg = f"{path} is of an unknown family: expected {' or '.join(FAMILIES)}, got {family}. Update incontext-seg."
        raise ValueError(msg)
    config_class, network_class = FAMILIES[family]
    network = network_class(config_class(**{k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}))
    with safe_open(path, "pt") as file:
        state = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        msg = f"{path} does not fit its config: {error}. Save it anew."
        raise ValueError(msg) from error
    return network.to(device).eval()


def load_pretrained(device: torch.device | str = "cpu") -> nn.Module:
    """The packaged weights.

    Raises:
        FileNotFoundError: If the installation lacks them.
    """
    return load(PACKAGED, device)
