"""Formats of masks and annotation tools that a user asks for, checked against the images before any work is done."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from incontext.folders.file_facts import is_picture, look_at
from incontext.segmenter import Segmenter
from megamed import formats
from megamed.annotation_tools.model import ImageKind
from megamed.annotation_tools.writers import WRITERS, check_kind, check_library
from megamed.pairing import ImagePair
from megamed.vocabulary import WrittenTool

EVERY: frozenset[ImageKind] = frozenset({"image", "stack", "volume"})
MASK_KINDS: dict[ImageKind, set[formats.Kind]] = {"image": {"image"}, "stack": {"stack"}, "volume": {"placed"}}


def check_targets(images: Sequence[ImagePair], suffix: str | None, tools: Iterable[WrittenTool]) -> None:
    """Refuse what cannot hold the masks of some image, as far as names and headers tell.

    Args:
        images: Images to segment.
        suffix: Ending of the masks; None if each has its image's own.
        tools: Annotation tools in whose files masks are written too.

    Raises:
        ValueError: If an ending is unknown, or an image has a mask that it or a tool cannot hold.
        ImportError: If the library for a tool's files is not installed; the message has the command.
    """
    written = dict.fromkeys(known for each in formats.FORMATS for known in each.writes)
    if suffix is not None and suffix not in written:
        got = suffix or "none"
        msg = f"mask format is unknown: expected one of {', '.join(written)}, got {got}. Choose one of these."
        raise ValueError(msg)
    tools = list(tools)
    for tool in tools:
        check_library(tool)
    if suffix is None and not tools:
        return
    for pair in images:
        kinds = possible_kinds(pair.image)
        if suffix is not None:
            _check_suffix(pair, kinds, suffix)
        for tool in tools:
            if kinds.isdisjoint(WRITERS[tool].holds):
                check_kind(tool, min(kinds), pair.name)


def check_apart(overlap: bool) -> None:
    """Refuse classes that may overlap, where a mask has one class a pixel.

    Raises:
        ValueError: If they may.
    """
    if overlap:
        msg = (
            "classes may overlap: expected a task of one class a pixel, as a label map has, got one saved with "
            "overlap=True. `incontext segment` writes masks of each class."
        )
        raise ValueError(msg)


def check_overlap(segmenter: Segmenter, tools: Iterable[WrittenTool]) -> None:
    """Refuse tools whose files have one class a pixel, where classes overlap.

    Raises:
        ValueError: If one cannot hold the masks.
    """
    unfit = [tool for tool in tools if not WRITERS[tool].overlap]
    if not (segmenter.overlap and unfit):
        return
    pairs = segmenter.fitted.overlapping
    names = pairs[0] if pairs else tuple(segmenter.fitted.names.values())
    others = ", ".join(tool for tool, writer in WRITERS.items() if writer.overlap)
    msg = (
        f"{WRITERS[unfit[0]].title} cannot hold {' and '.join(map(repr, names))}, which {'' if pairs else 'may '}"
        f"overlap: expected one class a pixel, got several. Write {others}, or add --no-overlap."
    )
    raise ValueError(msg)


def possible_kinds(path: Path) -> frozenset[ImageKind]:
    """Return the kinds that an image can be of: one where its name or its header tells, else several."""
    found = formats.format_of(path)
    if formats.is_series(path) or (found is not None and "placed" in found.holds):
        return frozenset({"volume"})
    if found is not None and "series" in found.holds:
        return frozenset({"image", "volume"})
    if not is_picture(path):
        return EVERY
    facts = look_at(path)
    if facts.fault or len(facts.size_px) == 2:
        return EVERY if facts.fault else frozenset({"image"})
    return frozenset({"stack"}) if _is_stack(path) else frozenset({"image"})


def _is_stack(path: Path) -> bool:
    """Whether pages are planes, and not the smaller copies of a pyramid or previews, which only reading tells."""
    try:
        return formats.read(formats.source_at(path)).axes[:1] in ("T", "Z")
    except (OSError, ValueError, ImportError):
        return False


def _check_suffix(pair: ImagePair, kinds: Iterable[ImageKind], suffix: str) -> None:
    wanted = {kind for each in kinds for kind in MASK_KINDS[each]}
    is_dicom = formats.is_series(pair.image) or formats.is_slice(pair.image)
    suffixes = formats.mask_suffixes(wanted | {"series"} if is_dicom else wanted)
    if suffix not in suffixes:
        msg = f"{pair.name} cannot have a mask in {suffix}: expected one of {', '.join(suffixes)}. Choose one of these."
        raise ValueError(msg)
