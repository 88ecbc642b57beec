"""Labels of several folders: what different people drew of one thing, or different structures."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from megamed.arrangement import find_arrangement
from megamed.look_alikes import drew_one_thing, is_structure
from megamed.pairing import find_pairs

SIDE_PX = 40
Draw = Callable[[int, int], np.ndarray]


def disc(row: float, column: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[:SIDE_PX, :SIDE_PX]
    return ((rows - row) ** 2 + (columns - column) ** 2 < radius**2).astype(np.uint8)


def by_people(case: int, place: int) -> np.ndarray:
    return disc(18 + case + place, 20 - place, 9 + place)


def apart(case: int, place: int) -> np.ndarray:
    return disc(8 + 12 * place, 20 + case, 5)


def nested(case: int, place: int) -> np.ndarray:
    return disc(20, 18 + case, 14 - 3.4 * place)


def of_two_values(case: int, place: int) -> np.ndarray:
    return by_people(case, place) + disc(18 + case + place, 20 - place, 5)


def empty(case: int, place: int) -> np.ndarray:
    return disc(case, place, 0)


def draw(folder: Path, names: Sequence[str], drawn: Draw) -> Path:
    for case in range(3):
        parts = {"images": 90 * drawn(case, 0)} | {f"labels/{name}": drawn(case, i) for i, name in enumerate(names)}
        for part, array in parts.items():
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / part / f"c{case}.png")
    return folder


@pytest.mark.parametrize(
    "names",
    [
        ("smith", "jones"),
        ("李医生", "王医生", "赵医生"),
        ("D1", "D2"),
        ("dr_smith", "dr_jones"),
        ("consensus x", "bob.k"),
        ("1", "2"),
        ("A", "B"),
    ],
)
@pytest.mark.parametrize("drawn", [by_people, of_two_values])
def test_folders_of_people_are_recognised_whatever_their_names(
    tmp_path: Path, names: tuple[str, ...], drawn: Draw
) -> None:
    folder = draw(tmp_path, names, drawn)
    assert re.fullmatch(r"labels/(dr_)?{annotator}/{case}", find_arrangement(folder).files.label)
    found = find_pairs(folder)
    assert found.classes == ()
    first = min(names)
    assert [pair.labels[""] for pair in found.labelled] == [(folder / f"labels/{first}/c{i}.png",) for i in range(3)]
    assert any(note.startswith("folders of the same drawings are those of annotators:") for note in found.notes)


@pytest.mark.parametrize(
    ("names", "drawn"),
    [
        (("foo", "bar"), apart),
        (("foo", "bar"), nested),
        (("disc", "cup"), by_people),
        (("foo", "bar"), empty),
        (("1", "2"), apart),
        (("1", "2"), nested),
        (("a", "b"), apart),
    ],
)
def test_folders_of_structures_stay_classes(tmp_path: Path, names: tuple[str, ...], drawn: Draw) -> None:
    folder = draw(tmp_path, names, drawn)
    assert find_arrangement(folder).files.label == "labels/{class}/{case}"
    found = find_pairs(folder)
    assert found.classes == tuple(sorted(names))
    told = "folders of different drawings are those of classes, not of annotators: "
    assert list(found.notes) == [f"{told}{', '.join(names)}."] * all(len(name) == 1 for name in names)


def test_a_folder_of_each_number_may_be_that_of_a_case(tmp_path: Path) -> None:
    for case in ("1", "2"):
        for part in ("images", f"labels/{case}"):
            (tmp_path / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(90 * disc(20, 20, 9)).save(tmp_path / f"images/{case}.png")
        Image.fromarray(disc(20, 20, 9)).save(tmp_path / f"labels/{case}/mask.png")
    found = find_pairs(tmp_path)
    assert [pair.labels[""] for pair in found.pairs] == [(tmp_path / f"labels/{case}/mask.png",) for case in "12"]
    assert found.notes == ()


def test_what_cannot_be_compared_is_not_of_people(tmp_path: Path) -> None:
    folder = draw(tmp_path, ("smith", "jones"), by_people)
    case = {name: folder / f"labels/{name}/c0.png" for name in ("smith", "jones")}
    assert drew_one_thing([case])
    assert not drew_one_thing([])
    Image.fromarray(by_people(0, 0)[:30]).save(case["smith"])
    assert not drew_one_thing([case])
    case["smith"].write_bytes(b"")
    assert not drew_one_thing([case])


def test_structures_are_known_in_several_languages() -> None:
    assert [is_structure(name) for name in ("kidney_left", "Leber", "smith", "1")] == [True, True, False, False]
