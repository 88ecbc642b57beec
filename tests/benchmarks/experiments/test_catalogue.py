"""The experiments by name, and that each is told of where people read."""

from pathlib import Path

import pytest

from benchmarks.experiments.catalogue import EXPERIMENTS, find_experiment


def test_an_unknown_experiment_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Unknown experiment: expected one of support-size, .*, got 'size'"):
        find_experiment("size")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_asks_a_question_and_is_documented(name: str, repository: Path) -> None:
    assert EXPERIMENTS[name].question.endswith("?")
    command = f"incontext-bench experiment {name} --collection collection"
    assert command in (repository / "docs" / "experiments.md").read_text(encoding="utf-8")
