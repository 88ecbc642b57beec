"""Structures by name: every way to say one finds its tasks, and what a collection lacks is refused."""

import pytest

from benchmarks.perf.check_names import SEEN, UNSEEN, NameScores, answered, questions, structures
from megamed.names import Found, Named, find
from megamed.schema import Task


@pytest.fixture(scope="module")
def named() -> list[Named]:
    return structures()


def first(found: Found) -> str:
    return found.hits[0].task.label if found.hits else ""


def test_what_was_asked_while_words_were_chosen_is_not_asked_again() -> None:
    known = {each.query.casefold() for each in questions(SEEN)}
    assert not known & {each.query.casefold() for each in questions(UNSEEN)}


@pytest.mark.parametrize(("file", "every"), [(SEEN, 7), (UNSEEN, 1)])
def test_most_names_are_understood_and_what_is_not_there_is_refused(file: str, every: int, named: list[Named]) -> None:
    asked = answered(questions(file)[::every], named)
    assert len(asked) >= 180
    shares = NameScores.of(asked)
    assert shares.found >= 0.85
    assert shares.refused_wrongly <= 0.05
    assert shares.refused >= 0.9


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
    assert "None has a name like it" in find("gallbladder", named).refusal()


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


def of_one_dataset(dataset: str, anatomy: str, *labels: str) -> list[Named]:
    tasks = [Task(dataset=dataset, modality="ct", axis="axial", label=label) for label in labels]
    return [Named(task, anatomy, others=tuple({*labels} - {task.label})) for task in tasks]


@pytest.mark.parametrize("query", ["heart valve", "Herzklappen", "valve cardiaque", "válvula cardíaca", "心脏瓣膜"])
def test_a_valve_of_the_heart_is_none_of_a_machine(query: str) -> None:
    engine, heart = (of_one_dataset(anatomy, anatomy, "valve") for anatomy in ("engine", "heart"))
    assert [hit.task.dataset for hit in find(query, engine + heart).hits] == ["heart"]
    assert len(find("valve", engine + heart).hits) == 2


def test_a_part_of_the_aorta_is_found_where_the_images_show_it() -> None:
    named = of_one_dataset("liver", "abdomen", "aorta") + of_one_dataset("heart", "heart", "aorta")
    assert [hit.task.dataset for hit in find("abdominal aorta", named).hits] == ["liver"]
    assert len(find("aorta", named).hits) == 2


def test_one_kind_of_tumour_is_not_another() -> None:
    glioma, any_kind = of_one_dataset("a", "brain, glioma", "tumour"), of_one_dataset("b", "brain", "tumour")
    both = of_one_dataset("c", "brain (meningioma, glioma)", "tumour")
    assert [hit.task.dataset for hit in find("meningioma", glioma + any_kind + both).hits] == ["b", "c"]
    assert [hit.task.dataset for hit in find("glioma", glioma + any_kind + both).hits] == ["a", "b", "c"]


def test_both_sides_are_the_whole() -> None:
    named = of_one_dataset("a", "abdomen", "kidneys", "left-kidney", "right-kidney")
    for query in ("left and right kidney", "right and left kidneys", "both kidneys"):
        assert [hit.task.label for hit in find(query, named).hits] == ["kidneys"]
    assert not find("left and right kidney tumour", named).hits


@pytest.mark.parametrize(
    ("query", "label"),
    [
        ("HWK 5", "vertebra-c5"),
        ("Th7", "vertebra-t7"),
        ("third cervical vertebra", "vertebra-c3"),
        ("linker Oberlappen", "lung-upper-lobe-left"),
        ("RLL", "lung-lower-lobe-right"),
        ("Bauchspeicheldrüsenkrebs", "pancreatic-mass"),
        ("colorectal cancer", "colon-cancer-primary"),
        ("Hirnmetastasen", "brain-metastasis"),
        ("4th ventricle", "fourth-ventricle"),
        ("cotton wool spots", "soft-exudate"),
        ("PZ", "peripheral-zone"),
    ],
)
def test_structures_of_public_datasets_are_found_by_what_they_are_called(query: str, label: str) -> None:
    labels = [
        *(f"vertebra-{part}{number}" for part, most in (("c", 7), ("t", 12)) for number in range(1, most + 1)),
        *(f"lung-{part}-lobe-{side}" for part in ("upper", "lower") for side in ("left", "right")),
        *("pancreatic-mass", "colon-cancer-primary", "brain-metastasis", "fourth-ventricle", "soft-exudate"),
        *("peripheral-zone", "pancreas", "colon", "brain", "ventricles", "exudate", "prostate"),
    ]
    assert [hit.task.label for hit in find(query, of_one_dataset("a", "whole body", *labels)).hits] == [label]


def test_likely_tasks_share_one_meaning_however_it_is_spelt(named: list[Named]) -> None:
    assert {task.label for task in find("cell nuclei", named).tasks} >= {"nuclei", "nucleus"}
    tasks = find("optic disk", named).tasks
    assert len(tasks) == 2
    assert {task.label for task in tasks} == {"optic-disc"}


def test_an_unknown_word_is_left_out_where_it_tells_of_a_state_or_of_the_images(named: list[Named]) -> None:
    found = find("speckled liver in XYZ", named)
    assert first(found) == "liver"
    assert found.unread == ("speckled", "xyz")
    assert not find("liver", named).unread
    for query in ("liver specklet", "speckled vein", "speckled vein structure", "speckled cortex", "XYZ of the liver"):
        assert not find(query, named).hits


def test_no_word_is_left_out_where_another_is_guessed(named: list[Named]) -> None:
    assert first(find("livr", named)) == "liver"
    assert not find("speckled livr", named).hits


def test_a_label_that_is_an_ignored_word_is_found() -> None:
    frame = Named(Task(dataset="bikes", modality="rgb", axis="2d", label="frame"))
    assert find("frame", [frame]).tasks == [frame.task]


def test_nothing_is_found_where_nothing_is() -> None:
    assert "None has a name like it" in find("liver", []).refusal()
    assert not find("", []).hits
