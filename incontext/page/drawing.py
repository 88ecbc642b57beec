"""The label of one image as it is being drawn: strokes with undo and redo without end, all of them in its log."""

import base64
import binascii
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Bool, UInt8

from incontext.page.runs import Runs
from incontext.page.stroke_log import Entry, StrokeLog

BASE, STROKE, WHOLE, UNDO, REDO, ACCEPT = "base", "stroke", "whole", "undo", "redo", "accept"
"""Kinds of entries in the log of an image."""


@dataclass(frozen=True)
class DrawnState:
    """State of an image by its log.

    Attributes:
        is_drawn: Whether anything was drawn.
        accepted_sha256: Hash of the label file that was written last; None if none was.
        is_accepted: Whether nothing was done since it was written.
    """

    is_drawn: bool
    accepted_sha256: str | None
    is_accepted: bool

    @classmethod
    def of(cls, entries: Sequence[Entry]) -> Self:
        """Tell the standing from the entries of a log."""
        hashes = [each["sha256"] for each in entries if each["do"] == ACCEPT]
        drawn = any(each["do"] not in (BASE, ACCEPT) for each in entries)
        return cls(drawn, hashes[-1] if hashes else None, bool(entries) and entries[-1]["do"] == ACCEPT)


@dataclass(frozen=True)
class Redrawn:
    """Change of a drawing, to be shown.

    Attributes:
        plane: The plane that changed; None if all may have.
        runs: Pixels of the plane by the value that they take, as starts and lengths.
    """

    plane: int | None
    runs: Mapping[int, Sequence[int]]


@dataclass(frozen=True)
class _Change:
    """A stroke with what is needed to take it back: values before and after, packed."""

    plane: int | None
    indices: bytes
    before: bytes
    after: bytes

    def values(self, packed: bytes) -> UInt8[np.ndarray, " n"]:
        return np.frombuffer(zlib.decompress(packed), np.uint8)


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
        self._done: list[_Change] = []
        self._undone: list[_Change] = []
        self._base, self._has_base = "", False
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
    def judged(self) -> Bool[np.ndarray, " N"]:
        """Planes that somebody has judged: those that were drawn on, and all if a mask of all was begun with or taken.

        Where nothing was drawn at all, it was judged that there is nothing.
        """
        touched = {each.plane for each in self._done}
        if self._has_base or None in touched or not touched:
            return np.ones(len(self.planes), bool)
        return np.isin(np.arange(len(self.planes)), [each for each in touched if each is not None])

    @property
    def standing(self) -> DrawnState:
        """State of the image by its log."""
        return DrawnState.of(self._log.entries)

    def begin(self, planes: UInt8[np.ndarray, "N H W"]) -> None:
        """Let the drawing begin with other values than background, which are kept from the first stroke on.

        Raises:
            ValueError: If something was drawn already.
        """
        if self.standing.is_drawn:
            msg = "drawing has begun: expected none, got strokes. Use replace."
            raise ValueError(msg)
        self._base, self._has_base = self._packed(planes), True
        self.planes[...] = planes

    def stroke(self, plane: int, runs: Mapping[int, Sequence[int]], tool: str) -> None:
        """Give pixels of a plane other values; on the disk when this returns.

        Args:
            plane: Index of the plane.
            runs: Starts and lengths of pixels by the value that they take.
            tool: Name of the tool, for the record.

        Raises:
            ValueError: If a pixel is outside of the plane.
            Unwritable: If the system refuses to keep it; nothing changed then.
        """
        self._parsed(plane, runs)
        self._add({"do": STROKE, "plane": plane, "tool": tool, "runs": {str(each): [*runs[each]] for each in runs}})

    def replace(self, planes: UInt8[np.ndarray, "N H W"], tool: str) -> None:
        """Put other values in place of all; that, too, can be taken back.

        Args:
            planes: The values.
            tool: Name of where they come from, for the record.

        Raises:
            Unwritable: If the system refuses to keep it; nothing changed then.
        """
        self._add({"do": WHOLE, "tool": tool, "planes": self._packed(planes)})

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
            self._log.add({"do": BASE, "planes": self._base})
            self._base = ""
        self._log.add(entry)
        return self._play(entry)

    def _packed(self, planes: UInt8[np.ndarray, "N H W"]) -> str:
        if planes.shape != self.planes.shape:
            msg = f"mask does not fit its image: expected {self.planes.shape}, got {planes.shape}."
            raise ValueError(msg)
        return base64.b64encode(zlib.compress(np.ascontiguousarray(planes).tobytes(), 1)).decode()

    def _play(self, entry: Entry) -> Redrawn | None:
        match entry["do"]:
            case "stroke":
                runs = {int(value): flat for value, flat in entry["runs"].items()}
                return self._make(entry["plane"], self._parsed(entry["plane"], runs))
            case "whole":
                return self._replace(entry["planes"])
            case "base":
                self._has_base = True
                self._replace(entry["planes"])
                self._done.clear()
            case "undo":
                self._undone.append(change := self._done.pop())
                return self._shown(change, change.before)
            case "redo":
                self._done.append(change := self._undone.pop())
                return self._shown(change, change.after)
        return None

    def _parsed(self, plane: int, runs: Mapping[int, Sequence[int]]) -> Runs:
        count, *sides = self.planes.shape
        if not 0 <= plane < count:
            msg = f"plane is unknown: expected 0 to {count - 1}, got {plane}."
            raise ValueError(msg)
        return Runs.parse(runs, sides[0] * sides[1])

    def _make(self, plane: int, runs: Runs) -> Redrawn:
        flat = self.planes[plane].reshape(-1)
        before = zlib.compress(flat[runs.indices].tobytes(), 1)
        indices, after = zlib.compress(runs.indices.tobytes(), 1), zlib.compress(runs.values.tobytes(), 1)
        return self._do(_Change(plane, indices, before, after))

    def _replace(self, packed: str) -> Redrawn:
        try:
            after = base64.b64decode(packed)
            if len(zlib.decompress(after)) != self.planes.size:
                raise ValueError(packed)
        except (ValueError, zlib.error, binascii.Error) as error:
            msg = f"log is of another image: expected {self.planes.size} pixels, got others. Move it away."
            raise ValueError(msg) from error
        return self._do(_Change(None, b"", zlib.compress(self.planes.tobytes(), 1), after))

    def _do(self, change: _Change) -> Redrawn:
        self._done.append(change)
        self._undone.clear()
        return self._shown(change, change.after)

    def _shown(self, change: _Change, packed: bytes) -> Redrawn:
        """Let a change have its values, before or after."""
        values = change.values(packed)
        if change.plane is None:
            self.planes[...] = values.reshape(self.planes.shape)
            return Redrawn(None, {})
        runs = Runs(np.frombuffer(zlib.decompress(change.indices), np.int64), values)
        self.planes[change.plane].reshape(-1)[runs.indices] = values
        return Redrawn(change.plane, runs.told())
