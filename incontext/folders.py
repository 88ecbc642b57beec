"""Segments a folder of images as a folder of labelled ones shows: masks, a preview and a summary on disk."""

import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from incontext import __version__
from incontext.files import replacing
from incontext.overlay import Tile, contact_sheet, draw
from incontext.preprocess import read_image, read_label
from incontext.segmenter import PreparedSupport, Segmentation, Segmenter

SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
PREVIEW_COLUMNS = 6
PREVIEW_QUERIES = 30


@dataclass(frozen=True)
class Case:
    """An image file and the label file that belongs to it, if there is one."""

    image: Path
    label: Path | None


Track = Callable[[Sequence[Case]], Iterable[Case]]
"""Passes cases on one by one, and may show the progress."""


@dataclass(frozen=True)
class ImageReport:
    """What was found in one image.

    Attributes:
        file: The image's file name.
        mask: The mask's file name.
        size_px: Height and width.
        area_px: Pixels of each class.
        confidence: Mean probability of the chosen class over the mask; None for an empty mask.
        dice: Overlap with the image's label for each class; None without a label.
    """

    file: str
    mask: str
    size_px: tuple[int, int]
    area_px: dict[int, int]
    confidence: float | None
    dice: dict[int, float] | None


@dataclass(frozen=True)
class Summary:
    """What `segment_folder` did.

    Attributes:
        support: File names of the labelled images.
        classes: Label values of the support.
        images: One report per image that was segmented.
        failures: Why the other images were not, by file name.
    """

    support: list[str]
    classes: tuple[int, ...]
    images: list[ImageReport] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)

    @property
    def mean_dice(self) -> dict[int, float]:
        """Each class's mean Dice over the labelled images; empty if there are none."""
        scores = [report.dice for report in self.images if report.dice is not None]
        if not scores:
            return {}
        return {value: float(np.mean([score[value] for score in scores])) for value in self.classes}


def read_folder(folder: Path) -> list[Case]:
    """The images of `folder/images`, or of `folder` itself, with the labels of `folder/labels` if it exists.

    Raises:
        ValueError: If there is no image, two files share a stem, or a label or an image lacks its partner.
        OSError: If the folder cannot be read.
    """
    if not folder.is_dir():
        message = f"{folder} does not exist: expected a folder of images. Check the path."
        raise FileNotFoundError(message)
    images = _by_stem(folder / "images" if (folder / "images").is_dir() else folder)
    labels = _by_stem(folder / "labels") if (folder / "labels").is_dir() else {}
    if labels and (alone := sorted(images.keys() ^ labels.keys())):
        message = (
            f"{folder} does not pair up: expected one label per image, of the same name, got only one of "
            f"the two for {', '.join(alone[:5])}. Add the missing files, or take these away."
        )
        raise ValueError(message)
    return [Case(image, labels.get(stem)) for stem, image in images.items()]


def segment_folder(
    segmenter: Segmenter,
    support: Path,
    query: Path,
    out: Path,
    track: Track = iter,
) -> Summary:
    """Segment the images of a folder; write `masks/<stem>.png`, `overlay.png` and `summary.json`.

    A query that cannot be read or does not fit its label is reported, and the rest is done.

    Args:
        segmenter: What segments.
        support: Folder with `images/` and `labels/`, paired by file name.
        query: Folder of images, directly or in `images/`; with `labels/`, Dice is reported.
        out: Folder to write into.
        track: Wraps the queries, to show progress.

    Raises:
        ValueError: If the support is unusable, a folder has no image, or `out` is a folder that is read.
        OSError: If the support cannot be read or the results cannot be written.
    """
    examples, queries = read_folder(support), read_folder(query)
    labels = [example.label for example in examples if example.label is not None]
    if not labels:
        message = f"{support} has no labels: expected label maps in {support / 'labels'}, got none. Add them."
        raise ValueError(message)
    _check_apart(out, [*examples, *queries])
    prepared = segmenter.prepare([example.image for example in examples], labels)
    summary = Summary([example.image.name for example in examples], prepared.classes)
    tiles: list[Tile] = []
    (out / "masks").mkdir(parents=True, exist_ok=True)
    for case in track(queries):
        try:
            report, mask, shown = _segment_case(segmenter, prepared, case)
        except (OSError, ValueError) as error:
            summary.failures[case.image.name] = str(error)
            continue
        _write(out / "masks" / report.mask, _png(Image.fromarray(mask)))
        summary.images.append(report)
        if len(summary.images) <= PREVIEW_QUERIES:
            tiles += shown
    _write(out / "overlay.png", _png(_preview(examples, tiles, prepared.classes)))
    _write(out / "summary.json", _json(summary, segmenter))
    return summary


