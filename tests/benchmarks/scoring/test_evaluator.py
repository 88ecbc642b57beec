"""Laws of evaluation, with predictors whose score is known."""

from collections.abc import Container
from dataclasses import dataclass, fields, replace
from itertools import count
from math import nan

import pytest
import torch
from torch import Tensor

from benchmarks.plans.task_plans import Settings, TaskPlan, plan_suite, with_annotators
from benchmarks.predictors import Predictor, mean_mask, nearest_copy
from benchmarks.predictors.weights import SupportOncePredictor
from benchmarks.scoring.evaluator import Evaluator, Execution, Work
from benchmarks.scoring.metrics import METRICS
from benchmarks.scoring.results import ALL_DRAWS, Candidates, Row, RowKey
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from megamed import Collection

FOURS = Execution(batch_size=4)


def perfect(query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
    """On the drawings, bright is foreground."""
    return query_images - 0.5


def empty(query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
    return torch.full_like(query_images, -1)


@pytest.fixture
def plans(drawings: Collection) -> list[TaskPlan]:
    """Subjects have one to three images, so a support of nine is not always to be had."""
    return plan_suite(drawings, Settings(support_size=10, draws=2, queries=7))[0]


def score(
    collection: Collection,
    plans: list[TaskPlan],
    execution: Execution = FOURS,
    done: Container[RowKey] = frozenset(),
    **predictors: object,
) -> list[Row]:
    """The rows of all predictors, as a run keeps them."""
    evaluator = Evaluator(collection, execution)
    found = []
    for plan in plans:
        for name, predictor in predictors.items():
            scored = evaluator.score(Work.missing(name, plan, done), predictor)
            assert (scored.failure, scored.rest.groups) == ("", ())
            found += [row for row in scored.rows if row.key not in done]
    return found


def test_perfect_scores_one_and_empty_scores_zero(drawings: Collection, plans: list[TaskPlan]) -> None:
    rows = score(drawings, plans, perfect=perfect, empty=empty)
    assert {row.dice for row in rows if row.predictor == "perfect"} == {1.0}
    assert {(row.dice, row.mask_px) for row in rows if row.predictor == "empty"} == {(0.0, 0)}
    assert {row.label_px for row in rows} == {49}


def test_every_predictor_gets_every_episode_and_the_same_supports(drawings: Collection, plans: list[TaskPlan]) -> None:
    rows = score(drawings, plans, perfect=perfect, empty=empty)
    first, second = (
        [(row.case, row.draw, row.support_hash, row.support_size) for row in rows if row.predictor == name]
        for name in ("perfect", "empty")
    )
    assert first == second
    assert len(first) == len(set(first)) == 2 * 7


def test_batch_size_changes_nothing(drawings: Collection, plans: list[TaskPlan]) -> None:
    one, three, eight, found = (
        score(drawings, plans, Execution(batch_size=size), mean=mean_mask, nearest=nearest_copy)
        for size in (1, 3, 8, None)
    )
    assert one == three == eight == found
    assert len({row.support_size for row in one}) > 1
    assert 0 < min(row.dice for row in one) < max(row.dice for row in one)


def test_rows_that_are_done_are_not_computed_again(drawings: Collection, plans: list[TaskPlan]) -> None:
    rows = score(drawings, plans, perfect=perfect)
    done = {row.key for row in rows[:5]}
    assert score(drawings, plans, done=done, perfect=perfect) == rows[5:]


@pytest.fixture
def ensembles(drawings: Collection) -> list[TaskPlan]:
    """Five queries with four draws, in ensembles of two."""
    return plan_suite(drawings, Settings(support_size=3, draws=4, queries=5, ensemble=2))[0]


def votes(query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
    """Logits that depend on the support: sure in the rows above the middle of its first label, else hesitant."""
    rows = torch.arange(query_images.shape[2]).reshape(1, 1, -1, 1)
    middle = (support_labels[:, 0] * rows).sum((1, 2, 3)) / support_labels[:, 0].sum((1, 2, 3))
    return torch.where(rows < middle.reshape(-1, 1, 1, 1), 9.0, -1.0).expand_as(query_images)


def test_an_ensemble_is_scored_beside_its_draws(drawings: Collection, ensembles: list[TaskPlan]) -> None:
    rows = score(drawings, ensembles, votes=votes, perfect=perfect)
    single, double = ([row for row in rows if row.predictor == name] for name in ("votes", "votes-x2"))
    assert {row.key for row in single} == {
        ("votes", plan.task.id, episode.query.case, episode.draw) for plan in ensembles for episode in plan.episodes
    }
    assert len(double) == 5 * 2
    for row in double:
        members = [each for each in single if each.case == row.case and each.draw // 2 == row.draw]
        # A sure vote outweighs a hesitant one: (sigmoid(9) + sigmoid(-1)) / 2 > 0.5.
        assert row.mask_px == max(each.mask_px for each in members)
        assert (row.ensemble, row.support_size) == (2, sum(each.support_size for each in members))
        assert row.label_px == 49
    assert any(row.mask_px > each.mask_px for row in double for each in single if each.case == row.case)
    assert {row.dice for row in rows if row.predictor == "perfect-x2"} == {1.0}


def test_batch_size_changes_no_ensemble(drawings: Collection, ensembles: list[TaskPlan]) -> None:
    one, three, eight = (score(drawings, ensembles, Execution(batch_size=size), votes=votes) for size in (1, 3, 8))
    assert one == three == eight


def test_what_an_ensemble_lacks_is_computed_again_with_all_its_draws(
    drawings: Collection, ensembles: list[TaskPlan]
) -> None:
    rows = score(drawings, ensembles, votes=votes)
    lost = {next(row.key for row in rows if row.ensemble == 2), rows[-2].key}
    done = {row.key for row in rows} - lost
    assert score(drawings, ensembles, done=done, votes=votes) == [row for row in rows if row.key in lost]


@pytest.mark.parametrize(
    ("predictor", "reason"),
    [
        (
            lambda query, *_: query[..., ::2, ::2],
            "ValueError: Logits of predictor 'bad' have the wrong shape: expected",
        ),
        (
            lambda query, *_: query * torch.nan,
            "ValueError: Logits of predictor 'bad' are broken: expected numbers, got",
        ),
        (lambda query, *_: query > 0.5, "TypeError: Logits of predictor 'bad' are no tensor of real numbers: expected"),
        (lambda query, *_: (query > 0.5).int(), "TypeError: Logits of predictor 'bad' are no tensor of real numbers"),
        (lambda query, *_: query.numpy(), "TypeError: Logits of predictor 'bad' are no tensor of real numbers"),
        (lambda query, *_: None, "TypeError: Logits of predictor 'bad' are no tensor of real numbers"),
        (
            lambda query, *_: (query > 0.5).float(),
            "ValueError: Logits of predictor 'bad' are probabilities or masks: expected logits, 0 and above for",
        ),
        (
            lambda query, *_: torch.sigmoid(20 * (query - 0.5)),
            "ValueError: Logits of predictor 'bad' are probabilities or masks: expected logits, 0 and above for",
        ),
        (lambda query, *_: 1 / 0, "ZeroDivisionError: division by zero"),
        (lambda query, *_: {}["a"], "KeyError: 'a'"),
    ],
)
def test_whatever_fails_is_told(drawings: Collection, plans: list[TaskPlan], predictor: Predictor, reason: str) -> None:
    scored = Evaluator(drawings, FOURS).score(Work.missing("bad", plans[0], set()), predictor)
    assert scored.rows == []
    assert scored.failure.startswith(reason)


def test_logits_near_the_threshold_are_no_probabilities(drawings: Collection, plans: list[TaskPlan]) -> None:
    for low, high in ((-0.01, 1.0), (0.0, 1.2), (0.2, 0.9), (0.0, 0.0)):
        score(drawings, plans[:1], faint=lambda query, *_, low=low, high=high: low + (high - low) * (query > 0.5))
    score(drawings, plans[:1], even=lambda query, *_: torch.linspace(0, 1, 256).reshape(16, 16).expand_as(query))


def test_what_was_scored_before_a_failure_is_kept(drawings: Collection, plans: list[TaskPlan]) -> None:
    calls = count()

    def tires(query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
        if next(calls) == 2:  # after three queries with a support of nine, and one with one of ten
            raise RuntimeError("tired\nof this")  # noqa: EM101
        return 20 * (query_images - 0.5)

    scored = Evaluator(drawings, Execution(batch_size=3)).score(Work.missing("tires", plans[0], set()), tires)
    assert (len(scored.rows), scored.rest.episodes, scored.failure) == (4, 10, "RuntimeError: tired")


def test_work_is_handed_in_when_the_time_is_over(drawings: Collection, plans: list[TaskPlan]) -> None:
    evaluator = Evaluator(drawings, Execution(batch_size=4, report_seconds=0.0))
    work, rows, parts = Work.missing("mean", plans[0], set()), [], 0
    while work.groups:
        scored = evaluator.score(work, mean_mask)
        work, rows, parts = scored.rest, rows + scored.rows, parts + 1
        assert scored.cost.queries == scored.cost.batch == len(scored.rows) <= 4
    assert parts >= 4
    assert rows == score(drawings, plans, mean=mean_mask)


def test_what_has_the_same_support_is_handed_in_together(drawings: Collection) -> None:
    """Another process would have to learn the support again."""
    (plan,) = plan_suite(drawings, Settings(support_size=4, draws=3, query_subjects="test", supports="shared"))[0]
    evaluator = Evaluator(drawings, Execution(batch_size=1, report_seconds=0.0))
    work, parts = Work.missing("mean", plan, set()), []
    while work.groups:
        scored = evaluator.score(work, mean_mask)
        work = scored.rest
        parts.append([row.draw for row in scored.rows])
    queries = len(plan.episodes) // 3
    assert queries > 1
    assert parts == [[draw] * queries for draw in range(3)]


@pytest.fixture
def consensus(annotated: Collection) -> TaskPlan:
    """Of two annotators, with four draws in ensembles of two."""
    plans = plan_suite(annotated, Settings(support_size=3, draws=4, queries=12, ensemble=2))[0]
    return with_annotators(annotated, plans)[0]


def find_candidates(collection: Collection, plan: TaskPlan, predictor: Predictor, batch_size: int) -> list[Candidates]:
    return (
        Evaluator(collection, Execution(batch_size=batch_size))
        .score(Work.missing("it", plan, set()), predictor)
        .candidates
    )


def test_all_draws_of_a_query_are_compared_with_all_annotators(annotated: Collection, consensus: TaskPlan) -> None:
    """The discs themselves, four times over, against a disc of ann and every other column of it of bob."""
    found = find_candidates(annotated, consensus, perfect, 4)
    assert {(each.case[:2], each.draws, each.annotators) for each in found} == {(f"s{i}", 4, 2) for i in range(2, 6)}
    for each in found:
        row = int(each.case[1]) * 10 + int(each.case[3])
        disc, half = (annotated.labels(task, [row]).sum() for task in consensus.annotators[row])
        iou = half / disc
        assert each.best_dice == pytest.approx((1 + 2 * half / (disc + half)) / 2, abs=1e-6)
        assert each.energy_distance == pytest.approx((1 - iou) / 2, abs=1e-6)
        assert each.area_crps_px == (disc - half) / 2


def test_batch_size_changes_neither_rows_nor_candidates(annotated: Collection, consensus: TaskPlan) -> None:
    several, one = (find_candidates(annotated, consensus, votes, size) for size in (11, 1))
    assert several == one
    together = score(annotated, [consensus], Execution(batch_size=11), votes=votes)
    assert sorted(together, key=lambda row: row.key) == sorted(
        score(annotated, [replace(consensus, annotators={})], votes=votes), key=lambda row: row.key
    )


def test_candidates_that_are_missing_are_found_again(annotated: Collection, consensus: TaskPlan) -> None:
    found = Evaluator(annotated, FOURS).score(Work.missing("it", consensus, set()), votes)
    done = {each.key for each in (*found.rows, *found.candidates)}
    assert Work.missing("it", consensus, done).groups == ()
    lost = found.candidates[3].key
    (group,) = Work.missing("it", consensus, done - {lost}).groups
    assert ("it", consensus.task.id, group[0].query.case, ALL_DRAWS) == lost


class Hesitant:
    """In a batch its logits differ by a little from those of a query alone, on either side of the threshold."""

    def __init__(self) -> None:
        self.alone = 0

    def __call__(self, query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
        self.alone += len(query_images) == 1
        moved = torch.full_like(query_images, 1e-5 if len(query_images) > 1 else -1e-6)
        return torch.where(query_images > 0.5, 5.0, moved)


def test_a_batch_decides_no_pixel(drawings: Collection, plans: list[TaskPlan]) -> None:
    batches, alone = (score(drawings, plans, Execution(batch_size=size), it=Hesitant()) for size in (4, 1))
    assert batches == alone
    assert {row.dice for row in alone} == {1.0}
    watched = Hesitant()
    score(drawings, plans, perfect=lambda query, *_: 20 * (query - 0.5), it=watched)
    assert watched.alone >= 14


class Sharing:
    """Foreground where the mean support label is, which is read image by image."""

    def __init__(self) -> None:
        self.read = 0

    def __call__(self, query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
        return support_labels.mean(dim=1) - 0.3

    def encode_images(self, images: Tensor, labels: Tensor) -> "Labels":
        self.read += len(images)
        return Labels(labels[None])

    def segment(self, query_images: Tensor, supports: "Labels") -> Tensor:
        return supports.labels.mean(dim=1) - 0.3


@dataclass
class Labels:
    """What `Sharing` reads."""

    labels: Tensor

    def select(self, places: Tensor) -> "Labels":
        return Labels(self.labels[0, places])


def test_every_support_image_is_read_once(drawings: Collection, plans: list[TaskPlan]) -> None:
    sharing = Sharing()
    rows = score(drawings, plans, it=sharing)
    assert rows == score(drawings, plans, it=sharing.__call__)
    assert sharing.read == len({sample.row for each in plans[0].episodes for sample in each.support}) < 14 * 9


def test_a_network_that_shares_scores_as_by_itself(drawings: Collection, plans: list[TaskPlan]) -> None:
    torch.manual_seed(0)
    network = SupportOncePredictor(SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8))).eval(), 1.0)
    shared = score(drawings, plans, it=network)
    assert shared == score(drawings, plans, Execution(batch_size=1), it=network.__call__)
    assert len({row.brier for row in shared}) > 5


@pytest.mark.parametrize(("name", "value"), [("batch_size", 0), ("workers", 0), ("memory_gb", 0.0), ("memory_gb", nan)])
def test_executions_must_be_possible(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} is too small: expected at least .*, got (0|nan)"):
        Execution(**{name: value})


def test_rows_hold_every_metric() -> None:
    assert set(METRICS) <= {field.name for field in fields(Row)}
