"""Support pools before the first example, and when another joins: what was cut and encoded before stays as it is."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from jaxtyping import UInt8
from torch import Tensor

from incontext.images.examples import SAMPLED_CASES, Example, Examples
from incontext.images.source_image import SourceImage
from incontext.inference.support_pool import Fitted, Pool, Preparation, build_pool
from megamed.unknown import UNKNOWN


def without_examples(names: Mapping[int, str], preparation: Preparation, images: Sequence[SourceImage]) -> Fitted:
    """The state before the first example, when images are segmented by prompts alone.

    Args:
        names: Names of the classes by label value.
        preparation: How images are prepared.
        images: Some of the images, with which others are compared.
    """
    size_px = preparation.size_px
    nothing = Pool(
        torch.zeros(0, 1, size_px, size_px),
        torch.zeros(0, len(names), size_px, size_px, dtype=torch.uint8),
        torch.zeros(0, len(names), dtype=torch.bool),
        torch.zeros(0, dtype=torch.int64),
    )
    return Fitted(nothing, dict(sorted(names.items())), preparation, [Example(image, {}) for image in images])


def grown(fitted: Fitted, examples: Examples, named: Mapping[int, str], plane: int | None = None) -> Fitted:
    """Examples and further ones, prepared as the first ones were.

    A class that the former do not show counts as one that they were not annotated for.

    Args:
        fitted: The former examples.
        examples: The further ones.
        named: Names of label values.
        plane: Index of the plane of each that somebody judged, though it may show nothing; None if nobody says so.

    Raises:
        ValueError: If an example does not fit.
        OSError: If a file cannot be read.
    """
    judged = frozenset[int]() if plane is None else frozenset({plane})
    read: Sequence[Example] = [replace(example, judged=judged) for example in examples]
    sample = [*fitted.sample, *(example.thinned() for example in read)][:SAMPLED_CASES]
    preparation = fitted.preparation
    if preparation.normalisation.shared:
        preparation = preparation.on_scale_of(sample)
    further, values = build_pool(read, preparation, fitted.names.keys())
    told = {value: name for example in read for value, name in example.names.items()} | dict(examples.names)
    names = {value: {**told, **fitted.names, **named}.get(value, str(value)) for value in values}
    pool = _joined(fitted, further, values)
    return replace(fitted, pool=pool, names=names, preparation=preparation, sample=sample)


def _joined(fitted: Fitted, further: Pool, values: Sequence[int]) -> Pool:
    former = fitted.pool
    known = list(fitted.names)
    layers = [known.index(value) if value in known else None for value in values]
    unjudged = (former.labels == UNKNOWN).all(1).to(torch.uint8) * UNKNOWN
    missing = torch.zeros(len(former.origins), dtype=torch.bool)

    def after(former: Tensor, further: Tensor) -> Tensor:
        """Numbers of examples that follow the former ones."""
        return torch.cat([former, further + (int(former.max()) + 1)])

    def layer(index: int | None) -> UInt8[Tensor, "P size size"]:
        return unjudged if index is None else former.labels[:, index]

    assert further.examples is not None
    images = 1 + max((index for index, _ in former.places), default=-1)
    places = [(images + index, plane) for index, plane in further.places]
    return Pool(
        torch.cat([former.images, further.images]),
        torch.cat([torch.stack([layer(each) for each in layers], dim=1), further.labels]),
        torch.cat(
            [
                torch.stack([missing if each is None else former.annotated[:, each] for each in layers], dim=1),
                further.annotated,
            ]
        ),
        after(former.origins, further.origins),
        after(former.units, further.examples),
        [*former.places, *places] if former.places else (),
        sorted({*_moved(former.overlapping, known, values), *further.overlapping}),
        None if former.subjects is None else after(former.subjects, further.examples),
        [*former.lost, *further.lost],
    )


def _moved(pairs: Sequence[tuple[int, int]], known: Sequence[int], values: Sequence[int]) -> list[tuple[int, int]]:
    """Indices of pairs of classes among more classes."""
    return [(values.index(known[first]), values.index(known[second])) for first, second in pairs]
