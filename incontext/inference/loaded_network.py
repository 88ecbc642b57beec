"""The network that a `Segmenter` computes with: where it came from, whether it has changed, and its mode."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

import torch
from torch import Tensor, nn

from incontext.networks.checkpoint import Checkpoint, locate
from incontext.networks.quality import QualityModel
from incontext.networks.weights_delta import WeightsDelta
from incontext.networks.weights_metadata import Calibration


class LoadedNetwork:
    """A network on its device, which others may hold too, and train on between predictions.

    Attributes:
        module: The network, for computing and reading alone; `shared` gives it out of hand.
        sha256: SHA-256 of the weights file; None for a module that came from none, and hence from somebody else.
        metadata: Configuration, provenance and calibration in the weights file; empty without one.
    """

    def __init__(
        self, module: nn.Module, sha256: str | None = None, metadata: Mapping[str, Any] = MappingProxyType({})
    ) -> None:
        self.module = module
        self.sha256 = sha256
        self.metadata = dict(metadata)
        self._version = 0
        self._seen = _Content(module) if sha256 is None else None

    @classmethod
    def open(cls, weights: str | Path | nn.Module, device: torch.device) -> Self:
        """Read weights that are given by name or path; a module is taken as it is. Either is moved to the device.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is not a weights file of this library.
        """
        if isinstance(weights, nn.Module):
            return cls(weights.to(device))
        file = Checkpoint.read(locate(weights))
        return cls(file.network(device), file.sha256, file.metadata)

    @property
    def temperature(self) -> float:
        """Number that logits are divided by; 1 for weights that were not calibrated."""
        return Calibration.of(self.metadata).temperature

    @property
    def quality(self) -> QualityModel | None:
        """Model that predicts the Dice of masks; None for weights that were not calibrated for it."""
        return Calibration.of(self.metadata).quality

    def moved(self, delta: WeightsDelta) -> Self:
        """A copy of which the parameters have been moved, and which nobody else holds.

        Raises:
            ValueError: If the parameters are of other names or shapes.
        """
        copied = type(self)(delta.added_to(self.module).eval(), self.sha256, self.metadata)
        copied._seen = None
        return copied

    def shared(self) -> nn.Module:
        """The network, for somebody else to hold: from now on it may change at any time."""
        if self._seen is None:
            self._seen = _Content(self.module)
        return self.module

    @property
    def version(self) -> int:
        """A number that has grown if the network computes otherwise than when the number was last read.

        What was encoded under one version must not be read under another. A network that was never shared cannot have
        changed, and costs no comparison.
        """
        if self._seen is not None and not self._seen.is_of(self.module):
            self._seen = _Content(self.module)
            self._version += 1
        return self._version

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Put the network into evaluation mode, and each of its modules back into its own mode afterwards."""
        training = [module for module in self.module.modules() if module.training]
        if training:  # else there is nothing to do, and setting it anyway takes as long as a convolution
            self.module.eval()
        try:
            yield
        finally:
            for module in training:
                module.training = True


class _Content:
    """A copy of all that a module computes with: its structure, and the values of its parameters and buffers.

    Values are compared, not counters of changes: those do not see what is written through `Tensor.data`, as averages of
    weights often are. A comparison takes a few milliseconds for ten megabytes of weights, hashing them several times
    that.
    """

    def __init__(self, module: nn.Module) -> None:
        self._structure = repr(module)
        self._tensors = {name: tensor.detach().clone() for name, tensor in _tensors(module)}

    def is_of(self, module: nn.Module) -> bool:
        tensors = dict(_tensors(module))
        return (
            self._structure == repr(module)
            and self._tensors.keys() == tensors.keys()
            and all(_equal(seen, tensors[name]) for name, seen in self._tensors.items())
        )


def _tensors(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()


def _equal(one: Tensor, other: Tensor) -> bool:
    return (one.device, one.dtype, one.shape) == (other.device, other.dtype, other.shape) and torch.equal(one, other)
