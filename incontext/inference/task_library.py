"""A library of tasks in a folder: their files with hashes, licences and expected Dice, found by words or by looks."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from jaxtyping import Float32
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from incontext.inference.image_source import ImageSource
from incontext.networks.sealed import Damaged, read_sealed_metadata, read_tensors, save_sealed
from megamed.files import InUse, claimed, make_folder, replace_file, replacing, sha256_of
from megamed.names import Named, find
from megamed.schema import Task, slugify

INDEX = "index.safetensors"
PAGE = "index.html"
TASKS, PICTURES = "tasks", "pictures"
PATIENCE, PAUSE_S = 600, 0.05
"""Number of times that a library in use is tried, and seconds between them."""
MOST_MEANT = 10_000
"""Tasks among which a name is sought by what it means; among more, by its letters alone."""
NEAREST = 10
"""Tasks that are found by looks."""


class Entry(BaseModel):
    """A task as the index of a library tells of it.

    Attributes:
        name: Name of the task in the library, and of its file and picture.
        sha256: Hash of its file.
        picture_sha256: Hash of its picture; empty if it was added by a version that did not tell it.
        size_bytes: Size of its file.
        classes: Names of its classes by label value.
        labelled_images: Number of its labelled images; 0 if it holds their code alone.
        expected_dice: Expected Dice of its classes by label value, as far as it could be judged.
        sources: Datasets that its images come from.
        author: Who made it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    sha256: str
    size_bytes: int
    classes: dict[int, str]
    labelled_images: int
    expected_dice: dict[int, float] = {}
    sources: tuple[ImageSource, ...] = ()
    author: str = ""
    picture_sha256: str = ""

    @property
    def licence(self) -> str:
        """Licences of the images as their sources state them; empty if none is known."""
        return "; ".join(dict.fromkeys(each.licence for each in self.sources if each.licence))

    @property
    def dice(self) -> str:
        """Expected Dice of the classes, in words."""
        return ", ".join(f"{self.classes[value]} {dice:.2f}" for value, dice in self.expected_dice.items()) or "–"

    @property
    def words(self) -> str:
        """All that is said of the task, in small letters."""
        told = (self.name, *self.classes.values(), self.author, *(each.title for each in self.sources))
        return " ".join(told).casefold()

    def row(self) -> dict[str, str | int]:
        """Columns of a table of tasks."""
        return {
            "task": self.name,
            "classes": ", ".join(self.classes.values()),
            "images": self.labelled_images,
            "expected Dice": self.dice,
            "licence": self.licence or "unknown",
        }


@dataclass(frozen=True)
class NewTask:
    """A task on its way into a library.

    Attributes:
        file: File of the task, wherever that is.
        entry: What the index will tell of it.
        look: Description of its images, as by `incontext.inference.looks.look`; None if it holds none.
        picture: Picture of one of its labelled images, as PNG.
    """

    file: Path
    entry: Entry
    look: Float32[np.ndarray, " C"] | None = field(repr=False)
    picture: bytes = field(repr=False)


