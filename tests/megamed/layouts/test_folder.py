"""Paths that follow a template."""

import json
import unicodedata
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from megamed.labels import read_annotations
from megamed.layouts import find_datasets, find_subjects, read_card
from megamed.layouts.folder import template_pattern
from megamed.pixels import read_image
from megamed.schema import DatasetCard, FileRules
from tests.slide_files import write_pyramid

Draw = Callable[..., np.ndarray]
Prepare = Callable[..., tuple]


def test_labels_by_suffix_beside_their_images(draw: Draw, prepare: Prepare) -> None:
    draw("benign/a (1).png")
    draw("benign/a (1)_mask.png", {0: 255})
    draw("benign/a (1)_mask_1.png", {0: 255, 1: 255})
    draw("normal/b.png")
    draw("normal/b_mask.png", {2: 255})
    files = {"image": "*/{case}", "label": "*/{case}_mask*", "positive_above": 127}
    found = prepare(labels={1: "disc"}, files=files)
    assert not found.problems
    assert found.areas("a (1)") == {"disc": 16}
    assert found.areas("b") == {"disc": 8}


def test_images_of_one_name_in_several_folders_are_cases_with_the_label_of_their_folder(
    draw: Draw, prepare: Prepare
) -> None:
    files = {"image": "images/*/{case}", "label": "labels/*/{case}"}
    for folder, row in (("Anna", 0), ("Bo", 1)):
        draw(f"images/{folder}/1.png")
        draw(f"labels/{folder}/1.png", dict.fromkeys(range(row + 1), 1))
    draw("images/Bo/2.png")
    draw("labels/elsewhere/2.png", {2: 1})
    found = prepare(labels={1: "disc"}, files=files)
    assert not found.problems
    assert [found.areas(case) for case in ("Anna__1", "Bo__1", "2")] == [{"disc": 8}, {"disc": 16}, {"disc": 8}]


def test_both_forms_of_accented_letters_are_one_case(draw: Draw, prepare: Prepare) -> None:
    draw(f"images/{unicodedata.normalize('NFD', 'Müller')}.png")
    draw(f"labels/{unicodedata.normalize('NFC', 'Müller')}.png", {0: 1})
    found = prepare(labels={1: "disc"})
    assert not found.problems
    assert found.areas(unicodedata.normalize("NFC", "Müller")) == {"disc": 8}


def test_a_folder_per_class_may_overlap(draw: Draw, prepare: Prepare) -> None:
    for case in "ab":
        draw(f"images/{case}.png")
        draw(f"masks/disc/{case}.png", {0: 255, 1: 255, 2: 255})
    draw("masks/cup/a.png", {1: 255})
    found = prepare(files={"label": "masks/{class}/{case}"}, derived_labels={"either": (1, 2)})
    assert found.areas("a") == {"cup": 8, "disc": 24, "either": 24}
    assert found.areas("b") == {"disc": 24}, "the cup of b is unknown, and so is the union with it"


@pytest.mark.parametrize("on_card", ["NFC", "NFD"])
@pytest.mark.parametrize("on_disk", ["NFC", "NFD"])
def test_classes_may_be_called_in_any_script(draw: Draw, prepare: Prepare, on_card: str, on_disk: str) -> None:
    draw("images/患者1.png")
    draw(f"masks/{unicodedata.normalize(on_disk, 'Gefäß')}/患者1.png", {0: 1})
    draw("masks/脾脏/患者1.png", {1: 1, 2: 1})
    classes = {unicodedata.normalize(on_card, "Gefäß"): 1, "脾脏": 2}
    files = {"label": "masks/{class}/{case}", "classes": classes}
    found = prepare(labels={1: "vessel", 2: "脾脏"}, modality="磁共振", files=files)
    assert found.areas("患者1", "磁共振") == {"vessel": 8, "脾脏": 16}


def test_a_missing_class_may_mean_background(draw: Draw, prepare: Prepare) -> None:
    draw("images/a.png")
    draw("masks/OD/a.png", {0: 1})
    files = {"label": "masks/{class}/{case}", "classes": {"OD": 1, "OC": 2}, "missing_class": "background"}
    assert prepare(files=files).areas("a") == {"disc": 8, "cup": 0}


