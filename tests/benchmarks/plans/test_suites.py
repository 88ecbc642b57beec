"""Which tasks the named suites hold."""

import pytest
from pydantic import ValidationError

from benchmarks.plans.suites import ANATOMIES, MODALITIES, SUITES, Suite, family, licenses
from megamed import Collection, DatasetCard, Task

CARDS = {
    "cine": ("mri cine", "heart", "heldout"),
    "scan": ("ct", "Heart and great vessels", "heldout"),
    "smear": ("bright-field microscopy", "white blood cell", "heldout"),
    "learnt": ("mri", "heart", "train"),
}
LABELS = {"cine": ["wall", "wall-by-a", "wall-by-b", "cavity-by-a"], "smear": ["nucleus"], "scan": ["lumen"]}


class Catalogue(Collection):
    """Four datasets that have cards and tasks, and no images."""

    def __init__(self) -> None:
        pass

    def card(self, dataset: str) -> DatasetCard:
        modality, anatomy, role = CARDS[dataset]
        return DatasetCard(id=dataset, modality=modality, anatomy=anatomy, role=role)

    def tasks(self, datasets: object = None, roles: object = None) -> list[Task]:
        return [
            Task(dataset=name, modality=modality.replace(" ", "-"), axis="2d", label=label)
            for name, (modality, _, role) in CARDS.items()
            for label in LABELS.get(name, ["all"])
            if role in roles
        ]


def chosen(**conditions: object) -> list[str]:
    return [f"{task.dataset}/{task.label}" for task in Suite(roles=("heldout",), **conditions).tasks(Catalogue())]


def test_a_role_alone_holds_all_its_tasks() -> None:
    assert [task.dataset for task in SUITES["heldout"].tasks(Catalogue())] == ["cine"] * 4 + ["scan", "smear"]


def test_each_dataset_has_a_licence_or_none_stated(drawings: Collection) -> None:
    told = {"cells": "CC0-1.0", "lonely": "none stated"}
    assert licenses(drawings, ["lonely", "cells", "lonely"]) == told


def test_modality_and_anatomy_are_families() -> None:
    assert chosen(modality="microscopy") == chosen(anatomy="cells") == ["smear/nucleus"]
    assert chosen(modality="ct", anatomy="heart") == ["scan/lumen"]
    assert chosen(modality="ct", anatomy="cells") == []


def test_few_annotators_hold_the_consensus_and_each_annotator() -> None:
    assert chosen(minimum_annotators=2) == ["cine/wall", "cine/wall-by-a", "cine/wall-by-b"]


@pytest.mark.parametrize(
    ("slug", "expected"),
    [
        ("mri-flair-and-t1-contrast", "mr"),
        ("mr-7t-t1w", "mr"),
        ("ct-non-contrast-head", "ct"),
        ("pet-fdg-suv", "pet"),
        ("x-ray-panoramic", "x-ray"),
        ("mammography-digital-and-contrast-enhanced", "x-ray"),
        ("ultrasound-3d-trus", "ultrasound"),
        ("h-e-histology-20x", "microscopy"),
        ("serial-section-transmission-electron-microscopy", "microscopy"),
        ("bright-field-microscopy-stained-blood-smear-rgb", "microscopy"),
        ("colour-fundus-photography", "ophthalmic"),
        ("retinal-oct-b-scan-spectralis", "ophthalmic"),
        ("laryngoscopy-white-light-endoscopy-rgb", "endoscopy"),
        ("clinical-photograph-rgb", "photograph"),
        ("forward-looking-sonar-aris-explorer-3000", "other"),
    ],
)
def test_family_of_a_modality(slug: str, expected: str) -> None:
    assert family(slug, MODALITIES) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("retinal vessels", "eye"),
        ("mouse hippocampus CA1, mitochondria", "cells"),
        ("hippocampus", "brain"),
        ("Heart", "heart"),
        ("lungs (lesions)", "chest"),
        ("lower spine T11-L5", "bones"),
        ("colon polyp", "abdomen"),
        ("", "other"),
    ],
)
def test_family_of_an_anatomy(text: str, expected: str) -> None:
    assert family(text, ANATOMIES) == expected


def test_suites_say_what_they_hold() -> None:
    assert str(SUITES["heldout"]) == "datasets of role heldout"
    assert str(SUITES["heldout-mr"]) == "datasets of role heldout, modality mr"
    assert str(SUITES["dev-annotators"]) == "datasets of role dev, at least 2 annotators"


@pytest.mark.parametrize("wrong", [{"modality": "mri"}, {"anatomy": "elbow"}, {"minimum_subjects": 1}, {"role": "dev"}])
def test_nonsense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Suite(roles=("heldout",), **wrong)
