"""What was found, as numbers and as a table."""

import pytest

from incontext.folders.report import ImageReport, Summary, statistics_csv


def image(file: str, dice: dict[int, float] | None, area_mm2: dict[int, float] | None = None) -> ImageReport:
    return ImageReport(file, file, (4, 4), {1: 3, 2: 0}, area_mm2, None, 0.9, {1: 0.75, 2: 0.5}, False, dice)


def test_mean_dice_is_of_labelled_images() -> None:
    reports = [image("a.png", {1: 0.5, 2: 1.0}), image("b.png", None), image("c.png", {1: 1.0, 2: 0.0})]
    assert Summary([], {1: "liver", 2: "spleen"}, reports).mean_dice == pytest.approx({1: 0.75, 2: 0.5})
    assert Summary([], {1: "liver", 2: "spleen"}, reports[1:2]).mean_dice == {}


def test_the_table_has_a_row_for_each_image_and_class() -> None:
    reports = [image("a.png", None, {1: 0.75, 2: 0.0}), image('"b", c.png', {1: 0.5, 2: 1.0})]
    assert statistics_csv(Summary([], {1: "liver", 2: "spleen"}, reports)).splitlines() == [
        "file,mask,label,class,pixels,area_mm2,volume_mm3,predicted_dice,dice",
        "a.png,a.png,1,liver,3,0.75,,0.75,",
        "a.png,a.png,2,spleen,0,0,,0.5,",
        '"""b"", c.png","""b"", c.png",1,liver,3,,,0.75,0.5',
        '"""b"", c.png","""b"", c.png",2,spleen,0,,,0.5,1',
    ]
