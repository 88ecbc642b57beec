"""A structure in a volume, found by what is said of single planes; each word can be taken back."""

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int64, Shaped, UInt8

from incontext.images.source_image import SourceImage, read_source_image
from incontext.inference.segmentation import Segmentation
from incontext.page.prompting import PlaneEditor
from incontext.segmenter import Segmenter
from megamed.standardise import slicing_axes

Kind = Literal["click", "pixels", "box"]
"""Kind of what is said: of a box, any voxels that it goes around."""
Place = tuple[int, int]
"""A plane of the volume: the axis that it lies across, and its index along it."""
Mask = Bool[np.ndarray, "X Y Z"]
LIKELY = 0.5


@dataclass(frozen=True)
class _State:
    """A mask and all that was said before a word, to be taken up again."""

    packed: bytes = field(repr=False)
    planes: Mapping[Place, Bool[np.ndarray, "H W"]]
    is_found: bool


class VolumeEditor:
    """Correction of the mask of one structure in a volume by clicks, scribbles and boxes on its planes.

    A word changes the plane that it lies in, which is seen across the thick slices unless the word lies in another one.
    From all planes that were spoken of, the structure is propagated through the volume; where they lie across several
    axes, along each, and the probabilities are averaged. Planes that were spoken of stay, the latest above the others.

    Args:
        segmenter: Segmenter, with examples or without.
        image: Grey values, or three colours.
        spacing_mm: Distances of voxels along the three axes, if known.
        value: Label value of the structure.

    Attributes:
        mask: The structure as it was found last, with all planes that were spoken of since.

    Raises:
        ValueError: If it is no volume of numbers.
    """

    def __init__(
        self,
        segmenter: Segmenter,
        image: Shaped[np.ndarray, "C X Y Z"],
        spacing_mm: tuple[float, float, float] | None,
        value: int,
    ) -> None:
        self._segmenter, self._value, self._spacing_mm = segmenter, value, spacing_mm
        self._array = image[0] if len(image) == 1 else np.moveaxis(image, 0, -1)
        self.shape: tuple[int, int, int] = (image.shape[1], image.shape[2], image.shape[3])
        self._across = slicing_axes(self.shape, spacing_mm or (1.0, 1.0, 1.0))[0]
        self._cases: dict[int, SourceImage] = {self._across: self._read(self._across)}
        self._editors: dict[Place, PlaneEditor] = {}
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget all that was said and found."""
        self.mask: Mask = np.zeros(self.shape, bool)
        self._planes: dict[Place, Bool[np.ndarray, "H W"]] = {}
        self._is_found = False
        self._before: list[_State] = []
        self._editors.clear()

    def say(self, kind: Kind, voxels: Int64[np.ndarray, "n 3"], inside: bool) -> None:
        """Say that voxels are inside or outside, or that the structure is within the box around them.

        Raises:
            ValueError: If a voxel is not on the volume, there is none, or the weights take no prompts; then nothing was
                said.
        """
        if not len(voxels) or (voxels < 0).any() or (voxels >= self.shape).any():
            got = voxels[0].tolist() if len(voxels) else "none"
            msg = f"prompt is not on the image: expected voxels within {self.shape}, got {got}. Draw on the image."
            raise ValueError(msg)
        flat = np.flatnonzero((voxels == voxels[0]).all(axis=0)).tolist()
        axis = flat[0] if flat and self._across not in flat else self._across
        before = self._state
        answers = {}
        for index in np.unique(voxels[:, axis]).tolist():
            points = np.delete(voxels[voxels[:, axis] == index], axis, axis=1)
            corners = np.stack([points.min(axis=0), points.max(axis=0)])
            answers[axis, index] = self._answer((axis, index), kind, corners if kind == "box" else points, inside)
        self._before.append(before)
        self._take(answers)

    def begin_with(self, mask: Mask) -> None:
        """Go on from a mask: planes that it changes count as spoken of; others are found anew the next time.

        Raises:
            ValueError: If it has another shape.
        """
        if mask.shape != self.shape:
            msg = f"mask does not fit the image: expected {self.shape}, got {mask.shape}. Send one of its size."
            raise ValueError(msg)
        self._before.append(self._state)
        changed = np.moveaxis(self.mask != mask, self._across, 0).any(axis=(1, 2))
        kept = {place: plane for place, plane in self._planes.items() if (plane == mask[_at(place)]).all()}
        drawn = {(self._across, index): mask[_at((self._across, index))] for index in np.flatnonzero(changed).tolist()}
        self.mask, self._planes, self._is_found = mask.copy(), {**kept, **drawn}, True

    def find(self) -> bool:
        """Find the structure in all planes that nothing was said of, and return whether anything was said at all."""
        if not self._planes:
            return False
        is_known = self._segmenter.has_examples and self._value in self._segmenter.fitted.names
        axes = sorted({axis for (axis, _), plane in self._planes.items() if is_known or plane.any()})
        found = [self._propagated(axis) for axis in axes]
        if len(found) > 1:
            self.mask = np.mean([self._probability(each) for each in found], axis=0) > LIKELY
        else:
            self.mask = found[0].layer(0, self._value) if found else np.zeros(self.shape, bool)
        self._is_found = True
        self._take(dict(self._planes))
        return True

    def undo(self) -> bool:
        """Take back what was said last, and what was found by it; return whether there was anything."""
        if not self._before:
            return False
        state = self._before.pop()
        bits = np.unpackbits(np.frombuffer(zlib.decompress(state.packed), np.uint8), count=self.mask.size)
        self.mask, self._planes = bits.reshape(self.shape).astype(bool), dict(state.planes)
        self._is_found = state.is_found
        self._editors = {place: editor for place, editor in self._editors.items() if place in self._planes}
        return True

    @property
    def _state(self) -> _State:
        packed = zlib.compress(np.packbits(self.mask).tobytes(), 1)
        return _State(packed, dict(self._planes), self._is_found)

    def _answer(
        self, place: Place, kind: Kind, points: Int64[np.ndarray, "n 2"], inside: bool
    ) -> Bool[np.ndarray, "H W"]:
        """Find what a plane is after a word, which goes on from what is seen there."""
        if place not in self._editors:
            self._editors[place] = PlaneEditor(self._segmenter, self._case(place[0]), place[1], self._value)
        editor = self._editors[place]
        is_seen = self._is_found or place in self._planes
        drawn = self._label(self.mask[_at(place)]) if is_seen else editor.shown
        runs, after = editor.answer(kind, points.tolist(), inside, drawn), drawn.copy()
        after.reshape(-1)[runs.indices] = runs.values
        return after == self._value

    def _take(self, planes: Mapping[Place, Bool[np.ndarray, "H W"]]) -> None:
        """Lay planes into the mask, the last ones above the others."""
        for place, plane in planes.items():
            self._planes.pop(place, None)
            self.mask[_at(place)] = plane
        self._planes |= planes

    def _propagated(self, axis: int) -> Segmentation:
        drawn = {index: self._label(plane) for (other, index), plane in self._planes.items() if other == axis}
        return self._segmenter.propagate(self._case(axis), drawn)

    def _probability(self, found: Segmentation) -> Shaped[np.ndarray, "X Y Z"]:
        probabilities = found.probabilities[0]
        return probabilities if len(found.classes) == 1 else probabilities[list(found.classes).index(self._value)]

    def _label(self, plane: Bool[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
        return plane * np.uint8(self._value)

    def _case(self, axis: int) -> SourceImage:
        """The volume, cut across an axis."""
        if axis not in self._cases:
            self._cases[axis] = self._read(axis)
        return self._cases[axis]

    def _read(self, axis: int) -> SourceImage:
        channel = None if self._array.ndim == 3 else self._segmenter.channel
        case = read_source_image(self._array, "image", axis, channel)
        spacing_mm = None
        if self._spacing_mm:
            between, down, across = (self._spacing_mm[each] for each in case.view.axes)
            spacing_mm = between, down, across
        return replace(case, kind="volume", spacing_mm=spacing_mm)


def _at(place: Place) -> tuple[slice | int, ...]:
    """The part of an array that a plane is."""
    axis, index = place
    return (*(slice(None),) * axis, index)
