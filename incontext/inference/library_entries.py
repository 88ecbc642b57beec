"""Entries of a library of tasks, which are read when they are asked for, and found by words."""

import json
import re
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Self, TypeVar, overload

import numpy as np
import torch
from jaxtyping import Int64
from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError, model_validator
from torch import Tensor

from incontext.inference.image_source import ImageSource
from megamed.names import Named, akin, find
from megamed.schema import Task, slugify
from megamed.terms import fold, split_modalities

Item = TypeVar("Item")

MOST_IN_CONTEXT = 300
"""Tasks of whose sources one reads what else may be said of them; of more it is their classes alone."""
BETWEEN = "\t"
"""Separator of the labels of one task."""


HASH = "^[0-9a-f]{64}$"


def _as_written(name: str) -> str:
    """Make sure that a name is one of a task, and no path to elsewhere."""
    if not name or slugify(name) != name:
        msg = f"expected the name of a task, got {name!r}"
        raise ValueError(msg)
    return name


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

    name: Annotated[str, AfterValidator(_as_written)]
    sha256: Annotated[str, StringConstraints(pattern=HASH)]
    size_bytes: int
    classes: dict[int, str]
    labelled_images: int
    expected_dice: dict[int, float] = {}
    sources: tuple[ImageSource, ...] = ()
    author: str = ""
    picture_sha256: Annotated[str, StringConstraints(pattern=rf"{HASH}|^$")] = ""

    @model_validator(mode="after")
    def _has_classes(self) -> Self:
        if unknown := self.expected_dice.keys() - self.classes.keys():
            msg = f"expected Dice of classes that the task has, got it of {min(unknown)}"
            raise ValueError(msg)
        return self

    @property
    def licence(self) -> str:
        """Licences of the images as their sources state them; empty if none is known."""
        return "; ".join(dict.fromkeys(each.licence for each in self.sources if each.licence))

    @property
    def dice(self) -> str:
        """Expected Dice of the classes, in words."""
        return ", ".join(f"{self.classes[value]} {dice:.2f}" for value, dice in self.expected_dice.items()) or "–"

    @property
    def titles(self) -> str:
        """Titles of the sources."""
        return " ".join(each.title for each in self.sources)

    @property
    def words(self) -> str:
        """All that is said of the task, in small letters."""
        return " ".join((self.name, *self.classes.values(), self.author, self.titles)).casefold()

    @property
    def labels(self) -> list[str]:
        """The classes as names that may be asked for; a number has that of the task."""
        named = (self.name if name.isdecimal() else name for name in self.classes.values())
        return [label for label in dict.fromkeys(map(slugify, named)) if label]

    def row(self) -> dict[str, str | int]:
        """Columns of a table of tasks."""
        return {
            "task": self.name,
            "classes": ", ".join(self.classes.values()),
            "images": self.labelled_images,
            "expected Dice": self.dice,
            "licence": self.licence or "unknown",
        }


