"""Prompts: clicks, scribbles, boxes and masks by which a person says on an image's own grid where a class is."""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import index
from reprlib import repr as shortened
from typing import Any, Literal, Self

import numpy as np
from jaxtyping import Bool, Shaped
from PIL import Image

from incontext.images.arrays import Picture, Tensor, to_array
from megamed.annotation_tools.run_lengths import RunMask

Kind = Literal["click", "scribble", "box", "mask"]
Number = int | float | np.integer | np.floating
"""A row or column of an image, or a place within it."""
Points = Sequence[Sequence[Number]]
"""Rows and columns of points on a line."""
ARRAYS = (np.ndarray, Tensor, Image.Image)
"""Types of masks."""
FAR_PX = 2**31
"""Number of pixels that no image has along a side."""
FIRST_LABEL, MOST_LABEL = 1, 255
"""Smallest and largest label value of a class."""


@dataclass(frozen=True)
class DrawnMask:
    """A mask as a value that can be compared: runs down its columns, by turns outside and inside, as COCO has them."""

    size: tuple[int, int]
    counts: tuple[int, ...]

    @classmethod
    def of(cls, mask: Bool[np.ndarray, "H W"]) -> Self:
        """Find the runs of a mask."""
        runs = RunMask.of_mask(mask, "F")
        return cls(runs.shape, tuple(runs.counts.tolist()))

    @property
    def is_empty(self) -> bool:
        """Whether no pixel is inside."""
        return not any(self.counts[1::2])

    def pixels(self) -> Bool[np.ndarray, "H W"]:
        """Expand the runs.

        Raises:
            ValueError: If they do not fill the mask.
        """
        return RunMask.of_counts(self.counts, self.size, "F").pixels()


@dataclass(frozen=True)
class Stroke:
    """Prompt of one kind about one class: a click, a scribble, a box, or a mask to start from.

    Attributes:
        kind: Kind of the prompt; a `mask` is one to start from.
        where: Row and column of a click; top, left, bottom and right of a box, of which the last two are beyond it;
            of a scribble points that a line joins, or the mask that was drawn; the mask to start from.
        inside: Whether these pixels are said to be of the class, or not to be. A box and a mask have it True.
        label: Label value of the class; None for the usual one, which is the first.
        plane: Index of the plane of a stack or volume.

    Raises:
        ValueError: If label, plane or inside are nothing that these can be.
    """

    kind: Kind
    where: tuple[int, ...] | tuple[tuple[int, int], ...] | DrawnMask
    inside: bool = True
    label: int | None = None
    plane: int | None = None

    def __post_init__(self) -> None:
        if self.inside not in (True, False):
            msg = (
                f"{self.kind} is on neither side: expected inside to be True or False, got {self.inside!r}. Say which."
            )
            raise ValueError(msg)
        object.__setattr__(self, "inside", bool(self.inside))
        if self.label is not None:
            object.__setattr__(self, "label", class_value(self.label))
        if self.plane is not None and (plane := whole_number(self.plane)) != self.plane:
            msg = f"plane is no index: expected a whole number, counted from 0, got {self.plane!r}. Name one plane."
            raise ValueError(msg)
        if self.plane is not None:
            object.__setattr__(self, "plane", plane)


def class_value(label: Any) -> int:
    """Return a label value as a number, if it is one of a class.

    Raises:
        ValueError: If it is none.
    """
    value = whole_number(label)
    if value is None or not FIRST_LABEL <= value <= MOST_LABEL:
        expected = f"expected a value from {FIRST_LABEL} to {MOST_LABEL}, got {label!r}"
        msg = f"label is no class: {expected}. 0 is the background."
        raise ValueError(msg)
    return value


def sought(prompts: Iterable["Prompts"], known: Mapping[int, str]) -> dict[int, str]:
    """Names of all classes that are sought: the known ones, and others that prompts name, called by their value.

    Where none is known, prompts that name no class are about the first one, as those of an editor are.

    Args:
        prompts: Prompts about images.
        known: Names of the known classes by label value.
    """
    values = {stroke.label or (0 if known else FIRST_LABEL) for each in prompts for stroke in each.strokes} - {0}
    return dict(sorted({**{value: str(value) for value in values}, **known}.items()))


