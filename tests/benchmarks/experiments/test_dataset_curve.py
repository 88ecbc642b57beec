"""A row of drawings, corrected by a robot: what was accepted is shown with the next image, or is not."""

import itertools
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmarks.experiments import dataset_curve as curves
from benchmarks.experiments import prompted_tasks
from benchmarks.experiments.bench import Bench, Coordinates
from benchmarks.experiments.dataset_curve import ALL, ALONE, JOINING, NEAR, dataset_curve, panels, rows_of_images
from benchmarks.experiments.prompted_tasks import Course
from benchmarks.predictors.protocol import NamedPrompted

NewBench = Callable[..., Bench]
IMAGES = 5


class Eager:
    """Finds everything when there are three prompts and examples together; remembers the examples."""

    def __init__(self) -> None:
        self.shown: list[tuple[Tensor, Tensor]] = []

    def begin(self, query_images: Tensor, support_images: Tensor, support_labels: Tensor):
        self.shown.append((support_images, support_labels))

        prompts = itertools.count(support_images.shape[1])

        def answer(maps: Tensor, previous: Tensor | None) -> Tensor:
            count = next(prompts) + 1 if maps.any() else support_images.shape[1]
            return torch.where(query_images > 0.5, 1.0 if count >= 3 else -1.0, -1.0)

        return answer


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> Eager:
    predictor = Eager()
    monkeypatch.setattr(curves, "IMAGES", IMAGES)
    monkeypatch.setattr(curves, "PART", 2)
    monkeypatch.setattr(prompted_tasks, "load_prompted", lambda name, device: NamedPrompted(name, predictor, "v1", {}))
    return predictor


def test_accepted_masks_make_the_next_images_cheaper(new_bench: NewBench, eager: Eager) -> None:
    findings = dataset_curve(new_bench("dataset-curve", predictors=("eager",)))
    points = {point.place: point for point in findings.points}
    for panel in (ALL, NEAR):
        joining, alone = (
            [points[Coordinates(x, name, panel)] for x in range(1, IMAGES + 1)] for name in (JOINING, ALONE)
        )
        assert [point.value.mean for point in joining] == [3, 2, 1, 0, 0]
        assert [point.value.mean for point in alone] == [3] * IMAGES
        assert joining[2].reference == Coordinates(3, ALONE, panel)
        assert joining[2].difference.mean == -2
        assert [point.about for point in joining[:-1]] == [""] * (IMAGES - 1)
        assert joining[-1].about == (
            "all images: 1.2 (0.6, 1.9), 0% never; first 2: 2.5 (2.0, 3.0), 0% never; last 2: 0.0 (0.0, 0.0), 0% never"
        )
        assert findings.details["clicks"][f"{panel}, {ALONE}"]["all images"]["turns"]["mean"] == 3


def test_tasks_within_reach_are_those_of_which_every_image_is_accepted() -> None:
    reached = Course("dataset", "near", "subject", "case", 0, [0.1, 0.95], None)
    never = replace(reached, task="far", dice=[0.1, 0.5])
    alone = [reached, never, replace(reached, task="far")]
    joining = [replace(each, dice=[0.95]) for each in alone]
    assert panels(joining, alone) == {ALL: joining, NEAR: joining[:1]}
    assert panels(joining, [never, replace(never, task="near")]) == {ALL: joining}


def test_what_is_shown_is_what_was_accepted(new_bench: NewBench, eager: Eager) -> None:
    bench = new_bench("dataset-curve", predictors=("eager",))
    dataset_curve(replace(bench, options=replace(bench.options, settings=replace(bench.settings, draws=1))))
    joined = eager.shown[:IMAGES]
    assert [images.shape[1] for images, _ in joined] == [0, 1, 2, 3, 4]
    for images, masks in joined:
        assert torch.equal(masks, (images > 0.5).float())
    assert {images.shape[1] for images, _ in eager.shown[IMAGES:]} == {0}


def test_a_row_goes_through_the_subjects_in_an_order_of_its_own(new_bench: NewBench, eager: Eager) -> None:
    (plan,) = rows_of_images(new_bench("dataset-curve"))
    rows = [[each.query for each in plan.episodes if each.draw == draw] for draw in (0, 1)]
    assert [len({query.subject for query in row}) for row in rows] == [IMAGES, IMAGES]
    assert rows[0] != rows[1]


def test_tasks_with_too_few_images_are_refused(new_bench: NewBench) -> None:
    with pytest.raises(ValueError, match="No task has enough images: expected 18, got fewer"):
        rows_of_images(new_bench("dataset-curve"))