class ReadLate(Sequence[Item]):
    """Items of which each is read when it is asked for, by `read`."""

    @abstractmethod
    def read(self, index: int) -> Item:
        """Read one item."""

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> list[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | list[Item]:
        places = range(len(self))[index]
        return self.read(places) if isinstance(places, int) else list(map(self.read, places))


@dataclass(frozen=True)
class Lines(ReadLate[str]):
    """Lines of a text, found by what they hold without being taken apart.

    Attributes:
        content: The lines in UTF-8, each with its end.
    """

    content: bytes = field(repr=False)

    @cached_property
    def _ends(self) -> Int64[np.ndarray, " N"]:
        return np.flatnonzero(np.frombuffer(self.content, np.uint8) == ord("\n"))

    @classmethod
    def of(cls, lines: Iterable[str]) -> Self:
        """Join lines; line breaks within them become spaces."""
        return cls("".join(f"{' '.join(line.splitlines())}\n" for line in lines).encode())

    @classmethod
    def of_tensor(cls, content: Tensor) -> Self:
        """Read the bytes of a tensor."""
        return cls(content.numpy().tobytes())

    @property
    def tensor(self) -> Tensor:
        """The bytes as a tensor."""
        return torch.from_numpy(np.frombuffer(bytearray(self.content), np.uint8))

    def __len__(self) -> int:
        return len(self._ends)

    def read(self, index: int) -> str:
        """Read the line of an index, without its end."""
        end = int(self._ends[index])
        return self.content[self.content.rfind(b"\n", 0, end) + 1 : end].decode()

    def holding(self, text: str) -> Int64[np.ndarray, " M"]:
        """Indices of the lines that hold a text, in order."""
        found = re.finditer(re.escape(text.encode()) + rb"[^\n]*", self.content)  # the rest of a line tells no more
        return np.searchsorted(self._ends, np.array([each.start() for each in found], np.int64))


@dataclass(frozen=True)
class Entries(ReadLate[Entry]):
    """Entries of a library.

    Attributes:
        records: The entries as JSON, the name first.
        words: What is said of each, in small letters.
        labels: Names by which the classes of each are asked for.
    """

    records: Lines
    words: Lines
    labels: Lines

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> Self:
        """Write entries down, in their order."""
        listed = list(entries)
        return cls(
            Lines.of(each.model_dump_json() for each in listed),
            Lines.of(each.words for each in listed),
            Lines.of(BETWEEN.join(each.labels) for each in listed),
        )

    @classmethod
    def of_tensors(cls, tensors: Mapping[str, Tensor]) -> Self:
        """Read entries as `tensors` gives them.

        Raises:
            KeyError: If one is missing.
        """
        return cls(*(Lines.of_tensor(tensors[name]) for name in ("records", "words", "labels")))

    @property
    def tensors(self) -> dict[str, Tensor]:
        """The entries, and what they are found by, as bytes."""
        return {"records": self.records.tensor, "words": self.words.tensor, "labels": self.labels.tensor}

    def __len__(self) -> int:
        return len(self.records)

    def read(self, index: int) -> Entry:
        """Read the entry of an index.

        Raises:
            ValueError: If a library did not write it.
        """
        try:
            return Entry.model_validate_json(self.records[index])
        except ValidationError as error:
            wrong = error.errors()[0]["msg"].removeprefix("Value error, ")
            msg = f"index of the library is damaged: expected entries of tasks, got: {wrong}. Add the tasks anew."
            raise ValueError(msg) from error

    def named(self, name: str) -> int | None:
        """Index of the entry of a name; None if there is none."""
        start = f'{{"name":{json.dumps(name, ensure_ascii=False)},'
        hits = self.records.holding(start).tolist()
        return next((index for index in hits if self.records[index].startswith(start)), None)

    def search(self, words: str) -> Sequence[Entry]:
        """Find the entries in which all words are said or, where there is none, of which a class means what is asked.

        What is said of modalities is left out of the meaning, since no entry tells of them.
        """
        asked = words.casefold().split()
        if not asked:
            return self
        held = np.bincount(np.concatenate([self.words.holding(word) for word in asked]))
        hits: list[int] = np.flatnonzero(held == len(asked)).tolist()
        return Chosen(self, hits or self._meant(words))

    @cached_property
    def _by_label(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = defaultdict(list)
        for index, line in enumerate(self.labels.content.decode().splitlines()):
            for label in line.split(BETWEEN):
                found[label].append(index)
        return found

    def _meant(self, words: str) -> list[int]:
        """Indices of the entries of which a class, or a class together with its sources, means what is asked for."""
        query = " ".join(split_modalities(fold(words))[1]) or words
        near = akin(query)
        labels = [label for label in self._by_label if not near.isdisjoint(fold(label))]
        likely = find(query, [Named(_task("library", label)) for label in labels]).tasks
        if likely:
            return sorted({index for task in likely for index in self._by_label[task.label]})
        told = [(index, label) for label in labels for index in self._by_label[label]]
        entries = {index: self[index] for index, _ in told[:MOST_IN_CONTEXT]}
        by_task = {_task(entries[index].name, label): index for index, label in told[:MOST_IN_CONTEXT]}
        named = [Named(task, entries[index].name, entries[index].titles) for task, index in by_task.items()]
        return list(dict.fromkeys(by_task[task] for task in find(query, named).tasks))


@dataclass(frozen=True)
class Chosen(ReadLate[Entry]):
    """Some of the entries of a library.

    Attributes:
        entries: All of them.
        indices: Indices of those that are chosen.
    """

    entries: Entries = field(repr=False)
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, index: int) -> Entry:
        """Read the entry of an index among those that are chosen."""
        return self.entries.read(self.indices[index])


def _task(dataset: str, label: str) -> Task:
    return Task(dataset=dataset, modality="image", axis="2d", label=label)
