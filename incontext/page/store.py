"""A folder whose images are annotated: its images and labels, and the hidden folder in which the strokes are kept."""

import shutil
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from incontext.folders.folder_images import read_folder
from incontext.folders.own_card import read_own_card
from incontext.folders.user_folder import labels_of
from incontext.images.case_planes import on_grid
from incontext.images.channels import Channel
from incontext.images.drawn_formats import drawn_format
from incontext.images.examples import Example, Examples
from incontext.images.source_image import SourceImage, mask_suffix, write_mask
from incontext.page.drawing import Drawing, DrawnState
from incontext.page.drawn_classes import DrawnClasses
from incontext.page.look import decided
from incontext.page.stroke_log import StrokeLog
from incontext.page.target import LABELS, STORE, check_target
from megamed import formats
from megamed.annotation_tools.itksnap import DESCRIPTIONS, write_classes
from megamed.annotation_tools.model import LabelClass
from megamed.failures import Attempt
from megamed.files import exclusive, make_folder, replace_file, sha256_of
from megamed.label_values import LabelRules
from megamed.pairing import ImagePair
from megamed.readers.dicom_folder import is_one_of_several
from megamed.unknown import UNKNOWN

SEGMENTS, VOLUME = ".dcm", ".nii.gz"
"""Suffixes of labels of a DICOM series: the first holds no planes that nobody judged, hence the second for these."""
MOST_OPEN = 4
"""Images that stay open, so that going back and forth reads nothing anew."""
MOST_OPEN_BYTES = 2**28
"""Bytes of grey values above which only the last image stays open, and the one on the screen."""


@dataclass
class ListedImage:
    """An image of the folder, and what is known of it without reading it.

    Attributes:
        pair: The image and the files of its label.
        name: Path below the folder of all images.
        log: File of its strokes.
        standing: State by its log.
    """

    pair: ImagePair
    name: str
    log: Path
    standing: DrawnState

    @property
    def is_example(self) -> bool:
        """Whether it has a label, by which others are segmented."""
        return bool(self.pair.labels)

    @property
    def is_missing(self) -> bool:
        """Whether its file is gone: deleted, renamed, or on a disk that is not there."""
        return not self.pair.image.exists() and not is_one_of_several(self.pair.image)

    @property
    def state(self) -> str:
        """`accepted`, `drawn` if something is drawn that no label holds, else `bare`."""
        if self.standing.is_drawn and not (self.standing.is_accepted and self.is_example):
            return "drawn"
        return "accepted" if self.is_example else "bare"


@dataclass
class OpenImage:
    """An image that was read, with its drawing."""

    case: SourceImage = field(repr=False)
    drawing: Drawing = field(repr=False)