def names_of(classes: Any) -> dict[int, str]:
    """Return the names of label values, as a user passes them; none for None.

    Raises:
        ValueError: If they are something else.
    """
    named = {whole_key(value): name for value, name in classes.items()} if isinstance(classes, Mapping) else {}
    if classes is not None and (
        not isinstance(classes, Mapping) or None in named or not all(isinstance(name, str) for name in named.values())
    ):
        msg = f"classes are no names of label values: expected such as {{1: 'liver'}}, got {shortened(classes)}."
        raise ValueError(msg)
    return {value: name for value, name in named.items() if value is not None}


def whole_key(key: Any) -> int | None:
    """Return a key as a whole number; JSON has those of its objects as text. None for all else."""
    return int(key) if isinstance(key, str) and key.isdecimal() else whole_number(key)


def whole_number(value: Any) -> int | None:
    """Return a whole number of any library; None for all else."""
    if isinstance(value, float | np.floating) and value.is_integer():
        return int(value)
    try:
        return None if isinstance(value, bool | np.bool_) else index(value)
    except TypeError:
        return None


@dataclass(frozen=True)
class Prompts:
    """Prompts about one image, in the order in which they were made: each is answered before the next.

    >>> Prompts().click(40, 25).click(8, 9, inside=False).box(10, 12, 60, 70).strokes[2].where
    (10, 12, 60, 70)

    Rows and columns are those of the image's own array. Fractions belong to the pixel that they lie in.
    """

    strokes: tuple[Stroke, ...] = ()

    def click(
        self, row: Number, column: Number, inside: bool = True, *, label: int | None = None, plane: int | None = None
    ) -> Self:
        """Add that a pixel is inside or outside.

        Raises:
            ValueError: If a number is not finite.
        """
        return self._with(Stroke("click", _whole((row, column), "click"), inside, label, plane))

    def scribble(
        self,
        drawn: Picture | Points,
        inside: bool = True,
        *,
        label: int | None = None,
        plane: int | None = None,
    ) -> Self:
        """Add that pixels that were drawn are inside or outside.

        Args:
            drawn: A mask on the image's grid, or the rows and columns of points that a line joins.
            inside: Which of the two.
            label: Label value of the class.
            plane: Index of the plane of a stack or volume.

        Raises:
            ValueError: If nothing was drawn, or it is neither.
        """
        return self._with(Stroke("scribble", _drawn(drawn), inside, label, plane))

    def box(
        self,
        top: Number,
        left: Number,
        bottom: Number,
        right: Number,
        *,
        label: int | None = None,
        plane: int | None = None,
    ) -> Self:
        """Add that the class is within rows `top` to `bottom` and columns `left` to `right`, the last two left out.

        Raises:
            ValueError: If a number is not finite.
        """
        _whole((top, left, bottom, right), "box")
        first, last = (min(top, bottom), min(left, right)), (max(top, bottom), max(left, right))
        return self._with(Stroke("box", (*map(math.floor, first), *map(math.ceil, last)), True, label, plane))

    def start_from(self, mask: Picture, *, label: int | None = None, plane: int | None = None) -> Self:
        """Add a mask of the class to go on from; what was said of the class before does not count any more.

        Args:
            mask: A binary mask on the image's grid, or a label map that shows the class.
            label: Label value of the class.
            plane: Index of the plane of a stack or volume.

        Raises:
            ValueError: If it has other than two axes, or values of which none is that of the class.
        """
        return self._with(Stroke("mask", DrawnMask.of(mask_of_class(mask, label)), True, label, plane))

    @property
    def labels(self) -> list[int]:
        """Label values that are named, ascending."""
        return sorted({each.label for each in self.strokes if each.label is not None})

    def __len__(self) -> int:
        return len(self.strokes)

    def _with(self, stroke: Stroke) -> Self:
        return replace(self, strokes=(*self.strokes, stroke))


