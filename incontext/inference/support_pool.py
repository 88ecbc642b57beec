"""Preparation of images as squares for the network, and the support pool of labelled squares."""

import itertools
from collections import defaultdict
from collections.abc import Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral
from typing import Self

import numpy as np
import torch
from jaxtyping import Bool, Float32, Int64, UInt8
from torch import Tensor

from incontext.images.examples import Example, Examples, LabelMap, spread
from incontext.images.input_checks import Expectations
from incontext.images.normalisation import Normalisation, apply, choose, on_shared_scale
from incontext.images.resampling import binary_to_square, to_square
from incontext.images.source_image import SourceImage
from incontext.images.tiling import Structure, Tiling, choose_tiling, width_px
from incontext.inference.left_out import LeftOut
from incontext.inference.lost_strokes import Lost, Strokes, told
from incontext.networks.copies import COPIES, copies_of
from incontext.networks.support_code import SupportCode
from megamed.colour_tables import FULL
from megamed.label_colours import colours_of
from megamed.label_maps import overlapping_pairs
from megamed.label_values import LabelRules
from megamed.squares import Box
from megamed.unknown import UNKNOWN

EMPTY_TILES = 4
"""Tiles of a labelled image that show a label, for each kept tile that shows none."""
TILES_OF_NOTHING = 4
"""Tiles that are kept of a labelled image that shows nothing: by them examples teach that a class may be absent."""
MOST_TILES = 256
"""Tiles that are kept of all labelled images together, unless the images or their classes are more: further ones would
cost time and gain little."""

SharedCodes = Mapping[tuple[int, ...], Sequence[Sequence[SupportCode]]]
"""Codes of the supports that all queries share: by the axes that a view reverses, of each draw, of each class."""
LET_OVERLAP = "For a mask of each pass overlap=True, in the shell --overlap."


@dataclass(frozen=True)
class Preparation:
    """Preparation of images, labelled or not, as squares: normalisation, tiling and size."""

    normalisation: Normalisation
    tiling: Tiling
    size_px: int

    @classmethod
    def chosen(cls, sample: Sequence[Example], scaling: str, tiling: str | int, size_px: int) -> Self:
        """Choose the preparation that some examples call for, within what a user says; see `Segmenter`.

        Raises:
            ValueError: If a wish is none that can be met.
        """
        if not isinstance(size_px, Integral) or size_px < 1:
            msg = f"size_px is unusable: expected a whole number of pixels, 1 or more, got {size_px!r}. Use 128."
            raise ValueError(msg)
        normalisation = choose([example.case for example in sample], scaling)
        chosen = cls(normalisation, choose_tiling(structures(sample), tiling, size_px), size_px)
        return chosen.on_scale_of(sample)

    def on_scale_of(self, sample: Sequence[Example]) -> Self:
        """Scale grey values as the examples that show something share them; see `shared_scale`."""
        showing = [each.case for each in sample if any(mask.any() for mask in each.masks.values())]
        return replace(self, normalisation=on_shared_scale(self.normalisation, showing)) if showing else self

    def boxes(self, case: SourceImage) -> list[Box]:
        """The windows through which each plane of a case is seen."""
        pixel_mm = case.spacing_mm[1:] if case.spacing_mm else (1.0, 1.0)
        return self.tiling.boxes(case.planes.shape[1:], pixel_mm)

    def squares(self, case: SourceImage) -> Iterator[Float32[np.ndarray, "size size"]]:
        """The squares that the windows show, plane by plane, in [0, 1]."""
        return (square for square, _ in self.seen(case))

    def seen(self, case: SourceImage) -> Iterator[tuple[Float32[np.ndarray, "size size"], tuple[float, float]]]:
        """The squares that the windows show, each with how far the grey values of its plane reach."""
        boxes = self.boxes(case)
        for plane in apply(case, self.normalisation):
            reach = self.normalisation.reach(plane)
            yield from ((to_square(plane, self.size_px, box), reach) for box in boxes)


