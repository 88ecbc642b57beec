"""Segments of Slicer's files mean what their names say, on the grid of their image, however each file numbers them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from megamed import DatasetCard
from megamed.labels import read_annotations
from megamed.layouts import find_subjects
from megamed.pixels import read_image
from megamed.propose import propose

sitk = pytest.importorskip("SimpleITK")
pytest.importorskip("nrrd")

SIZE = (8, 12, 10)
LIVER, TUMOUR = np.zeros((2, *SIZE), bool)
LIVER[2:7, 3:10, 2:9], TUMOUR[4:6, 5:8, 4:6] = True, True


def save(folder: Path, name: str, numbers: dict[str, int], cut: bool = False) -> None:
    image = sitk.GetImageFromArray(np.random.default_rng(0).normal(0, 50, SIZE).astype(np.int16))
    image.SetSpacing((0.7, 0.7, 2.0))
    image.SetOrigin((-10, -20, -30))
    values = np.zeros(SIZE, np.uint8)
    for mask, number in zip((LIVER, TUMOUR), numbers.values(), strict=True):
        values[mask] = number
    label = sitk.GetImageFromArray(values)
    label.CopyInformation(image)
    label = label[2:9, 3:10, 2:7] if cut else label
    for place, (segment, number) in enumerate(numbers.items()):
        for key, value in {"ID": f"S{place}", "Name": segment, "LabelValue": str(number), "Layer": "0"}.items():
            label.SetMetaData(f"Segment{place}_{key}", value)
    for kind, written, ending in (("images", image, ".nrrd"), ("labels", label, ".seg.nrrd")):
        (folder / kind).mkdir(exist_ok=True)
        sitk.WriteImage(written, str(folder / kind / f"{name}{ending}"))


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., dict[int, int]]:
    """Save one segmentation and return the size of each label of the card in it."""

    def run(labels: dict[int, str], numbers: dict[str, int], cut: bool = False) -> dict[int, int]:
        save(tmp_path, "a", numbers, cut)
        files = {"image": "images/{case}", "label": "labels/{case}.seg"}
        card = DatasetCard.model_validate({"id": "d", "modality": "CT", "labels": labels, "files": files})
        (subject,) = find_subjects(tmp_path, card)
        (case,) = subject.cases
        annotation = read_annotations(case, card, read_image(case.images["CT"]))[""]
        drawn = {value: annotation.union([value]) for value in labels}
        return {value: int(mask.sum()) for value, mask in drawn.items() if mask is not None}

    return run


@pytest.mark.parametrize("cut", [False, True])
@pytest.mark.parametrize(("liver", "tumour"), [(1, 2), (2, 1), (7, 200)])
def test_names_count_not_numbers(read: Callable[..., dict[int, int]], liver: int, tumour: int, cut: bool) -> None:
    sizes = read({1: "tumour", 2: "liver"}, {"liver": liver, "Tumour": tumour}, cut)
    assert sizes == {1: TUMOUR.sum(), 2: (LIVER & ~TUMOUR).sum()}


def test_a_segment_that_nobody_drew_is_unknown(read: Callable[..., dict[int, int]]) -> None:
    sizes = read({1: "liver", 2: "spleen"}, {"liver": 1, "tumour": 2})
    assert sizes == {1: (LIVER & ~TUMOUR).sum()}


def test_a_segment_without_a_name_is_its_number(read: Callable[..., dict[int, int]]) -> None:
    sizes = read({1: "tumour", 2: "liver"}, {"Segment_1": 2, "Segment_2": 1})
    assert sizes == {1: TUMOUR.sum(), 2: (LIVER & ~TUMOUR).sum()}


def test_other_names_are_refused(read: Callable[..., dict[int, int]]) -> None:
    with pytest.raises(ValueError, match=r"expected some of \['spleen'\], got \['liver', 'tumour'\]"):
        read({1: "spleen"}, {"liver": 1, "tumour": 2})


def test_a_proposed_card_has_the_names(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path, f"c{number}", {"liver": 1 + number % 2, "tumour": 2 - number % 2}, cut=number == 2)
    assert propose(tmp_path).card.labels == {1: "liver", 2: "tumour"}
