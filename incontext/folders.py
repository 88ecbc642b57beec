"""Segments a folder of images as a folder of labelled ones shows: masks, a preview and a summary on disk."""

import io
import json
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from incontext import __version__
from incontext.cases import mask_suffix, read_case, read_label_case
from incontext.examples import on_grid
from incontext.files import replacing
from incontext.normalise import apply
from incontext.overlay import Tile, contact_sheet, draw
from incontext.segmentation import Segmentation, dice
from incontext.segmenter import Fitted, Segmenter

PICTURES = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
SCANS = (".dcm", ".mha", ".mhd", ".nhdr", ".nii", ".nii.gz", ".nrrd")
SUFFIXES = (*PICTURES, *SCANS)
PREVIEW_COLUMNS = 6
PREVIEW_QUERIES = 30


@dataclass(frozen=True)
class Pair:
    """An image file and the label file that belongs to it, if there is one."""

    image: Path
    label: Path | None


Track = Callable[[Sequence[Pair]], Iterable[Pair]]
"""Passes pairs on one by one, and may show the progress."""


@dataclass(frozen=True)
class ImageReport:
    """What was found in one image.

    Attributes:
        file: The image's file name.
        mask: The mask's file name.
        size_px: Height and width, or the sides of a volume.
        area_px: Pixels of each class.
        confidence: Mean probability of the chosen class over the mask; None for an empty mask.
        dice: Overlap with the image's label for each class; None without a label.
    """

    file: str
    mask: str
    size_px: tuple[int, ...]
    area_px: dict[int, int]
    confidence: float | None
    dice: dict[int, float] | None


@dataclass(frozen=True)
class Summary:
    """What `segment_folder` did.

    Attributes:
        support: File names of the labelled images.
        classes: Names of the support's label values.
        images: One report per image that was segmented.
        failures: Why the other images were not, by file name.
        warnings: What looked wrong, each with its reason and a fix.
    """

    support: list[str]
    classes: Mapping[int, str]
    images: list[ImageReport] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    @property
    def mean_dice(self) -> dict[int, float]:
        """Each class's mean Dice over the labelled images; empty if there are none."""
        scores = [report.dice for report in self.images if report.dice is not None]
        if not scores:
            return {}
        return {value: float(np.mean([score[value] for score in scores])) for value in self.classes}


def read_folder(folder: Path) -> list[Pair]:
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
    return [Pair(image, labels.get(stem)) for stem, image in images.items()]


