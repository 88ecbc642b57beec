"""Segmentation of a folder of images by a folder of labelled ones: masks, preview, summary and statistics on disk."""

import io
import json
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from incontext import __version__
from incontext.folders.overlay import Tile, contact_sheet, draw
from incontext.folders.report import ImageReport, Summary, statistics_csv
from incontext.folders.run_log import LOG, Done, RunLog, identity, stamp
from incontext.images.examples import Example, on_grid
from incontext.images.normalisation import apply
from incontext.images.source_image import mask_suffix, read_label_image, read_source_image
from incontext.inference.segmentation import Segmentation, dice
from incontext.inference.support_pool import Fitted
from incontext.segmenter import Segmenter
from megamed import formats
from megamed.files import replace_file

PREVIEW_COLUMNS = 6
PREVIEW_QUERIES = 30

UNREADABLE = (OSError, ValueError, ImportError)
"""Errors in one file that do not stop the segmentation of the others."""


@dataclass(frozen=True)
class FilePair:
    """An image, which is a file or the folder of a DICOM series, and its label, if there is one."""

    image: Path
    label: Path | None


Track = Callable[[Sequence[FilePair]], Iterable[FilePair]]
"""Function that passes pairs on one by one, and may show the progress."""


@dataclass(frozen=True)
class SegmentOptions:
    """Options of `segment_folder`.

    Attributes:
        classes: Names of label values.
        mask_format: Suffix of the masks, such as `nii.gz`; by default each image's own where it can hold masks.
        preview: Whether to draw `overlay.png`.
        statistics: Whether to write `statistics.csv`.
        overwrite: Whether to discard what an earlier run did.
    """

    classes: Mapping[int, str] = field(default_factory=dict)
    mask_format: str | None = None
    preview: bool = True
    statistics: bool = False
    overwrite: bool = False

    @property
    def mask_suffix(self) -> str | None:
        """Suffix of the masks with its dot; None if each has its image's own."""
        return self.mask_format and f".{self.mask_format.removeprefix('.')}"


def read_folder(folder: Path) -> list[FilePair]:
    """Find the images of `folder/images`, or of `folder` itself, and the labels of `folder/labels` if it exists.

    A subfolder of DICOM files is an image, and so is a `folder` without labels that holds the slices of one series.
    A single file is treated as a folder that holds only it.

    Raises:
        ValueError: If there is no image, two files share a stem, or a label or an image lacks its partner.
        OSError: If the folder cannot be read.
    """
    if not folder.exists():
        message = f"{folder} does not exist: expected a folder of images. Check the path."
        raise FileNotFoundError(message)
    if folder.is_file():
        return [FilePair(folder, None)]
    images = _by_stem(folder / "images" if (folder / "images").is_dir() else folder)
    labels = _by_stem(folder / "labels") if (folder / "labels").is_dir() else {}
    if labels and (alone := sorted(images.keys() ^ labels.keys())):
        message = (
            f"{folder} does not pair up: expected one label per image, of the same name, got only one of "
            f"the two for {', '.join(alone[:5])}. Add the missing files, or take these away."
        )
        raise ValueError(message)
    if not labels and _is_series(folder, images.values()):
        return [FilePair(folder, None)]
    return [FilePair(image, labels.get(stem)) for stem, image in images.items()]


def fit_folder(segmenter: Segmenter, folder: Path, classes: Mapping[int, str] | None = None) -> list[FilePair]:
    """Fit a segmenter to the examples of `folder/images` and `folder/labels`.

    Args:
        segmenter: Segmenter to fit.
        folder: Folder of the examples.
        classes: Names of label values.

    Returns:
        The examples.

    Raises:
        ValueError: If there are no labels, they are unusable, or a class is named that none shows.
        OSError: If the folder or a file in it cannot be read.
    """
    examples = read_folder(folder)
    labels = [example.label for example in examples if example.label is not None]
    if not labels:
        message = f"{folder} has no labels: expected label maps in {folder / 'labels'}, got none. Add them."
        raise ValueError(message)
    segmenter.fit([example.image for example in examples], labels, classes)
    if absent := sorted((classes or {}).keys() - segmenter.fitted.names.keys()):
        message = (
            f"classes name values that no label has: expected some of {', '.join(map(str, segmenter.fitted.names))}, "
            f"got {', '.join(map(str, absent))}. Name the values that are drawn."
        )
        raise ValueError(message)
    return examples


def save_folder_task(segmenter: Segmenter, folder: Path, out: Path, classes: Mapping[int, str] | None = None) -> None:
    """Fit a segmenter to the examples of a folder, and save it with them as one task file.

    Args:
        segmenter: Segmenter whose weights and parameters the task takes over.
        folder: Folder of the examples, with `images/` and `labels/`.
        out: File to write.
        classes: Names of label values.

    Raises:
        ValueError: If there are no labels, they are unusable, or a class is named that none shows.
        OSError: If an example cannot be read or the file cannot be written.
    """
    fit_folder(segmenter, folder, classes)
    segmenter.save_task(out)


