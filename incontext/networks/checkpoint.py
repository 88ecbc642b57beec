"""Networks on disk: safetensors, in float16 by default, with JSON in the header: config, provenance and calibration."""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from incontext.networks.families import FAMILIES, Network, NetworkConfig, SavedNetwork, build, describe
from incontext.networks.prompted import PromptedNet
from incontext.networks.sealed import Damaged, read_sealed_metadata, read_tensors, save_sealed
from incontext.networks.tensors import misfit, unusable
from incontext.networks.weights_metadata import checked_config
from megamed.files import replacing, sha256_of

logger = logging.getLogger(__name__)

PACKAGED = Path(__file__).parent / "weights" / "default.safetensors"
NAMED = {"default": PACKAGED, "open": PACKAGED.with_name("open.safetensors")}
"""The packaged weights by name: those to use, and those learned from open data alone."""

KNOWN_SHA256 = {
    NAMED["default"]: "8a1952a35f15281f421832b145c9b0a5d111911d84914b6a78f9f9a2d61d7933",
    NAMED["open"]: "662c8aabe3d6a2b4b59edfe7540fbbda5cc0f2028cd607643ac1c32325e20542",
    PACKAGED.with_name(
        "default-prompts.safetensors"
    ): "8a9a3cd94f736667158ec65768efc62a86d05ec4b8d4c6697e6ff5a2c8c01460",
}
"""Hashes of the packaged weights, which are changed together with these."""

METADATA = ("config", "provenance", "calibration")


@dataclass(frozen=True)
class Checkpoint:
    """A weights file whose metadata were found right; its tensors are read when the network is built.

    Attributes:
        path: The file.
        config: Configuration of the network.
        metadata: Config, provenance and, once fitted, calibration, as they stand in the file.
        sha256: SHA-256 of the file.
    """

    path: Path
    config: NetworkConfig
    metadata: dict[str, Any]
    sha256: str

    @classmethod
    def read(cls, path: Path) -> "Checkpoint":
        """Read the metadata of a weights file, and make sure that the whole file is as it was written.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is not a weights file of this library, is damaged, or of a later version.
        """
        if not path.is_file():
            msg = f"weights are missing: expected {', '.join(NAMED)} or a file, got {path}. Check the name or the path."
            raise FileNotFoundError(msg)
        sha256 = sha256_of(path)
        if sha256 != (known := KNOWN_SHA256.get(path, sha256)):
            msg = (
                f"{path} is damaged: expected the packaged weights of SHA-256 {known}, got {sha256}. "
                "Install incontext-seg again: pip install --force-reinstall --no-deps incontext-seg."
            )
            raise ValueError(msg)
        try:
            told = read_sealed_metadata(path)
        except Damaged as error:
            msg = f"{path} is not readable: expected a safetensors file, got: {error}. Save it anew."
            raise ValueError(msg) from error
        if "task" in told:
            msg = f"{path} is a saved task: expected network weights, got labelled examples. Pass it as --task."
            raise ValueError(msg)
        if "config" not in told:
            msg = (
                f"{path} has no config: expected weights saved by this library, got bare tensors. "
                "For official UniverSeg weights use incontext.load_universeg."
            )
            raise ValueError(msg)
        config = checked_config(path, told)
        return cls(path, config, {name: json.loads(told[name]) for name in METADATA if name in told}, sha256)

    def network(self, device: torch.device | str = "cpu") -> Network:
        """Build a network that segments, in float32 and evaluation mode.

        Raises:
            ValueError: If it is a prompted network, or as `build`.
        """
        network = self.build()
        if isinstance(network, PromptedNet):
            msg = (
                f"{self.path} cannot segment by itself: expected weights of another family, got those of a prompted "
                "network. Pass the weights that it stands beside."
            )
            raise ValueError(msg)
        return network.to(device)

    def build(self) -> SavedNetwork:
        """Build the network, in float32 and evaluation mode.

        Its shape is compared with the tensors before memory is taken: no file asks for more than it holds.

        Raises:
            ValueError: If the tensors do not fit the config, or are not all finite numbers.
        """
        network, tensors = self._checked()
        shapes = network.state_dict()
        # Into the memory layout that the network chose: convolutions are slower in another, and round otherwise.
        laid_out = {
            name: torch.empty_strided(shape.size(), shape.stride()).copy_(tensors[name])
            for name, shape in shapes.items()
        }
        network.load_state_dict(laid_out, assign=True)
        return network.eval()

    def _checked(self) -> tuple[SavedNetwork, dict[str, torch.Tensor]]:
        """Read the tensors and make the network that they fit, without memory of its own."""
        tensors = read_tensors(self.path)
        with torch.device("meta"):
            network = build(self.config)
        if fault := misfit(network.state_dict(), tensors) or unusable(tensors):
            msg = f"{self.path} does not fit its config {fault}. Save it anew."
            raise ValueError(msg)
        return network, tensors

    def inspect(self) -> dict[str, Any]:
        """Return the metadata, having compared the tensors with the config.

        Raises:
            ValueError: If the tensors do not fit the config, or are not all finite numbers.
        """
        self._checked()
        return self.metadata