class AnnotatedFolder:
    """The images of a folder, their labels and strokes. Only one process at a time may have it: see `opened`.

    Attributes:
        folder: The folder.
        images: All images, in the order of their names; those that joined later behind them.
        look: Channel and level of the resolution that are looked at, of images that have several.
        classes: Classes that can be drawn, by value.
        given: Values of the classes of a saved task or of results, which are predicted whatever is drawn.
        notes: Assumptions on the folder, and files that were left out.
    """

    def __init__(
        self,
        folder: Path,
        classes: Mapping[int, str] | None = None,
        channel: Channel = None,
        level: int | None = None,
        task: Mapping[int, str] | None = None,
    ) -> None:
        self.folder = folder
        self._store = folder / STORE
        self._pairing = read_folder(folder)
        self.images = [self._listed(pair) for pair in self._pairing.pairs]
        is_drawn = any(image.standing.has_log for image in self.images)
        card = read_own_card(folder)
        self.look = decided(self._store, self._pairing.pairs, channel, level, is_drawn, card.level)
        self._rules = self._rules_of_labels()
        told = f"All is drawn with {self.look.told}: other commands take these images and labels with the same."
        self.notes: tuple[str, ...] = (*self._pairing.notes, *([told] if self.look.told else []))
        self._open: dict[int, OpenImage] = {}
        self._on_screen: int | None = None
        self._opening = threading.RLock()  # two drawings of one image would not know of each other's strokes
        self._checked = False
        self.classes, self.given = DrawnClasses(self._store), {*(task or {})}
        of_card = {value: name for value, name in card.names.items() if value not in self.classes.removed}
        self.classes.meet({**(task or {}), **of_card, **(classes or {})})
        if classes:
            named = {**self.classes.names, **classes}
            self.classes.keep([replace(each, name=named[value]) for value, each in self.classes.items()])
        if not self.classes and not any(image.is_example for image in self.images):
            self.classes.meet({1: "structure"})

    def remove_class(self, value: int) -> None:
        """Draw a class no more; its pixels are not touched.

        Raises:
            Unwritable: If the system refuses to keep that.
        """
        self.classes.remove(value)
        if (self.folder / LABELS / DESCRIPTIONS).exists():
            self._describe(self.folder / LABELS)

    def open(self, index: int) -> OpenImage:
        """Read an image, and its label or its strokes, unless it was open still.

        Raises:
            ValueError: If the image or its label cannot be used.
            OSError: If a file cannot be read.
        """
        with self._opening:
            found = self._open.pop(index, None) or self._read(index)
            self._open[index] = found
            if self.classes.removed:
                self.classes.restore(np.unique(found.drawing.planes).tolist())
            self._close_others({index, self._on_screen})
            return found

    def show(self, index: int) -> OpenImage:
        """Open an image that stays open until another is shown, as it may begin with a mask that no file holds.

        Raises:
            ValueError: If the image or its label cannot be used.
            OSError: If a file cannot be read.
        """
        with self._opening:
            found = self.open(index)
            self._on_screen = index
            return found

    def join(self, pairs: Iterable[ImagePair]) -> list[int]:
        """Take further images in, behind the others, whose numbers stay; return theirs."""
        joined = [self._listed(pair) for pair in pairs]
        self.images += joined
        return [*range(len(self.images) - len(joined), len(self.images))]

    def noticed(self, index: int) -> None:
        """Take note of what was drawn in an image."""
        self.images[index].standing = self.open(index).drawing.standing

    def accept(self, index: int) -> Path:
        """Write the drawing of an image as its label, which makes it an example.

        Of a stack or volume, planes on which nothing was drawn are unknown in it, unless nothing was drawn at all.
        A label of somebody else's that is there is copied to the hidden folder before. If nothing was drawn since
        it was accepted, the label stays as it is.

        Returns:
            The file of the label.

        Raises:
            ValueError: If a label in this place would not be found, or would lie outside of the folder.
            Unwritable: If the system refuses.
        """
        self.noticed(index)
        image, opened = self.images[index], self.open(index)
        if image.state == "accepted":
            return image.pair.files[1]
        drawing = opened.drawing
        path = self._label_path(image, opened.case, bool(drawing.judged.all()))
        is_new = not path.exists()
        self._keep_foreign(path, drawing.standing)
        make_folder(path.parent)
        self.classes.keep([*self.classes.values()])
        self._describe(path.parent)
        judged = drawing.judged[:, None, None] | path.name.endswith(SEGMENTS)
        mask = on_grid(np.where(judged, drawing.planes, np.uint8(UNKNOWN)), opened.case)
        write_mask(mask, opened.case, path, self.classes.names, self.classes.file_colours)
        if is_new:
            self._check_found(image, path)
        drawing.accept(sha256_of(path))
        image.pair = replace(image.pair, labels={"": (path,)})
        self.noticed(index)
        return path

    def take_label(self, index: int) -> None:
        """Take the label of an image away, into the hidden folder: it is no example then.

        Raises:
            ValueError: If the label lies outside of the folder.
            OSError: If the system refuses.
        """
        image = self.images[index]
        for path in image.pair.files[1:]:
            self._keep_foreign(self._inside(path), replace(image.standing, accepted_sha256=None))
            path.unlink()
        image.pair = replace(image.pair, labels={})

    def forget_masks(self) -> None:
        """Read images anew on which nothing is drawn, as the masks that they began with have changed."""
        with self._opening:
            for index in [each for each in self._open if self.images[each].state == "bare"]:
                del self._open[index]

    def _close_others(self, kept: Collection[int | None]) -> None:
        for index in [each for each in self._open if each not in kept]:
            if len(self._open) <= MOST_OPEN and self._open_bytes() <= MOST_OPEN_BYTES:
                return
            del self._open[index]

    def _open_bytes(self) -> int:
        return sum(each.case.planes.nbytes for each in self._open.values())

    def _listed(self, pair: ImagePair) -> ListedImage:
        place = pair.image.relative_to(self.folder).as_posix()  # which the arrangement of others does not change
        log = self._store / "strokes" / f"{sha256_of(place.encode())[:32]}.jsonl"
        return ListedImage(pair, pair.name, log, DrawnState.of(StrokeLog(log).entries))

    def _read(self, index: int) -> OpenImage:
        image = self.images[index]
        case = self.look.read(image.pair)
        drawing = Drawing(case.planes.shape, StrokeLog(image.log))
        if not image.is_example:
            return OpenImage(case, drawing)
        files = image.pair.files[1:]
        standing = drawing.standing
        if standing.accepted_sha256 and [sha256_of(path) for path in files] == [standing.accepted_sha256]:
            return OpenImage(case, drawing)
        label = self._label(image.pair, case)
        if not standing.is_drawn:
            drawing.begin(label, _drawn_in(label))
        elif standing.is_accepted:  # another program changed it since
            drawing.replace(label, "label", _drawn_in(label))
        return OpenImage(case, drawing)

    def _label(self, pair: ImagePair, case: SourceImage) -> UInt8[np.ndarray, "N H W"]:
        """Read a label, and meet its classes."""
        by_class = sorted(filter(None, pair.labels))
        examples = Examples([case], labels_of([pair], by_class), self._rules, names=self.classes.names)
        (example,) = examples
        told = {**{value: str(value) for value in example.masks}, **example.names, **examples.names}
        self.classes.meet({value: told[value] for value in example.masks}, example.colours)
        return _flat(example)

    def _label_path(self, image: ListedImage, case: SourceImage, is_whole: bool) -> Path:
        paths = image.pair.files[1:]
        if len(paths) == 1 and "" in image.pair.labels and not drawn_format(paths[0]):
            suffix = mask_suffix(replace(case, source=paths[0]))
            if paths[0].name.lower().endswith(suffix):
                return self._inside(paths[0])
        place, suffix = self._inside(self.folder / LABELS / formats.stem(image.pair.name)), mask_suffix(case)
        if suffix == SEGMENTS and not is_whole and not place.with_name(f"{place.name}{suffix}").exists():
            suffix = VOLUME
        return place.with_name(f"{place.name}{suffix}")

    def _inside(self, path: Path) -> Path:
        if not path.resolve().is_relative_to(self.folder.resolve()):
            msg = f"{path} leads out of {self.folder}: expected a label within it, got a link. Replace the link."
            raise ValueError(msg)
        return path

    def _keep_foreign(self, path: Path, standing: DrawnState) -> None:
        """Copy a label that was not written here, before it is replaced."""
        if path.is_file() and (found := sha256_of(path)) != standing.accepted_sha256:
            kept = self._store / "replaced" / f"{found[:12]}-{path.name}"
            make_folder(kept.parent)
            if not kept.exists():
                replace_file(kept, path.read_bytes())

    def _describe(self, folder: Path) -> None:
        """Write names beside the labels, in the place where they are looked for, unless somebody else did."""
        path, mine = folder / DESCRIPTIONS, self._store / DESCRIPTIONS
        if path.exists() and (not mine.exists() or path.read_bytes() != mine.read_bytes()):
            return
        make_folder(self._store)
        write_classes(mine, [LabelClass(each.name, each.value, each.colour) for each in self.classes.values()])
        shutil.copyfile(mine, path)

    def _check_found(self, image: ListedImage, path: Path) -> None:
        """Make sure that the first label that is written is taken for that of its image.

        Raises:
            ValueError: If it is not; the file is taken away again.
        """
        if self._checked:
            return
        with Attempt() as attempt:
            pairs = read_folder(self.folder).pairs
        if attempt.error or not any(path in pair.files[1:] for pair in pairs if pair.image == image.pair.image):
            path.unlink()
            msg = (
                f"{path} would not be taken for the label of {image.name}: expected names that leave no doubt, got "
                f"{attempt.reason or 'others'}. Put the images into a folder of their own."
            )
            raise ValueError(msg)
        self._checked = True

    def _rules_of_labels(self) -> LabelRules:
        """Decide for all labels alike what their values mean."""
        pairing, look = self._pairing, self.look
        labelled = pairing.labelled
        given = read_own_card(pairing.folder).rules(pairing, LabelRules())
        by_class = [name for name in pairing.classes if any(name in pair.labels for pair in labelled)]
        if not labelled or by_class:
            return replace(given, instances=False)
        with Attempt():
            images = [pair.image for pair in labelled]
            return Examples(images, labels_of(labelled, ()), given, look.channel, level=look.level).rules
        return replace(given, instances=False)


