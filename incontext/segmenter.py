"""The public face: labelled examples and images in, masks on the images' own grids out."""

import copy
import hashlib
import inspect
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Self, cast

import numpy as np
import torch
from jaxtyping import Float32
from torch import Tensor, nn

from incontext.backends import backend_of
from incontext.cases import Case
from incontext.checkpoint import load, locate, read_metadata
from incontext.examples import Example, Examples, Labels, Pictures, as_case, as_list, emptied, on_grid, spread, thinned
from incontext.memory import batch_size
from incontext.normalise import choose, warn_about
from incontext.pool import Pool, Preparation, build_pool, structures
from incontext.segmentation import Classes, Found, Plane, Report, Segmentation, dice
from incontext.selection import Encoder, image_features
from incontext.support import Choice, Means, Reader
from incontext.tiles import choose_tiling

SAMPLED_CASES = 16
"""Of a support, and of queries, those that are looked at to choose how to prepare them and to warn of what is wrong."""


@dataclass(frozen=True, eq=False)
class Fitted:
    """What `Segmenter.fit` learns: nothing but what the examples are."""

    pool: Pool = field(repr=False)
    names: Mapping[int, str]
    preparation: Preparation
    sample: Sequence[Example] = field(repr=False)


class Segmenter:
    """Segments images like the labelled examples that it is shown; nothing is trained.

    One pass per class, in which the class is foreground and all else background. The passes are resolved by
    a softmax over the class logits and a background logit of 0, which for one class is the sigmoid.

    It has scikit-learn's manners (`fit`, `predict`, `score`, `get_params`, `set_params`, clonable), hence its many
    parameters. Those of the support count from the next `predict` on, the others from the next `fit`.

    Args:
        weights: `default`, `open`, a checkpoint file, or a module called as
            `network(query_images, support_images, support_labels) -> logits`. Loaded at first use.
        support: Which labelled images an image is segmented by: `all`; those `nearest` to it; a `diverse` or a
            `random` set of them.
        support_size: How many these are; by default 16.
        ensemble: Supports so chosen, whose probabilities are averaged.
        flips: Average the probabilities of four views, mirrored and upside down: four times the work, rarely a gain.
        overlap: Let a pixel belong to several classes; masks are then one per class.
        scaling: How grey values become [0, 1]: `auto`, decided by the examples, or a kind of `Normalisation`.
        tiling: When large images are seen in tiles: `auto`, `never`, `always`, or the side of a tile in pixels.
        size_px: Side of the square on which the network works.
        device: Where to compute; by default a GPU if there is one.
        memory_gb: What may be used to compute with; by default half of what is free, and at most 1. What is kept comes
            on top: 0.2 MB for each labelled image and class; of a result the masks, and 64 kB for each plane and class.
        backend: What computes: `torch` or `onnx`.
        seed: Of random choices.
    """

    def __init__(
        self,
        weights: str | Path | nn.Module = "default",
        *,
        support: str = "all",
        support_size: int | None = None,
        ensemble: int = 1,
        flips: bool = False,
        overlap: bool = False,
        scaling: str = "auto",
        tiling: str | int = "auto",
        size_px: int = 128,
        device: torch.device | str | None = None,
        memory_gb: float | None = None,
        backend: str = "torch",
        seed: int = 0,
    ) -> None:
        self.weights = weights
        self.support = support
        self.support_size = support_size
        self.ensemble = ensemble
        self.flips = flips
        self.overlap = overlap
        self.scaling = scaling
        self.tiling = tiling
        self.size_px = size_px
        self.device = device
        self.memory_gb = memory_gb
        self.backend = backend
        self.seed = seed
        self._fitted: Fitted | None = None
        self._loaded: tuple[Any, nn.Module, str | None] | None = None
        self._reading: tuple[Any, Reader] | None = None

    @classmethod
    def from_pretrained(cls, weights: str | Path = "default", device: torch.device | str | None = None) -> Self:
        """With weights that are loaded at once: `default`, `open` or a checkpoint file; nothing is downloaded.

        Raises:
            FileNotFoundError: If there is no such file.
            ValueError: If it is not a weights file of this library.
        """
        segmenter = cls(weights, device=device)
        segmenter.network.eval()
        return segmenter

    @property
    def network(self) -> nn.Module:
        """The network, on its device."""
        return self._load()[0]

    @property
    def fitted(self) -> Fitted:
        """What the last `fit` learned.

        Raises:
            ValueError: If there was none.
        """
        if self._fitted is None:
            message = (
                "Segmenter knows no examples: expected labelled images, got none. "
                "Call fit(images, labels) first, or pass support_images and support_labels."
            )
            raise ValueError(message)
        return self._fitted

    @property
    def metadata(self) -> dict[str, Any]:
        """Configuration, provenance and calibration of weights that come from a file."""
        return {} if isinstance(self.weights, nn.Module) else read_metadata(locate(self.weights))

    @property
    def temperature(self) -> float:
        """What logits are divided by, so that probabilities mean what they say; it changes no mask."""
        return self.metadata.get("calibration", {}).get("temperature", 1.0)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The constructor's arguments as they are now; `deep` is accepted for scikit-learn's sake."""
        return {name: getattr(self, name) for name in PARAMETERS}

    def set_params(self, **params: Any) -> Self:
        """Change constructor's arguments.

        Raises:
            ValueError: If there is no such argument.
        """
        if unknown := sorted(params.keys() - set(PARAMETERS)):
            message = f"parameters are unknown: expected some of {', '.join(PARAMETERS)}, got {', '.join(unknown)}."
            raise ValueError(message)
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        usual = {name: parameter.default for name, parameter in inspect.signature(Segmenter).parameters.items()}
        changed = (f"{name}={value!r}" for name, value in self.get_params().items() if value != usual[name])
        return f"Segmenter({', '.join(changed)})"

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks of an estimator; nobody else calls it."""
        from sklearn.utils import Tags, TargetTags

        return Tags(estimator_type=None, target_tags=TargetTags(required=True))

    def fit(self, images: Pictures, labels: Labels, classes: Mapping[int, str] | None = None) -> Self:
        """Take over labelled examples: scale them, put them on the network's grid and keep them.

        Args:
            images: The labelled examples: one or a list of arrays, tensors, PIL images or paths.
            labels: One label map per image, on its grid; 0 is background, and an image may lack a class. Or by the name
                of each class its masks, which may overlap; None where an image was not annotated for it.
            classes: Names of label values.

        Raises:
            ValueError: If an argument does not fit; the message names it and the fix.
            OSError: If a file cannot be read.
        """
        self._choice  # noqa: B018 - a mistake in it is told before anything is read
        examples = Examples(images, labels)
        sample = [examples[index].thinned() for index in spread(len(examples), SAMPLED_CASES)]
        preparation = Preparation(
            choose([example.case for example in sample], self.scaling),
            choose_tiling(structures(sample), self.tiling, self.size_px),
            self.size_px,
        )
        pool, values = build_pool(examples, preparation)
        told = {value: name for example in sample for value, name in example.names.items()}
        names = {**told, **examples.names, **(classes or {})}
        self._fitted = Fitted(pool, {value: names.get(value, str(value)) for value in values}, preparation, sample)
        return self

    def predict(
        self, images: Pictures, support_images: Pictures | None = None, support_labels: Labels | None = None
    ) -> Segmentation:
        """Segment images as the examples show.

        Args:
            images: One image, stack or volume, or a list: arrays or tensors (H, W), (H, W, 3 or 4) or (N, H, W), PIL
                images or paths.
            support_images: Labelled examples for this call alone; by default those of `fit`.
            support_labels: Their labels, as in `fit`.

        Raises:
            ValueError: If an argument does not fit, or there are no examples; the message names the fix.
            OSError: If a file cannot be read.
        """
        if support_images is not None:
            if support_labels is None:
                message = "support_labels are missing: expected one per support image, got none. Pass them too."
                raise ValueError(message)
            self._load()
            return copy.copy(self).fit(support_images, support_labels).predict(images)
        start = time.perf_counter()
        reader, preparation = self._reader(), self.fitted.preparation
        pictures = as_list(images)
        looked_at, sample = set(spread(len(pictures), SAMPLED_CASES)), []

        def cases() -> Iterator[Case]:
            for index, picture in enumerate(pictures):
                case = as_case(picture, f"images[{index}]")
                if index in looked_at:
                    sample.append(thinned(case))
                yield case

        found = find(cases(), preparation, reader)
        result = Segmentation(found, reader.classes, self._report(sample))
        result.report = replace(result.report, seconds=round(time.perf_counter() - start, 3))
        for message in result.report.warnings:
            warnings.warn(message, stacklevel=2)
        return result

    def predict_proba(self, images: Pictures) -> list[Float32[np.ndarray, "*grid"]]:
        """The probabilities of `predict`, and its errors: (*grid) for one class, (classes, *grid) for several."""
        return list(self.predict(images).probabilities)

    def score(self, images: Pictures, labels: Labels) -> float:
        """Mean Dice over the images, and of each over the classes that were looked for; 1 where both are empty.

        Args:
            images: As in `predict`.
            labels: As in `fit`.

        Raises:
            ValueError: If an argument does not fit; the message names it and the fix.
            OSError: If a file cannot be read.
        """
        examples = Examples(images, labels)
        result = self.predict(images)
        return float(np.mean([_mean_dice(result, i, example) for i, example in enumerate(examples)]))

    @property
    def _choice(self) -> Choice:
        return Choice(self.support, self.support_size, self.ensemble, self.flips, self.seed)

    @property
    def _place(self) -> torch.device:
        return torch.device(self.device or ("cuda" if torch.cuda.is_available() else "cpu"))

    def _load(self) -> tuple[nn.Module, str | None]:
        """The network, and the hash of the file that it came from: those of the last time, if nothing has changed."""
        key = self.weights, self.device
        if self._loaded is None or self._loaded[0] != key:
            if isinstance(self.weights, nn.Module):
                network, sha256 = self.weights, None
            else:
                path = locate(self.weights)
                network, sha256 = load(path), _sha256(path)
            self._loaded = key, network.to(self._place).eval(), sha256
        return self._loaded[1:]

    def _reader(self) -> Reader:
        """What reads the pool: the one of the last time, with all that it has encoded, if nothing has changed."""
        fitted = self.fitted
        key = fitted, self._choice, self.overlap, self.weights, self.device, self.backend, self.memory_gb
        if self._reading is None or self._reading[0] != key:
            classes = Classes(fitted.names, self.overlap)
            self._reading = key, Reader(fitted.pool, self._choice, self._means(fitted), classes, self.temperature)
        return self._reading[1]

    def _means(self, fitted: Fitted) -> Means:
        network, device = self.network, self._place
        encodes_images = hasattr(network, "encode_images")
        supports = 0 if encodes_images else len(fitted.pool.images)
        return Means(
            backend=backend_of(network, self.backend),
            features=partial(image_features, cast(Encoder, network)) if hasattr(network, "features") else None,
            batch_size=batch_size(fitted.preparation.size_px**2, supports, self.memory_gb, device),
            device=device,
        )

    def _report(self, queries: Sequence[Case]) -> Report:
        fitted = self.fitted
        return Report(
            normalisation=str(fitted.preparation.normalisation),
            support=str(self._choice),
            label_budget=fitted.pool.label_budget,
            tiling=fitted.preparation.tiling.reason,
            weights=self._load()[1],
            warnings=tuple(warn_about(fitted.sample, queries, fitted.preparation.normalisation)),
        )


