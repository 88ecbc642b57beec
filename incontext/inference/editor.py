"""An editor of the mask of one image: every stroke is answered by a mask, and can be undone."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from incontext.images.arrays import Picture
from incontext.images.case_planes import emptied, on_grid
from incontext.images.marks import Mark
from incontext.images.prompts import Number, Points, Prompts, Stroke, check_prompts, mask_of_class
from incontext.images.source_image import SourceImage
from incontext.inference.corrections import Corrections, PlaneCorrector, pixels_said
from incontext.inference.loaded_network import LoadedNetwork
from incontext.inference.planes import CasePrediction, Classes, Plane, Said
from megamed.unknown import UNKNOWN


class Editor:
    """Correction of the masks of one image, or of one plane of a volume, by prompts; see `Segmenter.edit`.

    Rows and columns are those of the image's own array, of a plane those of the array that it has there. A pixel that
    was clicked or scribbled on is in the mask as it was said to be.

    Args:
        image: The image, of one plane.
        corrector: Corrector of its squares.
        classes: The classes of the mask.
        label: Label value of the class that prompts are about.
        network: The network that reads the image.
        plane: Index of the plane that the image is of a stack or volume; None if it is none.

    Attributes:
        classes: Names of the classes by label value.
        plane: Index of the plane; None for an image.
    """

    def __init__(
        self,
        image: SourceImage,
        corrector: PlaneCorrector,
        classes: Classes,
        label: int,
        network: LoadedNetwork,
        plane: int | None = None,
    ) -> None:
        self.classes = dict(classes.names)
        self.plane = plane
        self._image = emptied(image)
        self._corrector = corrector
        self._resolution = classes
        self._network = network
        self._strokes: list[Stroke] = []
        self._marks: list[tuple[Mark, int]] = []
        self._states: list[Corrections] = [{}]
        self._done = 0
        self.label = label

    @property
    def label(self) -> int:
        """Label value of the class that the next prompts are about."""
        return self._label

    @label.setter
    def label(self, value: int) -> None:
        if value not in list(self.classes):
            message = (
                f"label is unknown: expected one of {', '.join(map(str, self.classes))}, got {value!r}. "
                "Name further classes when you begin: edit(image, classes={value: name, …})."
            )
            raise ValueError(message)
        self._label = int(value)

    def click(self, row: Number, column: Number, inside: bool = True) -> UInt8[np.ndarray, "..."]:
        """Say that a pixel is inside or outside, and return the mask.

        Raises:
            ValueError: If it is not on the image.
        """
        return self._take(Prompts().click(row, column, inside))

    def scribble(self, drawn: Picture | Points, inside: bool = True) -> UInt8[np.ndarray, "..."]:
        """Say that pixels are inside or outside, and return the mask.

        Args:
            drawn: A mask on the image's grid, or the rows and columns of points that a line joins.
            inside: Which of the two.

        Raises:
            ValueError: If it is not on the image, or nothing was drawn.
        """
        return self._take(Prompts().scribble(drawn, inside))

    def box(self, top: Number, left: Number, bottom: Number, right: Number) -> UInt8[np.ndarray, "..."]:
        """Say that the class is within a box, whose last row and column are before these, and return the mask.

        Raises:
            ValueError: If it is not on the image.
        """
        return self._take(Prompts().box(top, left, bottom, right))

    def start_from(self, mask: Picture) -> UInt8[np.ndarray, "..."]:
        """Go on from a mask of the class, as the network's squares show it, and return the mask.

        Clicks and scribbles that follow change what hangs together with them, up to twice as far away as they are from
        the mask's outline; what lies beyond a box goes. All else stays. A mask that shows nothing binds nothing.

        Args:
            mask: A binary mask on the image's grid, or a label map of this editor's classes, of which other classes
                are left out.

        Raises:
            ValueError: If it has another size, or values that are none of these.
        """
        others = [value for value in self.classes if value != self.label]
        return self._take(Prompts().start_from(mask_of_class(mask, self.label, others)))

    def apply(self, prompts: Prompts) -> UInt8[np.ndarray, "..."]:
        """Say all that prompts say of this image or plane, one after the other, and return the mask.

        Prompts about no class in particular are about `label`; those about no plane are about this one.

        Raises:
            ValueError: If one does not fit the image or names another class; those before it stay. None is said if they
                are something else, or name planes of an image, which has one.
        """
        check_prompts([prompts])
        if self.plane is None and (planes := [each.plane for each in prompts.strokes if each.plane]):
            message = f"prompts name a plane: expected none, as an image has but one, got {planes[0]}. Correct it."
            raise ValueError(message)
        for stroke in prompts.strokes:
            if stroke.plane is None or stroke.plane == (self.plane or 0):
                self.say(stroke)
        return self.mask

    def undo(self) -> UInt8[np.ndarray, "..."]:
        """Take the latest prompt back, if there is one, and return the mask."""
        self._done = max(0, self._done - 1)
        return self.mask

    def redo(self) -> UInt8[np.ndarray, "..."]:
        """Say again what was taken back, if anything was and nothing else was said since, and return the mask."""
        self._done = min(len(self._strokes), self._done + 1)
        return self.mask

    @property
    def can_undo(self) -> bool:
        """Whether there is a prompt to take back."""
        return self._done > 0

    @property
    def can_redo(self) -> bool:
        """Whether a prompt was taken back, and nothing else was said since."""
        return self._done < len(self._strokes)

    @property
    def prompts(self) -> Prompts:
        """All prompts that count, each with its class: what `Segmenter.predict` takes to find the same mask."""
        return Prompts(tuple(self._strokes[: self._done]))

    @property
    def mask(self) -> UInt8[np.ndarray, "..."]:
        """Mask on the image's own grid, of 0 and label values; if classes may overlap, one {0, 1} mask per class."""
        return self._found.on_grid(self._resolution.mask)

    @property
    def masks(self) -> dict[str, Bool[np.ndarray, "H W"]]:
        """Mask of each class by its name: the label of an example, also where classes may overlap."""
        return dict(zip(self.classes.values(), self._found.on_grid(self._resolution.layers), strict=True))

    @property
    def said(self) -> UInt8[np.ndarray, "H W"]:
        """Label map of what was said of single pixels, `UNKNOWN` elsewhere: scribbles as the label of an example.

        It is one where 255 means that nobody judged: `Segmenter(unknown=255).fit([image], [editor.said])`. It is 0
        where a pixel was said to be of no class: of several, of each.
        """
        layers = np.full((len(self.classes), *self._image.planes.shape), UNKNOWN, np.uint8)
        for each in self._pixels_said:
            layers[each.class_index, 0, each.rows, each.columns] = each.inside
        label = np.where((layers == 0).all(0), np.uint8(0), np.uint8(UNKNOWN))
        for value, layer in zip(self.classes, layers, strict=True):
            label[layer == 1] = value
        return on_grid(label, self._image)

    @property
    def probabilities(self) -> Float32[np.ndarray, "..."]:
        """Probabilities on the image's own grid: (H, W) for one class, (classes, H, W) for several."""
        found = self._found.on_grid(self._resolution.probabilities)
        return found[0] if len(self.classes) == 1 else found

    @property
    def predicted_plane(self) -> Plane:
        """The logits of the plane after all prompts that count."""
        return self._corrector.plane(self._states[self._done], self._pixels_said)

    @property
    def _pixels_said(self) -> list[Said]:
        return pixels_said(self._marks[: self._done], len(self.classes), self._resolution.overlap)

    @property
    def _found(self) -> CasePrediction:
        return CasePrediction(self._image, [self.predicted_plane])

    def _take(self, prompts: Prompts) -> UInt8[np.ndarray, "..."]:
        """Say what is about the class of this editor, and return the mask."""
        for stroke in prompts.strokes:
            self.say(stroke)
        return self.mask

    def say(self, stroke: Stroke) -> None:
        """Say one thing, whatever plane it names; the mask is made when it is asked for.

        Raises:
            ValueError: If it does not fit the image or names another class; then nothing was said.
        """
        named = Stroke(stroke.kind, stroke.where, stroke.inside, stroke.label or self.label, self.plane)
        index = _index(list(self.classes), named)
        mark = Mark.of(named, self._image)
        with self._network.evaluating():
            state = self._corrector.told(self._states[self._done], mark, index)
        del self._strokes[self._done :], self._marks[self._done :], self._states[self._done + 1 :]
        self._strokes.append(named)
        self._marks.append((mark, index))
        self._states.append(state)
        self._done += 1

    def __repr__(self) -> str:
        return f"Editor({self._done} prompts about {', '.join(self.classes.values())})"


def _index(values: Sequence[int], stroke: Stroke) -> int:
    if stroke.label not in values:
        message = (
            f"{stroke.kind} is about an unknown class: expected one of {', '.join(map(str, values))}, got "
            f"{stroke.label}. Name a class that is sought."
        )
        raise ValueError(message)
    return values.index(stroke.label)