def test_colours_are_labels(draw: Draw, prepare: Prepare) -> None:
    files = {"colours": {"#ff0000": 1, "#0000ff": 2, "#00ff00": 2}}
    for case, stray in (("a", (0, 255, 0)), ("b", (1, 2, 3))):
        draw(f"images/{case}.png")
        draw(f"labels/{case}.png", {0: (255, 0, 0), 1: (0, 0, 255), 2: stray}, colour=True)
    found = prepare(files=files)
    assert found.areas("a") == {"disc": 8, "cup": 16}
    assert "colours that are not in the table" in found.problems["b"][0]
    assert "#010203" in found.problems["b"][0]


def test_instances_are_one_label(draw: Draw, prepare: Prepare) -> None:
    draw("images/a.png")
    draw("labels/a.png", {0: 17, 3: 200})
    assert prepare(labels={1: "cell"}, files={"positive_above": 0}).areas("a") == {"cell": 16}
    assert prepare(files={"instance_divisor": 100}).areas("a") == {"disc": 0, "cup": 8}
    assert "values not on the card" in prepare().problems["a"][0]


def test_masks_may_be_coloured(draw: Draw, prepare: Prepare) -> None:
    draw("images/a.png")
    draw("labels/a.png", {0: (255, 255, 255), 1: (200, 0, 0), 2: (9, 9, 9)}, colour=True)
    assert prepare(labels={1: "disc"}, files={"positive_above": 9}).areas("a") == {"disc": 16}


def test_one_label_alone_can_be_a_mask(draw: Draw, prepare: Prepare) -> None:
    draw("images/a.png")
    draw("labels/a.png", {0: 255})
    assert "ambiguous" in prepare(files={"positive_above": 0}).problems["a"][0]


def test_annotators_stand_side_by_side_with_their_majority(draw: Draw, prepare: Prepare) -> None:
    draw("images/a.png")
    for annotator, rows in {"ann": (0, 1), "Bob B": (1, 2), "eve": (1, 3)}.items():
        draw(f"labels/{annotator}/a.png", dict.fromkeys(rows, 1))
    draw("images/b.png")
    draw("labels/ann/b.png", {5: 1})
    found = prepare(labels={1: "disc"}, files={"label": "labels/{annotator}/{case}"})
    expected = {"disc": 8, "disc-by-ann": 16, "disc-by-bob-b": 16, "disc-by-eve": 16}
    assert found.areas("a") == expected
    assert found.areas("b") == {"disc": 8, "disc-by-ann": 8}, "what the others would have drawn is unknown"


def test_a_card_that_names_annotators_needs_no_template(draw: Draw, prepare: Prepare) -> None:
    """Facts about them are taken as they stand, and what they agreed on is no work of one of them."""
    draw("images/a.png")
    for annotator, rows in {"E1_amira": (0, 1), "E2": (0, 1, 2), "Gold": (5,)}.items():
        draw(f"labels/{annotator}/a.png", dict.fromkeys(rows, 1))
    facts = {"label_layout": "labels/<annotator>/<case>.png", "inter_annotator_dice": {"median": 0.8}, "size_mb": 3.5}
    named = {"annotators": {"E1_amira": 1, "E2": 1, "Gold": 1}, "consensus": "Gold"}
    found = prepare(labels={1: "disc"}, **named, **facts)
    assert not found.problems
    assert found.areas("a") == {"disc": 8, "disc-by-e1_amira": 16, "disc-by-e2": 24}


def test_real_annotators_are_found(shared: Path) -> None:
    for folder in find_datasets(shared / "data_raters"):
        card = read_card(folder)
        subjects = find_subjects(folder, card)
        assert not [problem for subject in subjects for problem in subject.problems]
        labels = [label for subject in subjects for case in subject.cases for label in case.labels]
        assert Counter(label.annotator for label in labels) == card.annotators


def test_channels_are_modalities(draw: Draw, prepare: Prepare) -> None:
    picture = draw("images/a.png", {0: (1, 2, 3), 1: (200, 100, 0)}, colour=True)
    draw("labels/a.png", {0: 1})
    found = prepare(files={"channels": {"green": "fundus, green", "luminance": "fundus"}})
    green, grey = found.rows
    assert (green.modality, grey.modality) == ("fundus-green", "fundus")
    assert np.array_equal(green.image, np.rint(picture[..., 1] * 2.55).astype(np.uint8))
    assert green.masks.keys() == grey.masks.keys() == {"disc"}


