"""The public face: labelled examples and images in, masks on the images' own grids out."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float32, UInt8
from torch import Tensor, nn

from incontext.checkpoint import load, locate, read_metadata
from incontext.preprocess import (
    Picture,
    label_to_square,
    read_image,
    read_label,
    to_square,
    to_user_grid,
)

Pictures = Picture | Sequence[Picture]
"""One image, or a list of images of any sizes."""


@runtime_checkable
class SupportEncoder(Protocol):
    """A network that reads its support once, whatever the number of queries."""

    def encode_support(self, support_images: Tensor, support_labels: Tensor) -> Any:
        """Encode support sets (B, S, 1, H, W)."""

    def segment(self, query_images: Tensor, code: Any) -> Tensor:
        """Logits of queries (B·Q, 1, H, W), given the code of B support sets."""


@dataclass(frozen=True)
class Segmentation:
    """What was found in each image.

    Attributes:
        masks: One per image, on its own grid, holding 0 and the support's label values.
        probabilities: One per image: (H, W) for one class, (classes, H, W) for several. What is missing to 1
            is the probability of the background.
        classes: The support's label values, ascending: the order of the classes in `probabilities`.
    """

    masks: list[UInt8[np.ndarray, "_ _"]]
    probabilities: list[Float32[np.ndarray, "*classes _ _"]]
    classes: tuple[int, ...]


@dataclass(frozen=True)
class PreparedSupport:
    """A support set read by the network: one query → logits function per class."""

    classes: tuple[int, ...]
    readers: tuple[Callable[[Tensor], Tensor], ...]


class Segmenter:
    """Segments images like the labelled examples that it is shown.

    One pass per class, in which the class is foreground and all else background. The passes are resolved by
    a softmax over the class logits and a background logit of 0, which for one class is the sigmoid.

    Args:
        network: A module called as `network(query_images, support_images, support_labels) -> logits`. If it
            is a `SupportEncoder` too, the support is encoded once for all images.
        size_px: Side of the square on which the network works.
        device: Where to compute; by default a GPU if there is one.
        batch_size: Images that the network sees at a time.
        temperature: Divides the logits, so that probabilities mean what they say; it changes no mask.

    Attributes:
        metadata: Configuration, provenance and calibration of the weights, where they come from a checkpoint.
    """

    def __init__(
        self,
        network: nn.Module,
        size_px: int = 128,
        device: torch.device | str | None = None,
        batch_size: int = 8,
        temperature: float = 1.0,
    ) -> None:
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self.network = network.to(self.device).eval()
        self.size_px = size_px
        self.batch_size = batch_size
        self.temperature = temperature
        self.metadata: dict[str, Any] = {}

    @classmethod
    def from_pretrained(cls, weights: str | Path = "default", device: torch.device | str | None = None) -> Self:
        """The packaged network, `default` or `open`, or the one in a checkpoint file; nothing is downloaded.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is not a weights file of this library.
        """
        path = locate(weights)
        metadata = read_metadata(path)
        temperature = metadata.get("calibration", {}).get("temperature", 1.0)
        segmenter = cls(load(path), device=device, temperature=temperature)
        segmenter.metadata = metadata
        return segmenter

    def predict(self, images: Pictures, support_images: Pictures, support_labels: Pictures) -> Segmentation:
        """Segment images as the support shows.

        Args:
            images: One image or a list: arrays or tensors (H, W) or (H, W, 3 or 4), PIL images or paths.
            support_images: The labelled examples, likewise.
            support_labels: One label map (H, W) per support image, on its grid; 0 is background. An image may
                lack a class.

        Raises:
            ValueError: If an argument does not fit; the message names it and the fix.
            OSError: If a file cannot be read.
        """
        return self.segment(images, self.prepare(support_images, support_labels))

    @torch.inference_mode()
    def prepare(self, support_images: Pictures, support_labels: Pictures) -> PreparedSupport:
        """Read the support once, to `segment` any number of images with it later.

        Args:
            support_images: The labelled examples.
            support_labels: One label map per support image.

        Raises:
            ValueError: If an argument does not fit; the message names it and the fix.
            OSError: If a file cannot be read.
        """
        images, labels = _read_support(_as_list(support_images), _as_list(support_labels))
        classes = tuple(sorted({int(value) for label in labels for value in np.unique(label)} - {0}))
        if not classes:
            message = (
                "support_labels have no foreground: expected a non-zero value in at least one, got only 0. "
                "Pass an example that shows what to segment."
            )
            raise ValueError(message)
        planes = self._to_tensor([to_square(image, self.size_px) for image in images])
        readers = []
        for value in classes:
            squares = [label_to_square(label == value, self.size_px) for label in labels]
            readers.append(_reader(self.network, planes[None], self._to_tensor(squares)[None]))
        return PreparedSupport(classes, tuple(readers))

    @torch.inference_mode()
    def segment(self, images: Pictures, support: PreparedSupport) -> Segmentation:
        """Segment images with a support prepared before; the arguments and errors of `predict`."""
        pictures = _as_list(images)
        result = Segmentation([], [], support.classes)
        for start in range(0, len(pictures), self.batch_size):
            stop = min(start + self.batch_size, len(pictures))
            planes = [read_image(pictures[i], f"images[{i}]") for i in range(start, stop)]
            queries = self._to_tensor([to_square(plane, self.size_px) for plane in planes])
            logits = torch.cat([reader(queries) for reader in support.readers], dim=1) / self.temperature
            for plane, plane_logits in zip(planes, logits, strict=True):
                mask, probabilities = _resolve(to_user_grid(plane_logits, *plane.shape), support.classes)
                result.masks.append(mask)
                result.probabilities.append(probabilities)
        return result

    def _to_tensor(self, planes: list[np.ndarray]) -> Tensor:
        return torch.from_numpy(np.stack(planes)).unsqueeze(1).to(self.device)


def _reader(network: nn.Module, images: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor]:
    if isinstance(network, SupportEncoder):
        code = network.encode_support(images, labels)
        return lambda queries: network.segment(queries, code)
    return lambda queries: network(
        queries,
        images.expand(len(queries), -1, -1, -1, -1),
        labels.expand(len(queries), -1, -1, -1, -1),
    )


def _resolve(logits: Tensor, classes: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """The mask and the probabilities of one image from its class logits on its own grid."""
    with_background = torch.cat([torch.zeros_like(logits[:1]), logits.float()])
    probabilities = with_background.softmax(dim=0)[1:].cpu().numpy()
    values = np.array([0, *classes], dtype=np.uint8)
    mask = values[with_background.argmax(dim=0).cpu().numpy()]
    return mask, probabilities[0] if len(classes) == 1 else probabilities


def _as_list(pictures: Pictures) -> list[Picture]:
    if isinstance(pictures, Sequence) and not isinstance(pictures, str):
        return list(pictures)
    return [pictures]


def _read_support(images: list[Picture], labels: list[Picture]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    if not images:
        message = "support_images are empty: expected at least one image, got none. Label one image or more."
        raise ValueError(message)
    image_planes = [read_image(image, f"support_images[{i}]") for i, image in enumerate(images)]
    label_planes = [read_label(label, f"support_labels[{i}]") for i, label in enumerate(labels)]
    if len(images) != len(labels):
        message = (
            f"support_labels do not match support_images: expected {len(images)}, got {len(labels)}. "
            "Pass one label per support image."
        )
        raise ValueError(message)
    for i, (image, label) in enumerate(zip(image_planes, label_planes, strict=True)):
        if image.shape != label.shape:
            message = (
                f"support_labels[{i}] does not match support_images[{i}]: expected {image.shape}, got "
                f"{label.shape}. Pass the label on its image's grid."
            )
            raise ValueError(message)
    return image_planes, label_planes
