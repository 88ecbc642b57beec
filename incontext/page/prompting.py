"""Clicks, scribbles and boxes of the page: answered by an editor of the plane that is on the screen."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Shaped, UInt8

from incontext.images.case_planes import plane_of
from incontext.images.prompts import Number, Points
from incontext.images.source_image import SourceImage
from incontext.inference.editor import Editor
from incontext.page.drawing import Said
from incontext.page.runs import Runs
from incontext.page.store import OpenImage
from incontext.segmenter import Segmenter


class PlaneEditor:
    """An editor of one plane, in rows and columns of the screen.

    Args:
        segmenter: Segmenter that reads the image.
        case: The image.
        plane: Index of the plane.
        value: Label value of the class that prompts are about.

    Attributes:
        shown: The mask of the editor, as the screen shows it: made once for each word, as that takes a while.
    """

    def __init__(self, segmenter: Segmenter, case: SourceImage, plane: int, value: int) -> None:
        self._case = case if case.kind == "image" else plane_of(case, plane)
        self._editor: Editor = segmenter.edit(case, value, plane=None if case.kind == "image" else plane)
        self._value = value
        self.shown = self._on_screen(self._editor.mask)
        self._states = [self._seen(self.shown)]
        self._done = 0

    def answer(self, kind: str, points: Points, inside: bool, drawn: UInt8[np.ndarray, "H W"]) -> Runs:
        """Say something of the class, and return the pixels that change by it, with their values.

        Args:
            kind: `click`, `scribble`, `pixels` or `box`.
            points: Rows and columns: of the click, of points of a line, of all pixels, or of two corners of the box.
            inside: Whether these pixels are said to be of the class.
            drawn: Label on the screen, which the answer goes on from.

        Raises:
            ValueError: If a point is not on the image.
        """
        there = [self._place(row, column) for row, column in points]
        self._go_on_from(drawn)
        before, editor = self.shown, self._editor
        if kind == "click":
            mask = editor.click(*there[0], inside)
        elif kind == "scribble":
            mask = editor.scribble(there, inside)
        elif kind == "pixels":
            mask = editor.scribble(self._drawn(there), inside)
        else:
            (top, left), (bottom, right) = there[0], there[-1]
            mask = editor.box(min(top, bottom), min(left, right), max(top, bottom) + 1, max(left, right) + 1)
        self.shown = self._on_screen(mask)
        changed = self._changed(before, drawn)
        self._say(changed)
        return Runs.between(drawn, changed)

    def _changed(self, before: UInt8[np.ndarray, "H W"], drawn: UInt8[np.ndarray, "H W"]) -> UInt8[np.ndarray, "H W"]:
        """Change the pixels that have joined the class or left it, and no others, which may be drawn more finely."""
        after = self.shown
        joined, left = (after == self._value) & (before != self._value), (after != self._value) & (drawn == self._value)
        left &= before == self._value
        return np.where(joined, np.uint8(self._value), np.where(left, after, drawn))

    def _go_on_from(self, drawn: UInt8[np.ndarray, "H W"]) -> None:
        """Take prompts back, or say them again, as was done on the screen; begin with what was drawn otherwise."""
        seen = self._seen(drawn)
        if seen not in self._states:
            self.shown = self._on_screen(self._editor.start_from(self._stored(drawn == self._value)))
            self._say(drawn)
            return
        steps = self._states.index(seen) - self._done
        for _ in range(abs(steps)):
            self.shown = self._on_screen(self._editor.redo() if steps > 0 else self._editor.undo())
        self._done += steps

    def _say(self, shown: UInt8[np.ndarray, "H W"]) -> None:
        """Take note of what the screen shows after something was said."""
        self._states = [*self._states[: self._done + 1], self._seen(shown)]
        self._done += 1

    def _seen(self, shown: UInt8[np.ndarray, "H W"]) -> bytes:
        """Digest of the class on the screen."""
        return hashlib.sha256((shown == self._value).tobytes()).digest()

    def _on_screen(self, mask: UInt8[np.ndarray, "..."]) -> UInt8[np.ndarray, "H W"]:
        """Bring a mask of the image's array into the order of the screen."""
        return self._case.view.planes(mask.reshape(self._case.grid))[0]

    def _stored(self, shown: Shaped[np.ndarray, "H W"]) -> Shaped[np.ndarray, "H W"]:
        """Bring what the screen shows into the order of the image's array."""
        return np.ascontiguousarray(self._case.view.array(shown[None])).reshape(self._case.shape)

    def _drawn(self, places: Sequence[tuple[int, int]]) -> Bool[np.ndarray, "H W"]:
        """Mask of places in the image's array."""
        drawn = np.zeros(self._case.shape, bool)
        drawn[tuple(zip(*places, strict=True))] = True
        return drawn

    def _place(self, row: Number, column: Number) -> tuple[int, int]:
        """Row and column in the image's array of a place on the screen."""
        height, width = self._case.planes.shape[1:]
        if not (0 <= row < height and 0 <= column < width):
            msg = f"prompt is not on the image: expected rows below {height} and columns below {width}, got others."
            raise ValueError(msg)
        _, down, across = self._case.view.axes
        steps = self._case.view.steps
        place = {
            down: int(row) if steps[1] > 0 else height - 1 - int(row),
            across: int(column) if steps[2] > 0 else width - 1 - int(column),
        }
        return place[1], place[2]


