"""Laws of evaluation, with predictors whose score is known."""

from itertools import chain

import pytest
import torch
from torch import Tensor

from benchmarks import evaluator
from benchmarks.evaluator import Execution, choose_device, evaluate
from benchmarks.predictors import mean_mask, nearest_copy
from benchmarks.results import Row
from benchmarks.suites import Settings, TaskPlan, plan_suite
from megamed import Collection


def perfect(query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
    """On the drawings, bright is foreground."""
    return query_images - 0.5


def empty(query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
    return torch.full_like(query_images, -1)


@pytest.fixture
def plans(drawings: Collection) -> list[TaskPlan]:
    """Subjects have one to three images, so a support of nine is not always to be had."""
    return plan_suite(drawings, Settings(support_size=10, draws=2, queries=7))[0]


def score(collection: Collection, plans: list[TaskPlan], batch_size: int = 4, **predictors: object) -> list[Row]:
    return list(chain(*evaluate(collection, plans, predictors, set(), Execution("cpu", batch_size))))


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
    one, three, eight = (score(drawings, plans, size, mean=mean_mask, nearest=nearest_copy) for size in (1, 3, 8))
    assert one == three == eight
    assert len({row.support_size for row in one}) > 1
    assert 0 < min(row.dice for row in one) < max(row.dice for row in one)


def test_rows_that_are_done_are_not_computed_again(drawings: Collection, plans: list[TaskPlan]) -> None:
    rows = score(drawings, plans, perfect=perfect)
    done = {row.key for row in rows[:5]}
    rest = list(chain(*evaluate(drawings, plans, {"perfect": perfect}, done, Execution())))
    assert rest == rows[5:]


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
        assert row.seconds == pytest.approx(sum(each.seconds for each in members), abs=1e-5)
    assert any(row.mask_px > each.mask_px for row in double for each in single if each.case == row.case)
    assert {row.dice for row in rows if row.predictor == "perfect-x2"} == {1.0}


def test_batch_size_changes_no_ensemble(
    drawings: Collection, ensembles: list[TaskPlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = score(drawings, ensembles, 1, votes=votes)
    for size in (3, 8):
        found = score(drawings, ensembles, size, votes=votes)
        assert {row.key: row for row in found} == {row.key: row for row in reference}
    monkeypatch.setattr(evaluator, "SUPPORT_IMAGES", 1)
    assert score(drawings, ensembles, 8, votes=votes) == reference


def test_large_supports_come_in_small_batches(
    drawings: Collection, plans: list[TaskPlan], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluator, "SUPPORT_IMAGES", 22)
    seen: list[tuple[int, int]] = []

    def watch(query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
        seen.append((len(query_images), support_images.shape[1]))
        return query_images

    score(drawings, plans, 8, watch=watch)
    assert all(batch * support <= 22 for batch, support in seen)
    assert max(batch for batch, _ in seen) == 2


def test_what_an_ensemble_lacks_is_computed_again_with_all_its_draws(
    drawings: Collection, ensembles: list[TaskPlan]
) -> None:
    rows = score(drawings, ensembles, votes=votes)
    lost = {next(row.key for row in rows if row.ensemble == 2), rows[-2].key}
    done = {row.key for row in rows} - lost
    again = list(chain(*evaluate(drawings, ensembles, {"votes": votes}, done, Execution())))
    assert again == [row for row in rows if row.key in lost]


def test_wrong_logits_are_refused(drawings: Collection, plans: list[TaskPlan]) -> None:
    with pytest.raises(
        ValueError, match=r"'small' have the wrong shape: expected \(4, 1, 16, 16\), got \(4, 1, 8, 8\)"
    ):
        score(drawings, plans, small=lambda query, *_: query[..., ::2, ::2])
    with pytest.raises(ValueError, match="'broken' are broken: expected numbers, got NaN"):
        score(drawings, plans, broken=lambda query, *_: query * torch.nan)


def test_unknown_device_is_refused() -> None:
    assert choose_device("cpu") == "cpu"
    with pytest.raises(ValueError, match="Device 'abacus' cannot be used"):
        choose_device("abacus")


def test_batch_size_must_be_positive() -> None:
    with pytest.raises(ValueError, match="expected at least 1, got 0"):
        Execution(batch_size=0)
