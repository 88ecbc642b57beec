"""What the labels of some cases hold: cases are counted, not files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from megamed.label_findings import look_at_labels
from megamed.layouts import Case, LabelSource
from megamed.readers.source import Source
from megamed.schema import DatasetCard

CARD = DatasetCard(id="a", modality="CT", labels={1: "cell", 2: "dot"})


def label(path: Path, value: int, rows: int, annotator: str = "") -> LabelSource:
    drawn = np.zeros((10, 10), np.uint8)
    drawn[:rows] = value
    Image.fromarray(drawn).save(path)
    return LabelSource(Source((path,)), annotator=annotator)


def test_several_files_of_a_case_are_one_case(tmp_path: Path) -> None:
    parts = (label(tmp_path / "a1.png", 1, 2), label(tmp_path / "a2.png", 1, 1), label(tmp_path / "a3.png", 2, 5))
    found = look_at_labels([Case("a", labels=parts), Case("b", labels=(label(tmp_path / "b.png", 1, 1),))], CARD)
    assert (found.cases, dict(found.present)) == (2, {1: 2, 2: 1})
    assert found.areas({1: "cell", 2: "dot"}) == (
        "1 'cell' (20.0% where present, in 2 of 2 cases), 2 'dot' (50.0% where present, in 1 of 2 cases)"
    )


def test_what_several_people_drew_has_its_mean_area(tmp_path: Path) -> None:
    drawn = tuple(label(tmp_path / f"{who}.png", 1, rows, who) for rows, who in ((2, "ann"), (4, "bob")))
    found = look_at_labels([Case("a", labels=drawn)], CARD)
    assert (found.present[1], found.share[1]) == (1, pytest.approx(0.3))