@dataclass(frozen=True)
class Pool:
    """The support pool: labelled squares to select supports from.

    Attributes:
        images: Grey values in [0, 1].
        labels: Labels in {0, 1} and `UNKNOWN`, one layer for each class.
        annotated: Whether a class was looked for in any pixel; where it was not, its label says nothing.
        origins: Number of the labelled plane that each square was cut from.
        examples: Number of the example that each square was cut from, in the order in which they were given; a stack
            counts as so many as it has planes, a volume as one. None if each labelled plane is one.
        places: Where each of these examples was given: index of the image, and plane if it is a stack. Empty if that is
            not known, as for a saved task.
        overlapping: Indices of each two classes whose masks share more than edges on some labelled plane. Empty if that
            is not known, as for a saved task.
        subjects: Number of the subject that each square is of; None if that is not known.
        lost: Strokes of partial labels of which no square keeps anything. Empty if that is not known, as for a saved
            task.
    """

    images: Float32[Tensor, "P 1 size size"] = field(repr=False)
    labels: UInt8[Tensor, "P C size size"] = field(repr=False)
    annotated: Bool[Tensor, "P C"] = field(repr=False)
    origins: Int64[Tensor, " P"] = field(repr=False)
    examples: Int64[Tensor, " P"] | None = field(default=None, repr=False)
    places: Sequence[tuple[int, int | None]] = field(default=(), repr=False)
    overlapping: Sequence[tuple[int, int]] = ()
    subjects: Int64[Tensor, " P"] | None = field(default=None, repr=False)
    lost: Sequence[Lost] = ()

    @property
    def units(self) -> Int64[Tensor, " P"]:
        """Number of the example of each square: what is judged as a whole."""
        return self.origins if self.examples is None else self.examples

    @property
    def relations(self) -> Int64[Tensor, " P"]:
        """Number of what each square is left out with: all of its subject if several are known, else its example."""
        return self.units if self.subjects is None or len(self.subjects.unique()) < 2 else self.subjects

    def of_subjects(self, names: Sequence[Hashable]) -> "Pool":
        """The pool with the subjects of the images that its squares were cut from, named in the order of the images."""
        numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
        of_example = torch.tensor([numbers[names[image]] for image, _ in self.places])
        return replace(self, subjects=of_example[self.units])

    @property
    def is_empty(self) -> bool:
        """Whether there is no labelled square."""
        return len(self.origins) == 0

    @property
    def label_budget(self) -> int:
        """Number of labelled planes that the squares were cut from."""
        return len(self.origins.unique())

    def with_copies(self) -> "Pool":
        """The pool with changed copies of its squares, which belong to the examples that they were copied from."""
        images, labels = copies_of(self.images, self.labels)
        return replace(
            self,
            images=images,
            labels=labels,
            annotated=self.annotated.repeat(COPIES, 1),
            origins=self.origins.repeat(COPIES),
            examples=self.units.repeat(COPIES),
            subjects=None if self.subjects is None else self.subjects.repeat(COPIES),
        )

    def candidates(self, class_index: int, showing: bool) -> Int64[Tensor, " n"]:
        """Indices of the squares that are annotated for a class; if asked, only of those that show it."""
        fitting = self.annotated[:, class_index]
        if showing:
            fitting = fitting & (self.labels[:, class_index].flatten(1) == 1).any(dim=1)
        return fitting.nonzero()[:, 0]


