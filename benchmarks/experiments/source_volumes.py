"""Volumes and their annotations, read from source files, since a collection holds only some slices of each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

import numpy as np
from jaxtyping import Bool, UInt8

from benchmarks.plans.task_plans import stable_hash
from megamed import DatasetCard, standardise
from megamed.annotation import masks_of
from megamed.labels import read_annotations
from megamed.layouts import find_datasets, find_subjects, read_card
from megamed.layouts.cases import Case
from megamed.pixels import is_volume_file, read_image
from megamed.readers.faults import needs
from megamed.readers.volume import Volume
from megamed.schema import slugify
from megamed.unknown import foreground

SLAB_SPACING_RATIO = 10.0
"""Distance between slices taken out of a volume, as a multiple of its largest spacing: they are no neighbours."""


@dataclass(frozen=True)
class VolumeSettings:
    """Settings that decide which volumes are segmented, and which of their slices are labelled."""

    datasets: tuple[str, ...] = ()
    """Ids of the datasets; by default all of role heldout."""
    labelled: int = 3
    """Number of labelled slices per volume, spread evenly over those that show the label."""
    others: int = 0
    """Number of other subjects' volumes whose labelled slices are the support; with 0, the volume's own slices are."""
    volumes: int = 20
    """Maximum number of volumes per dataset; no subject has a second one before every subject has one."""
    axis: str = ""
    """Axis to slice along, one of `standardise.AXES`; by default across thick slices, else across axial ones."""
    seed: int = 0
    """Seed of the choice of volumes and of the bootstrap."""
    asking: bool = False
    """Whether slices that are asked for, one after the other, are compared with slices that are spread evenly."""

    def __post_init__(self) -> None:
        for name, least in (("labelled", 1), ("others", 0), ("volumes", 1)):
            if (value := getattr(self, name)) < least:
                msg = f"{name} is too small: expected at least {least}, got {value}."
                raise ValueError(msg)
        if self.asking and self.others:
            msg = (
                f"Slices are asked for in the volume itself: expected no others, got {self.others}. Ask, or use others."
            )
            raise ValueError(msg)
        if self.axis and self.axis not in standardise.AXES:
            msg = f"Unknown axis: expected one of {', '.join(standardise.AXES)}, got {self.axis!r}."
            raise ValueError(msg)


@dataclass(frozen=True, eq=False)
class SourceVolume:
    """Volume on the grid of its file, in one modality, with its annotated labels."""

    dataset: str
    subject: str
    case: str
    modality: str
    volume: Volume
    axis: int
    """Index of the array axis that runs from slice to slice: 0, 1 or 2."""
    labels: dict[str, Bool[np.ndarray, "X Y Z"]]
    """Masks of the labels that occur in the volume, by name, on its grid; without those that have unknown pixels."""

    @property
    def view(self) -> str:
        """Modality and axis as in task ids: `modality/axis`."""
        return f"{slugify(self.modality)}/{standardise.AXES[self.axis]}"

    @property
    def count(self) -> int:
        """Number of slices along `axis`."""
        return self.volume.array.shape[self.axis]

    @property
    def step(self) -> float:
        """Distance of neighbouring slices, as a multiple of the longer side of a slice."""
        sides = [n * mm for n, mm in zip(self.volume.array.shape, self.volume.spacing_mm, strict=True)]
        return self.volume.spacing_mm[self.axis] / max(side for axis, side in enumerate(sides) if axis != self.axis)

    def planes(self, array: np.ndarray) -> np.ndarray:
        """View an array on the volume's grid, (X, Y, Z), as slices (N, H, W)."""
        return np.moveaxis(array, self.axis, 0)

    def indices(self, label: str, count: int) -> list[int]:
        """Indices of the slices to label, spread evenly over those that show the label; fewer if fewer show it."""
        showing = np.flatnonzero(self.planes(self.labels[label]).any(axis=(1, 2)))
        return sorted({int(showing[(2 * k + 1) * len(showing) // (2 * count)]) for k in range(count)})

    def save(self, path: Path) -> Path:
        """Write the volume as a NIfTI file."""
        return _save(path, self.volume.array, self.volume.affine)

    def save_slab(self, path: Path, label: str, indices: Sequence[int]) -> tuple[Path, UInt8[np.ndarray, "X Y Z"]]:
        """Write the slices at some indices as a NIfTI file of their own, and return its path and their labels."""
        affine = self.volume.affine.copy()
        between_mm = SLAB_SPACING_RATIO * max(self.volume.spacing_mm)
        affine[:, self.axis] *= between_mm / self.volume.spacing_mm[self.axis]
        labels = self.labels[label].take(indices, self.axis).astype(np.uint8)
        return _save(path, self.volume.array.take(indices, self.axis), affine), labels


def _save(path: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    with needs("nibabel", "NIfTI", "Writing"):
        import nibabel
    storable = array.dtype.kind in "iu" and array.dtype.itemsize <= 4
    nibabel.save(nibabel.Nifti1Image(array if storable else array.astype(np.float32), affine), path)
    return path


def read_volumes(card: DatasetCard, case: Case, axis: str = "") -> Iterator[SourceVolume]:
    """Read a case in each of its modalities.

    Args:
        card: Card of the dataset that the case belongs to.
        case: Case whose images are volumes.
        axis: Axis to slice along, as in `VolumeSettings`.
    """
    for modality, source in case.images.items():
        volume = read_image(source)
        assert isinstance(volume, Volume)  # no other cases are chosen
        masks = masks_of(read_annotations(case, card, volume), card.masks)
        yield SourceVolume(
            dataset=card.id,
            subject=case.subject or case.name,
            case=case.name,
            modality=modality,
            volume=volume,
            axis=standardise.AXES.index(axis) if axis else _usual_axis(volume),
            labels={name: foreground(mask) for name, mask in masks.items() if mask.max() == 1},
        )


def _usual_axis(volume: Volume) -> int:
    return standardise.slicing_axes(volume.array.shape, volume.spacing_mm)[-1]


def find_volumes(root: Path, settings: VolumeSettings) -> list[tuple[DatasetCard, list[Case]]]:
    """Find the datasets asked for, each with the volumes chosen from it.

    Raises:
        ValueError: If a dataset is missing, or no dataset has volumes.
    """
    known, faults = _cards(root)
    if missing := sorted(set(settings.datasets) - {card.id for _, card in known}):
        msg = f"{root} lacks datasets: expected {', '.join(settings.datasets)}, got none of {', '.join(missing)}."
        raise ValueError(" ".join([msg, *faults]))
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


def datasets_below(root: Path) -> set[str]:
    """Ids of the datasets below a folder."""
    return {card.id for _, card in _cards(root)[0]}


def _cards(root: Path) -> tuple[list[tuple[Path, DatasetCard]], list[str]]:
    """Read the cards of the datasets below a folder, and tell what is wrong with those that are none."""
    known, faults = [], []
    for folder in find_datasets(root):
        try:
            known.append((folder, read_card(folder)))
        except ValueError as error:
            faults.append(str(error))
    return known, faults


def _choose(folder: Path, card: DatasetCard, settings: VolumeSettings) -> list[Case]:
    """Choose volumes in an order that the seed decides, one of every subject before a second of any."""

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
