"""Write a collection in the formats of others: nnU-Net raw, folders of PNG pictures, npz arrays."""

import csv
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Int32, UInt8
from PIL import Image

from megamed.cells import safe
from megamed.collection import UNKNOWN_AREA, Collection
from megamed.label_maps import MOST_VALUES, MapCoding, code_for
from megamed.layouts.nnunet import IGNORE
from megamed.schema import ANNOTATOR_MARK, DatasetCard, FileRules, Sample, Task, plain_slug, slugify
from megamed.unknown import foreground, unjudged

Format = Literal["nnunet", "png", "npz"]

GREY = 127
"""Grey value of unknown pixels in pictures of binary labels, or else the next below that is no label value."""


@dataclass(frozen=True)
class _View:
    """All tasks on the same images."""

    collection: Collection
    tasks: list[Task]

    @property
    def name(self) -> str:
        """Name of its file or folder."""
        return "-".join((self.tasks[0].dataset, self.tasks[0].modality, self.tasks[0].axis))

    @property
    def card(self) -> DatasetCard:
        return self.collection.card(self.tasks[0].dataset)

    @cached_property
    def areas(self) -> dict[str, Int32[np.ndarray, " N"]]:
        """Area of each label in pixels, one number for each row of the view."""
        return {task.label: self.collection.areas(task) for task in self.tasks}

    @cached_property
    def samples(self) -> list[Sample]:
        """Every row on which any label is present."""
        found = {sample.row: sample for task in self.tasks for sample in self.collection.samples(task)}
        return [found[row] for row in sorted(found)]

    def image(self, sample: Sample) -> UInt8[np.ndarray, "H W"]:
        return self.collection.image(self.tasks[0], sample.row)

    def label(self, task: Task, sample: Sample) -> UInt8[np.ndarray, "H W"]:
        return self.collection.label(task, sample.row)

    def masks(self, tasks: Sequence[Task], sample: Sample) -> Bool[np.ndarray, "labels H W"]:
        """Binary labels of one image, in the order of the tasks."""
        return np.stack([foreground(self.label(task, sample)) for task in tasks])

    def unknown(self, tasks: Sequence[Task], sample: Sample) -> Bool[np.ndarray, "H W"]:
        """Pixels of an image of which nobody judged whether they are of some of the labels."""
        return np.logical_or.reduce([unjudged(self.label(task, sample)) for task in tasks])

    @cached_property
    def grey(self) -> int:
        """Grey value of unknown pixels in pictures of labels."""
        return next(value for value in range(GREY, 0, -1) if value not in self.card.labels)

    def picture(self, task: Task, sample: Sample) -> UInt8[np.ndarray, "H W"]:
        """Picture of a binary label, white on black."""
        label = self.label(task, sample)
        return np.where(unjudged(label), np.uint8(self.grey), foreground(label) * np.uint8(255))

    def has_unknown(self, tasks: Sequence[Task]) -> bool:
        """Whether any image has such pixels."""
        return any(self.collection.unknown_areas(task).any() for task in tasks)


def export(collection: Path, out: Path, form: Format, datasets: list[str] | None = None) -> list[str]:
    """Write each view of a collection, or of some of its datasets, to a new folder.

    Returns:
        What was written, a line each.

    Raises:
        ValueError: If the collection has no such dataset, or the folder is not empty.
    """
    if out.exists() and any(out.iterdir()):
        msg = f"{out} is not empty: expected a new folder to export to, got {next(out.iterdir()).name!r} in it."
        raise ValueError(msg)
    with Collection(collection) as opened:
        views: dict[str, list[Task]] = {}
        for task in opened.tasks(datasets):
            views.setdefault(f"{task.dataset}/{task.view}", []).append(task)
        out.mkdir(parents=True, exist_ok=True)
        write = FORMATS[form]
        return [write(_View(opened, tasks), out, number) for number, tasks in enumerate(views.values(), start=1)]


