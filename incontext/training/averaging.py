"""One network from several: the mean of their weights.

Networks that went on from the same weights, by other examples or with other settings, lie in one valley of the loss.
The mean of their weights generalises better than each of them, and costs no more than one to run.

Source:
    Wortsman et al., Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
    inference time, ICML 2022.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from incontext.networks.checkpoint import Checkpoint, save
from incontext.networks.families import describe
from incontext.training.state import licence_of, origin_of, union
from megamed.files import claimed_file
from megamed.source_tree import source_commit

logger = logging.getLogger(__name__)


def average(paths: Sequence[Path], out: Path) -> None:
    """Write the mean of the weights of several networks, each of which counts as much as the others.

    Args:
        paths: Checkpoint files of the same configuration, which went on from the same weights. If their provenance
            tells of none in common, a warning says so: the mean of strangers computes nothing of use.
        out: Checkpoint file to write. It is not calibrated.

    Raises:
        ValueError: If there are fewer than two, one is no checkpoint, or their configurations differ.
        OSError: If a file cannot be read or written.
    """
    if len(paths) < 2:
        msg = f"weights are too few to average: expected two files or more, got {len(paths)}. Name further ones."
        raise ValueError(msg)
    checkpoints = [Checkpoint.read(path) for path in paths]
    first = checkpoints[0]
    for other in checkpoints[1:]:
        if other.config != first.config:
            msg = (
                f"{other.path} cannot be averaged with {first.path}: expected a network of the configuration "
                f"{describe(first.config)}, got {describe(other.config)}. Name weights that went on from the same ones."
            )
            raise ValueError(msg)
    origins = [origin_of(checkpoint) for checkpoint in checkpoints]
    if not set.intersection(*(set(_ancestors(origin)) for origin in origins)):
        told = ", ".join(str(path) for path in paths)
        logger.warning("%s went on from no weights in common, by what they tell: their mean may be useless.", told)
    with claimed_file(out, "average"), torch.inference_mode():
        networks = [checkpoint.build() for checkpoint in checkpoints]
        states = [network.state_dict() for network in networks]
        networks[0].load_state_dict({name: sum(state[name] for state in states) / len(states) for name in states[0]})
        save(out, networks[0], _provenance(origins))


def _ancestors(origin: Mapping[str, Any]) -> Iterator[str]:
    """Hashes of weights, and of all that they went on from."""
    yield origin["sha256"]
    provenance = origin["provenance"]
    for before in [provenance.get("init_from"), *provenance.get("average_of", ())]:
        if before:
            yield from _ancestors(before)


def _provenance(origins: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Whence the averaged weights come, and all data that one of them has learned from; open if all are."""
    licences = {licence_of(origin["provenance"]) for origin in origins}
    return {
        "commit": source_commit(),
        "torch": torch.__version__,
        "training": {"episodes": {"licence": "open" if licences == {"open"} else "any"}},
        "datasets": union(*(origin["provenance"].get("datasets", {}) for origin in origins)),
        "average_of": origins,
    }