def test_channels_have_the_names_of_their_file(draw: Draw, prepare: Prepare, tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    stains = np.random.default_rng(0).integers(0, 255, (2, 8, 8), np.uint8)
    stains[:, 0, :2] = 0, 255
    named = {"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP"]}}
    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images/a.ome.tif", stains, photometric="minisblack", metadata=named)
    draw("labels/a.ome.png", {0: 1})
    for key in ("GFP", "1"):
        (actin,) = prepare(files={"channels": {key: "actin"}}).rows
        assert np.array_equal(actin.image, stains[1])
    ((problem,),) = prepare(files={"channels": {"CD8": "T cells"}}).problems.values()
    assert "it has no channel 'CD8': expected 0 'DAPI', 1 'GFP'" in problem


@given(st.text("abc._-() 1", min_size=1).filter(lambda name: not name.startswith(".")))
def test_templates_read_back_what_they_name(name: str) -> None:
    suffixed = template_pattern("{case}/masks/{class}/{case}_mask*", {"a_b": 1, "a": 2}).fullmatch
    match = suffixed(f"{name}/masks/a_b/{name}_mask_2.nii.gz")
    assert match
    assert (match["case"], match["class_"]) == (name, "a_b")
    assert not suffixed(f"{name}/masks/b/{name}_mask.png")
    assert not suffixed(f"{name}/masks/a/{name}x_mask.png")


def test_two_files_for_one_label_are_refused(draw: Draw, prepare: Prepare) -> None:
    draw("images/a.png")
    draw("labels/a.png", {0: 1})
    draw("labels/a.bmp", {0: 1})
    assert "expected one label, got a.bmp, a.png" in prepare().problems["a"][0]


def test_case_folders_are_cases(draw: Draw, prepare: Prepare) -> None:
    draw("train/c1/images/c1.png")
    for instance in "xy":
        draw(f"train/c1/masks/{instance}.png", {"xy".index(instance): 255})
    files = {"image": "train/{case}/images/{case}", "label": "train/{case}/masks/*"}
    found = prepare(labels={1: "nucleus"}, files=files | {"positive_above": 0})
    assert found.areas("c1") == {"nucleus": 16}


def test_stray_files_among_volumes_are_reported(tmp_path: Path, prepare: Prepare) -> None:
    (tmp_path / "volumes").mkdir()
    (tmp_path / "volumes" / "notes.txt").touch()
    assert "not a pair" in prepare().problems["notes.txt"][0]


def test_card_without_labels_is_refused(prepare: Prepare) -> None:
    with pytest.raises(ValueError, match="expected the names of its label values"):
        prepare(labels={})


@pytest.mark.parametrize("label", ["pyramid", "reduced", "drawn"])
def test_a_card_chooses_a_level_of_images_and_their_labels(tmp_path: Path, label: str) -> None:
    pytest.importorskip("tifffile")
    pixels, drawn = np.random.default_rng(0).integers(0, 200, (64, 96)).astype(np.uint8), np.zeros((64, 96), np.uint8)
    drawn[16:40, 24:64] = 1
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
    write_pyramid(tmp_path / "images" / "a.tif", pixels)
    if label == "drawn":
        ring = [[24, 16], [64, 16], [64, 40], [24, 40], [24, 16]]
        tumour = {"objectType": "annotation", "classification": {"name": "tumour"}}
        feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [ring]}, "properties": tumour}
        (tmp_path / "labels" / "a.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    elif label == "pyramid":
        write_pyramid(tmp_path / "labels" / "a.tif", drawn)
    else:
        Image.fromarray(drawn[::4, ::4]).save(tmp_path / "labels" / "a.png")
    rules = FileRules(image="images/{case}", label="labels/{case}", level=2)
    card = DatasetCard(id="d", modality="microscopy", labels={1: "tumour"}, license="CC0", layout="folder", files=rules)
    (subject,) = find_subjects(tmp_path, card)
    (case,) = subject.cases
    image = read_image(case.images["microscopy"])
    assert np.array_equal(image, pixels[::4, ::4])
    (layer,) = read_annotations(case, card, image)[""].layers
    assert np.array_equal(layer, drawn[::4, ::4])