def segment_folder(
    segmenter: Segmenter,
    support: Path | None,
    query: Path,
    out: Path,
    track: Track = iter,
    options: SegmentOptions = SegmentOptions(),
) -> Summary:
    """Segment the images of a folder; write a mask of each into `masks/`, `overlay.png` and `summary.json`.

    A mask has its image's name and format, or PNG where that format cannot hold masks. Masks that an earlier run with
    the same support, weights and options wrote are kept, if their images have not changed.

    A query that cannot be read or does not fit its label is reported, and the rest is done.

    Args:
        segmenter: Segmenter to use.
        support: Folder with `images/` and `labels/`, paired by file name; None if the segmenter has learned already.
        query: Folder of images, directly or in `images/`; with `labels/`, Dice is reported. Or one image.
        out: Folder to write into.
        track: Wraps the queries, to show progress.
        options: Class names, format of the masks, and which files to write.

    Raises:
        ValueError: If the support is unusable, a folder has no image, or `out` is a folder that is read or holds
            another run's masks.
        OSError: If the support cannot be read or the results cannot be written.
    """
    queries = read_folder(query)
    _check_apart(out, queries)
    examples = fit_folder(segmenter, support, options.classes) if support else []
    _check_apart(out, examples)
    (out / "masks").mkdir(parents=True, exist_ok=True)
    log = RunLog(out, identity(segmenter, {"mask_format": options.mask_suffix}), options.overwrite)
    known = {pair.image.name for pair in queries if _is_done(pair, log)}
    failures = {}
    for pair in track([pair for pair in queries if pair.image.name not in known]):
        try:
            log.add(_segment_pair(segmenter, pair, out / "masks", options.mask_suffix))
        except UNREADABLE as error:
            log.done.pop(pair.image.name, None)
            failures[pair.image.name] = str(error)
    done = [log.done[pair.image.name] for pair in queries if pair.image.name in log.done]
    summary = Summary(
        [example.image.name for example in examples],
        segmenter.fitted.names,
        [each.report for each in done],
        failures,
        list(dict.fromkeys(message for each in done for message in each.warnings)),
        len(known),
    )
    if options.preview:
        replace_file(out / "overlay.png", _png(_preview(queries, summary, segmenter.fitted, out / "masks")))
    if options.statistics:
        replace_file(out / "statistics.csv", statistics_csv(summary).encode())
    replace_file(out / "summary.json", as_json(summary, segmenter).encode())
    return summary


