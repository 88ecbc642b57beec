"""Tasks that go into a library or come out of it: they are judged, described, pictured, and proposed for an image."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image

from incontext.folders.folder_images import read_folder
from incontext.folders.library_page import library_page
from incontext.folders.overlay import draw
from incontext.folders.user_folder import read_sample
from incontext.images.normalisation import apply
from incontext.images.source_image import SourceImage
from incontext.inference.library_entries import Entry
from incontext.inference.looks import look
from incontext.inference.task_file import read_task
from incontext.inference.task_library import NewTask, TaskLibrary, add_task, task_name
from incontext.segmenter import Segmenter
from megamed.failures import Attempt
from megamed.files import sha256_of

PICTURE_PX = 192
TRIED = 5
"""Tasks, of those whose images are most alike, that are tried on the image."""
REVERSED = 4
"""Labelled images of a task that are segmented by what it finds in the image."""


@dataclass(frozen=True)
class TaskProposal:
    """A task that may fit images.

    Attributes:
        entry: The task.
        likeness: Likeness of its images to them, at most 1.
        agreement: Dice of its own labelled images, segmented by what it finds in the images to segment.
    """

    entry: Entry
    likeness: float
    agreement: float

    def row(self) -> dict[str, str | int]:
        """Columns of a table of proposals."""
        return {"likeness": f"{self.likeness:.3f}", "agreement": f"{self.agreement:.2f}", **self.entry.row()}


def add_file(folder: Path, file: Path, name: str = "") -> Entry:
    """Judge a task by its own labelled images, and add it to a library.

    Args:
        folder: Folder of the library, which is made if need be.
        file: File of the task, or `owner/name` on a hub.
        name: Name in the library; by default that of the file.

    Raises:
        ValueError: If it is no task, or the name is taken.
        OSError: If a file cannot be read or written.
    """
    if file.is_dir():
        found = sorted(file.glob("*.task"))
        fix = f"Name the files in it, such as {found[0]}." if found else "Name one that `save-task` wrote."
        message = f"{file} is a folder: expected the file of a task, got {len(found)} of them in a folder. {fix}"
        raise IsADirectoryError(message)
    network = _network()
    segmenter = Segmenter.load_task(file)
    described = None
    if segmenter.fitted.sample:
        described = look([example.case for example in segmenter.fitted.sample], network)
    expected = segmenter.expected_
    entry = Entry(
        name=task_name(name or file.stem),
        sha256=sha256_of(file),
        size_bytes=file.stat().st_size,
        classes=dict(segmenter.fitted.names),
        labelled_images=segmenter.fitted.pool.label_budget,
        expected_dice={} if expected is None else dict(expected.dice),
        sources=segmenter.image_sources,
        author=read_task(file).author,
    )
    picture = _picture(segmenter)
    entry = entry.model_copy(update={"picture_sha256": sha256_of(picture)})
    add_task(folder, NewTask(file, entry, described, picture), network._load().sha256 or "", library_page)
    return entry


def propose(folder: Path, images: Path, count: int = TRIED) -> list[TaskProposal]:
    """Propose the tasks of a library that fit images without labels, the one whose images are most alike first.

    Each is tried: it segments the images, and what it finds segments its own labelled images in turn. How well it finds
    its own labels again is told beside, and orders nothing: easy tasks agree with any image.

    Args:
        folder: Folder of the library.
        images: Folder of images, or a single one.
        count: Number of tasks that are tried.

    Raises:
        ValueError: If no image can be read, or the library is damaged.

    Source:
        Valindria et al., Reverse classification accuracy, IEEE TMI 2017.
    """
    library = TaskLibrary.open(folder)
    cases, error = read_sample(read_folder(images).pairs)
    if not cases:
        raise error or ValueError(f"{images} has no images: expected some to segment, got none. Name others.")
    network = _network()
    return propose_for(library, cases, look(cases, network), count)


def propose_for(
    library: TaskLibrary, cases: Sequence[SourceImage], described: Float32[np.ndarray, " C"], count: int = TRIED
) -> list[TaskProposal]:
    """Propose tasks for images that are read and described: see `propose`."""
    found = []
    for entry, likeness in library.nearest(described, count):
        with Attempt() as attempt:
            agreement = agreement_of(Segmenter.load_task(library.file(entry.name)), cases)
            found.append(TaskProposal(entry, likeness, agreement))
        if attempt.error:
            warnings.warn(f"{entry.name} is left out: {attempt.reason}", stacklevel=2)
    return found


def agreement_of(segmenter: Segmenter, cases: Sequence[SourceImage]) -> float:
    """Dice of a task's own labelled images, segmented by what the task finds in other images; 0 if it finds nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is unlike the examples is the question here
        masks = segmenter.predict(list(cases)).masks
        if not any(mask.any() for mask in masks):
            return 0.0
        names = dict(segmenter.fitted.names)
        own = segmenter.fitted.sample[:: -(-len(segmenter.fitted.sample) // REVERSED)]
        turned = Segmenter(segmenter.weights, device=segmenter.device, scaling=segmenter.scaling)
        turned.set_params(size_px=segmenter.size_px, absent="keep", overlap=segmenter.overlap)
        turned.fit(list(cases), list(masks), names)
        return turned.score([example.case for example in own], [example.label_map for example in own])


def _network() -> Segmenter:
    """The network by which images are described in all libraries."""
    return Segmenter.from_pretrained("default")


def _picture(segmenter: Segmenter) -> bytes:
    """Draw the labelled image that shows most, or an empty square for a task without images."""
    fitted, drawn = segmenter.fitted, Image.new("RGB", (PICTURE_PX, PICTURE_PX), "grey")
    if fitted.sample:
        example = fitted.sample[0]
        label = example.label_map
        plane = int((label > 0).sum((1, 2)).argmax())
        drawn = draw(
            apply(example.case, fitted.preparation.normalisation)[plane], label[plane], fitted.colours, PICTURE_PX
        )
    file = io.BytesIO()
    drawn.save(file, "PNG")
    return file.getvalue()
