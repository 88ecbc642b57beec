"""Structures by name: every way to say one finds its tasks, and what a collection lacks is refused."""

import re
import zlib
from pathlib import Path

import pytest

from megamed.names import Found, Named, find
from megamed.schema import Task

HERE = Path(__file__).parent


def lines(name: str) -> list[str]:
    return [line for line in (HERE / name).read_text(encoding="utf-8").splitlines() if not line.startswith("#")]


@pytest.fixture(scope="module")
def named() -> list[Named]:
    """What a collection of some hundred public datasets tells of its tasks."""
    found = []
    for number, line in enumerate(lines("named_structures.txt")):
        modality, anatomy, listed = (part.strip() for part in line.split("|"))
        labels = [label.strip() for label in listed.split(",")]
        for label in labels:
            others = tuple(other for other in labels if other != label)
            found.append(
                Named(Task(dataset=f"d{number}", modality=modality, axis="2d", label=label), anatomy, "", others)
            )
    return found


def first(found: Found) -> str:
    return found.hits[0].task.label if found.hits else ""


def asked() -> list[tuple[str, list[str]]]:
    """Half of the questions, each with the labels that answer it: the half that no threshold was chosen by."""
    pairs = [line.partition("=")[::2] for line in lines("name_queries.txt")]
    split = [(query.strip(), re.findall(r"[^,\s]+", labels)) for query, labels in pairs]
    return [each for each in split if zlib.crc32(each[0].encode()) % 2]


def test_most_names_are_understood_and_what_is_not_there_is_refused(named: list[Named]) -> None:
    there = [(first(find(query, named)), labels) for query, labels in asked() if labels]
    lacking = [first(find(query, named)) for query, labels in asked() if not labels]
    assert len(there) >= 140
    assert len(lacking) >= 50
    assert sum(label in labels for label, labels in there) >= 0.85 * len(there)
    assert sum(not label for label, _ in there) <= 0.05 * len(there)
    assert sum(not label for label in lacking) >= 0.9 * len(lacking)


def test_each_label_is_found_by_its_own_name(named: list[Named]) -> None:
    for label in {each.task.label for each in named}:
        assert first(find(label, named)) == label


def test_the_order_of_the_tasks_is_irrelevant(named: list[Named]) -> None:
    for query in ("vessels in the retina", "LV", "gallbladder"):
        assert find(query, named) == find(query, named[::-1])


def test_a_spleen_is_never_a_liver(named: list[Named]) -> None:
    rest = [each for each in named if each.task.label != "spleen"]
    for query in ("spleen", "Milz", "bazo", "脾脏", "splenic parenchyma CT", "spleeen"):
        found = find(query, rest)
        assert not found.hits
        assert "is in no task of the collection" in found.refusal()


def test_a_refusal_names_what_is_near(named: list[Named]) -> None:
    assert "nearest are breast-tumour" in find("breast implant", named).refusal()


@pytest.mark.parametrize(
    ("query", "modality"),
    [("liver in CT", "ct"), ("kidney MRI", "mr"), ("T2 kidney", "mr"), ("lungs on a chest X-ray", "x-ray")],
)
def test_a_modality_that_is_named_is_the_only_one(named: list[Named], query: str, modality: str) -> None:
    assert all(modality in hit.task.modality for hit in find(query, named).hits)


def test_a_structure_of_another_modality_is_refused_with_those_that_there_are(named: list[Named]) -> None:
    found = find("spleen in ultrasound", named)
    assert not found.hits
    assert "spleen in ct" in found.refusal()


def test_a_part_is_not_its_whole_nor_one_side_the_other(named: list[Named]) -> None:
    for query in ("left kidney", "liver cyst", "L6 vertebra", "anterior kidney", "disc L1-L3"):
        assert not find(query, named).hits
    assert first(find("right atrium", named)) == "right-atrium"
    assert first(find("disc L3-L2", named)) == "disc-l2-l3"


def test_likely_tasks_share_one_meaning_however_it_is_spelt(named: list[Named]) -> None:
    assert {task.label for task in find("cell nuclei", named).tasks} >= {"nuclei", "nucleus"}
    tasks = find("optic disk", named).tasks
    assert len(tasks) == 2
    assert {task.label for task in tasks} == {"optic-disc"}


def test_nothing_is_found_where_nothing_is() -> None:
    assert "None has a name like it" in find("liver", []).refusal()
    assert not find("", []).hits
