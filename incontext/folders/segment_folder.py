"""Segmentation of a folder of images by a folder of labelled ones: masks, preview, summary and statistics on disk."""

import io
import json
import math
import os
import warnings
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float32
from PIL import Image

from incontext import __version__
from incontext.folders import MASKS, SUMMARY
from incontext.folders.expectation import PICTURE, Expectation, expectation_of, picture
from incontext.folders.folder_images import read_folder
from incontext.folders.mask_files import EDITED, hash_of, mask_names, write_or_keep
from incontext.folders.mask_targets import check_overlap, check_targets
from incontext.folders.preview import draw_preview, read_annotation
from incontext.folders.prompt_file import PromptFile, check_classes, seek_prompted
from incontext.folders.report import ImageReport, Summary, grouped, statistics_csv, with_noun
from incontext.folders.run_folder import places
from incontext.folders.run_log import LOG, Done, RunLog, adopt_former, answering_network, identity, stamp
from incontext.folders.tool_files import SavedMasks, start_tool_files, write_tool_files
from incontext.folders.user_folder import fit_pairs, settle_overlap
from incontext.images import prompt_json
from incontext.images.examples import Example
from incontext.images.prompts import Prompts
from incontext.images.source_image import mask_suffix, read_source_image
from incontext.inference.segmentation import Segmentation, dice_by_class
from incontext.segmenter import Segmenter
from megamed import formats
from megamed.failures import Attempt
from megamed.file_names import check_text
from megamed.files import Ledger, Unwritable, claimed, make_folder, replace_file
from megamed.pairing import ImagePair, Pairing
from megamed.path_templates import Templates
from megamed.vocabulary import WrittenTool

PREVIEW, STATISTICS = "overlay.png", "statistics.csv"

Track = Callable[[Sequence[ImagePair]], Iterable[ImagePair]]
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
        templates: Paths of images and labels, where their names leave open which belong together.
        tools: Annotation tools in whose files the masks are written too.
        prompts: Clicks, scribbles, boxes and masks that correct the masks of images.
        overlap: Whether classes may overlap; by default if they share pixels in the labels.
        choose: Whether the labelled images choose settings too; see `Segmenter.choose`.
        tell: Function that is told, before anything is segmented, what the labelled images let one expect.
        task: File of the saved task that the segmenter is of, to be named in the summary; None if it is of none.
    """

    classes: Mapping[int, str] = field(default_factory=dict)
    mask_format: str | None = None
    preview: bool = True
    statistics: bool = False
    overwrite: bool = False
    templates: Templates | None = None
    tools: tuple[WrittenTool, ...] = ()
    prompts: PromptFile = field(default_factory=PromptFile)
    overlap: bool | None = None
    choose: bool = False
    tell: Callable[[str], object] = str
    task: Path | None = None

    @property
    def mask_suffix(self) -> str | None:
        """Suffix of the masks with its dot; None if each has its image's own."""
        return self.mask_format and f".{self.mask_format.removeprefix('.')}"


