"""The experiment on people's scribbles: does a round of them mend a mask as much as one of simulated scribbles?

The folder of scribbles holds a `meta.json`, which names the dataset (`of_dataset`), and for each case a volume
`scribbles/CASE_scribble.*` on its grid. The values are those of the labels; what has another value is background.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from benchmarks.experiments.averages import averaged
from benchmarks.experiments.bench import Bench, Coordinates, Findings
from benchmarks.experiments.dialogue import ROBOTS, Dialogue, PromptedQuery, dice_of, mask_of, obeyed
from benchmarks.experiments.prompted_tasks import Course, measure_tasks, question_of, scores_of
from benchmarks.experiments.supports import first, pools
from benchmarks.plans.task_plans import TaskPlan, stable_hash
from benchmarks.predictors.protocol import PromptedPredictor
from benchmarks.scoring.evaluator import EpisodeImages
from incontext.networks.prompted import BOX, INSIDE
from incontext.training.marks import Parts
from incontext.training.prompts import PromptConfig, corrections, first_prompts
from megamed import Collection, Task
from megamed.files import read_json
from megamed.pixels import read_label
from megamed.readers.source import Source
from megamed.readers.volume import Volume
from megamed.standardise import AXES, display_plane, display_spacing, pad_to_square

SIZES = (0, 4)
BEFORE, PERSON = "no prompts", "a person's scribbles"
LIKEWISE, CORRECTING = "as many simulated scribbles", "one simulated scribble in the error"


class Round(NamedTuple):
    """Number of labelled examples, and whose scribbles correct."""

    size: int
    who: str


@dataclass(frozen=True)
class People:
    """Scribbles that people drew on slices of a collection's dataset."""

    folder: Path
    collection: Collection

    @property
    def dataset(self) -> str:
        """Id of the dataset."""
        name: str = read_json(self.folder / "meta.json", "Name the folder of the scribbles.")["of_dataset"]
        return name

    def prompts(self, task: Task, case: str) -> Float[Tensor, "1 3 H W"] | None:
        """Turn the scribbles on a slice into prompts for a task: inside on its label, outside on anything else.

        Args:
            task: The task.
            case: Name of the slice in the collection, `CASE:INDEX`.

        Returns:
            The prompts, without pixels of the square that hold both; None if nothing was drawn on the label.
        """
        name, _, index = case.rpartition(":")
        path = next(iter(sorted((self.folder / "scribbles").glob(f"{name}_scribble.*"))), None)
        if path is None:
            return None
        volume, axis = _volume(path), AXES.index(task.axis)
        plane = display_plane(volume.array, axis, int(index))
        values = pad_to_square(plane, display_spacing(volume.spacing_mm, axis))
        inside = np.isin(values, self.collection.card(task.dataset).masks[task.label])
        marks = torch.from_numpy(np.stack([inside, (values > 0) & ~inside])).float()[None]
        marks = F.adaptive_max_pool2d(marks, self.collection.size_px)
        marks = marks * (1 - marks.prod(1, keepdim=True))
        return torch.cat([marks, torch.zeros_like(marks[:, :1])], 1) if marks[:, INSIDE].any() else None


@lru_cache(maxsize=4)
def _volume(path: Path) -> Volume:
    volume = read_label(Source((path,)))
    if not isinstance(volume, Volume):
        msg = f"{path} is no volume: expected scribbles on the grid of a volume, got a picture. Use NIfTI."
        raise ValueError(msg)
    return volume


