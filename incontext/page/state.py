"""The state behind the server: what is told of the folder and its images, and what a request changes."""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np
from fastapi import HTTPException

from incontext.page.class_removal import remove_class
from incontext.page.display import THUMBNAIL_PX, ScreenImage, rises, sides
from incontext.page.drawing import Redrawn
from incontext.page.live import Live
from incontext.page.look import reduced
from incontext.page.messages import (
    ClassMessage,
    DrawnMessage,
    ExpectedMessage,
    ImageEntry,
    ImageMessage,
    NewsMessage,
    PlaneMessage,
    ProgressMessage,
    PromptEntry,
    PromptMessage,
    PropagatedMessage,
    SessionMessage,
    TilesMessage,
    TuningMessage,
)
from incontext.page.news import News
from incontext.page.prompting import Prompter
from incontext.page.store import AnnotatedFolder, OpenImage
from incontext.page.tiles import TILE_PX, TiledImage
from incontext.page.volumes import PROPAGATE
from megamed import formats

NOTHING = Redrawn(0, {})
GONE = "its file is gone: what was drawn is kept"


class Page:
    """The state behind the server: the folder, what runs in the background, and the tab.

    Args:
        folder: The folder that is annotated.
        live: Segmentation in the background.
    """

    def __init__(self, folder: AnnotatedFolder, live: Live) -> None:
        self.folder, self.live = folder, live
        self.news = News(self.tell)
        self._shown: dict[int, ScreenImage] = {}
        self._tiled: dict[int, TiledImage | None] = {}
        self._thumbnails: dict[int, bytes] = {}
        self._prompter = Prompter()

    def tell(self, indices: Collection[int]) -> NewsMessage:
        """Tell the state of some images, of classes, and of what runs in the background."""
        with self.live.lock:
            return NewsMessage(
                images=[self._entry(index) for index in sorted(indices)],
                classes=[ClassMessage.model_validate(each) for each in self.folder.classes.values()],
                retired=[*self.folder.classes.removed],
                notes=[*self.folder.notes],
                expected=self._expected(),
                progress=ProgressMessage.told(self.live.progress),
                takes_prompts=self.live.takes_prompts,
                tuning=TuningMessage.model_validate(self.live.tuner.progress),
            )

    def session(self) -> SessionMessage:
        """Tell the state of the folder and of all its images."""
        with self.live.lock:
            news = self.tell(range(len(self.folder.images)))
            return SessionMessage(**dict(news), folder=self.folder.folder.resolve().name)

    def check(self, index: int) -> None:
        """Make sure that there is an image of this number.

        Raises:
            HTTPException: If there is none.
        """
        if index >= len(self.folder.images):
            raise HTTPException(404, f"image is unknown: expected 0 to {len(self.folder.images) - 1}, got {index}.")

    def open(self, index: int) -> OpenImage:
        """Open an image of the folder."""
        self.check(index)
        return self.folder.open(index)

    def opened(self, index: int) -> ImageMessage:
        """Open an image to be looked at; what was predicted is there to be corrected."""
        self.check(index)
        found, live = self.folder.show(index), self.live
        live.look_at(index)
        prediction = live.predictions.get(index)
        if prediction and self.folder.images[index].state == "bare":
            found.drawing.begin(prediction.planes)
        tiled, (planes, height, width) = self.tiled(index), found.drawing.planes.shape
        scale = tiled.scale if tiled else self.shown(index).scale
        tiles = TilesMessage(side=TILE_PX, finest=tiled.finest, coarsest=tiled.coarsest) if tiled else None
        return ImageMessage(
            id=index,
            name=self.folder.images[index].name,
            planes=planes,
            height=height,
            width=width,
            **vars(scale),
            tiles=tiles,
            full_size=found.case.full_size,
            level=self.folder.look.level,
            spacing_mm=found.case.spacing_mm,
            notes=[*found.case.notes],
            undoable=found.drawing.undoable,
            redoable=found.drawing.redoable,
            prompts=self._prompts(found),
            sides=sides(found.case),
            axes=found.case.view.axes,
            steps=found.case.view.steps,
            is_flat=found.case.kind == "image",
            rises=rises(found.case),
            propagated=self._propagated(index, found),
            presence={**prediction.presence} if prediction else {},
            drawn_planes=found.drawing.drawn,
            shown_planes=np.flatnonzero(found.drawing.planes.any(axis=(1, 2))).tolist(),
            round=prediction.round if prediction else 0,
        )

    def check_classes(self, values: Collection[int]) -> None:
        """Make sure that values are of classes that can be drawn, or of the background.

        Raises:
            ValueError: If one is not.
        """
        if unknown := sorted({*values} - {0, *self.folder.classes}):
            msg = (
                f"value is of no class: expected one of {', '.join(map(str, self.folder.classes))}, or 0 to erase, got "
                f"{unknown[0]}. Add the class first."
            )
            raise ValueError(msg)

    def prompt(self, index: int, said: PromptMessage) -> Redrawn:
        """Let the network answer a click, a scribble or a box; the answer is kept like a stroke.

        Raises:
            ValueError: If the network is not loaded yet, takes no prompts, or a point is not on the image.
        """
        with self.live.borrowed() as segmenter, self.live.lock:
            opened, told = self._checked(index, said), said.model_dump(exclude={"plane"})
            runs = self._prompter.answer(segmenter, opened, said.plane, told).told()
            if runs:
                opened.drawing.stroke(said.plane, runs, said.kind, told)
            return Redrawn(said.plane, runs)

    def prepare(self, index: int, said: PlaneMessage) -> None:
        """Let the network read a plane of an image, so that it answers the first prompt at once.

        Raises:
            ValueError: If the network is not loaded yet, or takes no prompts.
        """
        with self.live.borrowed() as segmenter, self.live.lock:
            self._prompter.prepare(segmenter, self._checked(index, said), said.plane, said.value)

    def withdraw(self, index: int, number: int) -> Redrawn:
        """Take a prompt back, whatever was said and drawn since; that is kept like a stroke.

        Raises:
            ValueError: If the network is not loaded yet, or there is no such prompt.
        """
        with self.live.borrowed() as segmenter, self.live.lock:
            opened = self.open(index)
            runs = self._prompter.withdrawn(segmenter, opened, number).told()
            plane, _ = opened.drawing.prompts[number]
            opened.drawing.stroke(plane, runs, "withdraw", withdrawn=number)
            return Redrawn(plane, runs)

    def step(self, index: int, *, back: bool) -> Redrawn:
        """Take the last stroke back, or make it again; classes come back with their pixels."""
        opened = self.open(index)
        redrawn = (opened.drawing.undo() if back else opened.drawing.redo()) or NOTHING
        if self.folder.classes.restore(
            redrawn.runs if redrawn.plane is not None else np.unique(opened.drawing.planes).tolist()
        ):
            self.news.post([])
        return redrawn

    def remove_class(self, value: int, into: int | None) -> None:
        """Remove a class, and let its pixels in all images take another value: see `remove_class`."""
        try:
            remove_class(self.folder, self.live, value, into)
        finally:  # if the disk is full in the middle, some images have changed
            self.news.post(range(len(self.folder.images)))

    def accept(self, index: int) -> Path:
        """Make an image an example.

        Raises:
            ValueError: If it would be the only one, and shows nothing.
        """
        others = any(image.is_example for each, image in enumerate(self.folder.images) if each != index)
        if not others and not self.open(index).drawing.planes.any():
            msg = "nothing is drawn: expected a structure in the first image, got none. Draw one."
            raise ValueError(msg)
        path = self.folder.accept(index)
        self.live.examples_changed(index)
        self.news.post([index])
        return path

    def shown(self, index: int) -> ScreenImage:
        """An image for the screen; the last one is kept."""
        if index not in self._shown:
            self._shown = {index: ScreenImage.of(self.open(index).case, self.folder.look)}
        return self._shown[index]

    def tiled(self, index: int) -> TiledImage | None:
        """An image of several levels for the screen; None of others. The last one is kept."""
        self.check(index)
        if index not in self._tiled:
            self._tiled = {index: TiledImage.of(self.folder.images[index].pair, self.folder.look)}
        return self._tiled[index]

    def across(self, index: int, axis: int, place: int) -> tuple[bytes, bytes]:
        """Numbers and label values of a volume in the plane through a row or a column of all its planes.

        Args:
            index: Index of the image.
            axis: 1 for the plane through a row, 2 for that through a column.
            place: Index of the row or the column.

        Raises:
            HTTPException: If there is no such plane.
        """
        shown, label = self.shown(index), self.open(index).drawing.planes
        if place >= label.shape[axis]:
            raise HTTPException(404, f"plane is unknown: expected 0 to {label.shape[axis] - 1}, got {place}.")
        return shown.across(axis, place), np.ascontiguousarray(label.take(place, axis)).tobytes()

    def thumbnail(self, index: int) -> bytes:
        """PNG of an image, made once."""
        self.check(index)
        if index not in self._thumbnails:
            pair = self.folder.images[index].pair
            look = replace(self.folder.look, level=reduced(formats.sizes_in(pair.image), 2 * THUMBNAIL_PX))
            self._thumbnails[index] = ScreenImage.of(look.read(pair), look).thumbnail()
        return self._thumbnails[index]

    def drawn(self, index: int, redrawn: Redrawn) -> DrawnMessage:
        """Tell the state of a drawing after a stroke."""
        before = self.folder.images[index].state
        self.folder.noticed(index)
        if before != "bare" and self.folder.images[index].state == "bare":  # all was taken back
            self.live.images_changed()
            self.news.post([index])
        drawing = self.folder.open(index).drawing
        return DrawnMessage(
            undoable=drawing.undoable,
            redoable=drawing.redoable,
            state=self._entry(index).state,
            prompts=self._prompts(self.folder.open(index)),
            drawn_planes=drawing.drawn,
            plane=redrawn.plane,
            runs={value: [*flat] for value, flat in redrawn.runs.items()},
        )

    def _checked(self, index: int, said: PlaneMessage) -> OpenImage:
        """Open an image, and make sure that it has a plane and the folder a class."""
        opened = self.open(index)
        self.check_classes([said.value])
        if said.plane >= len(opened.drawing.planes):
            raise HTTPException(404, f"plane is unknown: expected one of {len(opened.drawing.planes)}.")
        return opened

    def _propagated(self, index: int, opened: OpenImage) -> PropagatedMessage | None:
        found = self.live.propagated.get(index)
        return PropagatedMessage(**vars(found), stands=PROPAGATE in opened.drawing.tools) if found else None

    def _prompts(self, opened: OpenImage) -> list[PromptEntry]:
        found = opened.drawing.prompts.items()
        return PromptEntry.listed({n: each for n, each in found if each[1]["value"] in self.folder.classes})

    def _expected(self) -> list[ExpectedMessage]:
        found = self.live.expected
        if found is None:
            return []
        return [
            ExpectedMessage(value=value, dice=dice, low=found.interval[value][0], high=found.interval[value][1])
            for value, dice in found.dice.items()
        ]

    def _entry(self, index: int) -> ImageEntry:
        live = self.live
        suspects = set(live.expected.suspects) if live.expected else set()
        found, failure = live.predictions.get(index), live.failures.get(index, "")
        failure = GONE if self.folder.images[index].is_missing else failure
        entry = ImageEntry.told(index, self.folder.images[index], found, failure, suspects)
        entry.propagations = live.propagated[index].count if index in live.propagated else 0
        return entry