@contextmanager
def opened(
    folder: Path,
    classes: Mapping[int, str] | None = None,
    channel: Channel = None,
    level: int | None = None,
    task: Mapping[int, str] | None = None,
) -> Iterator[AnnotatedFolder]:
    """Open a folder for one process alone.

    Args:
        folder: The folder.
        classes: Names of label values.
        channel: The channel to look at of images that have several.
        level: The level to look at of slides and other pyramids; None for what suits them: see `decided`.
        task: Names of the classes of a saved task or of results, unless they were named here.

    Raises:
        NotADirectoryError: If it is no folder.
        ValueError: If it has no images, another process is at work there, or it was looked at otherwise before.
        OSError: If it cannot be read or written to.
    """
    check_target(folder)
    with exclusive(folder, "annotate"):
        yield AnnotatedFolder(folder, classes, channel, level, task)


def _drawn_in(label: UInt8[np.ndarray, "N H W"]) -> list[int]:
    """Planes of a label that somebody drew: those that show a class and, if some are wholly unknown, all the others."""
    shown = ((label != 0) & (label != UNKNOWN)).any(axis=(1, 2))
    judged = (label != UNKNOWN).any(axis=(1, 2))
    return np.flatnonzero(shown if judged.all() else judged).tolist()


def _flat(example: Example) -> UInt8[np.ndarray, "N H W"]:
    """Make one label map of masks; of classes that overlap the last one stays, and the unknown stays unknown."""
    label = example.label_map
    if example.unknown is not None:
        label[example.unknown & (label == 0)] = UNKNOWN
    return label