@dataclass(frozen=True, eq=False)
class Fitted:
    """The state that `Segmenter.fit` keeps: examples and their preparation, nothing of the network.

    Attributes:
        pool: Squares of all examples.
        names: Names of the classes by label value, in the order of the pool's labels.
        preparation: Normalisation, tiling and size of the squares.
        sample: Some of the examples, thinned, with which new images are compared.
        has_objects: Whether the values of the examples' labels number objects of one class.
        unknown: Values of pixels that nobody judged in the examples' labels; None if neither they nor the user say.
        codes: Codes of the support of each view, draw and class, where the labelled images themselves are not at hand;
            the pool is empty then. None where they are.
        left_out: What the examples tell of each other, beside their codes: by the network and, if it was tuned, by it
            before. Empty where the images are at hand, if the examples are too few, or if an old file does not say.
        without_mask: Names of classes that masks were passed for, of which none shows anything.
    """

    pool: Pool = field(repr=False)
    names: Mapping[int, str]
    preparation: Preparation
    sample: Sequence[Example] = field(repr=False)
    has_objects: bool = False
    unknown: tuple[int, ...] | None = None
    codes: SharedCodes | None = field(default=None, repr=False)
    left_out: Sequence[LeftOut] = field(default=(), repr=False)
    without_mask: Sequence[str] = ()

    @property
    def is_empty(self) -> bool:
        """Whether nothing tells what to segment."""
        return self.pool.is_empty and self.codes is None

    def rules_for_others(self, given: LabelRules) -> LabelRules:
        """Rules for labels of images to segment: the user's, and where these say nothing what the examples decided."""
        unknown = self.unknown if given.unknown is None else given.unknown
        if unknown is None and FULL in self.names:
            unknown = ()
        return replace(given, unknown=unknown, instances=self.has_objects or None)

    @property
    def overlapping(self) -> list[tuple[str, str]]:
        """Names of each two classes that share more than edges in the examples, as far as that is known."""
        names = list(self.names.values())
        return [(names[first], names[second]) for first, second in self.pool.overlapping]

    def told_of_overlap(self, overlap: bool) -> list[str]:
        """Name classes that share some or all pixels in the examples, and say what becomes of these pixels in masks.

        Args:
            overlap: Whether a pixel of a mask may be of several classes.
        """
        if not (pairs := self.overlapping):
            return []
        labels = self.pool.labels
        alike = [torch.equal(labels[:, first], labels[:, second]) for first, second in self.pool.overlapping]
        twins = [
            f"{first} and {second} cover the same pixels in all labels: one structure under two names, it seems. Leave "
            "one of them out."
            for first, second in itertools.compress(pairs, alike)
        ]
        more = f", and so do {len(pairs) - 1} other pairs" if len(pairs) > 1 else ""
        outcome = "each class has a mask of its own." if overlap else f"masks have one class there. {LET_OVERLAP}"
        return [*twins, f"{pairs[0][0]} and {pairs[0][1]} share pixels in the labels{more}: {outcome}"]

    def told_of_lost(self) -> list[str]:
        """Name classes that no mask shows, and strokes of partial labels that the squares are too coarse for."""
        unseen = [name for name in self.without_mask if name not in self.names.values()]
        missing = [
            f"support_labels show nothing of {name}: expected a mask that is not empty, got none. The class is not "
            "looked for: pass an image that shows it, or leave it out."
            for name in unseen
        ]
        return [*missing, *told(self.pool.lost, self.names, self.preparation.size_px)]

    @cached_property
    def colours(self) -> dict[int, str]:
        """A colour for each class as `#rrggbb`: the one that labels give it, else a fixed one."""
        stated = {value: colour for example in self.sample for value, colour in example.colours.items()}
        return colours_of(self.names, stated)

    @cached_property
    def expectations(self) -> Expectations:
        """Expectations of new images, measured on the sample."""
        return Expectations.of(self.sample, self.preparation.normalisation)


@dataclass(frozen=True)
class _Square:
    image: np.ndarray
    labels: Mapping[int, np.ndarray]
    absent: np.ndarray | int
    """Label of the classes that the square does not show: 0, and `UNKNOWN` where nobody judged."""
    annotated: frozenset[int] | None
    origin: int
    example: int
    overlapping: frozenset[tuple[int, int]]
    """Label values of each two classes that share more than edges on the plane of the square."""


def fit_examples(
    examples: Examples, sample: Sequence[Example], preparation: Preparation, named: Mapping[int, str]
) -> Fitted:
    """Cut labelled examples into the squares of a support pool, and name their classes.

    Args:
        examples: The labelled examples.
        sample: Some of them, thinned, to compare new images with.
        preparation: How images are prepared.
        named: Names of label values, which precede those that files tell.

    Raises:
        ValueError: If no example shows any class, or one does not fit.
        OSError: If a file cannot be read.
    """
    pool, values = build_pool(examples, preparation)
    told = {value: name for example in sample for value, name in example.names.items()}
    told |= {**examples.names, **named}
    names, decided = {value: told.get(value, str(value)) for value in values}, examples.rules
    unseen = [name for value, name in examples.names.items() if examples.by_name and value not in names]
    return Fitted(pool, names, preparation, sample, bool(decided.instances), decided.unknown, without_mask=unseen)


def build_pool(
    examples: Sequence[Example], preparation: Preparation, known: Collection[int] = ()
) -> tuple[Pool, list[int]]:
    """Cut labelled examples into squares.

    Args:
        examples: The labelled examples.
        preparation: How images are prepared.
        known: Label values of classes that other examples show, which need not be among these.

    Returns:
        The pool, and the label values of its classes, ascending.

    Raises:
        ValueError: If no example shows any class, and none is known.
    """
    places: list[tuple[int, int | None]] = []
    strokes: defaultdict[str, Strokes] = defaultdict(Strokes)
    squares = list(_squares(examples, preparation, places, strokes))
    values = sorted({value for square in squares for value in square.labels} | {*known})
    if not values:
        message = (
            "support_labels have no foreground: expected a non-zero value in at least one, got only 0. "
            "Pass an example that shows what to segment."
        )
        raise ValueError(message)
    side = (preparation.size_px, preparation.size_px)  # there may be no square, of volumes without a label
    images = np.zeros((len(squares), 1, *side), dtype=np.float32)
    labels = np.zeros((len(squares), len(values), *side), dtype=np.uint8)
    annotated = np.zeros((len(squares), len(values)), dtype=bool)
    for square, image, layers, looked_for in zip(squares, images, labels, annotated, strict=True):
        image[0] = square.image
        for index, value in enumerate(values):
            layers[index] = square.labels.get(value, square.absent)
            looked_for[index] = square.annotated is None or value in square.annotated
    pairs = sorted({pair for square in squares for pair in square.overlapping})
    pool = Pool(
        torch.from_numpy(images),
        torch.from_numpy(labels),
        torch.from_numpy(annotated & (labels != UNKNOWN).any(axis=(2, 3))),
        torch.tensor([square.origin for square in squares], dtype=torch.int64),
        torch.tensor([square.example for square in squares], dtype=torch.int64),
        places,
        [(values.index(first), values.index(second)) for first, second in pairs],
        lost=[lost for name, each in strokes.items() for lost in each.lost(name)],
    )
    return pool, values


