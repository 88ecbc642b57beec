"""Pictures for a report: the best, the median and the worst query of each task, with supports and masks."""

import base64
import io
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from itertools import groupby
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, UInt8
from PIL import Image
from torch import Tensor

from benchmarks.plans.frozen_lists import plan_asked, read_list
from benchmarks.plans.task_plans import Settings, TaskPlan, plan_hash
from benchmarks.predictors import NamedPredictor, Predictor, load_predictor, specialise
from benchmarks.reports.gather import Results
from benchmarks.scoring.results import Row
from incontext.networks.measures import dice
from incontext.networks.unknown import as_shares, judged
from megamed import Collection, Sample, Task
from megamed.unknown import foreground

SUPPORTS_SHOWN = 4
JPEG_QUALITY = 80
Trace = Callable[[np.ndarray], str]
"""Function from a mask (H, W) to an SVG path."""
Predict = Callable[[Tensor, Tensor], Tensor]
"""Function from images and labels (N, 1, H, W) to the mask (1, 1, H, W) of the first; the others are its support."""
ROUNDING = 0.005
"""Largest difference between the Dice of a row and that of the mask drawn for it."""


@dataclass(frozen=True)
class Picture:
    """Image for a page, with the outlines to draw on it."""

    image: str
    """Image as a data URI in JPEG."""
    size_px: tuple[int, int]
    """Width and height of the image in pixels."""
    label: str
    """Outline of the query's label or region of a support label, as an SVG path in pixels."""
    mask: str = ""
    """Outline of the predicted mask, as an SVG path in pixels; empty if none is drawn."""


@dataclass(frozen=True)
class ShownQuery:
    """Query with its label, its predicted mask and its support."""

    kind: str
    """Rank of the query in its task by Dice: best, median or worst."""
    row: Row
    query: Picture
    supports: tuple[Picture, ...]
    """Pictures of the first images of the support."""
    drawn_dice: float | None = None
    """Dice of the mask that is drawn; None if none is."""


@dataclass(frozen=True)
class ShownQueries:
    """Queries to show, by task id, with a note on what is missing."""

    tasks: dict[str, list[ShownQuery]]
    predictor: str
    note: str
    """Reason why masks or pictures are missing; empty if none are."""


@dataclass(frozen=True)
class Shown:
    """Options that decide which queries and masks are drawn."""

    collection: Path
    predictor: str | None = None
    """Name of the predictor as given to `incontext-bench run`; by default the best one."""
    frozen_list: Path | None = None
    """Frozen list that the runs were made by, if any."""
    device: str = "cpu"


def draw_examples(results: Results, shown: Shown) -> ShownQueries:
    """Draw up to three queries of each task at the largest support size, with masks predicted anew.

    Where the predictor cannot be loaded, the annotations are drawn alone.

    Raises:
        ValueError: If the collection is not that of the runs.
    """
    name, rows, loaded, note = _choose_predictor(results, shown)
    collection = Collection(shown.collection)
    plans = {plan.task.id: plan for plan in _rebuild_plan(results, shown, collection)}
    tasks = {}
    for task, of_task in groupby(sorted(rows, key=lambda row: row.task), key=lambda row: row.task):
        predict = None if loaded is None else _on(shown.device, specialise(loaded.predict, collection, plans[task]))
        tasks[task] = [_example(collection, plans[task], predict, *extreme) for extreme in extremes(of_task)]
    if loaded is not None and (moved := _moved(tasks)):
        note = f"Drawn anew, the masks of {moved} queries score otherwise than they did in the run."
    return ShownQueries(tasks, name, note)


