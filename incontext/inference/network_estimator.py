"""An estimator that computes with a network, which is loaded when it is first needed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from incontext.inference.estimator import Estimator
from incontext.inference.hub import fetch, is_repository
from incontext.inference.loaded_network import LoadedNetwork
from incontext.networks.devices import choose_device
from incontext.networks.quality import QualityModel


class NetworkEstimator(Estimator):
    """An estimator with a network, opened anew only if the parameters `weights` or `device` have changed."""

    weights: str | Path | nn.Module
    device: torch.device | str | None
    _loaded: tuple[Any, LoadedNetwork] | None = None

    @classmethod
    def from_pretrained(
        cls,
        weights: str | Path = "default",
        device: torch.device | str | None = None,
        *,
        revision: str | None = None,
        endpoint: str | None = None,
    ) -> Self:
        """Load weights at once: `default`, `open`, a checkpoint file, or `owner/name` on a hub.

        Nothing is downloaded unless a repository is named, and that only once; see `incontext.inference.hub`.

        Args:
            weights: Name, file or repository.
            device: The device to compute on; by default a GPU if there is one.
            revision: Branch, tag or commit of the repository; by default `main`.
            endpoint: Address of the hub; by default that in HF_ENDPOINT, else https://huggingface.co.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is not a weights file of this library.
            OSError: If the hub does not give it, or not as it should be; nothing is kept then.
        """
        if is_repository(weights, revision):
            weights = fetch(str(weights), "weights", revision, endpoint)
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