def _by_stem(folder: Path) -> dict[str, Path]:
    files = sorted(path for path in folder.iterdir() if not path.name.startswith(".") and _is_image(path))
    by_stem = {_stem(path): path for path in files}
    if not files:
        message = (
            f"{folder} has no images: expected files ending in {', '.join(sorted(formats.image_suffixes()))}, "
            "got none. Name the folder that holds them."
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


def _is_image(path: Path) -> bool:
    if path.is_dir():
        return not (path / LOG).exists() and formats.is_image(path)
    return formats.is_image(path)


def _is_series(folder: Path, images: Iterable[Path]) -> bool:
    """Whether the images of a folder are the slices of one DICOM series."""
    files = set(images)
    if len(files) < 2 or not all(map(formats.is_slice, files)):
        return False
    try:
        return set(formats.source_at(folder).files) == files
    except ValueError:
        return False


def _stem(path: Path) -> str:
    """The name without the suffix of its format."""
    return path.name if path.is_dir() else formats.stem(path.name)


def _check_apart(out: Path, pairs: list[FilePair]) -> None:
    files = [file for pair in pairs for file in (pair.image, pair.label) if file]
    read = {folder.resolve() for file in files for folder in (file.parent, file)}
    for written in (out, out / "masks"):
        if written.resolve() in read:
            message = f"out is a folder of inputs: expected a folder apart, got {written}. Write elsewhere."
            raise ValueError(message)


def _is_done(pair: FilePair, log: RunLog) -> bool:
    """Whether an image has its mask already and has not changed since."""
    done = log.done.get(pair.image.name)
    return done is not None and done.stamp == stamp(pair.image, pair.label)


def _segment_pair(segmenter: Segmenter, pair: FilePair, masks: Path, suffix: str | None) -> Done:
    """Write the mask of an image, and report its classes and warnings."""
    state = stamp(pair.image, pair.label)
    case = read_source_image(pair.image, pair.image.name)
    label = read_label_image(pair.label, f"label of {pair.image.name}", case).planes if pair.label else None
    if label is not None:
        _check_classes(label, tuple(segmenter.fitted.names), pair.image.name)
    with warnings.catch_warnings(action="ignore"):
        result = segmenter.predict(case)
    path = result.write(0, masks / f"{_stem(pair.image)}{suffix or mask_suffix(case)}")
    report = _report(pair, path, result, None if label is None else on_grid(label, case))
    return Done(state, report, result.report.warnings)


def _check_classes(label: np.ndarray, classes: tuple[int, ...], file: str) -> None:
    if label.any() and not np.isin(label, classes).any():
        message = (
            f"label of {file} shows none of the support's classes: expected values {classes}, "
            f"got {tuple(np.unique(label[label > 0]).tolist())}. Number the classes alike in both folders."
        )
        raise ValueError(message)


def _report(pair: FilePair, path: Path, result: Segmentation, label: np.ndarray | None) -> ImageReport:
    mask, probabilities, case = result.masks[0], result.probabilities[0], result.cases[0]
    chosen = probabilities.reshape(-1, *mask.shape).max(axis=0)[mask > 0]
    pixels = {value: int((mask == value).sum()) for value in result.classes}
    predicted, look_first = _predicted(result)
    return ImageReport(
        file=pair.image.name,
        mask=path.name,
        size_px=mask.shape,
        area_px=pixels,
        area_mm2=_times(pixels, case.spacing_mm and case.spacing_mm[1:]) if case.kind == "image" else None,
        volume_mm3=_times(pixels, case.spacing_mm) if case.kind == "volume" else None,
        confidence=float(chosen.mean()) if chosen.size else None,
        predicted_dice=predicted,
        look_first=look_first,
        dice=None if label is None else {value: dice(mask == value, label == value) for value in result.classes},
    )


def _predicted(result: Segmentation) -> tuple[dict[int, float] | None, bool | None]:
    """Read each class's predicted Dice, and whether it is poor; None twice for weights that predict none."""
    try:
        return dict(zip(result.classes, result.predicted_dice[0].tolist(), strict=True)), bool(result.look_first)
    except ValueError:
        return None, None


def _times(pixels: Mapping[int, int], spacing_mm: tuple[float, ...] | None) -> dict[int, float] | None:
    """Area or volume of pixels, by their spacing along each axis; None if it is unknown."""
    return None if spacing_mm is None else {value: count * math.prod(spacing_mm) for value, count in pixels.items()}


def _preview(queries: Sequence[FilePair], summary: Summary, fitted: Fitted, masks: Path) -> Image.Image:
    """Draw a row of the support above rows of queries, whose 2 or 3 tiles stay in one row."""
    support = [_support_tile(example, fitted) for example in fitted.sample[:PREVIEW_COLUMNS]]
    by_name = {pair.image.name: pair for pair in queries}
    shown = summary.images[:PREVIEW_QUERIES]
    tiles = [tile for report in shown for tile in _tiles(by_name[report.file], report, fitted, masks)]
    rows = [tiles[start : start + PREVIEW_COLUMNS] for start in range(0, len(tiles), PREVIEW_COLUMNS)]
    return contact_sheet([support, *rows])


def _support_tile(example: Example, fitted: Fitted) -> Tile:
    label = np.zeros(example.case.planes.shape, dtype=np.uint8)
    for value, mask in example.masks.items():
        label[mask] = value
    plane = _fullest(label)
    image = apply(example.case, fitted.preparation.normalisation)[plane]
    name = example.case.source.name if example.case.source else ""
    return Tile(f"support {name}", draw(image, label[plane], tuple(fitted.names)))


def _tiles(pair: FilePair, report: ImageReport, fitted: Fitted, masks: Path) -> list[Tile]:
    """Draw an image's fullest plane, its annotation and its mask; all are read from disk again."""
    case, classes = read_source_image(pair.image, report.file), tuple(fitted.names)
    mask = read_label_image(masks / report.mask, report.mask, case).planes
    if report.mask.endswith(".dcm"):
        mask = np.array([0, *sorted(classes)], dtype=np.uint8)[mask]  # a DICOM-SEG counts its segments from 1
    label = read_label_image(pair.label, f"label of {report.file}", case).planes if pair.label else None
    plane = _fullest(mask if label is None else label)
    image = apply(case, fitted.preparation.normalisation)[plane]
    plain = Tile(report.file, draw(image, np.zeros_like(mask[plane]), ()))
    predicted = draw(image, mask[plane], classes)
    if label is None or report.dice is None:
        return [plain, Tile("prediction", predicted)]
    mean = np.mean([*report.dice.values()])
    annotated = Tile("annotation", draw(image, label[plane], classes))
    return [plain, annotated, Tile(f"prediction, Dice {mean:.2f}", predicted)]


def _fullest(label: np.ndarray) -> int:
    """Index of the plane of (N, H, W) with the most labelled pixels."""
    return int(np.count_nonzero(label, axis=(1, 2)).argmax())


def as_json(summary: Summary, segmenter: Segmenter) -> str:
    """Content of `summary.json`: versions, weights, parameters and the summary."""
    content = {
        "versions": {"incontext": __version__, "torch": torch.__version__},
        "weights": segmenter.metadata,
        "parameters": {name: value for name, value in segmenter.get_params().items() if name != "weights"},
        "label_budget": segmenter.fitted.pool.label_budget,
        "normalisation": str(segmenter.fitted.preparation.normalisation),
        "tiling": segmenter.fitted.preparation.tiling.reason,
        **asdict(summary),
        "mean_dice": summary.mean_dice,
    }
    return json.dumps(content, indent=2, default=str)


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG")
    return buffer.getvalue()
