"""What a folder says of itself."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from incontext import Segmenter
from incontext.folders.check_folder import check_folder
from incontext.folders.own_card import OwnCard, read_own_card
from incontext.folders.user_folder import fit_folder
from incontext.inference.image_source import ImageSource
from megamed.label_values import LabelRules
from megamed.pairing import Pairing
from megamed.path_templates import Templates


def test_a_card_says_where_files_lie_and_what_values_mean(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text(
        'id = "a"\nmodality = "CT"\n[labels]\n3 = "lung"\n[files]\nlabel = "drawn/{case}"\n'
    )
    source = ImageSource(title="a")
    assert read_own_card(tmp_path) == OwnCard(Templates(label="drawn/{case}"), {3: "lung"}, source=source)


@pytest.mark.parametrize(
    ("files", "classes", "colours"),
    [
        ("positive_above = 0", {"": "lung"}, {}),
        ('label = "masks/{class}/{case}"\nclasses = { L = 3 }\npositive_above = 127', {"L": "lung"}, {}),
        ('colours = { "#ff0000" = 3 }', {}, {"#ff0000": 3}),
    ],
)
def test_a_card_says_what_masks_and_colours_are(
    tmp_path: Path, files: str, classes: dict[str, str], colours: dict[str, int]
) -> None:
    (tmp_path / "card.toml").write_text(f'id = "a"\nmodality = "CT"\n[labels]\n3 = "lung"\n[files]\n{files}\n')
    card = read_own_card(tmp_path)
    assert (card.classes, card.colours) == (classes, colours)


def test_numbers_of_objects_are_divided_as_a_card_says(tmp_path: Path) -> None:
    (tmp_path / "card.toml").write_text('id = "a"\nmodality = "X"\n[labels]\n1 = "b"\n[files]\ninstance_divisor = 9\n')
    assert read_own_card(tmp_path).rules(Pairing(tmp_path, ()), LabelRules()).divisor == 9


def test_numbers_of_objects_are_read_as_the_classes_that_a_card_says(tmp_path: Path) -> None:
    label = np.zeros((32, 32), np.uint16)
    label[4:9, 4:9], label[20:29, 4:9], label[4:20, 20:30] = 1000, 1001, 2000
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    for name, grey in {"a": 90, "b": 80}.items():
        Image.fromarray((label > 0).astype(np.uint8) * grey).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(label).save(tmp_path / "labels" / f"{name}.png")
    labels = '[labels]\n1 = "nucleus"\n2 = "gland"\n[files]\ninstance_divisor = 1000\n'
    (tmp_path / "card.toml").write_text(f'id = "a"\nmodality = "X"\n{labels}')
    found = check_folder(tmp_path)
    assert [(each.value, each.name, each.share) for each in found.classes] == [
        (1, "nucleus", 70 / 1024),
        (2, "gland", 160 / 1024),
    ]
    assert not found.problems
    fit_folder(segmenter := Segmenter(), tmp_path)
    assert segmenter.instance_divisor == 1000
    assert segmenter.fitted.names == {1: "nucleus", 2: "gland"}


def test_dataset_json_names_classes(tmp_path: Path) -> None:
    facts = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1}, "file_ending": ".png"}
    (tmp_path / "dataset.json").write_text(json.dumps(facts))
    assert read_own_card(tmp_path) == OwnCard(names={1: "liver"})


def test_a_card_says_what_nobody_judged(tmp_path: Path) -> None:
    labels = {"background": 0, "tumour": [1, 2], "core": 1, "ignore": 3}
    facts = {"channel_names": {"0": "CT"}, "labels": labels, "file_ending": ".png"}
    (tmp_path / "dataset.json").write_text(json.dumps(facts))
    card = read_own_card(tmp_path)
    assert (card.names, card.unknown) == ({}, (3,))  # regions have names of their own
    (tmp_path / "card.toml").write_text('id = "a"\nmodality = "CT"\n[labels]\n3 = "lung"\n[files]\nunknown = 9\n')
    assert read_own_card(tmp_path).unknown == (9,)


def test_a_faulty_card_is_not_used_and_that_is_said(tmp_path: Path) -> None:
    assert read_own_card(tmp_path) == OwnCard()
    (tmp_path / "dataset.json").write_text("{")
    (note,) = read_own_card(tmp_path).notes
    assert note.startswith("the card is not used: ")
    assert "dataset.json" in note
