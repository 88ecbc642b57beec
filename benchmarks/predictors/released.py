"""Predictors of weights that others released: MultiverSeg's, Tyche's and SegGPT's, from a file that the user has.

None of these weights were at hand: the layouts are those that the public code of each states.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmarks.plans.task_plans import stable_hash
from benchmarks.predictors.altered import MARK
from benchmarks.predictors.episode import Support, one_by_one
from benchmarks.predictors.protocol import NamedPredictor, Predictor
from benchmarks.predictors.released_networks import MultiverSegNet, TycheNet
from benchmarks.predictors.seggpt import EMBEDDING, WEIGHTS, seggpt
from incontext.networks.layers import check_sizes
from incontext.networks.tensors import misfit, unusable
from incontext.networks.universeg import read_state, renamed
from megamed.files import sha256_of

CANDIDATES = 8
"""Number of Tyche's candidates, whose mean probability is the prediction."""
NOISE_SEED = 0
"""Seed of the noise of Tyche's candidates, the same for every query: two calls agree."""
SHORTEST = 1e-6
"""Distance from 0 and 1 that a mean probability keeps, so that its logit is finite."""
FROM = "@"
"""Mark between the name of a network and the file of its weights, as in `multiverseg@FILE`."""

RELEASED_PIECES = {
    "encoder.": "enc_blocks.",
    "decoder.": "dec_blocks.",
    ".cross.": ".cross.cross_conv.",
    ".candidate.0.": ".meanconv.vmapped.conv.",
    ".query.0.": ".target.vmapped.conv.",
    ".query.2.": ".target.vmapped.norml.",
    ".support.0.": ".support.vmapped.conv.",
    ".support.2.": ".support.vmapped.norml.",
    "head.": "out_conv.conv.",
}
"""Pieces of our parameter names and what stands in their place in released ones."""


def multiverseg(path: Path, device: str = "cpu") -> Predictor:
    """Predictor of MultiverSeg's weights, such as `MultiverSeg_v1_nf256_res128.pt`, asked without prompts.

    Raises:
        ValueError: If the file holds other weights.
    """
    network = load_released(path, MultiverSegNet, "MultiverSeg").to(device)
    return one_by_one(lambda query, support: network(query, support.images, support.labels))


def tyche(path: Path, device: str = "cpu") -> Predictor:
    """Predictor of Tyche's weights, such as `tyche_v1_model_weights_CVPR.pt`: the mean probability of its candidates.

    Raises:
        ValueError: If the file holds other weights.
    """
    network = load_released(path, TycheNet, "Tyche").to(device)

    def predict(query: Float[Tensor, "1 1 H W"], support: Support) -> Float[Tensor, "1 1 H W"]:
        generator = torch.Generator().manual_seed(NOISE_SEED)
        noise = torch.randn((CANDIDATES, *query.shape[1:]), generator=generator).to(query)
        logits = network(query, noise, support.images, support.labels)
        return torch.logit(logits.sigmoid().mean(0, keepdim=True), eps=SHORTEST)

    return one_by_one(predict)


@dataclass(frozen=True)
class Released:
    """Network that others released: what makes a predictor of its weights, and the settings that are ours."""

    load: Callable[[Path, str], Predictor]
    settings: tuple[object, ...] = ()


RELEASED = {
    "multiverseg": Released(multiverseg),
    "tyche": Released(tyche, (CANDIDATES, NOISE_SEED)),
    "seggpt": Released(seggpt, (EMBEDDING,)),
}


def from_released(name: str, device: str = "cpu") -> NamedPredictor | None:
    """Load a predictor by its name with the file of its weights, as `multiverseg@FILE`; None for other names.

    Raises:
        FileNotFoundError: If there is no such file.
        ModuleNotFoundError: If the network needs a library that is missing.
        ValueError: If the file holds other weights.
    """
    kind, mark, file = name.partition(FROM)
    path = Path(file)
    if not mark or kind not in RELEASED or (MARK in file and not path.exists()):
        return None
    if not path.exists():
        msg = f"Weights of {kind} are missing: expected a file, got {file!r}. Check the path."
        raise FileNotFoundError(msg)
    known = RELEASED[kind]
    predict = known.load(path, device)
    fingerprint = sha256_of(path / WEIGHTS if path.is_dir() else path)
    suffix = f"-{stable_hash(*known.settings):016x}" if known.settings else ""
    return NamedPredictor(f"{kind}{FROM}{path.stem}", predict, fingerprint + suffix, provenance={})


def load_released(path: Path, network_class: Callable[[tuple[int, ...]], nn.Module], what: str) -> nn.Module:
    """Build a network of the shape that a file of released weights has, in evaluation mode.

    Args:
        path: File that holds the state dict, alone or as `model`.
        network_class: Class of the network, made from the channels of its encoder's blocks.
        what: Name of the network, for messages.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is unreadable, or its tensors are not those of such a network.
    """
    released = read_state(path)
    channels = tuple(_blocks(released))
    if len(channels) < 2:
        msg = (
            f"{path} holds no weights of {what}: expected at least two 'enc_blocks', got {len(channels)}. "
            "Pass the file as its authors released it."
        )
        raise ValueError(msg)
    check_sizes(channels=channels)
    with torch.device("meta"):  # takes no memory before the weights are known to fit
        network = network_class(channels)
    names = renamed(network.state_dict(), RELEASED_PIECES)
    if fault := misfit(names, released) or unusable(released):
        msg = f"{path} does not fit {what} {fault}. Pass the file as its authors released it."
        raise ValueError(msg)
    ours = zip(network.state_dict(), names, strict=True)
    network.load_state_dict({own: released[name].to(torch.float32, copy=True) for own, name in ours}, assign=True)
    return network.eval()


def _blocks(released: Mapping[str, Tensor]) -> list[int]:
    """Channels of each encoder block."""
    channels: list[int] = []
    while (bias := released.get(f"enc_blocks.{len(channels)}.cross.cross_conv.bias")) is not None:
        channels.append(bias.numel())
    return channels
