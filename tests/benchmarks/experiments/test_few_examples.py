"""Conditions of the experiment on few examples: the same supports, with and without copies."""

from collections.abc import Callable

from benchmarks.experiments.bench import Bench
from benchmarks.experiments.few_examples import SIZES, few_examples
from benchmarks.predictors import load_predictor


def test_each_size_is_asked_with_and_without_copies_of_the_same_supports(new_bench: Callable[..., Bench]) -> None:
    conditions = few_examples(new_bench("few-examples"))
    assert [each.place.x for each in conditions] == [size for size in SIZES for _ in range(2)]
    for alone, copied in zip(conditions[::2], conditions[1::2], strict=True):
        assert copied.reference == alone.place
        assert copied.plans == alone.plans
        assert [load_predictor(each.predictor).predict.few for each in (alone, copied)] == [0, alone.place.x]