def extremes(rows: Iterable[Row]) -> list[tuple[str, Row]]:
    """Rows of the best, the median and the worst query by Dice in the first draw; fewer if there are fewer queries."""
    ordered = sorted((row for row in rows if row.draw == 0), key=lambda row: (-row.dice, row.case))
    indices = {"best": 0, "median": (len(ordered) - 1) // 2, "worst": len(ordered) - 1}
    kinds = {index: kind for kind, index in reversed(indices.items())}
    return [(kinds[index], ordered[index]) for index in sorted(kinds) if ordered]


def outline(mask: Bool[np.ndarray, "H W"]) -> str:
    """SVG path in pixels of the border between foreground and background, to stroke."""
    padded = np.pad(mask, 1)
    across = padded[1:, 1:-1] != padded[:-1, 1:-1]
    down = (padded[1:-1, 1:] != padded[1:-1, :-1]).T
    return _runs(across, "M{start} {line}H{end}") + _runs(down, "M{line} {start}V{end}")


def region(mask: Bool[np.ndarray, "H W"]) -> str:
    """SVG path in pixels of the foreground, to fill."""
    return _runs(mask, "M{start} {line}H{end}v1H{start}z")


def _runs(lines: Bool[np.ndarray, "L K"], path: str) -> str:
    """Fill a path template for every run of true values in a line."""
    steps = np.diff(np.pad(lines, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    (indices, starts), (_, ends) = np.nonzero(steps == 1), np.nonzero(steps == -1)
    return "".join(
        path.format(line=index, start=start, end=end) for index, start, end in zip(indices, starts, ends, strict=True)
    )


def data_uri(image: UInt8[np.ndarray, "H W"]) -> str:
    """Encode an image as the data URI of a JPEG, which a page can hold."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=JPEG_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _choose_predictor(results: Results, shown: Shown) -> tuple[str, list[Row], NamedPredictor | None, str]:
    """Choose the best predictor that is no ensemble, or the one asked for, and load it if it is still the same."""
    singles: dict[str, list[Row]] = defaultdict(list)
    for row in results.main.rows:
        if row.ensemble == 1:
            singles[row.predictor].append(row)
    best = next(name for name in results.ranking if name in singles)
    try:
        loaded = load_predictor(shown.predictor or best, shown.device)
    except ValueError as error:
        if shown.predictor is not None:
            raise
        return best, singles[best], None, f"Without masks, as {best} could not be loaded: {error}"
    if loaded.name not in singles:
        msg = f"The runs do not know predictor {loaded.name!r}: expected one of {', '.join(singles)}."
        raise ValueError(msg)
    if loaded.fingerprint != results.predictors.get(loaded.name, {}).get("fingerprint"):
        return loaded.name, singles[loaded.name], None, f"Without masks, as {loaded.name} is another one by now."
    return loaded.name, singles[loaded.name], loaded, ""


def _rebuild_plan(results: Results, shown: Shown, collection: Collection) -> list[TaskPlan]:
    known = {field.name for field in fields(Settings)}
    settings = {key: value for key, value in results.settings.items() if key in known}
    asked = read_list(shown.frozen_list) if shown.frozen_list else Settings(**settings, support_size=results.size)
    _, plans, _ = plan_asked(collection, asked)
    if plan_hash(plans) != results.main.plan_hash:
        msg = (
            f"The collection is not that of the runs: expected plan {results.main.plan_hash}, got {plan_hash(plans)}. "
            "Pass the one that they were made with, and their --list if they had one."
        )
        raise ValueError(msg)
    return plans


def _example(collection: Collection, plan: TaskPlan, predict: Predict | None, kind: str, row: Row) -> ShownQuery:
    episode = next(each for each in plan.episodes if (each.query.case, each.draw) == (row.case, row.draw))
    supports = tuple(_picture(collection, plan.task, each, region) for each in episode.support[:SUPPORTS_SHOWN])
    query = _picture(collection, plan.task, episode.query, outline)
    if predict is None:
        return ShownQuery(kind, row, query, supports)
    rows = [sample.row for sample in (episode.query, *episode.support)]
    images = torch.from_numpy(collection.images(plan.task, rows)).unsqueeze(1)
    labels = as_shares(torch.from_numpy(collection.labels(plan.task, rows)).unsqueeze(1))
    mask = predict(images / 255, labels)
    query = replace(query, mask=outline(mask[0, 0].numpy()))
    return ShownQuery(kind, row, query, supports, dice(mask, labels[:1] == 1, judged(labels[:1])).item())


def _on(device: str, predictor: Predictor) -> Predict:
    """Make a function that segments the first of some images by the example of the others, on a device."""

    def predict(images: Tensor, labels: Tensor) -> Tensor:
        with torch.inference_mode():
            logits = predictor(images[:1].to(device), images[None, 1:].to(device), labels[None, 1:].to(device))
            return logits.cpu() >= 0

    return predict


def _picture(collection: Collection, task: Task, sample: Sample, trace: Trace) -> Picture:
    image, label = collection.image(task, sample.row), collection.label(task, sample.row)
    height, width = image.shape
    return Picture(data_uri(image), (width, height), trace(foreground(label)))


def _moved(tasks: dict[str, list[ShownQuery]]) -> int:
    """Number of masks whose Dice differs from that of the run by more than `ROUNDING`."""
    return sum(
        example.drawn_dice is not None and abs(example.drawn_dice - example.row.dice) > ROUNDING
        for examples in tasks.values()
        for example in examples
    )