def dice(mask: UInt8[np.ndarray, "H W"], label: UInt8[np.ndarray, "H W"], value: int) -> float:
    """Overlap of one class, 2·|A∩B| / (|A| + |B|); 1 if both are empty."""
    found, wanted = mask == value, label == value
    total = int(found.sum() + wanted.sum())
    return 2 * int((found & wanted).sum()) / total if total else 1.0


def _by_stem(folder: Path) -> dict[str, Path]:
    files = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()
    )
    by_stem = {path.stem: path for path in files}
    if not files:
        message = (
            f"{folder} has no images: expected files ending in {', '.join(sorted(SUFFIXES))}, got none. "
            "Name the folder that holds them."
        )
        raise ValueError(message)
    if len(by_stem) < len(files):
        shadowed = next(path for path in files if by_stem[path.stem] != path)
        message = (
            f"{folder} holds two images of one name: expected one, got {shadowed.name} and "
            f"{by_stem[shadowed.stem].name}. Rename one."
        )
        raise ValueError(message)
    return by_stem


def _check_apart(out: Path, cases: list[Case]) -> None:
    read = {file.parent.resolve() for case in cases for file in (case.image, case.label) if file}
    for written in (out, out / "masks"):
        if written.resolve() in read:
            message = f"out is a folder of inputs: expected a folder apart, got {written}. Write elsewhere."
            raise ValueError(message)


def _segment_case(
    segmenter: Segmenter, prepared: PreparedSupport, case: Case
) -> tuple[ImageReport, np.ndarray, list[Tile]]:
    image = read_image(case.image, case.image.name)
    label = read_label(case.label, f"label of {case.image.name}") if case.label else None
    if label is not None:
        _check_label(label, image, prepared.classes, case.image.name)
    result = segmenter.segment(image, prepared)
    report = _report(case, result, label)
    return report, result.masks[0], _tiles(report, image, result, label)


def _check_label(label: np.ndarray, image: np.ndarray, classes: tuple[int, ...], file: str) -> None:
    if label.shape != image.shape:
        message = (
            f"label of {file} does not match its image: expected {image.shape}, got {label.shape}. "
            "Save it on its image's grid."
        )
        raise ValueError(message)
    if label.any() and not np.isin(label, classes).any():
        message = (
            f"label of {file} shows none of the support's classes: expected values {classes}, "
            f"got {tuple(np.unique(label[label > 0]).tolist())}. Number the classes alike in both folders."
        )
        raise ValueError(message)


def _report(case: Case, result: Segmentation, label: np.ndarray | None) -> ImageReport:
    mask, probabilities = result.masks[0], result.probabilities[0]
    chosen = probabilities.reshape(-1, *mask.shape).max(axis=0)[mask > 0]
    return ImageReport(
        file=case.image.name,
        mask=f"{case.image.stem}.png",
        size_px=mask.shape,
        area_px={value: int((mask == value).sum()) for value in result.classes},
        confidence=float(chosen.mean()) if chosen.size else None,
        dice=None if label is None else {value: dice(mask, label, value) for value in result.classes},
    )


def _tiles(report: ImageReport, image: np.ndarray, result: Segmentation, label: np.ndarray | None) -> list[Tile]:
    plain = Tile(report.file, draw(image, np.zeros(image.shape, dtype=np.uint8), ()))
    predicted = draw(image, result.masks[0], result.classes)
    if label is None or report.dice is None:
        return [plain, Tile("prediction", predicted)]
    mean = np.mean([*report.dice.values()])
    annotated = Tile("annotation", draw(image, label, result.classes))
    return [plain, annotated, Tile(f"prediction, Dice {mean:.2f}", predicted)]


def _preview(examples: list[Case], tiles: list[Tile], classes: tuple[int, ...]) -> Image.Image:
    """A row of the support above rows of queries; 2 or 3 tiles of a query never part over two rows."""
    support = [
        Tile(
            f"support {case.image.name}",
            draw(read_image(case.image, ""), read_label(case.label, ""), classes),
        )
        for case in examples[:PREVIEW_COLUMNS]
        if case.label
    ]
    rows = [tiles[start : start + PREVIEW_COLUMNS] for start in range(0, len(tiles), PREVIEW_COLUMNS)]
    return contact_sheet([support, *rows])


def _json(summary: Summary, segmenter: Segmenter) -> bytes:
    content = {
        "versions": {"incontext": __version__, "torch": torch.__version__},
        "weights": segmenter.metadata,
        **asdict(summary),
        "mean_dice": summary.mean_dice,
    }
    return json.dumps(content, indent=2).encode()


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()


def _write(path: Path, content: bytes) -> None:
    with replacing(path) as partial:
        partial.write_bytes(content)
