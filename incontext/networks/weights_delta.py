"""The difference between a network and the one that it was tuned from, in eight bits for each weight."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self, TypeVar

import torch
from jaxtyping import Float32, Int8
from torch import Tensor, nn

MOST_COUNT = 127
"""Largest number of steps by which a weight differs."""

AnyNetwork = TypeVar("AnyNetwork", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class WeightsDelta:
    """Differences of the parameters of a network, counted in steps whose length each output channel has for itself.

    A step is a 127th of the largest difference of its channel, so that rounding is far below what tuning changes.

    Attributes:
        counts: Number of steps that each weight has grown by, by the name of its parameter.
        lengths: Length of a step for each row of a parameter, which are its output channels; by the same names.
    """

    counts: Mapping[str, Int8[Tensor, "..."]]
    lengths: Mapping[str, Float32[Tensor, " rows"]]

    @classmethod
    @torch.no_grad()
    def of(cls, differences: Mapping[str, Tensor]) -> Self:
        """Round differences of parameters, which are given by name; those that are all zero are left out."""
        counts, lengths = {}, {}
        for name, difference in differences.items():
            if not difference.any():
                continue
            rows = _rows(difference.detach().cpu().float())
            length = rows.abs().amax(1) / MOST_COUNT
            steps = rows / length.clamp(min=torch.finfo(length.dtype).tiny)[:, None]
            counts[name] = steps.round().to(torch.int8).view(difference.shape)
            lengths[name] = length
        return cls(counts, lengths)

    @torch.no_grad()
    def added_to(self, network: AnyNetwork) -> AnyNetwork:
        """A copy of a network with the differences added to its parameters.

        Raises:
            ValueError: If the network has no parameters of these names and shapes.
        """
        tuned = copy.deepcopy(network)
        parameters = dict(tuned.named_parameters())
        for name, count in self.counts.items():
            if name not in parameters or parameters[name].shape != count.shape:
                got = tuple(parameters[name].shape) if name in parameters else "no such parameter"
                msg = (
                    f"differences do not fit the network at {name}: expected {tuple(count.shape)}, got {got}. "
                    "Pass the weights that were tuned."
                )
                raise ValueError(msg)
            difference = (_rows(count.float()) * self.lengths[name][:, None]).view(count.shape)
            parameters[name].add_(difference.to(parameters[name]))
        return tuned

    def tensors(self) -> dict[str, Tensor]:
        """The tensors of a file that holds the differences."""
        counts = {f"counts.{name}": count for name, count in self.counts.items()}
        return counts | {f"lengths.{name}": length for name, length in self.lengths.items()}

    @classmethod
    def read(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Take differences from the tensors of a file, which need not be trusted.

        Raises:
            ValueError: If the tensors are not those that `tensors` gives.
        """
        counts, lengths = (
            {name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)}
            for prefix in ("counts.", "lengths.")
        )
        found = len(counts) + len(lengths)
        fits = counts.keys() == lengths.keys() and found == len(tensors)
        if not fits or not all(_are_differences(count, lengths[name]) for name, count in counts.items()):
            msg = (
                f"differences are damaged: expected bytes and a finite length for each row of them, got {found} "
                f"of {len(tensors)} tensors that do not fit each other. Tune anew."
            )
            raise ValueError(msg)
        return cls(counts, lengths)


@dataclass(frozen=True)
class Tuned:
    """Outcome of tuning a network on the labelled images of a task.

    Attributes:
        delta: Differences that the parameters are moved by; None if the network stays as it is.
        reason: Decision with its reason, in words for a person.
    """

    delta: WeightsDelta | None = field(repr=False)
    reason: str

    def __str__(self) -> str:
        return f"The network was {self.reason}."


def _rows(values: Tensor) -> Tensor:
    """The values of a parameter by output channel (rows, values); a number alone is a row."""
    return values.reshape(values.shape[0] if values.ndim else 1, math.prod(values.shape[1:]))


def _are_differences(count: Tensor, length: Tensor) -> bool:
    rows = count.shape[0] if count.ndim else 1
    is_right = count.dtype == torch.int8 and length.dtype == torch.float32 and length.shape == (rows,)
    return is_right and bool(length.isfinite().all())