def _write_npz(view: _View, out: Path, _: int) -> str:
    """Write one file that `numpy.load` reads without pickle: `images`, tables, and per label `labels/` and `areas/`.

    Labels hold 0, 1 and, where nobody judged them, `UNKNOWN`, as in a collection.
    """
    rows = [sample.row for sample in view.samples]
    arrays: dict[str, Any] = {"images": view.collection.images(view.tasks[0], rows)}
    arrays |= {
        name: np.array([getattr(sample, name) for sample in view.samples]) for name in ("subject", "case", "split")
    }
    for task in view.tasks:
        arrays[f"labels/{task.label}"] = view.collection.labels(task, rows)
        arrays[f"areas/{task.label}"] = view.areas[task.label][rows]
    np.savez_compressed(out / f"{view.name}.npz", **arrays)
    return f"{view.name}.npz: {len(rows)} images"


def _write_png(view: _View, out: Path, _: int) -> str:
    """Write a dataset folder of layout `table`, which `megamed build` reads: pictures, cases.csv and meta.json.

    A label known to be absent is an empty picture; one that is unknown has none. Pixels that nobody judged are grey.
    """
    folder, names = out / view.name, _plain_labels(view.card)
    drawn = {task: task.label.partition(ANNOTATOR_MARK) for task in view.tasks}
    by_annotators = {label for label, mark, _ in drawn.values() if mark}
    drawn = {
        task: (label, mark, annotator or view.card.consensus or "")
        for task, (label, mark, annotator) in drawn.items()
        # A majority is derived again; a consensus was drawn.
        if label in names and (mark or view.card.consensus or label not in by_annotators)
    }
    lines = []
    for sample in view.samples:
        image_path = f"images/{_file_name(sample)}.png"
        _save(view.image(sample), folder / image_path)
        for task, (label, _mark, annotator) in drawn.items():
            if view.areas[task.label][sample.row] != UNKNOWN_AREA:
                path = f"labels/{task.label}/{_file_name(sample)}.png"
                _save(view.picture(task, sample), folder / path)
                lines.append((image_path, path, sample.case, sample.subject, sample.split, annotator, names[label]))
    _write_table(folder / "cases.csv", ("image", "label", "case", "subject", "split", "annotator", "class"), lines)
    card = view.card.model_copy(update=_table_rules(view))
    (folder / "meta.json").write_text(card.model_dump_json(indent=1, exclude_defaults=True), encoding="utf-8")
    return f"{view.name}: {len(view.samples)} images"


def _table_rules(view: _View) -> dict[str, object]:
    """Fields in which the card of an exported view differs from the card of its dataset."""
    unchanged = DatasetCard(id="any", modality="any")
    kept = ("subject_pattern", "subject_block", "subject_rule", "n_cases", "n_subjects", "tree")
    modality = view.tasks[0].modality
    return {
        "id": plain_slug(view.name),
        "modality": view.card.modality if modality == view.card.modality_slug else modality,
        "layout": "table",
        "files": FileRules(unknown=(view.grey,) if view.has_unknown(view.tasks) else ()),
        **{name: getattr(unchanged, name) for name in kept},
    }


def _write_nnunet(view: _View, out: Path, number: int) -> str:
    """Write a dataset of nnU-Net's raw format, version 2: 2D, one label map per image.

    Labels that overlap become regions, with a value for each combination, so that none is lost. Images on which a
    label is unknown are left out, since nnU-Net would take it for background; so are unions and single annotators, and
    the line that is returned says each. Pixels of which some label is unknown are of the label `ignore`. Subjects of
    the test split are in `imagesTs`; `splits_final.json` belongs into nnU-Net's folder of preprocessed data.
    """
    folder = out / f"Dataset{number:03d}_{re.sub('[^A-Za-z0-9]+', '_', view.name)}"
    tasks = [task for label in _plain_labels(view.card) for task in view.tasks if task.label == label]
    if not tasks:
        return f"{view.name}: left out, it has no plain label"
    known = [s for s in view.samples if all(view.areas[task.label][s.row] != UNKNOWN_AREA for task in tasks)]
    coding = code_for((view.masks(tasks, sample) for sample in known), [task.label for task in tasks])
    ignored = _ignored_value(coding, len(tasks)) if view.has_unknown(tasks) else None
    for sample in known:
        part, label_map = "Ts" if sample.split == "test" else "Tr", coding.encode(view.masks(tasks, sample))
        if ignored is not None:
            label_map[view.unknown(tasks, sample)] = ignored
        _save(view.image(sample), folder / f"images{part}" / f"{_file_name(sample)}_0000.png")
        _save(label_map, folder / f"labels{part}" / f"{_file_name(sample)}.png")
    facts = {
        "channel_names": {"0": "rescale_to_0_1"},  # the name by which nnU-Net chooses how to normalise
        **_nnunet_labels(coding, [task.label for task in tasks], ignored),
        "numTraining": sum(sample.split != "test" for sample in known),
        "file_ending": ".png",
        "name": view.name,
        "description": view.card.title,
        "reference": view.card.citation,
        "licence": view.card.license or "",
    }
    by_split = {split: [_file_name(s) for s in known if s.split == split] for split in ("train", "val")}
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "dataset.json").write_text(json.dumps(facts, indent=1), encoding="utf-8")
    (folder / "splits_final.json").write_text(json.dumps([by_split], indent=1), encoding="utf-8")
    table = [tuple(map(safe, (_file_name(s), s.case, s.subject, s.split))) for s in known]
    _write_table(folder / "cases.csv", ("file", "case", "subject", "split"), table)
    return ", ".join((f"{folder.name}: {len(known)} images", *_nnunet_notes(view, tasks, len(known), coding)))