def segment_folder(
    segmenter: Segmenter,
    support: Path | None,
    query: Path | None,
    out: Path,
    track: Track = iter,
    options: SegmentOptions = SegmentOptions(),
) -> Summary:
    """Segment the images of a folder; write a mask of each into `masks/`, `overlay.png` and `summary.json`.

    A mask has its image's name and format, or PNG where that format cannot hold masks. Where classes overlap, each has
    masks of its own, in a folder of its name. Masks that an earlier run with
    the same support, weights, options and code wrote are kept, if neither they nor their images have changed; a mask
    that somebody edited is kept in any case, with a warning. Files of annotation tools, such as `coco.json` or
    `labelme/a.json`, are made of the masks; what they hold already of these and of other images stays, so that a run
    that is done may be repeated for a further tool.

    A query that cannot be read is reported, and the rest is done; one whose label does not fit is not scored. Labelled
    images that cannot be read are left out of the support, if others can.

    Args:
        segmenter: Segmenter to use.
        support: Folder in which some images have labels; None if the segmenter has learned already, or if images are
            segmented by prompts alone: those that have none are left out then.
        query: Folder of images, or one image; where they have labels, Dice is reported. If it is None or the support
            itself, the images of the support that have no label.
        out: Folder to write into.
        track: Wraps the queries, to show progress.
        options: Class names, format of the masks, and which files to write.

    Raises:
        ValueError: If the support is unusable, or missing where it is to choose settings, a folder has no image, `out`
            is a folder that is read or holds another run's masks or somebody's own files, another process writes
            there, or a mask format or a tool is unknown or cannot hold the masks.
        OSError: If the support cannot be read or the results cannot be written.
        ImportError: If the library for a tool's files is not installed; the message has the command.
    """
    if options.choose and not support:
        message = "settings are chosen by labelled images: expected a folder of them, got none. Name the support."
        raise ValueError(message)
    examples = read_folder(support, options.templates, options.classes) if support else None
    queries, notes = _queries(examples, query, options)
    prompts, unused = options.prompts.of_images(queries)
    unprompted: Collection[str] = ()
    notes += unused
    _check_apart(out, queries, [support, query])
    check_targets(queries, options.mask_suffix, options.tools)
    if examples:
        _check_apart(out, examples.pairs, ())
        faulty = fit_pairs(segmenter, examples, options.classes, options.choose)
        rest = len(examples.bare) if queries == examples.bare else 0
        examples = replace(examples, pairs=tuple(pair for pair in examples.pairs if pair.name not in faulty))
        notes += [_shared_out(len(examples.labelled), rest)] if rest else []
        notes += [f"{name} is left out of the support: {reason}" for name, reason in faulty.items()]
    notes += settle_overlap(segmenter, options.overlap)
    if prompts and not segmenter.has_examples:
        unprompted = {pair.name for pair in queries} - prompts.keys()
        queries, bare = seek_prompted(segmenter, queries, prompts, options.classes)
        notes += bare
    check_classes(options.prompts.name, prompts, segmenter.fitted.names)
    check_overlap(segmenter, options.tools)
    notes += [segmenter.choices.told()] if options.choose and segmenter.choices else []
    notes += [str(tuned)] if (tuned := segmenter.tuned) else []
    notes += [f"Learned from {source}." for source in segmenter.sources[:1]]
    notes += [f"Compared with {source}." for source in segmenter.sources[1:]]
    with claimed(out, "segment") as ledger:
        adopt_former(out, ledger, _written(options))
        ledger.refuse_foreign(out / name for name in _written(options))
        make_folder(out / MASKS)
        run = _Run(segmenter, out, options, ledger, prompts)
        told = _Reading(examples, notes, unprompted, places(out, query, support, options.task))
        return _segment_queries(run, queries, track, told)


def _shared_out(labelled: int, bare: int) -> str:
    """Note on the labelled and the other images of one folder."""
    support = with_noun(labelled, "labelled image is", "labelled images are")
    return f"{support} the support, the {with_noun(bare, 'other is', 'others are')} segmented."


def _written(options: SegmentOptions) -> list[str]:
    """Names of the files that a run writes beside the masks."""
    return [LOG, SUMMARY, *[PREVIEW, PICTURE] * options.preview, *[STATISTICS] * options.statistics]


@dataclass(frozen=True)
class _Run:
    """A segmenter that has learned, and the claimed folder that it writes into."""

    segmenter: Segmenter
    out: Path
    options: SegmentOptions
    ledger: Ledger
    prompts: Mapping[str, Prompts]

    @property
    def masks(self) -> Path:
        return self.out / MASKS

    def correction(self, pair: ImagePair) -> str:
        """Identify the correction of an image: the network that answers, and what is said; empty if nothing is."""
        prompts = self.prompts.get(pair.name)
        return f"{self._answering} {prompt_json.as_json(prompts)}" if prompts else ""

    @cached_property
    def _answering(self) -> str:
        return answering_network(self.segmenter)


def _of_support(segmenter: Segmenter) -> Collection[str]:
    """Warnings that any image gives, since they are about the labelled ones."""
    fitted = segmenter.fitted
    return [*fitted.expectations.warn_about([]), *fitted.told_of_lost()]


@dataclass(frozen=True)
class _Reading:
    """Examples of a run, notes on how its folders were understood, names of images that are left out, and its places.

    Those are left out of which no prompt says anything, where nothing but prompts says what to segment.
    """

    examples: Pairing | None
    notes: list[str]
    unprompted: Collection[str]
    places: Mapping[str, str]

    def stale(self, log: RunLog) -> list[str]:
        """Tell of masks that a run before made of images that are left out now."""
        old = (log.done[name].report for name in sorted(self.unprompted) if name in log.done)
        masks = [mask for report in old for mask in report.mask_files]
        return [f"masks/{mask} is of a run before: no prompt is about its image now. Delete it." for mask in masks]