def segment_folder(
    segmenter: Segmenter,
    support: Path,
    query: Path,
    out: Path,
    track: Track = iter,
) -> Summary:
    """Segment the images of a folder; write a mask of each into `masks/`, `overlay.png` and `summary.json`.

    A mask has its image's name and format, or PNG where that format cannot hold masks.

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
    segmenter.fit([example.image for example in examples], labels)
    summary = Summary([example.image.name for example in examples], segmenter.fitted.names)
    tiles: list[Tile] = []
    (out / "masks").mkdir(parents=True, exist_ok=True)
    for pair in track(queries):
        try:
            report, shown, warned = _segment_pair(segmenter, pair, out / "masks")
        except (OSError, ValueError) as error:
            summary.failures[pair.image.name] = str(error)
            continue
        summary.images.append(report)
        summary.warnings.extend(message for message in warned if message not in summary.warnings)
        if len(summary.images) <= PREVIEW_QUERIES:
            tiles += shown
    _write(out / "overlay.png", _png(_preview(examples, tiles, segmenter.fitted)))
    _write(out / "summary.json", _json(summary, segmenter))
    return summary


def _by_stem(folder: Path) -> dict[str, Path]:
    files = sorted(
        path
        for path in folder.iterdir()
        if path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".") and path.is_file()
    )
    by_stem = {_stem(path): path for path in files}
    if not files:
        message = (
            f"{folder} has no images: expected files ending in {', '.join(sorted(SUFFIXES))}, got none. "
            "Name the folder that holds them."
        )
        raise ValueError(message)
    if len(by_stem) < len(files):
        shadowed = next(path for path in files if by_stem[_stem(path)] != path)
        message = (
            f"{folder} holds two images of one name: expected one, got {shadowed.name} and "
            f"{by_stem[_stem(shadowed)].name}. Rename one."
        )
        raise ValueError(message)
    return by_stem


def _stem(path: Path) -> str:
    """The name without its suffix, of which `.nii.gz` is one."""
    suffix = next(suffix for suffix in (".nii.gz", path.suffix) if path.name.lower().endswith(suffix.lower()))
    return path.name.removesuffix(suffix) if suffix == path.suffix else path.name[: -len(suffix)]


def _check_apart(out: Path, pairs: list[Pair]) -> None:
    read = {file.parent.resolve() for pair in pairs for file in (pair.image, pair.label) if file}
    for written in (out, out / "masks"):
        if written.resolve() in read:
            message = f"out is a folder of inputs: expected a folder apart, got {written}. Write elsewhere."
            raise ValueError(message)


def _segment_pair(segmenter: Segmenter, pair: Pair, masks: Path) -> tuple[ImageReport, list[Tile], tuple[str, ...]]:
    """Write the mask of an image; tell what was found, what there is to see and what to be warned of."""
    case = read_case(pair.image, pair.image.name)
    label = read_label_case(pair.label, f"label of {pair.image.name}", case).planes if pair.label else None
    if label is not None:
        _check_classes(label, tuple(segmenter.fitted.names), pair.image.name)
    with warnings.catch_warnings(action="ignore"):
        result = segmenter.predict(case)
    path = result.write(0, masks / f"{_stem(pair.image)}{mask_suffix(case)}")
    report = _report(pair, path, result, None if label is None else on_grid(label, case))
    image = apply(case, segmenter.fitted.preparation.normalisation)
    return report, _tiles(report, image, result, label), result.report.warnings


def _check_classes(label: np.ndarray, classes: tuple[int, ...], file: str) -> None:
    if label.any() and not np.isin(label, classes).any():
        message = (
            f"label of {file} shows none of the support's classes: expected values {classes}, "
            f"got {tuple(np.unique(label[label > 0]).tolist())}. Number the classes alike in both folders."
        )
        raise ValueError(message)


def _report(pair: Pair, path: Path, result: Segmentation, label: np.ndarray | None) -> ImageReport:
    mask, probabilities = result.masks[0], result.probabilities[0]
    chosen = probabilities.reshape(-1, *mask.shape).max(axis=0)[mask > 0]
    return ImageReport(
        file=pair.image.name,
        mask=path.name,
        size_px=mask.shape,
        area_px={value: int((mask == value).sum()) for value in result.classes},
        confidence=float(chosen.mean()) if chosen.size else None,
        dice=None if label is None else {value: dice(mask == value, label == value) for value in result.classes},
    )


def _tiles(report: ImageReport, image: np.ndarray, result: Segmentation, label: np.ndarray | None) -> list[Tile]:
    """The plane with most to see of an image (N, H, W), beside its annotation and its mask."""
    case, classes = result.cases[0], tuple(result.classes)
    mask = case.view.planes(result.masks[0].reshape(case.grid))
    plane = int(np.count_nonzero(mask if label is None else label, axis=(1, 2)).argmax())
    plain = Tile(report.file, draw(image[plane], np.zeros_like(mask[plane]), ()))
    predicted = draw(image[plane], mask[plane], classes)
    if label is None or report.dice is None:
        return [plain, Tile("prediction", predicted)]
    mean = np.mean([*report.dice.values()])
    annotated = Tile("annotation", draw(image[plane], label[plane], classes))
    return [plain, annotated, Tile(f"prediction, Dice {mean:.2f}", predicted)]


def _preview(examples: list[Pair], tiles: list[Tile], fitted: Fitted) -> Image.Image:
    """A row of the support above rows of queries; 2 or 3 tiles of a query never part over two rows."""
    support = [_support_tile(pair.image, pair.label, fitted) for pair in examples[:PREVIEW_COLUMNS] if pair.label]
    rows = [tiles[start : start + PREVIEW_COLUMNS] for start in range(0, len(tiles), PREVIEW_COLUMNS)]
    return contact_sheet([support, *rows])


def _support_tile(image: Path, label: Path, fitted: Fitted) -> Tile:
    case = read_case(image, image.name)
    planes = read_label_case(label, label.name, case).planes
    plane = int(np.count_nonzero(planes, axis=(1, 2)).argmax())
    shown = apply(case, fitted.preparation.normalisation)[plane]
    return Tile(f"support {image.name}", draw(shown, planes[plane], tuple(fitted.names)))


def _json(summary: Summary, segmenter: Segmenter) -> bytes:
    content = {
        "versions": {"incontext": __version__, "torch": torch.__version__},
        "weights": segmenter.metadata,
        "normalisation": str(segmenter.fitted.preparation.normalisation),
        "tiling": segmenter.fitted.preparation.tiling.reason,
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
