"""Cards, tasks and slugs."""

import json
import unicodedata
from pathlib import Path

import pytest

from megamed import DatasetCard, Task
from megamed.schema import plain_slug, slugify, unknown

FACTS = {"id": "cells", "modality": "MRI (T1)", "labels": {1: "Cell body", 2: "nucleus"}, "license": "CC0"}


def test_slug_is_short_and_safe() -> None:
    assert slugify("  Größe / ../etc (GM+WM) ") == "große-etc-gm-wm"
    assert len(slugify("long " * 40)) <= 48


def test_names_in_any_script_stay_apart() -> None:
    names = ("肝脏", "脾脏", "печень", "селезёнка", "يكبد", "α-cell", "β-cell", "यकृत", "간")
    slugs = [slugify(name) for name in names]
    assert len({*slugs} - {""}) == len(names)
    card = DatasetCard(**FACTS | {"labels": dict(enumerate(names, start=1)), "modality": "磁共振"})
    for slug in card.masks:
        task = Task(dataset="cells", modality=card.modality_slug, axis="2d", label=slug)
        assert Task.from_id(task.id) == task


def test_both_forms_of_a_letter_make_one_slug() -> None:
    for name in ("Müller", "Ёж", "간", "が"):
        assert len({slugify(unicodedata.normalize(form, name)) for form in ("NFC", "NFD")}) == 1
    assert slugify("Müller") == "muller"


def test_names_of_files_stay_in_plain_letters() -> None:
    assert plain_slug("肝 CT é") == "ct-e"
    assert not plain_slug("肝")
    with pytest.raises(ValueError, match="match pattern"):
        DatasetCard(**FACTS | {"id": "肝"})


def test_task_id_round_trip() -> None:
    task = Task(dataset="cells", modality="mri-t1", axis="2d", label="nucleus")
    assert task.id == "cells/mri-t1/2d/nucleus"
    assert Task.from_id(task.id) == task
    assert len({task, Task.from_id(task.id)}) == 1


