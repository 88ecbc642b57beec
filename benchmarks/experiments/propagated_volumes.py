"""Propagation through volumes against prediction slice by slice: a few slices are labelled, the others are scored.

Volumes come from their source files, since a collection holds only some slices of each. They are brought to [0, 1], cut
and resized as `megamed build` does it.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from benchmarks.analysis.summary import summarise
from benchmarks.plans.task_plans import stable_hash
from benchmarks.predictors import load_network
from benchmarks.scoring.evaluator import exactly
from benchmarks.scoring.results import Row, append_rows, claim_folder, drop_torn_line, read_rows
from incontext.inference.propagation import LabelledPlanes, Propagation, interpolated, propagate
from incontext.networks.measures import dice
from megamed import DatasetCard, standardise
from megamed.annotation import masks_of
from megamed.files import exclusive, replace_file, sha256_of
from megamed.labels import read_annotations
from megamed.layouts import find_datasets, find_subjects, read_card
from megamed.layouts.cases import Case
from megamed.pixels import is_volume_file, read_image
from megamed.readers.volume import Volume
from megamed.schema import slugify
from megamed.standardise import Standard

METHODS: dict[str, dict[str, Any] | None] = {
    "propagation": {},
    "joining alone": {"continuity": 0.0, "neighbours": 0.0},
    "slice by slice": {"reach": 0, "continuity": 0.0, "neighbours": 0.0},
    "labels alone": None,
}
"""What is compared with the first, and where its `Propagation` differs; None interpolates labels and sees no image."""

Track = Callable[[Iterable[list[Row]], int], Iterable[list[Row]]]
"""Passes batches of rows through while showing progress towards a number of rows."""


@dataclass(frozen=True)
class VolumeSettings:
    """Which volumes, and what is labelled of them."""

    datasets: tuple[str, ...] = ()
    """Their ids; by default all of role heldout."""
    labelled: int = 3
    """Slices of a volume, evenly over those that show the label."""
    others: int = 0
    """Volumes of other subjects whose labelled slices are the support, in place of slices of the volume itself."""
    volumes: int = 20
    """Of a dataset, at most; of each subject one before any second."""
    axis: str = ""
    """Along which to slice: one of `standardise.AXES`; by default across thick slices, else across axial ones."""
    seed: int = 0
    """Of the choice of volumes and of the bootstrap."""

    def __post_init__(self) -> None:
        for name, least in (("labelled", 1), ("others", 0), ("volumes", 1)):
            if (value := getattr(self, name)) < least:
                msg = f"{name} is too small: expected at least {least}, got {value}."
                raise ValueError(msg)
        if self.axis and self.axis not in standardise.AXES:
            msg = f"Unknown axis: expected one of {', '.join(standardise.AXES)}, got {self.axis!r}."
            raise ValueError(msg)

    @property
    def methods(self) -> list[str]:
        """What can be asked: without labels on the volume itself, there is nothing to interpolate."""
        return [name for name, changes in METHODS.items() if changes is not None or not self.others]


@dataclass(frozen=True, eq=False)
class SlicedVolume:
    """A volume as the network sees it, in one modality."""

    dataset: str
    view: str
    """`modality/axis`, as in task ids."""
    subject: str
    case: str
    planes: UInt8[np.ndarray, "N S S"]
    labels: dict[str, UInt8[np.ndarray, "N S S"]]
    """By name, of what the volume shows."""
    step: float
    """Distance of neighbouring slices, in sides of a slice."""

    def places(self, label: str, count: int) -> list[int]:
        """Slices to label: evenly over those that show the label."""
        showing = np.flatnonzero(self.labels[label].any(axis=(1, 2)))
        return sorted({int(showing[(2 * k + 1) * len(showing) // (2 * count)]) for k in range(count)})

    def shown(self, label: str, places: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Slices in [0, 1] and their labels in {0, 1}, both (n, 1, S, S)."""
        images, labels = (torch.from_numpy(each[places])[:, None].float() for each in (self.planes, self.labels[label]))
        return images / 255, labels