def people(bench: Bench) -> Findings:
    """Measure Dice after one round of people's scribbles, and of simulated ones, with a support and without.

    Raises:
        ValueError: If no folder of scribbles is given, or the suite has no slice that somebody scribbled on.
    """
    if not bench.options.scribbles:
        msg = "People's scribbles are missing: expected a folder of them, got none. Name it with --scribbles."
        raise ValueError(msg)
    scribbles, seed = People(Path(bench.options.scribbles), bench.collection), bench.settings.seed
    rounds = {f"S = {size}, {who}": Round(size, who) for size in SIZES for who in (PERSON, LIKEWISE, CORRECTING)}
    measures = {name: partial(courses, seed, scribbles, each) for name, each in rounds.items()}
    plans = scribbled_plans(pools(bench), scribbles)
    found, details = measure_tasks(bench, plans, measures)
    scores, references = {}, {}
    for predictor in details["fingerprints"]:
        panel = bench.panel_of(predictor)
        for name, (size, who) in rounds.items():
            some = found[predictor, name]
            before, place = Coordinates(size, BEFORE, panel), Coordinates(size, who, panel)
            scores[before] = scores_of(some, [each.dice[0] for each in some])
            scores[place], references[place] = scores_of(some, [each.dice[1] for each in some]), before
    points = averaged(scores, references, seed)
    gains = {point.place: point.difference.mean for point in points if point.difference}
    return Findings([replace(point, about=compared(point.place, gains)) for point in points], details)


def compared(place: Coordinates, gains: dict[Coordinates, float]) -> str:
    """Say what people's scribbles gain, as a share of what simulated ones gain at the same place."""
    other = gains.get(place._replace(series=PERSON))
    if place.series not in (LIKEWISE, CORRECTING) or other is None or gains[place] <= 0:
        return ""
    return f"people's gain {other / gains[place]:.0%} of that"


def scribbled_plans(plans: list[TaskPlan], scribbles: People) -> list[TaskPlan]:
    """Keep those queries that somebody scribbled on.

    Raises:
        ValueError: If there are none.
    """
    dataset, kept = scribbles.dataset, []
    for plan in plans:
        if plan.task.dataset == dataset:
            drawn = tuple(each for each in plan.episodes if scribbles.prompts(plan.task, each.query.case) is not None)
            kept += [replace(plan, episodes=drawn)] if drawn else []
    if not kept:
        msg = (
            f"Nobody scribbled on what is asked: expected slices of {dataset} in the suite, got none. "
            "Choose its suite with --suite, or another folder with --scribbles."
        )
        raise ValueError(msg)
    return kept


def courses(
    seed: int, scribbles: People, turn: Round, predictor: PromptedPredictor, images: EpisodeImages, plan: TaskPlan
) -> Iterator[Course]:
    """Ask about each query without prompts, then with one round of somebody's scribbles."""
    for episode in first(plan, turn.size).episodes:
        question = question_of(images, episode)
        drawn = scribbles.prompts(plan.task, episode.query.case)
        assert drawn is not None  # no other queries are planned
        rng = np.random.default_rng(stable_hash(seed, plan.task.id, episode.query.case, episode.draw))
        dialogue = one_round(predictor, question, turn.who, drawn.to(question.image), rng)
        yield Course.of(plan, episode, dialogue)


def one_round(
    predictor: PromptedPredictor, question: PromptedQuery, who: str, drawn: Tensor, rng: np.random.Generator
) -> Dialogue:
    """Correct the mask of a query once.

    Args:
        predictor: Predictor to ask.
        question: The query.
        who: Name of whose scribbles it is corrected by.
        drawn: People's scribbles.
        rng: Generator of simulated ones.
    """
    answer = predictor.begin(question.image, question.support_images, question.support_labels)
    before = answer(torch.zeros_like(drawn), None) if question.support_images.shape[1] else None
    mask = mask_of(before, question)
    if who == PERSON:
        maps = drawn
    elif who == CORRECTING:
        maps = corrections(question.label, mask, rng, ROBOTS["scribbles"])
    else:
        inside, outside = (Parts(channel.numpy(force=True) > 0).count for channel in drawn[0, :BOX])
        config = PromptConfig(kinds=("scribbles",), inside=(inside, inside), outside=(outside, outside))
        maps = first_prompts(question.label, rng, config)
    after = mask_of(answer(maps, before), question)
    return Dialogue([dice_of(mask, question.label), dice_of(after, question.label)], after, obeyed(after, maps))
