"""The label of one image as it is being drawn: strokes with undo and redo without end, all of them in its log."""

import base64
import binascii
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from jaxtyping import Bool, Int64, UInt8

from incontext.page.runs import Runs, indices_at
from incontext.page.stroke_log import Entry, StrokeLog

BASE, STROKE, WHOLE, REVALUE = "base", "stroke", "whole", "revalue"
UNDO, REDO, ACCEPT = "undo", "redo", "accept"
"""Kinds of entries in the log of an image."""


@dataclass(frozen=True)
class DrawnState:
    """State of an image by its log.

    Attributes:
        has_log: Whether anything was done, even if it was all taken back.
        is_drawn: Whether anything that was drawn stands, or was accepted and does not stand any more.
        accepted_sha256: Hash of the label file that was written last; None if none was.
        is_accepted: Whether what stands is what was written.
    """

    has_log: bool
    is_drawn: bool
    accepted_sha256: str | None
    is_accepted: bool

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Self:
        """Tell the standing from the entries of a log."""
        standing, undone, accepted = list[int](), list[int](), None
        bases, sha256 = 0, None
        for number, entry in enumerate(entries):
            match entry["do"]:
                case "base":
                    bases += 1
                case "undo":
                    undone.append(standing.pop())
                case "redo":
                    standing.append(undone.pop())
                case "accept":
                    accepted, sha256 = (bases, standing[-1:]), entry["sha256"]
                case _:
                    standing.append(number)
                    undone.clear()
        is_accepted = accepted == (bases, standing[-1:])  # below a step lies what always lay there
        was_drawn = accepted is not None and bool(accepted[1])
        return cls(bool(entries), bool(standing) or (was_drawn and not is_accepted), sha256, is_accepted)


@dataclass(frozen=True)
class Redrawn:
    """Change of a drawing, to be shown.

    Attributes:
        plane: The plane that changed; None if all may have.
        runs: Pixels of the plane by the value that they take, as starts and lengths.
    """

    plane: int | None
    runs: Mapping[int, Sequence[int]]


Said = Mapping[str, Any]
"""Kind, points, class and side of a prompt, as `PromptMessage` has them."""


@dataclass(frozen=True)
class Step:
    """A stroke with what is needed to take it back: values before and after, packed.

    Attributes:
        plane: The plane that changed; None if all may have.
        entry: Entry of the log that says it.
    """

    plane: int | None
    places: bytes
    before: bytes
    after: bytes
    entry: Entry

    @property
    def said(self) -> Said | None:
        """Prompt that the network answered by this stroke; None if a person drew it."""
        return self.entry.get("said")

    @property
    def withdrawn(self) -> int | None:
        """Number of the step whose prompt this one takes out of what was said; None if it takes none."""
        return self.entry.get("withdrawn")

    @property
    def drawn(self) -> list[int]:
        """Planes that count as drawn by it besides, as somebody drew them elsewhere."""
        return self.entry.get("drawn", [])

    @staticmethod
    def values(packed: bytes) -> UInt8[np.ndarray, " n"]:
        """Unpack the values of the pixels that a step changes."""
        return np.frombuffer(zlib.decompress(packed), np.uint8)

    @property
    def indices(self) -> Int64[np.ndarray, " n"]:
        """Indices of the pixels that a step changes in its plane."""
        return indices_at(np.frombuffer(zlib.decompress(self.places), np.int64).reshape(-1, 2))

    def put(self, packed: bytes, plane: UInt8[np.ndarray, "H W"], index: int) -> None:
        """Let a plane have the values that it had before or after.

        Args:
            packed: Values before, or after.
            plane: The plane, which is changed.
            index: Index of the plane.
        """
        values = self.values(packed)
        if self.plane is None:
            plane[...] = values.reshape(-1, *plane.shape)[index]
        elif self.plane == index:
            plane.reshape(-1)[self.indices] = values

    def make(self, plane: UInt8[np.ndarray, "H W"], index: int) -> None:
        """Change a plane, which was another before, as this step did: a stroke draws, a mask of all planes differs.

        Args:
            plane: The plane, which is changed.
            index: Index of the plane.
        """
        if self.plane is not None:
            self.put(self.after, plane, index)
            return
        if self.entry["do"] == REVALUE:
            plane[plane == self.entry["value"]] = self.entry["into"]
            return
        before, after = (self.values(each).reshape(-1, *plane.shape)[index] for each in (self.before, self.after))
        plane[before != after] = after[before != after]