@pytest.mark.parametrize("task_id", ["cells/mri/2d", "cells/mri/2d/a/b", "../mri/2d/a"])
def test_malformed_task_id_is_refused(task_id: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - pydantic words one of them
        Task.from_id(task_id)


def test_masks_unite_label_values() -> None:
    card = DatasetCard(**FACTS, derived_labels={"whole cell": (1, 2)})
    assert card.masks == {"cell-body": (1,), "nucleus": (2,), "whole-cell": (1, 2)}


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"labels": {0: "background"}}, "greater than or equal to 1"),
        ({"labels": {1: "Cell", 2: "cell"}}, "not unique"),
        ({"derived_labels": {"all": (1, 3)}}, "unknown values"),
        ({"subject_pattern": "^p"}, "no group"),
        ({"subject_pattern": "("}, "no regular expression"),
        ({"id": "../cells"}, "match pattern"),
        ({"colour": "red"}, "colour"),
        ({"role": "testing"}, "role"),
        ({"annotated": {"nuclei": ["p1"]}}, "annotated names unknown labels"),
        ({"files": {"classes": {"N": 7}}}, "files use unknown label values"),
        ({"files": {"colours": {"red": 1}}}, "match pattern"),
        ({"files": {"label": "labels/a"}}, "template is unusable"),
        ({"files": {"label": "../{case}"}}, "template is unusable"),
        ({"files": {"image": "/data/{case}"}}, "template is unusable"),
        ({"files": {"image": "{case}/{kind}"}}, "template is unusable"),
        ({"files": {"image": "a/*b*c*d*{case}"}}, r"at most 4 of \{…\} and \* in a name"),
        ({"files": {"positive_above": 0, "instance_divisor": 1000}}, "two meanings"),
        ({"layout": "zip"}, "layout"),
        ({"modality": "🩻"}, "name has no letters"),
        ({"labels": {1: "🫁"}}, "name has no letters"),
        ({"access": "closed"}, "access"),
        ({"annotators": {"ann": 2}, "consensus": "bob"}, "consensus is of nobody"),
    ],
)
def test_contradictory_card_is_refused(change: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        DatasetCard.model_validate(FACTS | change)


def test_label_of_an_annotator_belongs_to_the_card() -> None:
    card = DatasetCard(**FACTS, derived_labels={"whole cell": (1, 2)})
    assert [card.has_label(slug) for slug in ("nucleus", "whole-cell", "nucleus-by-ann")] == [True, True, True]
    assert [card.has_label(slug) for slug in ("nucleolus", "by-ann", "cell")] == [False, False, False]


def test_unannotated_labels_are_unknown() -> None:
    card = DatasetCard(**FACTS, annotated={"nucleus": ("p1", "p2")})
    assert card.unknown_values("p1") == frozenset()
    assert card.unknown_values("p3") == {2}


def test_classes_go_by_their_labels_and_by_other_names() -> None:
    card = DatasetCard.model_validate(FACTS | {"files": {"classes": {"Nuc": 2}}})
    assert card.class_values == {"cell-body": 1, "nucleus": 2, "nuc": 2}


@pytest.mark.parametrize(
    ("pattern", "block", "case", "subject"),
    [(r"^(p\d+)_", None, "p12_a", "p12"), (r"(\d+)$", 50, "frame_149", "2"), (r"^c(\d+)$", 50, "c150", "3")],
)
def test_subject_of_case(pattern: str, block: int | None, case: str, subject: str) -> None:
    assert DatasetCard(**FACTS, subject_pattern=pattern, subject_block=block).subject_of(case) == subject


def test_case_without_subject_is_refused() -> None:
    with pytest.raises(ValueError, match="names no subject"):
        DatasetCard(**FACTS, subject_pattern=r"^(\d+)$").subject_of("a")
    with pytest.raises(ValueError, match="names no block"):
        DatasetCard(**FACTS, subject_block=10).subject_of("a")


def test_toml_and_json_cards_are_the_same(tmp_path: Path) -> None:
    toml, meta = tmp_path / "card.toml", tmp_path / "meta.json"
    toml.write_text('id = "a"\nmodality = "CT"\nlicense = "CC0"\n[labels]\n1 = "lung"\n')
    meta.write_text('{"id": "a", "modality": "CT", "license": "CC0", "labels": {"1": "lung"}}')
    assert DatasetCard.from_toml(toml) == DatasetCard.from_json(meta)


def test_unreadable_card_names_file_and_field(tmp_path: Path) -> None:
    path = tmp_path / "card.toml"
    path.write_text("id = ")
    with pytest.raises(ValueError, match=r"card\.toml is not readable"):
        DatasetCard.from_toml(path)
    path.write_text('id = "a"')
    with pytest.raises(ValueError, match=r"card\.toml is not a dataset card: modality: Field required"):
        DatasetCard.from_toml(path)
    path.write_text('id = "a"\nmodality = "CT"\ncolour = "red"\n[labels]\n1 = "lung"\n')
    with pytest.raises(ValueError, match=r"card\.toml is not a dataset card: colour is no field of a card\."):
        DatasetCard.from_toml(path)


def test_card_tells_of_films(tmp_path: Path) -> None:
    path = tmp_path / "meta.json"
    films = {"seq1": {"frames": 59, "numbers": [990, 1048]}}
    path.write_text(json.dumps({"id": "a", "modality": "ultrasound", "labels": {1: "head"}, "sequences": films}))
    assert DatasetCard.from_json(path).sequences == films


def test_unknown_name_suggests_the_nearest() -> None:
    expected = "Unknown dataset 'wbcc'. Did you mean 'wbc'? `megamed list` shows all 2."
    assert unknown("dataset", "wbcc", ["wbc", "acdc"]) == expected
