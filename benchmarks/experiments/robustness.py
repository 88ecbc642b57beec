"""Experiments with altered inputs: worse images, another grid, sloppy labels, objects in other positions."""

from collections.abc import Iterator, Mapping, Sequence

from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.scoring import Condition
from benchmarks.plans.task_plans import TaskPlan, plan_suite
from benchmarks.predictors.altered import MARK, SIZE, Alteration
from benchmarks.predictors.position import MOVED

Strengths = Mapping[str, tuple[str, tuple[float, ...]]]
"""Mapping of an alteration's kind → template of its name in the figure, and its strengths, from mild to severe."""

CORRUPTIONS: Strengths = {
    "noise": ("noise, deviation {}", (0.05, 0.1, 0.2)),
    "blur": ("blur, deviation {} px", (1.0, 2.0, 4.0)),
    "bias": ("bias field, ± {}", (0.25, 0.5, 0.75)),
    "contrast": ("contrast × {}", (0.6, 0.4, 0.2)),
    "gamma": ("gamma {} or its inverse", (1.5, 2.0, 3.0)),
    "jpeg": ("JPEG, quality {}", (30.0, 15.0, 5.0)),
    "coarse": ("resolution ÷ {}", (2.0, 4.0, 8.0)),
}
ERRORS: Strengths = {
    "eroded": ("eroded by {} px", (1.0, 2.0, 4.0)),
    "dilated": ("dilated by {} px", (1.0, 2.0, 4.0)),
    "shifted": ("shifted by {} px", (2.0, 4.0, 8.0)),
    "blotted": ("{} blots", (1.0, 4.0, 16.0)),
    "exchanged": ("{} of the labels exchanged", (0.25, 0.5, 1.0)),
}
GRIDS = (0.5, 0.75, 1.0, 1.5, 2.0)
"""Sides of the grid that a predictor works on, as multiples of the collection's."""
DISTANCES = (0, 1 / 16, 1 / 8, 1 / 4, 1 / 2)
"""Distances by which a support is moved, as shares of the images' side."""
UNALTERED = "as they are"


def corruption(bench: Bench) -> list[Condition]:
    """Conditions with worse queries alone, as from another scanner, and with worse queries and supports."""
    plans = plan_suite(bench.collection, bench.settings)[0]
    return [
        condition
        for name in bench.options.predictors
        for condition in (
            unaltered(name, plans),
            *altered(bench, name, plans, CORRUPTIONS, "query alone"),
            *altered(bench, name, plans, CORRUPTIONS, "query and support"),
        )
    ]


def label_noise(bench: Bench) -> list[Condition]:
    """Conditions with annotation errors in the support labels; the labels of the queries stay true."""
    plans = plan_suite(bench.collection, bench.settings)[0]
    return [
        condition
        for name in bench.options.predictors
        for condition in (unaltered(name, plans), *altered(bench, name, plans, ERRORS, "support labels"))
    ]


def resolution(bench: Bench) -> list[Condition]:
    """Conditions on coarser and finer grids: queries and supports are resized to them, and the logits back."""
    plans = plan_suite(bench.collection, bench.settings)[0]
    stored_px = bench.collection.size_px
    sizes = [round(share * stored_px) for share in GRIDS]
    return [
        Condition(
            Coordinates(size, name),
            name if size == stored_px else f"{name}{MARK}{SIZE}-{size}",
            plans,
            Coordinates(stored_px, name),
        )
        for name in bench.options.predictors
        for size in sizes
    ]


def position(bench: Bench) -> list[Condition]:
    """Conditions with supports whose images and labels are moved aside together; the queries stay where they are."""
    plans = plan_suite(bench.collection, bench.settings)[0]
    distances_px = [round(share * bench.collection.size_px) for share in DISTANCES]
    return [
        Condition(
            Coordinates(distance, name),
            f"{name}{MARK}{MOVED}-{distance}" if distance else name,
            plans,
            Coordinates(0, name),
        )
        for name in bench.options.predictors
        for distance in distances_px
    ]


def unaltered(name: str, plans: Sequence[TaskPlan]) -> Condition:
    """Condition without alteration, the reference of the others in all panels."""
    return Condition(Coordinates(0, f"{name} {UNALTERED}"), name, plans)


def altered(bench: Bench, name: str, plans: Sequence[TaskPlan], kinds: Strengths, side: str) -> Iterator[Condition]:
    """Conditions with every alteration at each of its strengths, of the query alone or of the support too."""
    several = len(bench.options.predictors) > 1
    for kind, (written, strengths) in kinds.items():
        series = written.format("/".join(f"{strength:g}" for strength in strengths))
        for grade, strength in enumerate(strengths, start=1):
            alteration = Alteration(kind, strength, side == "query alone", bench.settings.seed)
            yield Condition(
                Coordinates(grade, series, f"{name}: {side}" if several else side),
                f"{name}{MARK}{alteration}",
                plans,
                Coordinates(0, f"{name} {UNALTERED}"),
                written.format(f"{strength:g}"),
            )
