"""Time of our evaluator against that of a loop with MONAI's metrics, one query at a time, and agreement of their rows.

`python -m benchmarks.perf.time_evaluator COLLECTION`, on one core, with `pip install monai` beside this project.
"""

import sys
from pathlib import Path
from time import process_time

import torch

from benchmarks.plans.task_plans import Settings, TaskPlan, plan_suite
from benchmarks.predictors import NamedPredictor, Predictor, load_predictor
from benchmarks.scoring.evaluator import EpisodeImages, Execution, Work
from benchmarks.scoring.results import Row
from benchmarks.scoring.workers import score_all
from megamed import Collection

try:
    from monai import metrics as monai
except ImportError:
    sys.exit("error: MONAI is missing: expected it installed beside this project. `pip install monai`.")

COLUMNS = ("dice", "iou", "hd", "hd95", "assd", "nsd_1")


@torch.inference_mode()
def loop(collection: Collection, plan: TaskPlan, predictor: Predictor) -> list[dict[str, float]]:
    """Score a plan by the loop that one would write by hand: each query alone, then each of MONAI's metrics."""
    measures = {
        "dice": monai.DiceMetric(),
        "iou": monai.MeanIoU(),
        "hd": monai.HausdorffDistanceMetric(),
        "hd95": monai.HausdorffDistanceMetric(percentile=95),
        "assd": monai.SurfaceDistanceMetric(symmetric=True),
        "nsd_1": monai.SurfaceDiceMetric([1.0]),
    }
    images = EpisodeImages.load(collection, plan, plan.episodes, "cpu")
    found = []
    for episode in plan.episodes:
        query, label = images.queries([episode])
        mask = predictor(query, *images.supports([episode])) >= 0
        found.append({name: float(each(mask.float(), label.float())) for name, each in measures.items()})
    return found


def largest_difference(rows: list[Row], plan: TaskPlan, found: list[dict[str, float]]) -> dict[str, float]:
    """Largest difference between our rows and the loop's, by metric; relative for values above 1.

    MONAI computes in single precision. Empty masks are left out, since its distances are NaN or infinite for them.
    """
    by_episode = {(row.case, row.draw): row for row in rows if row.mask_px}
    pairs = [
        (row, values)
        for episode, values in zip(plan.episodes, found, strict=True)
        if (row := by_episode.get((episode.query.case, episode.draw)))
    ]

    def apart(ours: float, theirs: float) -> float:
        return abs(ours - theirs) / max(1, theirs)

    return {name: max(apart(getattr(row, name), values[name]) for row, values in pairs) for name in COLUMNS}


def measure(collection: Collection, settings: Settings) -> None:
    """Score a few tasks both ways and print a line each."""
    packaged = load_predictor("packaged")
    predictors: dict[str, tuple[str, NamedPredictor]] = {"packaged": ("packaged", packaged)}
    total = [0.0, 0.0]
    for plan in plan_suite(collection, settings)[0][::6]:
        start = process_time()
        found = loop(collection, plan, packaged.predict)  # type: ignore[arg-type]
        between = process_time()
        work = Work.missing("packaged", plan, set())
        rows = [row for part in score_all(collection, [work], predictors, Execution()) for row in part.rows]
        seconds = between - start, process_time() - between
        total = [before + now for before, now in zip(total, seconds, strict=True)]
        apart = max(largest_difference(rows, plan, found).items(), key=lambda each: each[1])
        what = f"{plan.task.id}: {len(plan.episodes)} queries, loop {seconds[0]:.1f} s, ours {seconds[1]:.1f} s"
        print(f"{what}, largest difference {apart[0]} {apart[1]:.7f}", flush=True)
    both = f"loop {total[0]:.1f} s, ours {total[1]:.1f} s, {total[0] / total[1]:.1f}×"
    print(f"S = {settings.support_size}: processor time {both}", flush=True)


def main() -> None:
    """Measure at two support sizes, on one core."""
    if len(sys.argv) != 2:
        sys.exit("error: expected a collection. python -m benchmarks.perf.time_evaluator COLLECTION")
    torch.set_num_threads(1)
    for support_size in (16, 64):
        measure(Collection(Path(sys.argv[1])), Settings("dev", support_size, draws=5, queries=10))


if __name__ == "__main__":
    main()
