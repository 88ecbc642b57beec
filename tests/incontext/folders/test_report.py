"""What was found, as numbers and as a table."""

import csv
import io
from dataclasses import replace

import pytest

from incontext.folders.report import ImageReport, Summary, grouped, statistics_csv


def image(file: str, dice: dict[int, float] | None, area_mm2: dict[int, float] | None = None) -> ImageReport:
    return ImageReport(file, file, (4, 4), {1: 3, 2: 0}, area_mm2, None, 0.9, {1: 0.75, 2: 0.5}, False, dice)


def test_mean_dice_is_of_labelled_images() -> None:
    reports = [image("a.png", {1: 0.5, 2: 1.0}), image("b.png", None), image("c.png", {1: 1.0, 2: 0.0})]
    assert Summary([], {1: "liver", 2: "spleen"}, reports).mean_dice == pytest.approx({1: 0.75, 2: 0.5})
    assert Summary([], {1: "liver", 2: "spleen"}, reports[1:2]).mean_dice == {}


def test_the_table_has_a_row_for_each_image_and_class() -> None:
    reports = [image("a.png", None, {1: 0.75, 2: 0.0}), image('"b", c.png', {1: 0.5, 2: 1.0})]
    assert statistics_csv(Summary([], {1: "liver", 2: "spleen"}, reports)).splitlines() == [
        "file,mask,label,class,pixels,area_mm2,volume_mm3,predicted_dice,presence,dice",
        "a.png,a.png,1,liver,3,0.75,,0.75,,",
        "a.png,a.png,2,spleen,0,0,,0.5,,",
        '"""b"", c.png","""b"", c.png",1,liver,3,,,0.75,,0.5',
        '"""b"", c.png","""b"", c.png",2,spleen,0,,,0.5,,1',
    ]


def test_names_make_no_formula_and_no_line_of_their_own() -> None:
    odd = ["=1+1.png", "+1.png", "-1.png", "@a.png", "\t=1.png", "a\nb.png", "a\r\x1b[31m.png"]
    table = statistics_csv(Summary([], {1: "=liver", 2: "spleen"}, [image(name, None) for name in odd]))
    rows = list(csv.reader(io.StringIO(table)))[1:]
    assert len(rows) == len(table.splitlines()) - 1 == 2 * len(odd)
    assert all(cell[:1] not in tuple("=+-@\t") and cell.isprintable() for row in rows for cell in row if cell)


def test_the_poorest_masks_are_named_with_class_and_predicted_dice() -> None:
    def poor(number: int, dice: float) -> ImageReport:
        return replace(image(f"{number}.png", None), look_first=True, predicted_dice={1: dice, 2: 0.9})

    reports = [poor(number, 0.1 * number) for number in range(7)]
    lines = list(Summary([], {1: "1", 2: "spleen"}, [*reports, image("good.png", None)]).look_first())
    assert lines[0] == "Look first at 0.png: a Dice of 0.00 is predicted for label 1."
    assert [line.split()[3] for line in lines[:-1]] == [f"{number}.png:" for number in range(5)]
    assert lines[-1] == "2 masks are probably poor, too: those with look_first in summary.json."
    assert list(Summary([], {1: "1"}, [image("good.png", None)]).look_first()) == []


def test_images_that_probably_lack_a_class_are_named() -> None:
    reports = [replace(image(f"{name}.png", None), absent=(2,)) for name in "abcd"] + [image("e.png", None)]
    lines = list(Summary([], {1: "1", 2: "spleen"}, reports).absent())
    assert lines == ["Probably without spleen: a.png, b.png, c.png and 1 more."]


def test_warnings_are_said_once_with_the_images_that_gave_them() -> None:
    warned = [(f"{name}.png", f"images are dark: got {number}.") for number, name in enumerate("abcde")]
    warned += [("a.png", "support_labels are small."), ("b.png", "support_labels are small.")]
    warned += [("p/a.png", "a.png: is lossy."), ("p/b.png", "b.png: is lossy.")]
    warned += [(name, f"{name} is not scored: no label.") for name in ("a.png", "b.png")]
    assert grouped(warned, ["support_labels are small."]) == [
        "a.png, b.png, c.png and 2 more: images are dark: got 0.",
        "support_labels are small.",
        "p/a.png, p/b.png: is lossy.",
        "a.png is not scored: no label. So it is with b.png.",
    ]


def test_a_warning_on_a_labelled_image_is_said_once_though_an_image_to_segment_has_its_name() -> None:
    message = "support/a.png has soft edges."
    assert grouped([("a.png", message), ("b.png", message)], [message]) == [message]
