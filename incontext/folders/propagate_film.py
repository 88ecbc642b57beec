"""Propagation through a film, a video or a folder of frames: labels of some frames in, a mask of each frame out."""

import io
import os
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from incontext.folders.folder_images import read_folder
from incontext.folders.mask_targets import check_apart
from incontext.folders.overlay import draw
from incontext.folders.report import predicted_dice
from incontext.folders.run_log import recipe_of
from incontext.images.arrays import Picture
from incontext.images.case_planes import plane_of
from incontext.images.examples import Parts, spread
from incontext.images.frames import Frames
from incontext.images.normalisation import Normalisation, apply
from incontext.images.source_image import SourceImage, mask_suffix, read_source_image, write_mask
from incontext.inference.labelled_volume import PlaneLabels
from incontext.inference.segmentation import Segmentation
from incontext.segmenter import Segmenter
from megamed import formats
from megamed.class_names import name_key
from megamed.file_names import natural_order
from megamed.files import Ledger, claimed, make_folder, replace_file, sha256_of
from megamed.pairing import ImagePair, Pairing

MASKS, PREVIEW = "masks", "overlay.gif"
MOST_DRAWN = 200
"""Number of frames of the preview, which are spread over a longer film."""
DRAWN_PX = 240
SECONDS_DRAWN = 0.1


@dataclass(frozen=True)
class LabelledFilm:
    """Frames in their order, with names for their masks, and the labels of some."""

    frames: Frames | SourceImage
    names: tuple[str, ...]
    labels: PlaneLabels
    pairs: tuple[ImagePair, ...]
    """All files that were found, with the labels that belong to them."""

    def case(self, index: int, segmenter: Segmenter) -> SourceImage:
        """Read one frame."""
        if isinstance(self.frames, SourceImage):
            return plane_of(self.frames, index)
        return read_source_image(
            self.pairs[index].image, self.names[index], channel=segmenter.channel, level=segmenter.level
        )


@dataclass(frozen=True)
class FilmOutcome:
    """Masks of a film, and what to do next."""

    masks: int
    """Number of masks that were written."""
    next_frame: str = ""
    """Name of the frame whose label would help most; empty if all are labelled, or nothing was done."""
    predicted_dice: Mapping[str, float] = field(default_factory=dict)
    """Predicted Dice by what a class is called, on frames that nobody labelled; empty if the weights predict none."""
    warnings: tuple[str, ...] = ()


def is_film(path: Path, out: Path) -> bool:
    """Whether a path is a video or a folder of frames, neither a volume nor a series, and the masks go to a folder."""
    if out.name.lower().endswith(formats.mask_suffixes({"image", "stack", "placed", "series"})) or not path.exists():
        return False
    if not path.is_dir():
        found = formats.format_of(path)
        return found is not None and found.name == "video"
    return formats.format_of(path) is None and not any(map(formats.is_slice, path.iterdir()))


def propagate_film(
    segmenter: Segmenter,
    film: Path,
    out: Path,
    labels: Path | None = None,
    *,
    classes: Mapping[int, str] | None = None,
    told: Callable[[int, int], object] | None = None,
) -> FilmOutcome:
    """Segment the frames of a film by the labels of some; write a mask of each, and an animated preview.

    Masks have the names and formats of their frames where they can, those of a video the numbers of its frames, from 0
    on. If an earlier call made all of the same film, labels, weights, options and code, they stay as they are. What
    somebody edited since, and any other file, is never replaced.

    Args:
        segmenter: Segmenter, which must have examples if there are no labels.
        film: Video file, or a folder of frames, in which some may have labels; their names are their order.
        out: Folder to write into.
        labels: Folder of labels, named as the frames are or by their numbers, in place of those that lie with the
            frames; or a label map of all frames, of which some are drawn.
        classes: Names of label values.
        told: Function that is told how many planes are done, and of how many.

    Raises:
        ValueError: If frames and labels do not fit, or `out` is a folder of inputs or holds somebody's own files.
        OSError: If a file cannot be read or written.
        ImportError: If PyAV is needed and not installed; the message has the command.
    """
    check_apart(segmenter.overlap)
    if os.path.realpath(out) in {os.path.realpath(each) for each in (film, labels) if each}:
        msg = f"out is a folder of inputs: expected a folder apart, got {out}. Write elsewhere."
        raise ValueError(msg)
    read = read_film(film, labels, segmenter)
    recipe = recipe_of(segmenter, read.pairs, {"classes": classes, "labels": labels is not None})
    with claimed(out, "propagate", [PREVIEW]) as ledger:
        make_folder(out / MASKS)
        targets = [out / MASKS / _file(name, read.case(index, segmenter)) for index, name in enumerate(read.names)]
        are_made = all(target.is_file() and ledger.knows(target, recipe) for target in targets)
        if are_made and (out / PREVIEW).is_file():
            told_so = f"{out / MASKS} was made of the same frames and options before: it stays as it is."
            return FilmOutcome(0, warnings=(told_so,))
        ledger.refuse_foreign(targets)
        with warnings.catch_warnings(record=True, action="always") as warned:
            result = segmenter.propagate(read.frames, read.labels or None, classes, told=told)
            _write(result, read, targets, ledger, (segmenter, recipe))
        replace_file(out / PREVIEW, animated(result, read, segmenter))
    told_of = tuple(str(each.message) for each in warned)
    return FilmOutcome(len(targets), _next(result, read), predicted_dice(result), told_of)


