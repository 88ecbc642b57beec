"""Networks on disk: safetensors, in float16 by default, with JSON in the header: config, provenance and calibration."""

import dataclasses
import json
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from incontext.networks.cross_block import CrossBlockConfig, CrossBlockNet
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from megamed.files import replacing

logger = logging.getLogger(__name__)

PACKAGED = Path(__file__).parent / "weights" / "default.safetensors"
NAMED = {"default": PACKAGED, "open": PACKAGED.with_name("open.safetensors")}
"""The packaged weights by name: those to use, and those learned from open data alone."""

METADATA = ("config", "provenance", "calibration")

NetworkConfig = SupportOnceConfig | CrossBlockConfig
Network = SupportOnceNet | CrossBlockNet
"""A network of a family that can be saved and trained."""

FAMILIES: dict[str, tuple[type[NetworkConfig], type[Network]]] = {
    "support-once": (SupportOnceConfig, SupportOnceNet),
    "cross-block": (CrossBlockConfig, CrossBlockNet),
}
"""Classes of the configuration and of the network, by the name of their family."""


def describe(config: NetworkConfig) -> dict[str, Any]:
    """A network's configuration as a table that also names its family."""
    family = next(name for name, (kind, _) in FAMILIES.items() if isinstance(config, kind))
    return {"family": family, **dataclasses.asdict(config)}


def build(config: NetworkConfig) -> Network:
    """Build a network with random weights, of the family that the configuration belongs to."""
    network_class: Callable[[Any], Network] = FAMILIES[describe(config)["family"]][1]
    return network_class(config)


def save(path: Path, network: nn.Module, provenance: Mapping[str, Any], dtype: torch.dtype = torch.float16) -> None:
    """Write weights with config and provenance; the file is replaced at once or not at all.

    Raises:
        ValueError: If the network is of no known family.
    """
    if not isinstance(network, Network):
        msg = (
            f"network cannot be saved: expected one of {', '.join(FAMILIES)}, got {type(network).__name__}. "
            "Save its state_dict with safetensors instead."
        )
        raise ValueError(msg)
    config = describe(network.config)
    tensors = {name: value.detach().cpu().to(dtype).contiguous() for name, value in network.state_dict().items()}
    metadata = {"config": json.dumps(config), "provenance": json.dumps(dict(provenance))}
    with replacing(path) as partial:
        save_file(tensors, partial, metadata)


def write_calibration(path: Path, calibration: Mapping[str, Any]) -> None:
    """Put a calibration into a weights file in place of any it has; its tensors stay as they are.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a weights file of this library.
    """
    metadata = read_metadata(path) | {"calibration": dict(calibration)}
    tensors = _tensors(path)
    with replacing(path) as partial:
        save_file(tensors, partial, {name: json.dumps(value) for name, value in metadata.items()})


def read_metadata(path: Path) -> dict[str, Any]:
    """Read config, provenance and, once fitted, calibration of a weights file, without its tensors.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a weights file of this library.
    """
    if not path.is_file():
        msg = f"weights are missing: expected {', '.join(NAMED)} or a file, got {path}. Check the name or the path."
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
    return {name: json.loads(metadata[name]) for name in METADATA if name in metadata}


def load(path: Path, device: torch.device | str = "cpu") -> Network:
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
    fields: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in config.items()
    }
    network = build(FAMILIES[family][0](**fields))
    try:
        network.load_state_dict({name: tensor.float() for name, tensor in _tensors(path).items()})
    except RuntimeError as error:
        msg = f"{path} does not fit its config: {error}. Save it anew."
        raise ValueError(msg) from error
    return network.to(device).eval()


def adopt(network: Network, path: Path) -> list[str]:
    """Start a network from the weights in a file, which may be those of a smaller one of its family.

    Where a tensor has grown, old outputs ignore the new inputs, so that the network goes on computing what it did, as
    long as new inputs follow the old ones. New outputs stay as they were drawn: zeros on both sides learn nothing.

    Returns:
        The names of the tensors that the file has nothing for; they stay as they were.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a weights file of this library, or of another family.
    """
    found, family = read_metadata(path)["config"].get("family"), describe(network.config)["family"]
    if found != family:
        msg = f"{path} does not fit the network: expected weights of family {family}, got {found}. Choose others."
        raise ValueError(msg)
    old, state = _tensors(path), network.state_dict()
    fitting = {name for name in old.keys() & state.keys() if _fits(old[name], state[name])}
    for name in sorted(fitting):
        block = tuple(map(slice, old[name].shape))
        state[name][block[:1]] = 0
        state[name][block] = old[name].to(state[name])
        if old[name].shape != state[name].shape:
            logger.info("%s grew from %s to %s", name, tuple(old[name].shape), tuple(state[name].shape))
    if unused := sorted(old.keys() - fitting):
        logger.info("not taken over from %s: %s", path, ", ".join(unused))
    return sorted(state.keys() - fitting)


def _fits(old: torch.Tensor, new: torch.Tensor) -> bool:
    """Whether a tensor is as large as another, or smaller in channels alone."""
    if old.ndim != new.ndim or old.shape[2:] != new.shape[2:]:
        return False
    return all(before <= after for before, after in zip(old.shape, new.shape, strict=True))


def _tensors(path: Path) -> dict[str, torch.Tensor]:
    with safe_open(path, "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)


def load_pretrained(name: str = "default", device: torch.device | str = "cpu") -> Network:
    """The network of packaged weights, `default` or `open`.

    Raises:
        FileNotFoundError: If there are no such weights.
    """
    return load(locate(name), device)


def locate(weights: str | Path | None) -> Path:
    """The file of weights that are given by name (see `NAMED`), by path, or not at all: then the default ones."""
    return PACKAGED if weights is None else NAMED.get(str(weights), Path(weights))