def check_prompts(given: Iterable[Any]) -> None:
    """Make sure that there are prompts, or None, about each image.

    Raises:
        ValueError: If there is anything else.
    """
    for each in given:
        if not isinstance(each, Prompts | None):
            msg = (
                f"prompts are unusable: expected Prompts or None for each image, got a {type(each).__name__}. What "
                "JSON holds becomes Prompts by incontext.images.prompt_json.from_json."
            )
            raise ValueError(msg)


def _whole(numbers: Sequence[Any], name: str) -> tuple[int, ...]:
    try:
        if all(abs(number) < FAR_PX for number in numbers):
            return tuple(math.floor(number) for number in numbers)
    except TypeError:
        pass
    msg = (
        f"{name} is nowhere: expected finite numbers of pixels, got {shortened(tuple(numbers))}. Pass rows and columns "
        "of the image."
    )
    raise ValueError(msg)


def _drawn(drawn: Picture | Points) -> tuple[tuple[int, int], ...] | DrawnMask:
    if isinstance(drawn, ARRAYS):
        array = _array(drawn, "scribble")
        if array.dtype == bool or array.ndim != 2 or array.shape[1] != 2:
            mask = _mask(array, "scribble")
            if not mask.any():
                msg = "scribble is empty: expected a pixel at least, got a mask of none. Draw one."
                raise ValueError(msg)
            return DrawnMask.of(mask)
        drawn = array.tolist()
    return _line(drawn)


def _line(drawn: Any) -> tuple[tuple[int, int], ...]:
    """Points of a line, as whole numbers."""
    listed = drawn if isinstance(drawn, Iterable) else ()
    points = [tuple(point) if isinstance(point, Iterable) else () for point in listed]
    if not points or any(len(point) != 2 for point in points):
        msg = (
            f"scribble is no line: expected rows and columns of points, or a mask, got {shortened(drawn)}. Pass "
            "[(row, column), …], or an array as large as the image."
        )
        raise ValueError(msg)
    whole = [_whole(point, "scribble") for point in points]
    return tuple((row, column) for row, column in whole)


def mask_of_class(mask: Picture, label: int | None, others: Collection[int] = ()) -> Bool[np.ndarray, "H W"]:
    """Return the pixels of a class in a binary mask, or in a label map.

    Args:
        mask: A binary mask of any value, or a label map.
        label: Label value of the class; None if it is not known.
        others: Label values of other classes, of which a label map may show none but these.

    Raises:
        ValueError: If it has other than two axes, or it is not clear which pixels are meant.
    """
    array = _array(mask, "mask")
    inside = _mask(array, "mask")
    if array.dtype == bool or not inside.any():
        return inside
    ends = {array[inside].min(), array[inside].max()}
    values = {each.item() for each in (ends if len(ends) == 1 else np.unique(array[inside]))}
    if label in values:
        return np.asarray(array == label)
    if values == {1} or (len(values) == 1 and not values & {*others}):
        return inside
    if values <= {*others}:
        return np.zeros_like(inside)
    got = shortened(sorted(values))[1:-1]
    msg = (
        f"mask is not clear: expected a binary mask, or a label map{f' that shows {label}' if label else ''}, got the "
        f"values {got}. Pass mask == {label or 'label'} of a label map, and mask > 0 of a binary mask."
    )
    raise ValueError(msg)


def _mask(mask: Shaped[np.ndarray, "..."], name: str) -> Bool[np.ndarray, "H W"]:
    if mask.ndim != 2:
        msg = f"{name} is no mask: expected two axes, got {mask.shape}. Pass that of an image, or of one plane."
        raise ValueError(msg)
    return mask != 0


def _array(drawn: Picture, name: str) -> Shaped[np.ndarray, "..."]:
    if not isinstance(drawn, ARRAYS):
        msg = f"{name} is no mask: expected an array, a tensor or a PIL image, got {type(drawn).__name__}. Pass one."
        raise ValueError(msg)
    return to_array(np.asarray(drawn) if isinstance(drawn, Image.Image) else drawn, name)