@dataclass(frozen=True)
class TaskLibrary:
    """A library as its index tells it.

    Attributes:
        folder: Folder of the library.
        entries: Tasks of the library.
        looks: Descriptions of their images, a row for each; zeros for tasks without images.
        network: Hash of the weights that the descriptions were made by; empty as long as there is none.
    """

    folder: Path
    entries: Sequence[Entry] = ()
    looks: Float32[np.ndarray, "N C"] = field(default_factory=lambda: np.zeros((0, 0), np.float32), repr=False)
    network: str = ""

    @classmethod
    def open(cls, folder: Path) -> Self:
        """Read the index of a library.

        Raises:
            FileNotFoundError: If there is none.
            ValueError: If it is damaged.
        """
        path = folder / INDEX
        if not path.is_file():
            msg = f"{folder} is no library: expected {INDEX} in it, got none. Add a task: incontext library add."
            raise FileNotFoundError(msg)
        try:
            about = read_sealed_metadata(path)
            entries = TypeAdapter(list[Entry]).validate_json(about["entries"])
            looks = read_tensors(path)["looks"].numpy().astype(np.float32)
            if looks.ndim != 2 or len(looks) != len(entries):
                raise Damaged(f"{len(looks)} looks of {len(entries)} tasks")  # noqa: EM102 - told below
            return cls(folder, entries, looks, about["network"])
        except (Damaged, ValidationError, KeyError) as error:
            told = "other entries" if isinstance(error, ValidationError) else str(error)
            msg = f"{path} is damaged: expected the index of a library, got {told}. Delete it, and add the tasks anew."
            raise ValueError(msg) from error

    def file(self, name: str) -> Path:
        """File of a task, which is as it was added.

        Raises:
            ValueError: If there is no such task, or its file is missing, damaged or another.
        """
        by_name = {entry.name: entry for entry in self.entries}
        if name not in by_name:
            found = ", ".join(entry.name for entry in self.search(name)[:NEAREST]) or "none like it"
            msg = f"{name!r} is not in {self.folder}: expected the name of a task, got another. There are {found}."
            raise ValueError(msg)
        if fault := self._fault(by_name[name]):
            raise ValueError(fault)
        return self._path(by_name[name])

    def search(self, words: str) -> list[Entry]:
        """Tasks of which all words are said or, where there is none, of which a class means what is asked for."""
        asked = words.casefold().split()
        hits = [entry for entry in self.entries if all(word in entry.words for word in asked)]
        if hits or len(self.entries) > MOST_MEANT:
            return hits
        by_task = {task.id: entry for entry in self.entries for task in _tasks(entry)}
        named = [
            Named(task, entry.name, " ".join(each.title for each in entry.sources))
            for entry in self.entries
            for task in _tasks(entry)
        ]
        found = find(words, named).tasks
        return list({by_task[task.id].name: by_task[task.id] for task in found}.values())

    def nearest(self, look: Float32[np.ndarray, " C"], count: int = NEAREST) -> list[tuple[Entry, float]]:
        """Tasks whose images are most alike, the most alike first, each with its likeness, at most 1."""
        if self.looks.shape[1] != len(look):  # no task has images
            return []
        likeness = self.looks @ look
        few = np.argpartition(-likeness, min(count, len(likeness)) - 1)[:count]
        ranked = few[np.argsort(-likeness[few], kind="stable")]
        return [(self.entries[index], float(likeness[index])) for index in ranked if self.looks[index].any()]

    def verify(self) -> Iterator[str]:
        """Say of each file of a task or a picture if it is missing, damaged or another, or is in no entry."""
        yield from filter(None, map(self._fault, self.entries))
        yield from filter(None, map(self._picture_fault, self.entries))
        known = {path for entry in self.entries for path in (self._path(entry), self._picture(entry))}
        for path in (each for part in (TASKS, PICTURES) for each in sorted((self.folder / part).glob("*"))):
            if path not in known and not path.name.startswith("."):
                yield f"{path} is in no entry: expected what was added, got another file. Add it, or move it away."

    def _path(self, entry: Entry) -> Path:
        return self.folder / TASKS / f"{entry.name}.task"

    def _picture(self, entry: Entry) -> Path:
        return self.folder / PICTURES / f"{entry.name}.png"

    def _fault(self, entry: Entry) -> str:
        """Say what is wrong with the file of a task; empty if nothing is."""
        return _fault_of(self._path(entry), entry.sha256)

    def _picture_fault(self, entry: Entry) -> str:
        return _fault_of(self._picture(entry), entry.picture_sha256)

    def with_task(self, new: NewTask, network: str) -> "TaskLibrary":
        """The library with one more task in its index.

        Raises:
            ValueError: If another task has the name, or descriptions are of another network.
        """
        same = [entry for entry in self.entries if entry.name == new.entry.name]
        if same and same[0].sha256 != new.entry.sha256:
            msg = f"{new.entry.name!r} is taken: expected a new name, got that of another task. Choose one by --name."
            raise ValueError(msg)
        if same:
            entries = [new.entry if entry.name == new.entry.name else entry for entry in self.entries]
            return replace(self, entries=entries)
        if self.entries and self.network != network:
            msg = (
                f"{self.folder} was made with other weights: expected looks by SHA-256 {self.network}, got {network}. "
                "Make a new library of its tasks."
            )
            raise ValueError(msg)
        return replace(self, entries=[*self.entries, new.entry], looks=self._joined(new.look), network=network)

    def _joined(self, look: Float32[np.ndarray, " C"] | None) -> Float32[np.ndarray, "N C"]:
        width = max(self.looks.shape[1], 0 if look is None else len(look))
        rows = np.zeros((len(self.entries) + 1, width), np.float32)
        rows[:-1, : self.looks.shape[1]] = self.looks
        if look is not None:
            rows[-1] = look
        return rows

    def write_index(self) -> None:
        """Write the index; it is replaced at once or not at all."""
        entries = json.dumps([entry.model_dump(mode="json") for entry in self.entries], ensure_ascii=False)
        looks = {"looks": torch.from_numpy(self.looks.astype(np.float16))}
        with replacing(self.folder / INDEX) as partial:
            save_sealed(looks, partial, {"entries": entries, "network": self.network})


