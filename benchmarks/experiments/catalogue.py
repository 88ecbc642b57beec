"""Catalogue of the experiments: the question of each, its axes, and the function that measures it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal

from benchmarks.analysis.summary import METHOD
from benchmarks.experiments import (
    absence,
    annotator_budget,
    by_name,
    choice,
    chosen_settings,
    clicks,
    dataset_curve,
    domain_shift,
    drawn_slices,
    expected_dice,
    fairness,
    few_examples,
    label_conflicts,
    measuring,
    oracle,
    people,
    predicted_dice,
    raters,
    retraining,
    robustness,
    scribbled_support,
    sequences,
    supports,
    tuning,
    wrong_labels,
)  # fmt: skip
from benchmarks.experiments.bench import Bench, Findings
from benchmarks.experiments.scoring import Condition, score

OF_SEEDS = "Dice on datasets of a suite; mean over draws of queries and supports, and the range of these draws."
OF_RANKS = (
    "Spearman's correlation; mean of 1 - Dice over the masks accepted first, averaged over all their numbers. "
    "Mean over draws of queries and supports, and the range of these draws."
)
OF_PEOPLE = (
    "Mean over datasets of the mean over subjects of the mean over images, people and draws, with 95 % intervals and "
    "paired differences by bootstrap of subjects and, over several datasets, of tasks."
)
OF_SUPPORTS = (
    "Mean over datasets of the mean over tasks and supports, with 95 % intervals by bootstrap of tasks and supports."
)
OF_TIMES = "Processor time per query on one thread at 128×128 pixels; median of several runs, and their range."


@dataclass(frozen=True)
class Experiment:
    """Question with the function that answers it and the axes that show the answer."""

    question: str
    axis: str
    """Title of the horizontal axis, also a column head of the table."""
    run: Callable[[Bench], Findings]
    unit: str = "Dice, %"
    scale: float = 100.0
    """Factor from a measured value to `unit`: 100 for Dice in per cent."""
    method: str = METHOD
    logarithmic: tuple[bool, bool] = (False, False)
    """Whether the horizontal and the vertical axis are logarithmic."""
    kind: Literal["scores", "films", "volumes", "trains", "leaves", "times"] = "scores"
    """Kind of measurement: `scores` of given predictors; the same on `films` or `volumes`; of networks it `trains`;
    of networks on the data that their training `leaves` out; or `times` without any data."""
    paired: bool = False
    """Whether the figure shows paired differences from the reference of each point, in place of the values."""


def scored(conditions: Callable[[Bench], Iterable[Condition]]) -> Callable[[Bench], Findings]:
    """Make the measuring function of an experiment that scores conditions."""
    return lambda bench: score(bench, list(conditions(bench)))


EXPERIMENTS: dict[str, Experiment] = {
    "support-size": Experiment(
        "How does Dice grow with the number of labelled examples?",
        "labelled examples",
        scored(supports.support_size),
        logarithmic=(True, False),
    ),
    "ensemble-budget": Experiment(
        "Are so many labelled images worth more as one support or shared by an ensemble?",
        "members of the ensemble",
        scored(supports.ensemble_budget),
        logarithmic=(True, False),
        paired=True,
    ),
    "support-choice": Experiment(
        "Which images are worth labelling: random ones, those nearest to the query, or a diverse lot?",
        "labelled examples",
        scored(choice.support_choice),
        logarithmic=(True, False),
        paired=True,
    ),
    "oracle-support": Experiment(
        "How much would be gained by knowing which of some random supports is the best for each query?",
        "random supports, of which the best is taken",
        oracle.oracle_support,
        logarithmic=(True, False),
        paired=True,
    ),
    "chosen-settings": Experiment(
        "What do settings gain that the examples choose by segmenting each other?",
        "dataset or settings",
        chosen_settings.chosen_settings,
        method=OF_SUPPORTS,
        paired=True,
    ),
    "few-examples": Experiment(
        "What do changed copies of a few labelled examples gain?",
        "labelled examples",
        scored(few_examples.few_examples),
    ),
    "tuning": Experiment(
        "What does tuning on the support gain, and what had better be tuned, and how?",
        "tuning",
        scored(tuning.tuning),
        paired=True,
    ),
    "corruption": Experiment(
        "How much do worse images cost, in the query alone and in query and support?",
        "strength",
        scored(robustness.corruption),
        paired=True,
    ),
    "resolution": Experiment(
        "How much does another grid than that of the training cost or gain?",
        "side of the grid in pixels",
        scored(robustness.resolution),
        paired=True,
    ),
    "label-noise": Experiment(
        "How much does sloppy annotation of the support cost?",
        "strength",
        scored(robustness.label_noise),
        paired=True,
    ),
    "position": Experiment(
        "How much does it cost if objects lie elsewhere in the examples than in the query?",
        "shift of the examples in pixels",
        scored(robustness.position),
    ),
    "clicks": Experiment(
        "How fast do clicks mend masks, with so many labelled examples and with none?",
        "clicks",
        clicks.clicks,
    ),
    "robots": Experiment(
        "How much does it matter who corrects, and how?",
        "turns",
        clicks.robots,
    ),
    "dataset-curve": Experiment(
        "How many clicks does an image take when the masks accepted before are its support?",
        "image",
        dataset_curve.dataset_curve,
        unit="clicks",
        scale=1.0,
    ),
    "people": Experiment(
        "Do people's scribbles mend masks as much as simulated ones?",
        "labelled examples",
        people.people,
    ),
    "scribbled-support": Experiment(
        "What are examples worth that are scribbled on in the place of being drawn?",
        "labelled examples",
        scored(scribbled_support.scribbled_support),
        logarithmic=(True, False),
    ),
    "sequences": Experiment(
        "Do labels that travel through a film beat those that each frame is segmented by alone?",
        "frames from the nearest labelled one",
        sequences.sequences,
        kind="films",
    ),
    "drawn-slices": Experiment(
        "How far does one drawn slice of a volume reach, and what is the whole worth from one, three and seven?",
        "slices",
        drawn_slices.drawn_slices,
        kind="volumes",
    ),
    "probe": Experiment(
        "Does the network read its support, or answer from memory?",
        "support",
        measuring.probing,
        method=OF_SEEDS,
    ),
    "raters": Experiment(
        "Does the network differ from people as they do from each other, and is it unsure where they disagree?",
        "dataset",
        raters.raters,
        unit="%",
        method=OF_PEOPLE,
    ),
    "label-conflicts": Experiment(
        "Whose definition does a mask follow if the examples mix two?",
        "% of the examples by the wider definition",
        label_conflicts.label_conflicts,
        unit="%",
        method=OF_PEOPLE,
    ),
    "annotator-budget": Experiment(
        "For as many labels, are more images by one person each or fewer by several people each worth more?",
        "people who label each image",
        annotator_budget.annotator_budget,
        unit="%",
        method=OF_PEOPLE,
        paired=True,
    ),
    "domain-shift": Experiment(
        "What are examples of another scanner worth, and how many own ones make up for it?",
        "examples of the queries' own dataset",
        domain_shift.domain_shift,
        method=OF_SUPPORTS,
    ),
    "fairness": Experiment(
        "How much worse is it for small objects, for one modality or anatomy, or for what one person drew?",
        "group",
        fairness.fairness,
    ),
    "predicted-dice": Experiment(
        "Does predicted Dice put masks in the order of the Dice that they have, and tell failures?",
        "masks",
        predicted_dice.predicted_dice,
        unit="%",
        method=OF_RANKS,
    ),
    "expected-dice": Experiment(
        "Do labelled examples that segment each other tell how well other images will be segmented?",
        "measure",
        expected_dice.expected_dice,
        unit="%",
        method=OF_SUPPORTS,
    ),
    "wrong-labels": Experiment(
        "Of some examples whose labels are wrong, do the others tell which?",
        "wrong labels",
        wrong_labels.wrong_labels,
        unit="% of them",
        method=OF_SUPPORTS,
    ),
    "by-name": Experiment(
        "How good are examples that the name of a structure finds in other datasets?",
        "examples",
        by_name.by_name,
        method=OF_SUPPORTS,
    ),
    "absence": Experiment(
        "How often is something drawn where nothing is, and what does it cost to draw nothing?",
        "examples",
        absence.absence,
        unit="%",
        method=OF_SUPPORTS,
    ),
    "cost": Experiment(
        "What does a query cost as queries and labelled examples grow?",
        "queries that share a support",
        measuring.cost,
        unit="ms per query",
        scale=1.0,
        method=OF_TIMES,
        kind="times",
        logarithmic=(True, True),
    ),
    "leave-one-out": Experiment(
        "How much worse is a network on a dataset, modality or anatomy that it was not trained on?",
        "left out",
        scored(retraining.leave_one_out),
        kind="leaves",
    ),
    "training-size": Experiment(
        "How does Dice on unseen tasks grow with the number of training datasets?",
        "training datasets",
        scored(retraining.training_size),
        kind="trains",
        logarithmic=(True, False),
        paired=True,
    ),
    "augmentation": Experiment(
        "What does each level of augmentation contribute?",
        "augmentation",
        scored(retraining.augmentation),
        kind="trains",
        paired=True,
    ),
    "synthetic-share": Experiment(
        "How many of the training sets should be synthetic?",
        "share of synthetic sets",
        scored(retraining.synthetic_share),
        kind="trains",
        paired=True,
    ),
}


def find_experiment(name: str) -> Experiment:
    """Look up an experiment by its name.

    Raises:
        ValueError: If no experiment has this name; the message lists those there are.
    """
    if name not in EXPERIMENTS:
        msg = f"Unknown experiment: expected one of {', '.join(EXPERIMENTS)}, got {name!r}."
        raise ValueError(msg)
    return EXPERIMENTS[name]