@dataclass(frozen=True)
class Question:
    """A label to find in a volume, and the volumes that show it: itself, or others."""

    volume: SlicedVolume
    label: str
    teachers: Sequence[SlicedVolume]
    labelled: int
    """Slices of each teacher."""

    @property
    def task(self) -> str:
        """Its id."""
        return f"{self.volume.dataset}/{self.volume.view}/{self.label}"

    def answered(self, network: Any, device: str, method: str) -> Row:
        """Ask the network, and score the slices that were not labelled, all together."""
        volume = self.volume
        images, labels = (each.to(device) for each in volume.shown(self.label, range(len(volume.planes))))
        known = {
            (teacher.case, place): teacher.shown(self.label, [place])
            for teacher in self.teachers
            for place in teacher.places(self.label, self.labelled)
        }
        own = {place: labels[place] for case, place in known if case == volume.case}
        support = (torch.cat(each).to(device) for each in zip(*known.values(), strict=True))
        changes = METHODS[method]
        if changes is None:
            logits = interpolated(own, len(images), volume.step)
        else:
            config = Propagation(**{"step": volume.step, **changes})
            logits = propagate(network, images, own, None if own else LabelledPlanes(*support), config)
        asked = [place for place in range(len(images)) if place not in own]
        masks, truth = ((each[asked] > 0).flatten(0, 2)[None, None] for each in (logits, labels))
        return Row(
            predictor=method,
            dataset=volume.dataset,
            task=self.task,
            subject=volume.subject,
            case=volume.case,
            draw=0,
            support_size=len(known),
            support_hash=f"{stable_hash(*sorted(known)):016x}",
            label_px=int(truth.sum()),
            mask_px=int(masks.sum()),
            dice=round(float(dice(masks, truth)), 6),
        )


def run_volumes(
    root: Path,
    settings: VolumeSettings,
    weights: Path,
    out: Path,
    device: str = "cpu",
    track: Track = lambda batches, total: batches,
) -> dict[str, Any]:
    """Score every method on the volumes below a root into `out`, going on where an earlier run stopped.

    Writes `settings.json`, a row per volume, label and method in `rows.csv`, and `summary.json`.

    Args:
        root: A folder of datasets with their source files, or one of them.
        settings: What decides the scores.
        weights: Of the network.
        out: Where results go.
        device: Where to compute.
        track: Shows progress.

    Returns:
        The summary, as in `summary.json`; differences are of propagation minus each other method.

    Raises:
        ValueError: If there is nothing to score, a file is damaged, or `out` holds results of other settings.
    """
    names = settings.methods
    methods = {name: asdict(Propagation(**(METHODS[name] or {}))) for name in names}
    decided = json.loads(json.dumps(asdict(settings) | {"methods": methods}))
    datasets = _find(root, settings)
    claim_folder(out, decided, dict.fromkeys(names, sha256_of(weights)))
    path = out / "rows.csv"
    with exclusive(out, "run"), exactly():
        drop_torn_line(path)
        done = {row.key for row in read_rows(path)}
        network = load_network(weights, device)

        def batches() -> Iterator[list[Row]]:
            for card, cases in datasets:
                for question in questions([each for case in cases for each in slices(card, case, settings)], settings):
                    missing = [name for name in names if (name, question.task, question.volume.case, 0) not in done]
                    yield [question.answered(network, device, name) for name in missing]

        most = len(names) * sum(len(case.images) * len(card.masks) for card, cases in datasets for case in cases)
        for rows in track(batches(), most - len(done)):
            append_rows(path, rows)
        if not (rows := read_rows(path)):
            msg = f"No volume can be asked about: expected {settings.others} others with the same label, got fewer."
            raise ValueError(msg)
        summary = summarise(rows, names, settings.seed) | {"settings": decided}
        replace_file(out / "summary.json", (json.dumps(summary, indent=2) + "\n").encode())
    return summary