def read_film(film: Path, labels: Path | None, segmenter: Segmenter) -> LabelledFilm:
    """Read a video, or pair the frames of a folder with their labels, in their order.

    Raises:
        ValueError: If names have several readings, or a label belongs to no frame.
        OSError: If a file cannot be read.
    """
    if film.is_dir():
        found = read_folder(film)
        pairs = tuple(sorted(found.pairs, key=lambda pair: natural_order(pair.name)))
        names = tuple(formats.stem(pair.name) for pair in pairs)
        frames: Frames | SourceImage = [pair.image for pair in pairs]
        known = _labels_of(pairs, found)
    else:
        case = read_source_image(film, str(film), channel=segmenter.channel, level=segmenter.level)
        digits = len(str(len(case.planes) - 1))
        names = tuple(f"{index:0{digits}}" for index in range(len(case.planes)))
        frames, pairs, known = case, (ImagePair(film, film.name),), {}
    if labels is None:
        return LabelledFilm(frames, names, known, pairs)
    if not labels.is_dir():
        return LabelledFilm(frames, names, labels, (*pairs, ImagePair(labels, labels.name)))
    further = read_folder(labels).pairs
    drawn: dict[int, ImagePair] = {}
    for pair in further:
        other = drawn.setdefault(_index_of(pair, names, film.is_dir()), pair)
        if other is not pair:
            msg = f"{other.name} and {pair.name} are labels of one frame: expected one, got two. Leave one out."
            raise ValueError(msg)
    of_frames = {index: pair.image for index, pair in drawn.items()}
    return LabelledFilm(frames, names, of_frames, (*pairs, *further))


def _labels_of(pairs: tuple[ImagePair, ...], found: Pairing) -> PlaneLabels:
    """Arrange the labels that lie with the frames as `Segmenter.propagate` takes them."""
    if found.classes:
        return {
            name: {index: pair.labels[name] for index, pair in enumerate(pairs) if name in pair.labels}
            for name in found.classes
        }
    return {index: _one(pair.labels[""]) for index, pair in enumerate(pairs) if pair.labels}


def _one(paths: tuple[Path, ...]) -> Picture | Parts:
    return paths if len(paths) > 1 else paths[0]


def _index_of(label: ImagePair, names: tuple[str, ...], have_names: bool) -> int:
    """Find the frame of a label: by its name if frames have names, else by the last number in it."""
    stem = formats.stem(Path(label.name).name)
    alike = [index for index, name in enumerate(names) if name_key(Path(name).name) == name_key(stem)]
    numbers = re.findall(r"[0-9]+", stem)
    if have_names and not alike and numbers:
        last = {index: re.findall(r"[0-9]+", Path(name).name)[-1:] for index, name in enumerate(names)}
        alike = [index for index, found in last.items() if found and int(found[0]) == int(numbers[-1])]
    elif not have_names and numbers:
        alike = [int(numbers[-1])]
    if len(alike) != 1 or alike[0] >= len(names):
        msg = (
            f"{label.name} is the label of no frame: expected a name or number of one from {names[0]} to {names[-1]}, "
            f"got {stem}. Rename it; the frames of a video are counted from 0."
        )
        raise ValueError(msg)
    return alike[0]


def _next(result: Segmentation, film: LabelledFilm) -> str:
    """Name of the frame whose label would help most; empty if all are labelled."""
    try:
        return film.names[result.next_plane()]
    except ValueError:
        return ""


def _file(name: str, case: SourceImage) -> str:
    return f"{name}{mask_suffix(case)}"


def _write(
    result: Segmentation, film: LabelledFilm, targets: list[Path], ledger: Ledger, by: tuple[Segmenter, str]
) -> None:
    """Write the mask of each frame on its grid."""
    (segmenter, recipe), mask = by, result[0]
    for index, target in enumerate(targets):
        make_folder(target.parent)
        write_mask(mask[index], film.case(index, segmenter), target, result.classes, result.colours)
        ledger.add(target, sha256_of(target), recipe)


def animated(result: Segmentation, film: LabelledFilm, segmenter: Segmenter) -> bytes:
    """Draw the masks over the frames of a film, as an animated GIF; of a long film over some of them."""
    mask, pictures = result[0], []
    for index in spread(len(mask), MOST_DRAWN):
        image = apply(film.case(index, segmenter), Normalisation("min-max"))[0]
        pictures.append(draw(image, mask[index], result.colours, DRAWN_PX))
    buffer, (first, *others) = io.BytesIO(), pictures
    first.save(buffer, "GIF", save_all=True, append_images=others, duration=int(1000 * SECONDS_DRAWN), loop=0)
    return buffer.getvalue()
