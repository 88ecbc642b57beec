"""Definitions of a structure: those that mean it, side by side, and on the same images what is part of it or more."""

from collections.abc import Callable
from pathlib import Path

import pytest

from megamed.collection import Collection
from megamed.definitions import definitions


@pytest.fixture
def collection(make_dataset: Callable[..., Path], build_folder: Callable[..., object], tmp_path: Path) -> Collection:
    """Discs and rings, of which one dataset has the union too, by the name that the other has for its disc."""
    named = {"modality": "colour fundus photograph", "anatomy": "eye"}
    with_rim = {"labels": {"1": "optic cup", "2": "optic disc rim"}, "derived_labels": {"optic disc": [1, 2]}}
    make_dataset(folder="data/whole", id="whole", **named, **with_rim)
    make_dataset(folder="data/cup", id="cup", **named, labels={"1": "optic disc", "2": "vessel"}, derived_labels={})
    build_folder(tmp_path / "data")
    return Collection(tmp_path / "out")


def test_each_dataset_tells_how_it_defines_a_structure(collection: Collection) -> None:
    cup, whole, *beside = definitions(collection, "Sehnervenkopf")
    assert (cup.task.dataset, whole.task.dataset) == ("cup", "whole")
    assert cup.unites == ()
    assert whole.unites == ("optic-cup", "optic-disc-rim")
    assert whole.area == pytest.approx(2 * cup.area)
    assert [(each.task.dataset, each.task.label, each.is_asked) for each in beside] == [
        ("whole", "optic-disc-rim", False)
    ]


def test_all_tasks_are_listed_where_nothing_is_asked(collection: Collection) -> None:
    assert [each.task for each in definitions(collection)] == collection.tasks()


def test_a_row_and_json_tell_the_same_task(collection: Collection) -> None:
    for each in definitions(collection, "optic disc"):
        assert each.row()["dataset"] in str(each.as_dict()["task"])
        assert each.row()["licence"] == each.as_dict()["licence"] == "CC0"


def test_what_is_not_there_is_refused_with_the_nearest(collection: Collection) -> None:
    with pytest.raises(ValueError, match=r"The nearest are vessel"):
        definitions(collection, "vessel wall")