def add_task(folder: Path, new: NewTask, network: str, page: Callable[[TaskLibrary], str]) -> TaskLibrary:
    """Add a task to a library, which is made if need be; who comes meanwhile waits.

    Its file comes first and the index last, so that nothing is half there whenever this is killed.

    Args:
        folder: Folder of the library.
        new: The task.
        network: Hash of the weights by which its images were described.
        page: Function that writes the page of a library.

    Raises:
        ValueError: If the name is taken, the library is damaged, or somebody else's files are in its place.
        OSError: If it cannot be written.
    """
    with _alone(folder):
        before = TaskLibrary.open(folder) if (folder / INDEX).is_file() else TaskLibrary(folder)
        after = before.with_task(new, network)
        for part, ending, content in ((TASKS, "task", new.file.read_bytes()), (PICTURES, "png", new.picture)):
            make_folder(folder / part)
            replace_file(folder / part / f"{new.entry.name}.{ending}", content)
        after.write_index()
        replace_file(folder / PAGE, page(after))
    return after


def _fault_of(path: Path, sha256: str) -> str:
    """Say what is wrong with a file; empty if nothing is, or its hash is not known."""
    if not path.is_file():
        return f"{path} is missing: expected the file that was added, got none. Add the task again, or put it back."
    if sha256 and (found := sha256_of(path)) != sha256:
        fix = "Move it away and add the task again, or put its file back."
        return f"{path} was changed: expected SHA-256 {sha256}, got {found}. {fix}"
    return ""


def _tasks(entry: Entry) -> list[Task]:
    """The classes of a task, each as one that has a name to be asked for by; a number has that of the task."""
    named = (entry.name if name.isdecimal() else name for name in entry.classes.values())
    return [
        Task(dataset=entry.name, modality="image", axis="2d", label=label)
        for label in dict.fromkeys(map(slugify, named))
        if label
    ]


def task_name(text: str) -> str:
    """Make the name of a task of any text.

    Raises:
        ValueError: If it has no letters.
    """
    name = slugify(text)
    if not name:
        msg = f"{text!r} is no name: expected letters or digits, got none. Choose one by --name."
        raise ValueError(msg)
    return name


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep others from changing a library, after whoever is at it now."""
    with ExitStack() as held:
        for _ in range(PATIENCE):
            with suppress(InUse):
                held.enter_context(claimed(folder, "add", (INDEX, PAGE)))
                break
            time.sleep(PAUSE_S)
        else:
            held.enter_context(claimed(folder, "add", (INDEX, PAGE)))
        yield
