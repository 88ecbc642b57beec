"""Predictor that tunes a copy of the packaged network on each support, as `incontext.Segmenter(tune="auto")` does.

A support of 16 images of 128×128 pixels takes about a minute of processor time, so that queries had better share one.
"""

from typing import Any, cast

import torch
from pydantic import ValidationError
from torch import Tensor

from benchmarks.plans.task_plans import stable_hash
from benchmarks.predictors.episode import Fitted, Support, fitted_once
from benchmarks.predictors.protocol import NamedPredictor
from benchmarks.predictors.weights import SupportOncePredictor, from_weights, load_network
from incontext.networks import checkpoint
from incontext.networks.support_once import SupportOnceNet
from incontext.networks.unknown import judged
from incontext.networks.weights_metadata import Calibration
from incontext.training.tuning import TuningConfig, TuningImages, tune
from megamed.unknown import UNKNOWN

NAME = "packaged-tuned"
SETTING = "@"
"""Mark between the name of the predictor and its settings, which stand as `name=value` between commas."""


def packaged_tuned(name: str, device: str) -> NamedPredictor:
    """Load the packaged network as a predictor that is tuned on each support, seeded by it.

    Args:
        name: `NAME` alone, or with settings of `TuningConfig`, such as `packaged-tuned@steps=20,learned=decoder/head`.
        device: Device to compute on.

    Raises:
        ValueError: If a setting is unknown or impossible.
    """
    config, source = config_of(name), from_weights(None, device)
    network = cast(SupportOnceNet, load_network(checkpoint.PACKAGED, device))
    temperature = Calibration.of(source.provenance).temperature

    def fit(support: Support) -> Fitted:
        found = tune(network, images_of(support), config, support.seed)
        tuned = found.delta.added_to(network) if found.delta else network
        reads = SupportOncePredictor(tuned, temperature)
        with torch.inference_mode():
            codes = reads.encode_images(support.images, support.labels).select(torch.arange(len(support.images))[None])

        def predict(query_image: Tensor) -> Tensor:
            with torch.inference_mode():
                return reads.segment(query_image, codes)

        return predict

    fingerprint = f"{source.fingerprint}-{stable_hash(config.model_dump_json()):016x}"
    return NamedPredictor(name, fitted_once(fit), fingerprint, source.provenance)


def images_of(support: Support) -> TuningImages:
    """The images of a support as those of a task, each a group of its own."""
    labels = torch.where(judged(support.labels), support.labels, UNKNOWN).to(torch.uint8)
    count = len(labels)
    return TuningImages(support.images, labels, torch.ones(count, 1, dtype=torch.bool), torch.arange(count))


def config_of(name: str) -> TuningConfig:
    """Read the settings in the name of a predictor.

    Raises:
        ValueError: If one is unknown or impossible.
    """
    _, _, text = name.partition(SETTING)
    given: dict[str, Any] = dict(each.partition("=")[::2] for each in text.split(",") if each)
    if "learned" in given:
        given["learned"] = given["learned"].split("/")
    try:
        return TuningConfig.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        msg = (
            f"{name} is no tuning: expected settings among {', '.join(TuningConfig.model_fields)}, got "
            f"{'.'.join(map(str, first['loc']))}: {first['msg']}. Correct what follows {SETTING}."
        )
        raise ValueError(msg) from error
