"""An estimator that computes with a network, which is loaded when it is first needed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from incontext.inference.estimator import Estimator
from incontext.inference.loaded_network import LoadedNetwork
from incontext.networks.devices import choose_device
from incontext.networks.quality import QualityModel


class NetworkEstimator(Estimator):
    """An estimator with a network, opened anew only if the parameters `weights` or `device` have changed."""

    weights: str | Path | nn.Module
    device: torch.device | str | None
    _loaded: tuple[Any, LoadedNetwork] | None = None

    @classmethod
    def from_pretrained(cls, weights: str | Path = "default", device: torch.device | str | None = None) -> Self:
        """Load weights at once: `default`, `open` or a checkpoint file; nothing is downloaded.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is not a weights file of this library.
        """
        loaded = cls().set_params(weights=weights, device=device)
        loaded._load()
        return loaded

    @property
    def network(self) -> nn.Module:
        """The network, on its device."""
        return self._load().shared()

    @property
    def state(self) -> Mapping[str, Tensor]:
        """The network's parameters and buffers by name, for reading alone."""
        return self._load().module.state_dict()

    @property
    def metadata(self) -> dict[str, Any]:
        """Configuration, provenance and calibration of weights that come from a file."""
        return self._load().metadata

    @property
    def temperature(self) -> float:
        """Number that logits are divided by, so that probabilities are calibrated; masks do not depend on it."""
        return self._load().temperature

    @property
    def quality(self) -> QualityModel | None:
        """Model that predicts the Dice of masks; None if the calibration of the weights has none."""
        return self._load().quality

    @property
    def _torch_device(self) -> torch.device:
        return choose_device(self.device)

    def _load(self) -> LoadedNetwork:
        """Return the network, opened anew only if weights or device have changed."""
        key = self.weights, self.device
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = key, LoadedNetwork.open(self.weights, self._torch_device)
        return self._loaded[1]
