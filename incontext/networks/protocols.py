"""Protocols of networks and of the codes that they make of labelled images, shared by all rooms.

A *code* holds the features that a network has extracted from support sets. It is opaque: only the network that
made it takes it back. Hence `Any` stands for it here.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, Self, runtime_checkable

from torch import Tensor, nn


@runtime_checkable
class SelectableCodes(Protocol):
    """Codes of the single images of a set, from which support sets can be formed; see `support_code.ImageCodes`."""

    def select(self, indices: Tensor, /) -> Self:
        """Form support sets from the images of one set, of which each row of indices (sets, size) names some."""


@runtime_checkable
class Codes(SelectableCodes, Protocol):
    """Codes of single labelled images as a backend makes them: joined, selected from, and pooled to support sets."""

    @property
    def labels(self) -> Tensor:
        """The labels of the images (B, S, 1, H, W)."""

    @classmethod
    def joined(cls, parts: Sequence[Self], /) -> Self:
        """The images of several sets as one set."""

    def pooled(self) -> Any:
        """The code of the support sets."""


@runtime_checkable
class QueryReader(Protocol):
    """A network, or its exported graph, that segments queries given the code of their support."""

    def segment(self, query_images: Tensor, code: Any, /) -> Tensor:
        """Logits of B·Q queries (B·Q, 1, H, W), given the code of B support sets; the queries of a set are adjacent."""


@runtime_checkable
class Backend(QueryReader, Protocol):
    """Network or graphs that a `Segmenter` computes with, one image at a time; see `incontext.inference.backends`."""

    def encode_images(self, images: Tensor, labels: Tensor, /) -> Codes:
        """Encode labelled images (S, 1, H, W), each by itself."""


@runtime_checkable
class SupportEncoder(QueryReader, Protocol):
    """A network that encodes a support set once for all queries that follow."""

    def encode_support(self, support_images: Tensor, support_labels: Tensor, /) -> Any:
        """The code of support sets (B, S, 1, H, W)."""


@runtime_checkable
class SupportNetwork(SupportEncoder, Protocol):
    """A support encoder with parameters, which lie on one device."""

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """Iterate over the parameters, as `torch.nn.Module` does."""


@runtime_checkable
class LeaveOneOutNetwork(SupportNetwork, Protocol):
    """A network that is trained on sets of images, each of which has the others as its support."""

    def leave_one_out(self, images: Tensor, labels: Tensor, queries: int | None = None, /) -> Tensor:
        """Logits (B, queries, 1, H, W) of the first images of sets (B, n, 1, H, W), by default of all."""


@runtime_checkable
class FeatureEncoder(Protocol):
    """A network that computes features of single images, such as `SupportOnceNet`."""

    def features(self, images: Tensor, /) -> list[Tensor]:
        """Features (N, C, h, w) of every stage, fine to coarse."""


@runtime_checkable
class FeatureReader(FeatureEncoder, Protocol):
    """A network that segments queries by their features, so that these serve several classes and purposes."""

    def decode(self, features: list[Tensor], code: Any, /) -> Tensor:
        """Logits of the queries with these features, as `segment` gives them for the images."""