PARAMETERS = tuple(inspect.signature(Segmenter).parameters)
"""The constructor's arguments."""


def find(cases: Iterable[Case], preparation: Preparation, reader: Reader) -> list[Found]:
    """Segment cases, of which only as many are held as fill a batch."""
    hollow: list[Case] = []

    def squares() -> Iterator[np.ndarray]:
        for case in cases:
            hollow.append(emptied(case))
            yield from preparation.squares(case)

    waiting = squares()
    logits: list[Tensor] = []
    while batch := list(islice(waiting, reader.queries_per_batch)):
        logits += reader(torch.from_numpy(np.stack(batch))[:, None])
    rest = iter(logits)

    def planes(case: Case) -> Iterator[Plane]:
        boxes = preparation.boxes(case)
        for _ in case.planes:
            yield Plane(case.planes.shape[1:], boxes, torch.stack(list(islice(rest, len(boxes)))))

    return [Found(case, list(planes(case))) for case in hollow]


def _mean_dice(result: Segmentation, index: int, example: Example) -> float:
    """Of one image, over the classes that were looked for in it."""
    scores = []
    for value in result.classes:
        if example.annotated is None or value in example.annotated:
            label = example.masks.get(value, np.zeros(example.case.planes.shape, dtype=bool))
            scores.append(dice(result.layer(index, value), on_grid(label, example.case)))
    return float(np.mean(scores)) if scores else 1.0


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
