"""Official UniverSeg weights: the same parameters under their published names, read and written exactly."""

import io
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor, nn

from incontext.networks import checkpoint
from incontext.networks.cross_block import CrossBlockConfig, CrossBlockNet
from incontext.networks.sealed import Damaged
from incontext.networks.tensors import misfit, unusable
from incontext.networks.unpickling import load_pickled
from megamed.files import claimed_file, replace_file
from megamed.readers.faults import check_no_stream

OFFICIAL_PIECES = {
    "encoder.": "enc_blocks.",
    "decoder.": "dec_blocks.",
    ".cross.": ".cross.cross_conv.",
    ".query.": ".target.vmapped.conv.",
    ".support.": ".support.vmapped.conv.",
    "head.": "out_conv.conv.",
}
"""Pieces of our parameter names and what stands in their place in the official ones."""


def load_universeg(path: Path | str, device: torch.device | str = "cpu") -> CrossBlockNet:
    """Build the network whose official weights a `.pt` or `.safetensors` file holds, in evaluation mode.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is unreadable, or holds anything but the weights of one UniverSeg network.
    """
    official = read_state(Path(path))
    with torch.device("meta"):  # takes no memory before the weights are known to fit
        network = CrossBlockNet(_channel_plan(official))
    names = to_official(network.state_dict())
    if fault := misfit(names, official) or unusable(official):
        msg = f"weights do not fit UniverSeg {fault}. Pass an official state dict."
        raise ValueError(msg)
    ours = zip(network.state_dict(), names, strict=True)
    network.load_state_dict({own: official[name].to(torch.float32, copy=True) for own, name in ours}, assign=True)
    return network.to(device).eval()


def save_universeg(network: nn.Module, path: Path | str) -> None:
    """Write the weights of a cross-block network under their official names, as `.pt` or `.safetensors`.

    Raises:
        ValueError: If the network is of another family, or the suffix is neither.
    """
    if not isinstance(network, CrossBlockNet):
        msg = (
            f"network has no official form: expected a CrossBlockNet, got {type(network).__name__}. "
            "Save it with incontext.networks.checkpoint.save."
        )
        raise ValueError(msg)
    official = {name: value.cpu().contiguous() for name, value in to_official(network.state_dict()).items()}
    if _is_safetensors(Path(path)):
        content = save(official)
    else:
        torch.save(official, buffer := io.BytesIO())
        content = buffer.getvalue()
    replace_file(Path(path), content)


def import_universeg(source: Path, destination: Path) -> None:
    """Convert an official UniverSeg checkpoint to our format, without loss.

    Raises:
        ValueError: If it is no official UniverSeg checkpoint, or the destination is somebody's own file.
        OSError: If a file cannot be read or written.
    """
    with claimed_file(destination, "convert"):
        checkpoint.save(destination, load_universeg(source), {"converted_from": source.name}, torch.float32)


def export_universeg(source: Path, destination: Path) -> None:
    """Convert a checkpoint of a cross-block network to the official UniverSeg format, without loss.

    Raises:
        ValueError: If it is no checkpoint of ours, or of another network.
        OSError: If a file cannot be read or written.
    """
    with claimed_file(destination, "convert"):
        save_universeg(checkpoint.load(source), destination)


def to_official(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename the parameters of a `CrossBlockNet`; their order stays."""
    return renamed(state, OFFICIAL_PIECES)


def renamed(state: Mapping[str, Tensor], pieces: Mapping[str, str]) -> dict[str, Tensor]:
    """Replace pieces of the names of parameters; their order stays."""
    found = re.compile("|".join(map(re.escape, pieces)))
    return {found.sub(lambda piece: pieces[piece[0]], name): value for name, value in state.items()}


def read_state(path: Path) -> dict[str, Tensor]:
    """Read the state dict in a `.pt` or `.safetensors` file, whether it stands alone or as `model` among other things.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is unreadable, or holds anything but tensors and plain values.
    """
    check_no_stream(path)
    try:
        state = load_file(path) if _is_safetensors(path) else load_pickled(path.read_bytes())
    except (SafetensorError, Damaged) as error:
        msg = f"{path} is not readable: expected tensors and nothing else, got: {error}. Download it anew."
        raise ValueError(msg) from error
    if isinstance(state, dict) and isinstance(state.get("model"), dict):
        state = state["model"]
    if not isinstance(state, dict) or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()):
        msg = (
            f"{path} is no state dict: expected names and tensors, got other objects. Save network.state_dict() alone."
        )
        raise ValueError(msg)
    return state


def _is_safetensors(path: Path) -> bool:
    if path.suffix not in (".pt", ".pth", ".safetensors"):
        msg = f"file format is unknown: expected .pt, .pth or .safetensors, got {path.name}. Rename the file."
        raise ValueError(msg)
    return path.suffix == ".safetensors"


def _channel_plan(official: Mapping[str, Tensor]) -> CrossBlockConfig:
    encoder, decoder = _block_channels(official, "enc_blocks"), _block_channels(official, "dec_blocks")
    if len(encoder) < 2 or len(decoder) != len(encoder) - 1:
        msg = (
            "weights are not those of a UniverSeg network: expected at least two 'enc_blocks' and one of 'dec_blocks' "
            f"fewer, got {len(encoder)} and {len(decoder)}. Pass an official UniverSeg state dict."
        )
        raise ValueError(msg)
    return CrossBlockConfig(encoder, decoder)


def _block_channels(official: Mapping[str, Tensor], part: str) -> tuple[int, ...]:
    channels: list[int] = []
    while (bias := official.get(f"{part}.{len(channels)}.target.vmapped.conv.bias")) is not None:
        channels.append(bias.numel())
    return tuple(channels)