def structures(examples: Sequence[Example]) -> list[Structure]:
    """Measure the width of each class in each plane that shows it."""
    return [
        Structure(width_px(mask), max(mask.shape))
        for example in examples
        for plane in example.shown
        for mask in example.on_plane(plane).values()
    ]


def _squares(
    examples: Sequence[Example],
    preparation: Preparation,
    places: list[tuple[int, int | None]],
    strokes: defaultdict[str, Strokes],
) -> Iterator[_Square]:
    """Cut examples into squares; list their places, and by name what is judged of those that are not wholly judged."""
    origin = 0
    for index, example in enumerate(examples):
        first, is_stack = len(places), example.case.kind == "stack"
        places += [(index, plane) for plane in range(len(example.case.planes))] if is_stack else [(index, None)]
        planes = apply(example.case, preparation.normalisation)
        boxes = preparation.boxes(example.case)
        shown = example.shown
        for plane in shown:
            masks, nothing = example.on_plane(plane), np.zeros(planes.shape[1:], bool)
            masks = dict(masks) if len(masks) == 1 else masks  # one is made once, and several when they are needed
            unknown = None if example.unknown is None else example.unknown[plane]
            overlapping = _overlapping(masks)
            for box in _kept(boxes, masks, most=MOST_TILES // (len(examples) * len(shown))):
                labels = {
                    value: binary_to_square(mask, unknown, preparation.size_px, box)
                    for value, mask in masks.items()
                    if mask[box.within(mask.shape)].any()
                }
                absent: np.ndarray | int = 0
                if unknown is not None:
                    absent = blank = binary_to_square(nothing, unknown, preparation.size_px, box)
                    name = example.case.source.name if example.case.source else f"support_images[{index}]"
                    seen = strokes[f"{name}, plane {plane}" if is_stack else name]
                    seen.add(box, unknown, {**masks, 0: nothing}, labels or {0: blank})
                yield _Square(
                    to_square(planes[plane], preparation.size_px, box),
                    labels,
                    absent,
                    example.annotated,
                    origin,
                    first + plane * is_stack,
                    overlapping,
                )
            origin += 1


def _overlapping(masks: Mapping[int, Bool[np.ndarray, "H W"]]) -> frozenset[tuple[int, int]]:
    """Label values of each two masks that share more than edges."""
    if isinstance(masks, LabelMap) or len(masks) < 2:
        return frozenset()
    values, layers = list(masks), list(masks.values())
    several = sum(layer.astype(np.uint8) for layer in layers) > 1
    shared = np.stack([layer[several] for layer in layers]).astype(np.int64)
    shared = shared @ shared.T
    np.fill_diagonal(shared, [np.count_nonzero(layer) for layer in layers])
    return frozenset((values[first], values[second]) for first, second in overlapping_pairs(shared))


def _kept(boxes: Sequence[Box], masks: Mapping[int, Bool[np.ndarray, "H W"]], most: int) -> list[Box]:
    """Windows that show a label, for every class the one that shows most of it, and some of those that show none."""
    if len(boxes) == 1:
        return list(boxes)
    areas = np.array([[np.count_nonzero(mask[box.within(mask.shape)]) for mask in masks.values()] for box in boxes])
    best = sorted(set(areas.argmax(axis=0).tolist()))
    showing = [index for index in range(len(boxes)) if areas[index].any() and index not in best]
    empty = [index for index in range(len(boxes)) if not areas[index].any()]
    shown = best + [showing[i] for i in spread(len(showing), max(0, most - len(best)))]
    count = len(shown) // EMPTY_TILES if shown else max(1, min(TILES_OF_NOTHING, most))
    return [boxes[index] for index in shown + [empty[i] for i in spread(len(empty), count)]]
