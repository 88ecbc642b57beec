"""Where the files of a dataset are."""

from collections.abc import Callable
from pathlib import Path

import pytest

from megamed.layouts import find_datasets, find_subjects, read_card


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_root_is_a_dataset_or_holds_some(tmp_path: Path) -> None:
    touch(tmp_path, "b/meta.json", "a/card.toml", "c/notes.txt", "README.md")
    assert find_datasets(tmp_path) == [tmp_path / "a", tmp_path / "b"]
    assert find_datasets(tmp_path / "a") == [tmp_path / "a"]


def test_root_without_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no dataset"):
        find_datasets(tmp_path)


def test_two_cards_are_refused(tmp_path: Path) -> None:
    touch(tmp_path, "meta.json", "card.toml")
    with pytest.raises(ValueError, match="has two cards"):
        read_card(tmp_path)


def test_a_project_of_supervisely_has_no_card(tmp_path: Path) -> None:
    (tmp_path / "meta.json").write_text('{"classes": [{"title": "bone", "shape": "polygon", "color": "#00ff00"}]}')
    with pytest.raises(ValueError, match="has no card: expected one, got none"):
        read_card(tmp_path)
    (tmp_path / "card.toml").write_text('id = "bones"\nmodality = "CT"\n')
    assert read_card(tmp_path).id == "bones"


def test_cases_are_gathered_by_subject(make_dataset: Callable[..., Path]) -> None:
    root = make_dataset(2)
    subjects = find_subjects(root, read_card(root))
    assert [subject.id for subject in subjects] == ["p0", "p1"]
    assert [case.name for case in subjects[1].cases] == ["p1_a", "p1_b"]
