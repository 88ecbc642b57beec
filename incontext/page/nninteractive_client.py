"""A client of nnInteractive as a server keeps it: its volume, all that was said of it, and the mask as it has it."""

import numpy as np
from fastapi import Response
from jaxtyping import Bool, Int64, Shaped

from incontext.page.nninteractive_wire import Box, BoxMessage, Interaction, PointMessage, VolumeMessage, answer
from incontext.page.volume_editor import Kind, VolumeEditor
from incontext.segmenter import Segmenter


class Client:
    """A client, which asks for one structure in a volume.

    Args:
        segmenter: Segmenter, with examples or without.
        value: Label value of the structure.
    """

    def __init__(self, segmenter: Segmenter, value: int) -> None:
        self._segmenter, self._value = segmenter, value
        self._editor: VolumeEditor | None = None
        self._sent: Bool[np.ndarray, "X Y Z"] = np.zeros((0, 0, 0), bool)

    @property
    def editor(self) -> VolumeEditor:
        """The editor of the volume.

        Raises:
            ValueError: If no volume came yet.
        """
        if self._editor is None:
            msg = "there is no image: expected set_image first, got another request. Send the image."
            raise ValueError(msg)
        return self._editor

    def open(self, image: Shaped[np.ndarray, "C X Y Z"], message: VolumeMessage) -> list[int]:
        """Begin with a volume, and return its shape with the channels."""
        self._editor = VolumeEditor(self._segmenter, image, message.image_properties.spacing, self._value)
        self._sent = np.zeros(self._editor.shape, bool)
        return list(image.shape)

    def take_buffer(self, shape: tuple[int, int, int]) -> None:
        """Take note of a new mask of the client, which shows nothing."""
        if shape != self.editor.shape:
            msg = f"buffer does not fit the image: expected {self.editor.shape}, got {shape}. Take one of its size."
            raise ValueError(msg)
        self._sent = np.zeros(shape, bool)

    def reset(self) -> None:
        """Forget all but the volume, as the client does."""
        self.editor.begin_anew()
        self._sent = self.editor.mask.copy()

    def begin_with(self, mask: Shaped[np.ndarray, "X Y Z"], run: bool) -> Response:
        """Go on from a mask, which the client has taken over already."""
        self.editor.begin_with(mask != 0)
        self._sent = self.editor.mask.copy()
        return self.find() if run else self._answer(False)

    def point(self, message: PointMessage) -> Response:
        """Take a click."""
        return self._say("click", np.array([message.coordinates]), message)

    def box(self, message: BoxMessage) -> Response:
        """Take a box on a plane; all of one that is said to be outside is."""
        starts, sizes = _parts(message.bbox_coords)
        if not (sizes == 1).any():
            msg = f"box has no plane: expected one voxel along an axis, got {sizes.tolist()}. Draw it on a slice."
            raise ValueError(msg)
        ends = np.minimum(starts + sizes, self.editor.shape)
        starts = starts.clip(0)
        voxels = np.argwhere(np.ones((ends - starts).clip(0), bool)) + starts
        return self._say("box" if message.include_interaction else "pixels", voxels, message)

    def drawn(self, kind: Kind, mask: Shaped[np.ndarray, "X Y Z"], message: Interaction) -> Response:
        """Take what was drawn, on the whole image or in a box of it."""
        starts, sizes = np.zeros(3, np.int64), np.array(self.editor.shape)
        if message.interaction_bbox:
            starts, sizes = _parts(message.interaction_bbox)
        if mask.shape != tuple(sizes):
            msg = f"drawing does not fit its box: expected {sizes.tolist()}, got {mask.shape}. Send all of the box."
            raise ValueError(msg)
        return self._say(kind, np.argwhere(mask) + starts, message)

    def find(self) -> Response:
        """Find the structure in the whole volume."""
        return self._answer(self.editor.find())

    def undo(self) -> Response:
        """Take the last interaction back."""
        return self._answer(self.editor.undo())

    def _say(self, kind: Kind, voxels: Shaped[np.ndarray, "n 3"], message: Interaction) -> Response:
        self.editor.say(kind, voxels.round().astype(np.int64), message.include_interaction)
        return self.find() if message.run_prediction else self._answer(False)

    def _answer(self, ran: bool) -> Response:
        """Send what changed, if anything was done."""
        found = self.editor.mask.copy() if ran else self._sent
        before, self._sent = self._sent, found
        return answer(ran, before, found)


def _parts(box: Box) -> tuple[Int64[np.ndarray, " 3"], Int64[np.ndarray, " 3"]]:
    """First voxel of a box along each axis, and the number of its voxels."""
    starts, ends = np.array(box).round().astype(np.int64).T
    return starts, ends - starts