def save(path: Path, network: nn.Module, provenance: Mapping[str, Any], dtype: torch.dtype = torch.float16) -> None:
    """Write weights with config and provenance; the file is replaced at once or not at all.

    Raises:
        ValueError: If the network is of no known family.
    """
    if not isinstance(network, SavedNetwork):
        msg = (
            f"network cannot be saved: expected one of {', '.join(FAMILIES)}, got {type(network).__name__}. "
            "Save its state_dict with safetensors instead."
        )
        raise ValueError(msg)
    config = describe(network.config)
    tensors = {name: value.detach().cpu().to(dtype).contiguous() for name, value in network.state_dict().items()}
    metadata = {"config": json.dumps(config), "provenance": json.dumps(dict(provenance))}
    with replacing(path) as partial:
        save_sealed(tensors, partial, metadata)


def write_calibration(path: Path, calibration: Mapping[str, Any]) -> None:
    """Put a calibration into a weights file in place of any it has; its tensors stay as they are.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a weights file of this library.
    """
    metadata = read_metadata(path) | {"calibration": dict(calibration)}
    tensors = read_tensors(path)
    with replacing(path) as partial:
        save_sealed(tensors, partial, {name: json.dumps(value) for name, value in metadata.items()})


def read_metadata(path: Path) -> dict[str, Any]:
    """Read config, provenance and, once fitted, calibration of a weights file.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a weights file of this library, is damaged, or of a later version.
    """
    return Checkpoint.read(path).metadata


def load(path: Path, device: torch.device | str = "cpu") -> Network:
    """Build the network that a weights file describes, in float32 and evaluation mode.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a weights file of this library, is damaged, or of a later version.
    """
    return Checkpoint.read(path).network(device)


def adopt(network: SavedNetwork, path: Path) -> list[str]:
    """Start a network from the weights in a file, which may be those of a smaller one of its family.

    Where a tensor has grown, old outputs ignore the new inputs, so that the network goes on computing what it did, as
    long as new inputs follow the old ones. New outputs stay as they were drawn: zeros on both sides learn nothing.

    Returns:
        The names of the tensors that the file has nothing for; they stay as they were.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not a weights file of this library, or of another family.
    """
    found, family = (describe(config)["family"] for config in (Checkpoint.read(path).config, network.config))
    if found != family:
        msg = f"{path} does not fit the network: expected weights of family {family}, got {found}. Choose others."
        raise ValueError(msg)
    old, state = read_tensors(path), network.state_dict()
    if fault := unusable(old):
        msg = f"{path} cannot be begun with {fault}. Choose other weights."
        raise ValueError(msg)
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


def load_pretrained(name: str = "default", device: torch.device | str = "cpu") -> Network:
    """The network of packaged weights, `default` or `open`.

    Raises:
        FileNotFoundError: If there are no such weights.
    """
    return load(locate(name), device)


def locate(weights: str | Path | None) -> Path:
    """The file of weights that are given by name (see `NAMED`), by path, or not at all: then the default ones."""
    return PACKAGED if weights is None else NAMED.get(str(weights), Path(weights))
