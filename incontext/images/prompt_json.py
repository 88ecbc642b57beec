"""Prompts about one image as JSON: our own list, and the points and boxes that people have for other programs.

Our own is a list of prompts, each with one of the keys `click`, `scribble`, `box` and `mask`, in the order in which
they are made. Rows come before columns. `inside` is true unless it is said to be false, `label` is the value of the
class, `plane` the index of the plane of a stack or volume:

    [{"click": [40, 25]}, {"click": [8, 9], "inside": false}, {"box": [10, 12, 60, 70], "label": 2},
     {"scribble": [[5, 5], [9, 30]]}, {"mask": {"size": [80, 80], "counts": [6400]}, "plane": 3}]

A mask is one of COCO: its height and width, and runs down its columns, as a list or as compressed text.

Programs around the Segment Anything model have columns before rows: `points` or `point_coords`, `labels` or
`point_labels` with 1 for inside and 0 for outside, and `boxes` or `box` with two opposite corners each:

    {"points": [[25, 40], [9, 8]], "labels": [1, 0], "boxes": [[12, 10, 70, 60]]}

Boxes are made before points; `label` and `plane` say the same as above. Such an object may be a part of a list, too.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from numbers import Real
from reprlib import repr as shortened
from typing import Any, cast

from incontext.images.prompts import DrawnMask, Number, Prompts, Stroke
from megamed.annotation_tools.run_lengths import RunMask, counts_of_text

SIDES = {"click": 2, "box": 4}
"""Numbers that tell where a prompt is."""
POINTS, LABELS, BOXES = ("points", "point_coords"), ("labels", "point_labels"), ("boxes", "box")
EVERY = ("label", "plane")
"""Keys that any prompt may have."""


class _Unlike(ValueError):
    """Content that means no prompt."""


def as_json(prompts: Prompts) -> list[dict[str, Any]]:
    """Write prompts as lists and numbers, which `from_json` reads."""
    return [_content(stroke) for stroke in prompts.strokes]


def from_json(content: Any, name: str) -> Prompts:
    """Read the prompts about one image.

    Args:
        content: What the JSON holds.
        name: How errors call it.

    Raises:
        ValueError: If it is none of the forms that this module tells of; the message names the entry.
    """
    entries = content if isinstance(content, list) else [content]
    prompts = Prompts()
    for index, entry in enumerate(entries):
        try:
            prompts = _with(prompts, entry, is_listed=isinstance(content, list))
        except (ValueError, TypeError) as error:
            place = f"{name}, entry {index}" if isinstance(content, list) else name
            told = str(error) if isinstance(error, _Unlike) else f"expected a prompt, got {shortened(entry)} ({error})"
            msg = (
                f'{place} is no prompt: {told.rstrip(".")}. Write [{{"click": [row, column]}}, …], or '
                '{"points": [[x, y], …], "labels": [1, …]}.'
            )
            raise ValueError(msg) from error
    return prompts


def _content(stroke: Stroke) -> dict[str, Any]:
    where: Any = stroke.where
    if isinstance(where, DrawnMask):
        where = {"size": list(where.size), "counts": list(where.counts)}
    elif stroke.kind == "scribble":
        where = [list(point) for point in where]
    else:
        where = list(where)
    said = {} if stroke.inside else {"inside": False}
    return {stroke.kind: where, **said, **{key: value for key in EVERY if (value := getattr(stroke, key)) is not None}}


def _with(prompts: Prompts, entry: Any, is_listed: bool) -> Prompts:
    """Add what an entry says."""
    if not isinstance(entry, Mapping):
        msg = f"expected an object, got {shortened(entry)}"
        raise _Unlike(msg)
    common = {key: _number(key, entry[key]) for key in EVERY if entry.get(key) is not None}
    kinds = [key for key in ("click", "scribble", "box", "mask") if key in entry]
    if kinds == ["box"] and not is_listed and not _is_of_others(entry):
        msg = "expected a list around a box, whose rows come first, or boxes, whose columns do, got a box alone"
        raise _Unlike(msg)
    if _is_of_others(entry):
        return _of_others(prompts, entry, common)
    unknown = sorted(entry.keys() - {*kinds, *EVERY, "inside"})
    if len(kinds) != 1 or unknown:
        got = ", ".join(entry) or "none"
        msg = f"expected one of click, scribble, box and mask beside inside, label and plane, got {got}"
        raise _Unlike(msg)
    (kind,), where, inside = kinds, entry[kinds[0]], entry.get("inside", True)
    if inside not in (True, False) or (not inside and kind in ("box", "mask")):
        msg = f"expected inside to be true{'' if kind in ('box', 'mask') else ' or false'}, got {inside!r}"
        raise _Unlike(msg)
    if kind == "click":
        row, column = _numbers(kind, where)
        return prompts.click(row, column, bool(inside), **common)
    if kind == "box":
        top, left, bottom, right = _numbers(kind, where)
        return prompts.box(top, left, bottom, right, **common)
    if kind == "mask":
        return prompts.start_from(_mask(where), **common)
    drawn = _mask(where) if isinstance(where, Mapping) else [_numbers("click", point) for point in where]
    return prompts.scribble(drawn, bool(inside), **common)


def _is_of_others(entry: Mapping[str, Any]) -> bool:
    """Whether an object has points or boxes as other programs have them; `box` without any others is ours."""
    is_box_alone = "box" in entry and not any(key in entry for key in (*POINTS, "boxes", *LABELS))
    return not is_box_alone and any(key in entry for key in (*POINTS, *BOXES, *LABELS))


def _of_others(prompts: Prompts, entry: Mapping[str, Any], common: Mapping[str, int]) -> Prompts:
    """Add points and boxes whose columns come before their rows."""
    if unknown := sorted(entry.keys() - {*POINTS, *LABELS, *BOXES, *EVERY}):
        msg = f"expected points, labels and boxes beside label and plane, got {', '.join(unknown)} too"
        raise _Unlike(msg)
    points, labels, boxes = ([*_only(entry, keys)] for keys in (POINTS, LABELS, BOXES))
    if all(entry.get(key) is None for key in LABELS):
        labels = [1] * len(points)
    if len(labels) != len(points) or any(label not in (0, 1) for label in labels):
        msg = f"expected a label of 0 or 1 for each of {len(points)} points, got {labels}"
        raise _Unlike(msg)
    for box in [boxes] if boxes and not isinstance(boxes[0], Sequence) else boxes:
        left, top, right, bottom = _numbers("box", box)
        prompts = prompts.box(top, left, bottom, right, **common)
    for point, label in zip(points, labels, strict=True):
        column, row = _numbers("click", point)
        prompts = prompts.click(row, column, bool(label), **common)
    return prompts


def _only(entry: Mapping[str, Any], keys: Sequence[str]) -> Iterator[Any]:
    """Iterate over what an object has under one of some keys of one meaning; nothing if it has none or null."""
    given = [key for key in keys if entry.get(key) is not None]
    if len(given) > 1:
        msg = f"expected one of {' and '.join(keys)}, which mean the same, got both"
        raise _Unlike(msg)
    return iter(entry[given[0]] if given else ())


def _numbers(kind: str, where: Any) -> Sequence[Number]:
    is_right = isinstance(where, Sequence) and len(where) == SIDES[kind] and all(map(_is_number, where))
    if not is_right:
        msg = f"expected {SIDES[kind]} numbers for a {kind}, got {shortened(where)}"
        raise _Unlike(msg)
    return cast(Sequence[Number], where)


def _number(key: str, value: Any) -> int:
    least, most = (1, 255) if key == "label" else (0, math.inf)
    if not _is_whole(value) or not least <= value <= most:
        to = f" to {most}" if most < math.inf else ""
        msg = f"expected {key} to be a whole number from {least}{to}, got {shortened(value)}"
        raise _Unlike(msg)
    return value


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _mask(content: Any) -> Any:
    if not isinstance(content, Mapping) or content.keys() != {"size", "counts"}:
        msg = f"expected a mask as size and counts, got {shortened(content)}"
        raise _Unlike(msg)
    size, counts = content["size"], content["counts"]
    counts = counts_of_text(counts) if isinstance(counts, str) else counts
    if not all(isinstance(each, list) and all(map(_is_whole, each)) for each in (size, counts)) or len(size) != 2:
        msg = f"expected size to be a height and a width, and counts whole numbers or text, got {shortened(content)}"
        raise _Unlike(msg)
    return RunMask.of_counts(counts, (size[0], size[1]), "F").pixels()
