"""Propagation through volumes against prediction slice by slice: a few slices are labelled, the others are scored.

The function measured is the one a user calls, `Segmenter.propagate`, on the volume's file and on the volume's own grid.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, UInt8

from benchmarks.experiments.source_volumes import SourceVolume, VolumeSettings, find_volumes, read_volumes
from benchmarks.plans.task_plans import Settings, TaskPlan, stable_hash
from benchmarks.run import Store, Track
from benchmarks.scoring.evaluator import Scored, Work, exactly
from benchmarks.scoring.metering import Meter
from benchmarks.scoring.results import Cost, Row, claimed
from incontext import Segmenter
from incontext.inference.propagation import Propagation, interpolated
from incontext.inference.segmentation import dice
from megamed import Task
from megamed.files import sha256_of

METHODS: dict[str, dict[str, Any] | None] = {
    "propagation": {},
    "joining alone": {"continuity": 0.0, "neighbours": 0.0},
    "slice by slice": {"reach": 0, "continuity": 0.0, "neighbours": 0.0, "margin": 0.0},
    "labels alone": None,
}
"""Changes to `Propagation` that make each method; None interpolates the labels and sees no image.

The first method is the default, from which the others are subtracted.
"""
ASKED, SPREAD = "slices asked for", "slices spread evenly"
"""Methods that differ in the slices that are labelled: those that `Segmentation.next_plane` names, after the middle one
of those that show the label; or slices spread over these. Both are propagated as by default."""
MEASURED = "Segmenter.propagate, on the volume's own grid"
"""Description of the measured function, stored with the settings, so that no run continues results of another one."""


def methods_of(settings: VolumeSettings) -> list[str]:
    """Methods that can be asked; interpolation is none of them if the volume itself has no labelled slices."""
    if settings.asking:
        return [ASKED, SPREAD]
    return [name for name, changes in METHODS.items() if changes is not None or not settings.others]


@dataclass(frozen=True)
class Question:
    """Label to segment in a volume, and the volumes with labelled slices: the volume itself, or others."""

    volume: SourceVolume
    label: str
    teachers: Sequence[SourceVolume]
    labelled: int
    """Number of labelled slices in each of the teachers."""

    @property
    def task(self) -> Task:
        """Task of the collection that the question belongs to."""
        modality, axis = self.volume.view.split("/")
        return Task(dataset=self.volume.dataset, modality=modality, axis=axis, label=self.label)

    @property
    def known(self) -> dict[SourceVolume, list[int]]:
        """Indices of the labelled slices, by their volume."""
        return {teacher: teacher.indices(self.label, self.labelled) for teacher in self.teachers}

    @property
    def own(self) -> list[int]:
        """Indices of the slices that are labelled in the volume itself."""
        return self.known.get(self.volume, [])

    def answer(self, segmenter: Segmenter, method: str, folder: Path) -> Bool[np.ndarray, "X Y Z"]:
        """Segment the volume by a method.

        Args:
            segmenter: Segmenter to ask; it is fitted anew where other volumes hold the support.
            method: Name of the method, one of `METHODS`, or `ASKED` or `SPREAD`.
            folder: Empty folder for the volume's file and the support's, which a user would have.
        """
        volume, label, changes = self.volume, self.volume.labels[self.label].astype(np.uint8), METHODS.get(method, {})
        if method == ASKED:
            return self._asking(segmenter, volume.save(folder / "volume.nii"), label)
        if changes is None:
            planes = torch.from_numpy(volume.planes(label)).float()[:, None]
            depths = interpolated({index: planes[index] for index in self.own}, volume.count, volume.step)
            return np.moveaxis((depths[:, 0] > 0).numpy(), 0, volume.axis)
        if not self.own:
            slabs = [
                teacher.save_slab(folder / f"{number}.nii", self.label, indices)
                for number, (teacher, indices) in enumerate(self.known.items())
            ]
            segmenter.fit([path for path, _ in slabs], [labels for _, labels in slabs])
        labels = {index: np.take(label, index, volume.axis) for index in self.own} or None
        config = Propagation(**changes) if changes else None
        result = segmenter.propagate(volume.save(folder / "volume.nii"), labels, axis=volume.axis, config=config)
        return result[0] > 0

    def _asking(self, segmenter: Segmenter, path: Path, label: UInt8[np.ndarray, "X Y Z"]) -> Bool[np.ndarray, "X Y Z"]:
        """Segment the volume in a file by slices that it is asked for, the middle one first."""
        axis, asked = self.volume.axis, self.volume.indices(self.label, 1)
        while True:
            labels = {index: np.take(label, index, axis) for index in asked}
            result = segmenter.propagate(path, labels, axis=axis)
            if len(asked) == self.labelled:
                return result[0] > 0
            asked.append(result.next_plane())

    def score(self, mask: Bool[np.ndarray, "X Y Z"], method: str) -> Row:
        """Score all slices that were not labelled, together, against the annotation.

        Where methods differ in what is labelled, all slices are scored, as they would be handed on.
        """
        volume, own = self.volume, [] if method in (ASKED, SPREAD) else self.own
        asked = [index for index in range(volume.count) if index not in own]
        found, truth = (volume.planes(each)[asked] for each in (mask, volume.labels[self.label]))
        known = [(teacher.case, index) for teacher, indices in self.known.items() for index in indices]
        return Row(
            predictor=method,
            dataset=volume.dataset,
            task=self.task.id,
            subject=volume.subject,
            case=volume.case,
            draw=0,
            support_size=len(known),
            support_hash=f"{stable_hash(*sorted(known)):016x}",
            label_px=int(truth.sum()),
            mask_px=int(found.sum()),
            dice=round(dice(found, truth), 6),
        )


def run_volumes(
    root: Path,
    settings: VolumeSettings,
    weights: Path,
    out: Path,
    device: str = "cpu",
    track: Track = lambda batches, total: batches,
    asked_methods: Sequence[str] = (),
) -> dict[str, Any]:
    """Score methods on the volumes below a root into `out`, going on where an earlier run stopped.

    The files are those of `run_benchmark`, with a row per volume, label and method.

    Args:
        root: Folder of datasets with their source files, or one of these datasets.
        settings: Settings that decide the scores.
        weights: A weights file.
        out: Folder of the results.
        device: Torch device to compute on.
        track: Progress display: see `Track`.
        asked_methods: Names of the methods to score; by default all that can be asked. Others may follow later.

    Returns:
        The summary, as in `summary.json`; differences are of the first method minus each other one.

    Raises:
        ValueError: If there is nothing to score, a method is unknown, a file is damaged, or `out` holds results of
            other settings.
    """
    known = methods_of(settings)
    if strange := [name for name in asked_methods if name not in known]:
        msg = f"Unknown method: expected one of {', '.join(known)}, got {strange[0]!r}."
        raise ValueError(msg)
    names = [name for name in known if name in (asked_methods or known)]
    methods = {name: asdict(Propagation(**(METHODS.get(name) or {}))) for name in known}
    chosen = {name: value for name, value in asdict(settings).items() if name != "asking"}  # the methods tell
    decided = json.loads(json.dumps(chosen | {"methods": methods, "measured": MEASURED}))
    datasets = find_volumes(root, settings)
    with claimed(out, decided, dict.fromkeys(names, sha256_of(weights))), exactly():
        store, segmenter = Store.open(out), Segmenter(weights, device=device)
        asked = (
            question
            for card, cases in datasets
            for question in questions(
                [each for case in cases for each in read_volumes(card, case, settings.axis)], settings
            )
        )
        scored = (
            answered(question, name, segmenter, device)
            for question in asked
            for name in names
            if (name, question.task.id, question.volume.case, 0) not in store.done
        )
        most = len(names) * sum(len(case.images) * len(card.masks) for card, cases in datasets for case in cases)
        for _ in track(store.keep(scored), most - len(store.done)):
            pass
        if not store.done:
            msg = f"No volume can be asked about: expected {settings.others} others with the same label, got fewer."
            raise ValueError(msg)
        rows = store.rows()
        summary = store.summarise(rows, names, Settings(seed=settings.seed)) | {"settings": decided}
        store.publish(rows, summary)
    return summary


def answered(question: Question, method: str, segmenter: Segmenter, device: str) -> Scored:
    """Answer a question by one method, and measure score, time and memory."""
    meter = Meter(device)
    with TemporaryDirectory() as folder, meter, meter.timing():
        mask = question.answer(segmenter, method, Path(folder))
    task, count = question.task, question.volume.count - len(question.own)
    cost = Cost(method, task.id, count, round(meter.seconds, 6), round(meter.peak_bytes / 1e6, 1), 1)
    return Scored([question.score(mask, method)], cost, Work(method, TaskPlan(task, (), 1), ()))


def questions(volumes: Sequence[SourceVolume], settings: VolumeSettings) -> Iterator[Question]:
    """Yield a question for every label of every volume of a dataset, where enough other volumes show the label."""
    for volume in volumes:
        for label in volume.labels:
            alike = [each for each in volumes if each.view == volume.view and label in each.labels]
            others = [each for each in alike if each.subject != volume.subject][: settings.others]
            if len(others) == settings.others and volume.count > settings.labelled:
                yield Question(volume, label, others or [volume], settings.labelled)