def _ignored_value(coding: MapCoding, labels: int) -> int:
    """Return the value of pixels that nobody judged: nnU-Net wants the one after all others.

    Raises:
        ValueError: If there is none left.
    """
    last = max(coding.values.values(), default=0) if coding.has_regions else labels
    if last >= MOST_VALUES:
        msg = f"labels do not fit into one map: expected at most {MOST_VALUES - 1}, got {last} beside unknown pixels."
        raise ValueError(msg + " Export as png or npz.")
    return last + 1


def _nnunet_labels(coding: MapCoding, names: Sequence[str], ignored: int | None) -> dict[str, Any]:
    """Describe labels as nnU-Net does: a number each, or regions in the order in which it paints them."""
    ignore = {} if ignored is None else {IGNORE: ignored}
    if not coding.has_regions:
        return {"labels": {"background": 0} | {name: label + 1 for label, name in enumerate(names)} | ignore}
    regions = {label: values for label in coding.order if (values := coding.values_of(label))}
    labels = {names[label]: values[0] if len(values) == 1 else values for label, values in regions.items()}
    return {
        "labels": {"background": 0} | labels | ignore,
        "regions_class_order": [coding.painted(label) for label in regions],
    }


def _nnunet_notes(view: _View, tasks: Sequence[Task], known: int, coding: MapCoding) -> list[str]:
    """Say what of a view nnU-Net's format holds otherwise, or not at all."""
    notes = []
    if left_out := len(view.samples) - known:
        notes.append(f"{left_out} left out, since a label is unknown on them")
    if view.has_unknown(tasks):
        notes.append(f"pixels of which a label is unknown are of the label {IGNORE!r}")
    if coding.has_regions:
        names = [tasks[label].label for label in sorted(coding.overlapping)]
        notes.append(f"labels are regions, since {' and '.join(names)} overlap")
        absent = [task.label for label, task in enumerate(tasks) if not coding.values_of(label)]
        notes += [f"left out, since they are on no image: {' '.join(absent)}"] if absent else []
    if coding.shared_px:
        notes.append(f"{coding.shared_px} pixels at edges that labels share are of the smaller label alone")
    if others := [task.label for task in view.tasks if task not in tasks]:
        notes.append(f"unions and single annotators left out: {' '.join(others)}")
    return notes


def _plain_labels(card: DatasetCard) -> dict[str, str]:
    """Names of the labels that are no unions, by slug, in the order of the card."""
    return {slugify(name): name for _, name in sorted(card.labels.items())}


def _file_name(sample: Sample) -> str:
    return f"{sample.row:05d}-{plain_slug(sample.case)}"


def _save(pixels: UInt8[np.ndarray, "H W"], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _write_table(path: Path, columns: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([columns, *lines])


FORMATS: dict[Format, Callable[[_View, Path, int], str]] = {
    "nnunet": _write_nnunet,
    "png": _write_png,
    "npz": _write_npz,
}
