"""Predictors to score: named ones, networks from weights files, and a user's own."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import cast

from benchmarks.plans.task_plans import stable_hash
from benchmarks.predictors import atlas, forest, unet
from benchmarks.predictors.altered import KINDS, MARK, Alteration, altered
from benchmarks.predictors.baselines import mean_mask, nearest_copy
from benchmarks.predictors.own import from_module
from benchmarks.predictors.protocol import NamedPredictor, Predictor, TaskExamples, TaskPredictor, specialise
from benchmarks.predictors.prototypes import Prototypes, class_prototypes, grid_prototypes, prototype_matching
from benchmarks.predictors.released import FROM, RELEASED, from_released
from benchmarks.predictors.tuned import NAME as TUNED
from benchmarks.predictors.tuned import SETTING, packaged_tuned
from benchmarks.predictors.weights import from_weights, load_network
from incontext.networks import checkpoint
from incontext.networks.support_once import SupportOnceNet

__all__ = [
    "PATTERNS",
    "NamedPredictor",
    "Predictor",
    "TaskExamples",
    "TaskPredictor",
    "expand",
    "known_predictors",
    "load_network",
    "load_predictor",
    "load_predictors",
    "mean_mask",
    "nearest_copy",
    "specialise",
]

AS_SHOWN = "packaged@copies="
"""Name of the packaged network, but for the largest number of examples of which it is shown changed copies."""
ALL = "all"
"""Name that stands for every named predictor."""
CACHE = Path("runs") / "unet-full"
"""Folder in which networks trained per task are kept for further runs."""
PATTERNS = {
    "PATH": "the network in a weights file of ours or of UniverSeg v1 (a state dict, as in universeg.pt)",
    "MODULE:OBJECT": "a predictor of your own, in a Python module",
    f"{'|'.join(RELEASED)}{FROM}PATH": "a network in the weights file that its authors released",
    f"{TUNED}{SETTING}NAME=VALUE,...": "the packaged network, tuned on each support with other settings",
    f"{AS_SHOWN}N": "the packaged network, shown changed copies of N examples or fewer; 0: of none",
    f"NAME{MARK}KIND-STRENGTH": f"any of these, shown altered images or labels; kinds are {', '.join(KINDS)}",
}
"""Patterns of the predictors that have no name of their own, with their descriptions."""

Load = Callable[[str, str], NamedPredictor]
"""Function that makes a predictor from its name and the name of a torch device."""


@dataclass(frozen=True)
class Known:
    """Named predictor: its description, and the function that makes it."""

    about: str
    load: Load


def known_predictors() -> dict[str, Known]:
    """Named predictors: the packaged networks, and the baselines that they are compared with."""
    return {
        "packaged": Known(f"the default network, {checkpoint.PACKAGED.stem}", partial(_packaged, None)),
        **{name: Known("a packaged network", partial(_packaged, path)) for name, path in checkpoint.NAMED.items()},
        TUNED: Known("the default network, tuned on each support (a minute for 16 images)", packaged_tuned),
        "mean-mask": Known("the mean of the support labels", _settled(mean_mask)),
        "nearest-copy": Known("the label of the nearest support image", _settled(nearest_copy)),
        "atlas": Known(
            "the label of the nearest support image, registered to the query", _settled(atlas.atlas, atlas.LEVELS)
        ),
        "forest": Known("a random forest of filtered pixels, trained on the support (extra `forest`)", _forest),
        "panet": Known("matching with one prototype per class, on the packaged encoder", _matching(class_prototypes)),
        "alpnet": Known("matching with local prototypes, on the packaged encoder", _matching(grid_prototypes)),
        "unet-support": Known(
            f"a U-Net trained on the support, {unet.FEW_SHOT.steps} steps",
            _settled(unet.unet_support(), unet.FEW_SHOT),
        ),
        "unet-full": Known(
            f"a U-Net trained on all other subjects of a task, {unet.FULL.steps} steps, kept in {CACHE}", _full
        ),
    }


def expand(names: Iterable[str]) -> list[str]:
    """Replace `all` by the names of `known_predictors`, and drop repeated names and second names of one network.

    The tuned network is left out: it takes a minute for each support.
    """
    every = [name for name in known_predictors() if name not in (checkpoint.PACKAGED.stem, TUNED)]
    return list(dict.fromkeys(chain.from_iterable(every if name == ALL else [name] for name in names)))


def load_predictor(name: str, device: str = "cpu") -> NamedPredictor:
    """Load a predictor by its name, by the path of a weights file (ours or UniverSeg's), or as `module:object`.

    A name followed by an alteration, as in `packaged+noise-0.1`, makes a predictor that is shown altered images or
    labels: see `altered`.

    Raises:
        ValueError: If the name is none of these, the file holds no network, or the object is no predictor.
    """
    if name in (known := known_predictors()):
        return known[name].load(name, device)
    if Path(name).is_file():
        return from_weights(Path(name), device)
    if released := from_released(name, device):
        return released
    if name.startswith(f"{TUNED}{SETTING}"):
        return packaged_tuned(name, device)
    if name.startswith(AS_SHOWN) and (few := name.removeprefix(AS_SHOWN)).isdecimal():
        return replace(from_weights(None, device, int(few)), name=name)
    if MARK in name:
        base, _, text = name.rpartition(MARK)
        return altered(load_predictor(base, device), Alteration.parse(text))
    if ":" in name:
        return from_module(name, device)
    msg = f"Unknown predictor: expected {', '.join(known)}, a weights file or module:object, got {name!r}."
    raise ValueError(msg)


def load_predictors(names: Sequence[str], device: str = "cpu") -> list[NamedPredictor]:
    """Load several predictors that differ in the names they have in results.

    Raises:
        ValueError: If two of them would have the same name.
    """
    loaded = [load_predictor(name, device) for name in names]
    labels = [predictor.name for predictor in loaded]
    if len(set(labels)) < len(labels):
        msg = f"Predictors share a name: expected distinct names, got {', '.join(labels)}. Rename a file."
        raise ValueError(msg)
    return loaded


def _packaged(path: Path | None, name: str, device: str) -> NamedPredictor:
    return from_weights(path, device)


def _settled(predict: Predictor | TaskPredictor, *settings: object) -> Load:
    """Make the loader of a predictor without weights; its name and settings are its fingerprint."""
    suffix = f"-{stable_hash(*settings):016x}" if settings else ""
    return lambda name, device: NamedPredictor(name, predict, name + suffix, provenance={})


def _forest(name: str, device: str) -> NamedPredictor:
    forest.new_forest(seed=0)  # refused before anything is scored
    settings = forest.SCALES_PX, forest.TREES, forest.PIXELS, version("scikit-learn")
    return _settled(forest.forest, *settings)(name, device)


def _matching(prototypes: Prototypes) -> Load:
    """Make the loader of a prototype predictor, which inherits the training data of the packaged network."""

    def load(name: str, device: str) -> NamedPredictor:
        source = from_weights(None, device)
        network = cast(SupportOnceNet, load_network(checkpoint.PACKAGED, device))
        return NamedPredictor(name, prototype_matching(network, prototypes), source.fingerprint, source.provenance)

    return load


def _full(name: str, device: str) -> NamedPredictor:
    return _settled(unet.FullUNet(CACHE, device=device), unet.FULL)(name, device)
