"""A library of tasks in a folder: their files with hashes, licences and expected Dice, found by words or by looks."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import numpy as np
import torch
from jaxtyping import Float32

from incontext.inference.library_entries import Entries, Entry
from incontext.networks.sealed import Damaged, read_sealed_metadata, read_tensors, save_sealed
from megamed.files import after_others, claimed, make_folder, replace_file, replacing, sha256_of
from megamed.schema import slugify

INDEX = "index.safetensors"
PAGE = "index.html"
TASKS, PICTURES = "tasks", "pictures"
PATIENCE = 600
"""Number of times that a library in use is tried."""
NEAREST = 10
"""Tasks that are found by looks."""


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
    entries: Entries = field(default_factory=lambda: Entries.of(()), repr=False)
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
            tensors = read_tensors(path)
            entries, looks = Entries.of_tensors(tensors), tensors["looks"].numpy().astype(np.float32)
            if looks.ndim != 2 or len(looks) != len(entries):
                raise Damaged(f"{len(looks)} looks of {len(entries)} tasks")  # noqa: EM102 - told below
            return cls(folder, entries, looks, about["network"])
        except (Damaged, KeyError) as error:
            msg = f"{path} is damaged: expected the index of a library, got {error}. Delete it, and add the tasks anew."
            raise ValueError(msg) from error

    def file(self, name: str) -> Path:
        """File of a task, which is as it was added.

        Raises:
            ValueError: If there is no such task, or its file is missing, damaged or another.
        """
        index = self.entries.named(name)
        if index is None:
            found = ", ".join(entry.name for entry in self.search(name)[:NEAREST]) or "none like it"
            msg = f"{name!r} is not in {self.folder}: expected the name of a task, got another. There are {found}."
            raise ValueError(msg)
        entry = self.entries[index]
        if fault := self._fault(entry):
            raise ValueError(fault)
        return self._path(entry)

    def search(self, words: str) -> Sequence[Entry]:
        """Tasks of which all words are said or, where there is none, of which a class means what is asked for."""
        return self.entries.search(words)

    def nearest(self, look: Float32[np.ndarray, " C"], count: int = NEAREST) -> list[tuple[Entry, float]]:
        """Tasks whose images are most alike, the most alike first, each with its likeness, at most 1."""
        if self.looks.shape[1] != len(look):  # no task has images
            return []
        likeness = self.looks @ look
        few = np.argpartition(-likeness, min(count, len(likeness)) - 1)[:count]
        ranked = few[np.argsort(-likeness[few], kind="stable")].tolist()
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
            kept = (new.entry if entry.name == new.entry.name else entry for entry in self.entries)
            return replace(self, entries=Entries.of(kept))
        if self.entries and self.network != network:
            msg = (
                f"{self.folder} was made with other weights: expected looks by SHA-256 {self.network}, got {network}. "
                "Make a new library of its tasks."
            )
            raise ValueError(msg)
        entries = Entries.of((*self.entries, new.entry))
        return replace(self, entries=entries, looks=self._joined(new.look), network=network)

    def _joined(self, look: Float32[np.ndarray, " C"] | None) -> Float32[np.ndarray, "N C"]:
        width = max(self.looks.shape[1], 0 if look is None else len(look))
        rows = np.zeros((len(self.entries) + 1, width), np.float32)
        rows[:-1, : self.looks.shape[1]] = self.looks
        if look is not None:
            rows[-1] = look
        return rows

    def write_index(self) -> None:
        """Write the index; it is replaced at once or not at all."""
        looks = {"looks": torch.from_numpy(self.looks.astype(np.float16))}
        with replacing(self.folder / INDEX) as partial:
            save_sealed(self.entries.tensors | looks, partial, {"network": self.network})


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


def _alone(folder: Path) -> AbstractContextManager[None]:
    """Keep others from changing a library, after whoever is at it now."""
    return after_others(lambda: claimed(folder, "add", (INDEX, PAGE)), PATIENCE)
