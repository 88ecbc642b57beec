"""Scores the conditions of an experiment into one table of rows, going on where an earlier run stopped."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from benchmarks.experiments.averages import Score, averaged
from benchmarks.experiments.bench import Bench, Coordinates, Findings, Point
from benchmarks.plans.task_plans import TaskPlan, plan_hash
from benchmarks.predictors import NamedPredictor, load_predictor
from benchmarks.run import Store
from benchmarks.scoring.evaluator import Work, base_name, row_keys
from benchmarks.scoring.leaks import find_leaks, trained_on
from benchmarks.scoring.results import Cost, Row, read_records, total_costs
from benchmarks.scoring.workers import score_all


@dataclass(frozen=True)
class Condition:
    """Pair of a predictor and the plans whose episodes it is asked, with the point that its score belongs to."""

    place: Coordinates
    """Coordinates of the point that the score belongs to; conditions with other training seeds may share it."""
    predictor: str
    """Name of the predictor, as `load_predictor` knows it."""
    plans: Sequence[TaskPlan]
    """Plans of the tasks, all with the same ensemble size; the ensembles' scores are the condition's."""
    reference: Coordinates | None = None
    """Coordinates of the point that it is compared with."""
    about: str = ""
    """Remark on the condition."""
    seed: int = 0
    """Seed of the training that made the predictor."""
    seen: bool = False
    """Whether the predictor was, on purpose, trained on the tasks that it is asked about."""

    @property
    def name(self) -> str:
        """Name of the condition in rows."""
        return f"{self.place}, seed {self.seed}" if self.seed else str(self.place)


def score(bench: Bench, conditions: Sequence[Condition]) -> Findings:
    """Score the conditions, except for rows of an earlier run, and average Dice at each point, with intervals.

    No predictor is asked about tasks on whose images it was trained, unless the condition says `seen`.

    Raises:
        ValueError: If the folder holds other results, or a condition has no score at all.
        OSError: If a worker dies.
    """
    names = dict.fromkeys(condition.predictor for condition in conditions)
    loaded = {name: load_predictor(name, bench.execution.device) for name in names}
    leaks = leaks_of(bench, conditions, loaded)
    # Many conditions share their plans, and hashing takes longer than everything else here.
    hashes = {id(each.plans): plan_hash(each.plans) for each in conditions}
    fingerprints = {each.name: loaded[each.predictor].fingerprint for each in conditions}
    bench.claim({each.name: f"{fingerprints[each.name]} on plan {hashes[id(each.plans)]}" for each in conditions})
    store = Store.open(bench.out)
    store.failed |= leaks
    works = [
        Work.missing(each.name, plan, store.done)
        for each in conditions
        for plan in each.plans
        if plan.task.id not in leaks.get(each.name, {})
    ]
    planned = {key for work in works for group in work.groups for key in row_keys(work.name, work.plan, group)}
    sources = {each.name: (each.predictor, loaded[each.predictor]) for each in conditions}
    scored = store.keep(score_all(bench.collection, works, sources, bench.execution))
    for _ in bench.track(scored, len(planned - store.done)):
        pass
    costs = total_costs(read_records(store.costs_path, Cost))
    seconds = {name: cost["seconds_per_query"] for name, cost in costs.items()}
    return Findings(
        measured(by_place(store, conditions), conditions, seconds, bench.settings.seed),
        {
            "plan_hashes": {each.name: hashes[id(each.plans)] for each in conditions},
            "fingerprints": fingerprints,
            "failed": store.failed,
        },
    )


def leaks_of(
    bench: Bench, conditions: Sequence[Condition], predictors: dict[str, NamedPredictor]
) -> dict[str, dict[str, str]]:
    """Find unintended overlaps of training and test images: condition → task → message that names some images."""
    tasks = {plan.task.id: plan.task for condition in conditions for plan in condition.plans}
    sources = {tuple(trained_on(predictor)): name for name, predictor in predictors.items()}
    distinct = [replace(predictors[name], name=name) for name in sources.values()]
    seen = find_leaks(bench.collection, list(tasks.values()), distinct).seen
    leaks: dict[str, dict[str, str]] = {}
    for each in conditions:
        known = {} if each.seen else seen.get(sources[tuple(trained_on(predictors[each.predictor]))], {})
        if asked := {plan.task.id for plan in each.plans} & known.keys():
            leaks[each.name] = {task: known[task] for task in sorted(asked)}
    return leaks


def by_place(store: Store, conditions: Sequence[Condition]) -> dict[Coordinates, list[Row]]:
    """Group the rows that count by their point.

    Raises:
        ValueError: If a point has no rows.
    """
    known = {condition.name: condition for condition in conditions}
    rows: dict[Coordinates, list[Row]] = defaultdict(list)
    for row in store.rows():
        condition = known.get(base_name(row.predictor, row.ensemble))
        if condition is not None and row.ensemble == condition.plans[0].ensemble:
            rows[condition.place].append(row)
    for condition in conditions:
        if not rows[condition.place]:
            reason = next(iter(store.failed.get(condition.name, {}).values()), "nothing was asked")
            msg = f"{condition.name} has no score: expected one of {condition.predictor}, got none: {reason}"
            raise ValueError(msg)
    return rows


def measured(
    rows: Mapping[Coordinates, Iterable[Row]], conditions: Iterable[Condition], seconds: Mapping[str, float], seed: int
) -> list[Point]:
    """Average each point, with its interval, and its paired difference from the point that it is compared with.

    Args:
        rows: Rows of each point.
        conditions: Conditions in the order wanted.
        seconds: Seconds per query, by the name of a condition.
        seed: Seed of the bootstrap.
    """
    known: dict[Coordinates, Condition] = {}
    for each in conditions:
        known.setdefault(each.place, each)
    scores = {place: [Score(row.dataset, row.task, row.subject, row.dice) for row in rows[place]] for place in known}
    references = {place: each.reference for place, each in known.items() if each.reference is not None}
    per_query = {
        each.place: each.plans[0].ensemble * seconds[each.name] for each in known.values() if each.name in seconds
    }
    return [
        replace(point, about=known[point.place].about, seconds_per_query=per_query.get(point.place))
        for point in averaged(scores, references, seed)
    ]