class Drawing:
    """Label planes of an image and all strokes by which they came to be.

    Args:
        shape: Numbers of planes, rows and columns.
        log: What was done before, and where all that is done is kept.

    Attributes:
        planes: Values of the classes (N, H, W); 0 is background.

    Raises:
        ValueError: If the log is not of this image.
    """

    def __init__(self, shape: tuple[int, int, int], log: StrokeLog) -> None:
        self.planes: UInt8[np.ndarray, "N H W"] = np.zeros(shape, np.uint8)
        self._log = log
        self._done: list[Step] = []
        self._undone: list[Entry] = []
        self._base: Entry = {}
        self._has_base, self._drawn_before = False, tuple[int, ...]()
        for entry in log.entries:
            self._play(entry)

    @property
    def undoable(self) -> int:
        """Number of strokes that can be taken back."""
        return len(self._done)

    @property
    def redoable(self) -> int:
        """Number of strokes that were taken back and can be made again."""
        return len(self._undone)

    @property
    def tools(self) -> set[str]:
        """Names of the tools of all strokes that stand."""
        return {step.entry["tool"] for step in self._done if "tool" in step.entry}

    @property
    def prompts(self) -> dict[int, tuple[int, Said]]:
        """Planes of prompts that count, and what was said, by the numbers of their steps."""
        withdrawn = self.withdrawn
        return {
            number: (step.plane, step.said)
            for number, step in enumerate(self._done)
            if step.said is not None and step.plane is not None and number not in withdrawn
        }

    @property
    def withdrawn(self) -> set[int]:
        """Numbers of the steps whose prompts do not count any more."""
        return {step.withdrawn for step in self._done if step.withdrawn is not None}

    def since_said(self, plane: int) -> tuple[UInt8[np.ndarray, "H W"], list[tuple[int, Step]]]:
        """Return a plane as it was before the first prompt on it, and the steps from that on, with their numbers."""
        steps = [*enumerate(self._done)]
        first = next((n for n, step in steps if step.said is not None and step.plane == plane), len(steps))
        state, later = self.planes[plane].copy(), steps[first:]
        for _, step in reversed(later):
            step.put(step.before, state, plane)
        return state, later

    @property
    def drawn(self) -> list[int]:
        """Indices of the planes that somebody has drawn or said something on that counts, here or in a label."""
        elsewhere = {plane for step in self._done for plane in step.drawn}
        return sorted({plane for plane in self._touched if plane is not None} | elsewhere | {*self._drawn_before})

    @property
    def judged(self) -> Bool[np.ndarray, " N"]:
        """Planes that somebody has judged: those that were drawn on, and all if a mask of all was begun with or taken.

        Where nothing was drawn at all, it was judged that there is nothing.
        """
        touched = self._touched
        if self._has_base or None in touched or not touched:
            return np.ones(len(self.planes), bool)
        return np.isin(np.arange(len(self.planes)), [each for each in touched if each is not None])

    @property
    def _touched(self) -> set[int | None]:
        """Planes of all steps that say something which still counts; None for a mask of all."""
        withdrawn = self.withdrawn
        counting = (step for number, step in enumerate(self._done) if number not in withdrawn)
        return {step.plane for step in counting if step.withdrawn is None and step.entry["do"] != REVALUE}

    @property
    def standing(self) -> DrawnState:
        """State of the image by its log."""
        return DrawnState.of(self._log.entries)

    def begin(self, planes: UInt8[np.ndarray, "N H W"], drawn: Sequence[int] = ()) -> None:
        """Let the drawing begin with other values than background, which are kept from the first stroke on.

        What was taken back can be done again, on these values.

        Args:
            planes: The values.
            drawn: Indices of the planes that somebody drew, if it is a label.

        Raises:
            ValueError: If something is drawn.
        """
        if self.standing.is_drawn:
            msg = "drawing has begun: expected none, got strokes. Use replace."
            raise ValueError(msg)
        if self._has_base and np.array_equal(planes, self.planes):
            return
        self._base = {"do": BASE, "planes": self._packed(planes), "drawn": [*drawn]}
        self._has_base, self._drawn_before = True, tuple(drawn)
        self.planes[...] = planes

    def stroke(
        self,
        plane: int,
        runs: Mapping[int, Sequence[int]],
        tool: str,
        said: Said | None = None,
        withdrawn: int | None = None,
    ) -> None:
        """Give pixels of a plane other values; on the disk when this returns.

        Args:
            plane: Index of the plane.
            runs: Starts and lengths of pixels by the value that they take.
            tool: Name of the tool, for the record.
            said: What the network answers by this; None if a person drew it.
            withdrawn: Number of the step whose prompt does not count any more; None if all do as before.

        Raises:
            ValueError: If a pixel is outside of the plane.
            Unwritable: If the system refuses to keep it; nothing changed then.
        """
        self._parsed(plane, runs)
        entry = {"do": STROKE, "plane": plane, "tool": tool, "runs": {str(each): [*runs[each]] for each in runs}}
        told = {"said": said, "withdrawn": withdrawn}
        self._add({**entry, **{name: each for name, each in told.items() if each is not None}})

    def replace(self, planes: UInt8[np.ndarray, "N H W"], tool: str, drawn: Sequence[int] = ()) -> None:
        """Put other values in place of all; that, too, can be taken back.

        Args:
            planes: The values.
            tool: Name of where they come from, for the record.
            drawn: Indices of the planes that somebody drew, if it is a label.

        Raises:
            Unwritable: If the system refuses to keep it; nothing changed then.
        """
        self._add({"do": WHOLE, "tool": tool, "planes": self._packed(planes), "drawn": [*drawn]})

    def revalue(self, value: int, into: int) -> bool:
        """Give all pixels of a value another one, in all planes; that, too, can be taken back, and draws no plane.

        Args:
            value: The value.
            into: The value that they take.

        Returns:
            Whether there is any such pixel.

        Raises:
            Unwritable: If the system refuses to keep it; nothing changed then.
        """
        if is_there := bool((self.planes == value).any()):
            self._add({"do": REVALUE, "value": value, "into": into})
        return is_there

    def undo(self) -> Redrawn | None:
        """Take back the last stroke; None if there is none."""
        return self._add({"do": UNDO}) if self._done else None

    def redo(self) -> Redrawn | None:
        """Make the stroke again that was taken back last; None if there is none."""
        return self._add({"do": REDO}) if self._undone else None

    def accept(self, sha256: str) -> None:
        """Enter that the drawing was written into a file of this hash."""
        self._add({"do": ACCEPT, "sha256": sha256})

    def _add(self, entry: Entry) -> Redrawn | None:
        if self._base:
            self._log.add(self._base)
            self._base = {}
        self._log.add(entry)
        return self._play(entry)

    def _packed(self, planes: UInt8[np.ndarray, "N H W"]) -> str:
        if planes.shape != self.planes.shape:
            msg = f"mask does not fit its image: expected {self.planes.shape}, got {planes.shape}."
            raise ValueError(msg)
        return base64.b64encode(zlib.compress(np.ascontiguousarray(planes).tobytes(), 1)).decode()

    def _play(self, entry: Entry) -> Redrawn | None:
        match entry["do"]:
            case "stroke" | "whole" | "revalue":
                self._undone.clear()
                return self._make(entry)
            case "base":
                self._has_base, self._drawn_before = True, tuple(entry.get("drawn", ()))
                self.planes[...] = Step.values(self._unpacked(entry)).reshape(self.planes.shape)
            case "undo":
                self._undone.append((change := self._done.pop()).entry)
                return self._shown(change, change.before)
            case "redo":
                return self._make(self._undone.pop())
        return None

    def _parsed(self, plane: int, runs: Mapping[int, Sequence[int]]) -> Runs:
        count, *sides = self.planes.shape
        if not 0 <= plane < count:
            msg = f"plane is unknown: expected 0 to {count - 1}, got {plane}."
            raise ValueError(msg)
        return Runs.parse(runs, sides[0] * sides[1])

    def _make(self, entry: Entry) -> Redrawn:
        """Make a stroke, or give all planes other values, upon what is there."""
        if entry["do"] == WHOLE:
            change = Step(None, b"", zlib.compress(self.planes.tobytes(), 1), self._unpacked(entry), entry)
        elif entry["do"] == REVALUE:
            after = np.where(self.planes == entry["value"], np.uint8(entry["into"]), self.planes)
            change = Step(None, b"", zlib.compress(self.planes.tobytes(), 1), zlib.compress(after.tobytes(), 1), entry)
        else:
            plane = entry["plane"]
            runs = self._parsed(plane, {int(value): flat for value, flat in entry["runs"].items()})
            before = self.planes[plane].reshape(-1)[runs.indices]
            places, *values = (zlib.compress(each.tobytes(), 1) for each in (runs.places, before, runs.values))
            change = Step(plane, places, values[0], values[1], entry)
        self._done.append(change)
        return self._shown(change, change.after)

    def _unpacked(self, entry: Entry) -> bytes:
        """Values of all planes, as they were compressed."""
        try:
            packed = base64.b64decode(entry["planes"])
            if len(zlib.decompress(packed)) != self.planes.size:
                raise ValueError(entry)
        except (ValueError, zlib.error, binascii.Error) as error:
            msg = f"log is of another image: expected {self.planes.size} pixels, got others. Move it away."
            raise ValueError(msg) from error
        return packed

    def _shown(self, change: Step, packed: bytes) -> Redrawn:
        """Let a change have its values, before or after."""
        values = change.values(packed)
        if change.plane is None:
            self.planes[...] = values.reshape(self.planes.shape)
            return Redrawn(None, {})
        runs = Runs(change.indices, values)
        self.planes[change.plane].reshape(-1)[runs.indices] = values
        return Redrawn(change.plane, runs.told())