def _segment_queries(run: _Run, queries: Sequence[ImagePair], track: Track, told: _Reading) -> Summary:
    """Segment what no earlier run has finished, and write the summary of all."""
    segmenter, out, options = run.segmenter, run.out, run.options
    log = RunLog(out, identity(segmenter, {"mask_format": options.mask_suffix}), options.overwrite)
    start_tool_files(out, options.tools, run.ledger, options.overwrite)
    support = [pair.name for pair in told.examples.labelled] if told.examples else []
    expected = _expected(run, support)
    known = {pair.name for pair in queries if log.is_done(pair, run.correction(pair))}
    failures = {}
    for pair in track([pair for pair in queries if pair.name not in known]):
        with Attempt(Unwritable) as attempt:
            log.add(_segment_pair(run, pair))
        if attempt.error:
            log.done.pop(pair.name, None)
            failures[pair.name] = attempt.reason
    done = [log.done[pair.name] for pair in queries if pair.name in log.done]
    reports = [each.report for each in done]
    fresh = {report.file for report in reports} - known
    masks = SavedMasks(run.masks, reports, {pair.name: pair.image for pair in queries}, segmenter.fitted)
    written: list[Path] = []
    for tool in options.tools:
        with Attempt(Unwritable) as attempt:
            written += write_tool_files(out, tool, masks, fresh, run.ledger)
        if attempt.error:
            failures[f"files for {tool}"] = attempt.reason
    warned = [(each.report.file, message) for each in done for message in each.warnings if message not in told.notes]
    summary = Summary(
        support,
        segmenter.fitted.names,
        reports,
        failures,
        grouped(warned, _of_support(segmenter)),
        len(known),
        [*told.notes, *told.stale(log)],
        [path.relative_to(out).as_posix() for path in written],
        expected,
        told.places,
    )
    if options.statistics:
        replace_file(out / STATISTICS, statistics_csv(summary))
    if options.preview:
        with Attempt(Unwritable) as attempt:
            if preview := draw_preview(queries, summary, segmenter, run.masks):
                replace_file(out / PREVIEW, _png(preview))
        if attempt.error:
            summary.failures[PREVIEW] = attempt.reason
    replace_file(out / SUMMARY, as_json(summary, segmenter))
    return summary


def _expected(run: _Run, support: Sequence[str]) -> Expectation | None:
    """Tell what the labelled images let one expect, and draw those that look wrong."""
    segmenter, out, options = run.segmenter, run.out, run.options
    expected = expectation_of(segmenter, support) if segmenter.has_examples else None
    if (out / PICTURE).is_file() and run.ledger.knows(out / PICTURE):
        (out / PICTURE).unlink()
    if expected is not None:
        for line in expected.lines():
            options.tell(line)
        if options.preview and (drawn := picture(segmenter, expected)):
            replace_file(out / PICTURE, _png(drawn))
            options.tell(f"Drawn in {out / PICTURE}: what is contradicted, and what the others say.")
    return expected


def _queries(
    examples: Pairing | None, query: Path | None, options: SegmentOptions
) -> tuple[Sequence[ImagePair], list[str]]:
    """Find the images to segment, and what to tell of the choice."""
    is_same = examples is not None and (query is None or os.path.realpath(query) == os.path.realpath(examples.folder))
    if query is not None and not is_same:
        templates = options.templates and options.templates.elsewhere(query)
        found = read_folder(query, templates, options.classes)
        unused = examples.bare if examples else ()
        idle = with_noun(len(unused), "image beside the labelled ones has", "images beside the labelled ones have")
        left = [f"{idle} no label, and no use."] if unused else []
        return found.pairs, [*_told(examples), *left, *found.notes]
    if examples is None:
        message = "query is missing: expected a folder of images or an image, got none. Name what to segment."
        raise ValueError(message)
    if examples.bare:
        return examples.bare, _told(examples)
    if query is None:
        message = (
            f"{examples.folder} has no image to segment: expected some without a label, got labels for all "
            f"{len(examples.pairs)}. Name other images as the query."
        )
        raise ValueError(message)
    return examples.pairs, _told(examples)


def _told(examples: Pairing | None) -> list[str]:
    return [f"{examples.arrangement}.", *examples.notes] if examples else []


def _check_apart(out: Path, pairs: Sequence[ImagePair], folders: Iterable[Path | None]) -> None:
    files = [file for pair in pairs for file in pair.files]
    read = {os.path.realpath(folder) for file in files for folder in (file.parent, file)}
    read |= {os.path.realpath(folder) for folder in folders if folder}
    for written in (out, out / MASKS):
        if os.path.realpath(written) in read:
            message = f"out is a folder of inputs: expected a folder apart, got {written}. Write elsewhere."
            raise ValueError(message)