def questions(volumes: Sequence[SlicedVolume], settings: VolumeSettings) -> Iterator[Question]:
    """Every label of every volume of a dataset, as far as there are enough others to learn it from."""
    for volume in volumes:
        for label in volume.labels:
            alike = [each for each in volumes if each.view == volume.view and label in each.labels]
            others = [each for each in alike if each.subject != volume.subject][: settings.others]
            if len(others) == settings.others and len(volume.planes) > settings.labelled:
                yield Question(volume, label, others or [volume], settings.labelled)


def slices(card: DatasetCard, case: Case, settings: VolumeSettings) -> Iterator[SlicedVolume]:
    """A volume in each of its modalities, cut along the axis."""
    for modality, source in case.images.items():
        volume = read_image(source)
        assert isinstance(volume, Volume)  # no other cases were chosen
        axis = _axis(volume, settings.axis)
        others = [other for other in range(3) if other != axis]
        side_mm = max(volume.array.shape[other] * volume.spacing_mm[other] for other in others)
        masks = masks_of(read_annotations(case, card, volume), card.masks)
        array = standardise.unit_range(volume.array, modality)
        yield SlicedVolume(
            card.id,
            f"{slugify(modality)}/{standardise.AXES[axis]}",
            case.subject or case.name,
            case.name,
            _cut(array, volume.spacing_mm, axis, standardise.standard_image),
            {
                name: _cut(mask.view(np.uint8), volume.spacing_mm, axis, _standard_mask)
                for name, mask in masks.items()
                if mask.any()
            },
            volume.spacing_mm[axis] / side_mm,
        )


def _axis(volume: Volume, name: str) -> int:
    if name:
        return standardise.AXES.index(name)
    return standardise.slicing_axes(volume.array.shape, volume.spacing_mm)[-1]


def _cut(
    array: np.ndarray, spacing_mm: tuple[float, float, float], axis: int, bring: Callable[..., np.ndarray]
) -> UInt8[np.ndarray, "N S S"]:
    """All planes across an axis, brought to the network's grid."""
    pixel_mm = standardise.display_spacing(spacing_mm, axis)
    planes = (standardise.display_plane(array, axis, place) for place in range(array.shape[axis]))
    return np.stack([bring(plane, Standard(), pixel_mm) for plane in planes])


def _standard_mask(plane: UInt8[np.ndarray, "H W"], *standard: Any) -> UInt8[np.ndarray, "S S"]:
    return standardise.standard_mask(plane > 0, *standard)


def _find(root: Path, settings: VolumeSettings) -> list[tuple[DatasetCard, list[Case]]]:
    """The datasets asked for, each with the volumes chosen of it.

    Raises:
        ValueError: If a dataset is missing, or there are no volumes.
    """
    known = [(folder, read_card(folder)) for folder in find_datasets(root)]
    if missing := sorted(set(settings.datasets) - {card.id for _, card in known}):
        msg = f"{root} lacks datasets: expected {', '.join(settings.datasets)}, got none of {', '.join(missing)}."
        raise ValueError(msg)
    asked = [
        (folder, card)
        for folder, card in known
        if (card.id in settings.datasets if settings.datasets else card.role == "heldout")
    ]
    found = [(card, _choose(folder, card, settings)) for folder, card in asked]
    if not any(cases for _, cases in found):
        msg = f"{root} has no volumes: expected NIfTI, NRRD, MetaImage or DICOM files, got none. Name other datasets."
        raise ValueError(msg)
    return found


def _choose(folder: Path, card: DatasetCard, settings: VolumeSettings) -> list[Case]:
    """Volumes in an order that the seed decides: one of every subject before a second of any."""

    def drawn(case: Case) -> int:
        return stable_hash(settings.seed, card.id, case.name)

    turns = [
        (turn, drawn(case), case)
        for subject in find_subjects(folder, card)
        for turn, case in enumerate(sorted(filter(_is_volume, subject.cases), key=drawn))
    ]
    return [case for _, _, case in sorted(turns, key=itemgetter(0, 1))][: settings.volumes]


def _is_volume(case: Case) -> bool:
    return all(map(is_volume_file, case.images.values()))
