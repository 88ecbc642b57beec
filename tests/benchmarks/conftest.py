"""A collection of drawings: bright discs whose label is where they are bright."""

from collections.abc import Sequence

import numpy as np
import pytest

from megamed import Collection, DatasetCard, Sample, Task

SIZE_PX = 16


def disc(centre: int) -> np.ndarray:
    """A (16, 16) disc of radius 4 in {0, 1}."""
    rows, columns = np.ogrid[:SIZE_PX, :SIZE_PX]
    return ((rows - centre) ** 2 + (columns - centre) ** 2 <= 16).astype(np.uint8)


class DrawnCollection(Collection):
    """Two datasets in memory: `cells` has six subjects of one to three images, `lonely` has one subject."""

    def __init__(self) -> None:
        self._samples = {
            "cells": [
                Sample(
                    row=10 * subject + image,
                    subject=f"s{subject}",
                    case=f"s{subject}-{image}",
                    split="test",
                    area_px=49,
                )
                for subject in range(6)
                for image in range(1 + subject % 3)
            ],
            "lonely": [Sample(row=row, subject="s0", case=f"s0-{row}", split="test", area_px=49) for row in range(3)],
        }

    @property
    def datasets(self) -> tuple[str, ...]:
        return tuple(self._samples)

    def tasks(self, datasets: object = None, roles: object = None) -> list[Task]:
        if roles is not None and "heldout" not in roles:
            return []
        return [Task(dataset=name, modality="drawing", axis="2d", label="disc") for name in self._samples]

    def card(self, dataset: str) -> DatasetCard:
        return DatasetCard(id=dataset, modality="drawing", license="CC0-1.0" if dataset == "cells" else None)

    def samples(self, task: Task, split: str | None = None) -> list[Sample]:
        return self._samples[task.dataset]

    def labels(self, task: Task, rows: Sequence[int]) -> np.ndarray:
        return np.stack([disc(5 + row % 7) for row in rows])

    def images(self, task: Task, rows: Sequence[int]) -> np.ndarray:
        return 20 + 200 * self.labels(task, rows)


class SparseCollection(DrawnCollection):
    """The same, with an image of each subject that lacks the disc, and one of a seventh subject, `s6`."""

    size_px = SIZE_PX
    LACKING = 100
    """Number from which on rows lack the disc."""

    def rows(self, task: Task) -> list[Sample]:
        subjects = [*dict.fromkeys(each.subject for each in self.samples(task)), "s6"]
        lacking = [
            Sample(self.LACKING + number, subject, f"{subject}-none", "test", 0)
            for number, subject in enumerate(subjects)
        ]
        return self.samples(task) + lacking

    def areas(self, task: Task) -> np.ndarray:
        return np.where(np.arange(self.LACKING + 7) < self.LACKING, 49, 0)

    def unknown_areas(self, task: Task) -> np.ndarray:
        return np.zeros(self.LACKING + 7, int)

    def labels(self, task: Task, rows: Sequence[int]) -> np.ndarray:
        lacks = np.array([row >= self.LACKING for row in rows])
        return np.where(lacks[:, None, None], 0, super().labels(task, rows)).astype(np.uint8)


class AnnotatedCollection(DrawnCollection):
    """The same, with discs that ann drew as they are and bob half as wide; he left out the subjects `s0` and `s1`."""

    def tasks(self, datasets: object = None, roles: object = None) -> list[Task]:
        drawn = super().tasks(datasets, roles)
        return [task.model_copy(update={"label": f"disc{by}"}) for task in drawn for by in ("", "-by-ann", "-by-bob")]

    def samples(self, task: Task, split: str | None = None) -> list[Sample]:
        return [each for each in super().samples(task, split) if self.areas(task)[each.row] >= 0]

    def areas(self, task: Task) -> np.ndarray:
        areas = np.full(60, 49)
        areas[: 20 * task.label.endswith("bob")] = -1
        return areas

    def labels(self, task: Task, rows: Sequence[int]) -> np.ndarray:
        labels = super().labels(task, rows)
        if task.label.endswith("bob"):
            labels[:, :, ::2] = 0
        return labels

    def images(self, task: Task, rows: Sequence[int]) -> np.ndarray:
        return 20 + 200 * super().labels(task, rows)


@pytest.fixture
def drawings() -> DrawnCollection:
    return DrawnCollection()


@pytest.fixture
def sparse() -> SparseCollection:
    return SparseCollection()


@pytest.fixture
def annotated() -> AnnotatedCollection:
    return AnnotatedCollection()