def _segment_pair(run: _Run, pair: ImagePair) -> Done:
    """Write the mask of an image unless somebody edited the one that is there; report its classes and warnings."""
    check_text(pair.name)
    segmenter, prompts = run.segmenter, run.prompts.get(pair.name)
    state = stamp(pair, run.correction(pair))
    case = read_source_image(pair.image, str(pair.image), channel=segmenter.channel, level=segmenter.level)
    label, faults = read_annotation(pair, case, segmenter)
    with warnings.catch_warnings(action="ignore"):
        result = segmenter.predict(case, prompts=prompts)
    stem, suffix = formats.stem(pair.name), run.options.mask_suffix or mask_suffix(case)
    names = mask_names(stem, suffix, result.classes, result.overlap)
    files = {value: run.masks / name for value, name in names.items()}
    kept = write_or_keep(result, files, run.ledger)
    if kept:
        faults = (*faults, EDITED)
    report = _report(pair.name, names, result, label, kept)
    return Done(state, hash_of(files.values()), report, (*faults, *result.report.warnings))


def _report(
    file: str,
    names: Mapping[int, str],
    result: Segmentation,
    label: Example | None,
    kept: Mapping[int, Bool[np.ndarray, "..."]],
) -> ImageReport:
    """Report on masks, or on those that somebody made of them, of which nothing is predicted."""
    masks, case = {value: result.layer(0, value) for value in result.classes}, result.cases[0]
    confidence, (predicted, look_first) = _confidence(masks, result.probabilities[0]), _predicted(result)
    absent = tuple(value for value, is_absent in zip(result.classes, result.absent[0], strict=True) if is_absent)
    if kept:
        masks, confidence, predicted, look_first, absent = {**masks, **kept}, None, None, None, ()
    pixels = {value: int(mask.sum()) for value, mask in masks.items()}
    return ImageReport(
        file=file,
        mask=names.get(0, ""),
        size_px=case.shape,
        area_px=pixels,
        area_mm2=_times(pixels, case.spacing_mm and math.prod(case.spacing_mm[1:])) if case.kind == "image" else None,
        volume_mm3=_times(pixels, case.voxel_mm3) if case.kind != "image" else None,
        confidence=confidence,
        predicted_dice=predicted,
        look_first=look_first,
        dice=None if label is None else dice_by_class(masks, label),
        presence=_presence(result),
        absent=absent,
        prompts=result.report.prompts,
        masks={value: name for value, name in names.items() if value},
        full_size_px=case.full_size,
    )


def _confidence(
    masks: Mapping[int, Bool[np.ndarray, "*grid"]], probabilities: Float32[np.ndarray, "..."]
) -> float | None:
    """Mean probability of the most probable class over all masks; None if these are empty."""
    shown = np.logical_or.reduce([*masks.values()])
    chosen = probabilities.reshape(-1, *shown.shape).max(axis=0)[shown]
    return float(chosen.mean()) if chosen.size else None


def _presence(result: Segmentation) -> dict[int, float] | None:
    """Read the presence of each class that was judged; None if none was."""
    found = {} if result.presence is None else dict(zip(result.classes, result.presence[0].tolist(), strict=True))
    return {value: each for value, each in found.items() if not math.isnan(each)} or None


def _predicted(result: Segmentation) -> tuple[dict[int, float] | None, bool | None]:
    """Read each class's predicted Dice, and whether it is poor; None twice for weights that predict none."""
    try:
        return dict(zip(result.classes, result.predicted_dice[0].tolist(), strict=True)), bool(result.look_first)
    except ValueError:
        return None, None


def _times(pixels: Mapping[int, int], size: float | None) -> dict[int, float] | None:
    """Area or volume of each class, by that of a pixel; None if it is unknown."""
    return None if size is None else {value: count * size for value, count in pixels.items()}


def as_json(summary: Summary, segmenter: Segmenter) -> str:
    """Content of `summary.json`: the results, then by what they were made: parameters, versions and weights."""
    fitted = segmenter.fitted
    content = {
        "classes": summary.classes,
        "mean_dice": summary.mean_dice,
        **asdict(summary),
        "label_budget": fitted.pool.label_budget,
        "normalisation": str(fitted.preparation.normalisation),
        "tiling": fitted.preparation.tiling.reason,
        "parameters": {name: value for name, value in segmenter.get_params().items() if name != "weights"},
        "versions": {"incontext": __version__, "torch": torch.__version__},
        "weights": segmenter.metadata,
    }
    return json.dumps(content, indent=2, default=str) + "\n"


def _png(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format="PNG", compress_level=3)  # faster than the default, and hardly larger
    return buffer.getvalue()