class Prompter:
    """A keeper of the editor of the plane that was prompted last, which answers prompts."""

    def __init__(self) -> None:
        self._kept: tuple[object, PlaneEditor] | None = None

    def answer(self, segmenter: Segmenter, opened: OpenImage, plane: int, said: Said) -> Runs:
        """Say something of a plane of an image, and return the pixels that change by it, with their values.

        Args:
            segmenter: Segmenter that reads the image.
            opened: The image.
            plane: Index of the plane.
            said: Kind, points, class value and side.

        Raises:
            ValueError: If a point is not on the image, or the weights take no prompts.
        """
        return _answered(self.prepare(segmenter, opened, plane, said["value"]), said, opened.drawing.planes[plane])

    def prepare(self, segmenter: Segmenter, opened: OpenImage, plane: int, value: int) -> PlaneEditor:
        """Read a plane of an image for prompts about a class, unless it was read last."""
        key = opened, plane, value, segmenter.fitted if segmenter.has_examples else None
        if self._kept is None or self._kept[0] != key:
            self._kept = key, PlaneEditor(segmenter, opened.case, plane, value)
        return self._kept[1]

    def withdrawn(self, segmenter: Segmenter, opened: OpenImage, number: int) -> Runs:
        """Find what a plane would be without one of the prompts, all else that was drawn and said on it done again.

        Args:
            segmenter: Segmenter that reads the image.
            opened: The image.
            number: Number of the step of the prompt.

        Returns:
            The pixels that change by it, with their values.

        Raises:
            ValueError: If there is no such prompt.
        """
        drawing = opened.drawing
        if number not in drawing.prompts:
            msg = f"prompt is unknown: expected one of {', '.join(map(str, drawing.prompts)) or 'none'}, got {number}."
            raise ValueError(msg)
        plane, _ = drawing.prompts[number]
        without = drawing.withdrawn | {number}
        state, steps = drawing.since_said(plane)
        editors: dict[int, PlaneEditor] = {}
        for each, step in steps:
            if each in without or step.withdrawn is not None:
                continue
            if step.said is None or step.plane != plane:
                step.make(state, plane)
                continue
            value = step.said["value"]
            if value not in editors:
                editors[value] = PlaneEditor(segmenter, opened.case, plane, value)
            runs = _answered(editors[value], step.said, state)
            state.reshape(-1)[runs.indices] = runs.values
        return Runs.between(drawing.planes[plane], state)


def _answered(editor: PlaneEditor, said: Mapping[str, Any], drawn: UInt8[np.ndarray, "H W"]) -> Runs:
    return editor.answer(said["kind"], [(row, column) for row, column in said["points"]], said["inside"], drawn)
