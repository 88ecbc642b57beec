"""Groups of rows and the gaps between them."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.analysis.subgroups import (
    by_attribute,
    by_modality,
    by_quantile,
    by_range,
    by_size,
    by_size_in_task,
    by_split,
    groupings,
    read_attributes,
    tabulate,
)
from benchmarks.scoring.results import Row
from megamed import Collection

PEOPLE = [f"s{place}" for place in range(8)]


def row(predictor: str, subject: str, dice: float, dataset: str = "heart/mri", label_px: int = 10) -> Row:
    name = dataset.split("/")[0]
    return Row(predictor, name, f"{dataset}/axial/wall", subject, subject, 0, 4, "0" * 8, label_px, 10, dice)


SEX = {("heart", subject): "female" if place % 2 else "male" for place, subject in enumerate(PEOPLE[:7])}
"""Of all but the last."""


def rows_with_gap(gap: float) -> list[Row]:
    noise = np.random.default_rng(0).normal(0, 0.05, 8)
    return [
        row(name, subject, 0.7 + noise[place] - shift * (SEX.get(("heart", subject)) == "female"))
        for name, shift in (("fair", 0.0), ("unfair", gap))
        for place, subject in enumerate(PEOPLE)
    ]


def test_groups_are_scored_and_counted() -> None:
    table = tabulate("sex", by_attribute(SEX), rows_with_gap(0.3), ["fair", "unfair"])
    female, male = table.groups
    assert (female.name, female.tasks, female.subjects, female.images) == ("female", 1, 3, 3)
    assert (male.name, male.subjects) == ("male", 4)
    own = [
        each.dice for each in rows_with_gap(0.3) if each.predictor == "unfair" and each.subject in ("s1", "s3", "s5")
    ]
    found = female.scores["unfair"]
    assert found.mean == pytest.approx(np.mean(own))
    assert min(own) <= found.low < found.mean < found.high <= max(own)


def test_a_gap_is_found_where_there_is_one() -> None:
    gaps = tabulate("sex", by_attribute(SEX), rows_with_gap(0.3), ["fair", "unfair"]).gaps
    assert (gaps["unfair"].best, gaps["unfair"].worst) == ("male", "female")
    assert gaps["unfair"].difference.low > 0.15
    assert gaps["fair"].difference.low < 0


def test_groups_share_tasks_when_they_are_compared() -> None:
    """Tasks differ far more than groups do: drawing them together, the gap is known nearly exactly."""
    rows = [
        row("ours", subject, dice - 0.1 * (SEX[("heart", subject)] == "female"), dataset=f"heart/{task}")
        for task, dice in enumerate(np.linspace(0.2, 0.9, 12))
        for subject in PEOPLE[:7]
    ]
    table = tabulate("sex", by_attribute(SEX), rows, ["ours"])
    gap = table.gaps["ours"].difference
    assert (gap.mean, gap.low, gap.high) == pytest.approx((0.1, 0.1, 0.1))
    assert table.groups[0].scores["ours"].high - table.groups[0].scores["ours"].low > 0.2


def test_a_group_of_one_predictor_only_is_empty_for_the_other() -> None:
    rows = [row("ours", "s1", 0.5), row("ours", "s2", 0.7), row("copy", "s1", 0.4)]
    table = tabulate("sex", by_attribute(SEX), rows, ["ours", "copy"])
    assert [list(group.scores) for group in table.groups] == [["ours", "copy"], ["ours"]]
    assert list(table.gaps) == ["ours"]


def test_the_order_of_rows_is_irrelevant() -> None:
    rows = rows_with_gap(0.1)
    asked = ("sex", by_attribute(SEX))
    assert tabulate(*asked, rows, ["fair"]).as_json() == tabulate(*asked, rows[::-1], ["fair"]).as_json()


def test_groups_by_modality_size_and_split(drawings: Collection) -> None:
    assert by_modality(row("ours", "s0", 0.5)) == "mr"
    rows = [row("ours", f"s{area}", 0.5, label_px=area) for area in (5, 1, 9, 3, 7, 2)]
    assert [by_size(rows)(each) for each in rows] == ["medium", "small", "large", "medium", "large", "small"]
    table = tabulate("size", by_size(rows), rows, ["ours"])
    assert [group.name for group in table.groups] == ["small", "medium", "large"]
    drawn = Row("ours", "cells", "cells/drawing/2d/disc", "s1", "s1-0", 0, 4, "0" * 8, 10, 10, 0.5)
    assert by_split(drawings, [drawn])(drawn) == "test"


def test_every_task_has_its_own_small_and_large_objects() -> None:
    tiny, huge, alike = (
        (f"d/mri-{name}", areas) for name, areas in (("t", (1, 2, 3)), ("h", (70, 80, 90)), ("a", (5, 5, 6)))
    )
    rows = [row("ours", f"s{area}", 0.5, name, area) for name, areas in (tiny, huge, alike) for area in areas]
    assert [by_size_in_task(rows)(each) for each in rows] == 2 * ["small", "medium", "large"] + 3 * [""]
    assert [by_size(rows)(each) for each in rows[:6]] == 3 * ["small"] + 3 * ["large"]


def test_groupings_are_known_by_name(drawings: Collection) -> None:
    rows = [row("ours", subject, 0.5) for subject in PEOPLE]
    found = groupings(["modality", "sex"], rows, attributes={"sex": SEX})
    assert [grouping(rows[1]) for grouping in found.values()] == ["mr", "female"]
    assert list(groupings(["split"], [], drawings)) == ["split"]
    for name in ("anatomy", "age"):
        with pytest.raises(
            ValueError, match=f"expected one of size, size-in-task, modality, sex, got '{name}'. Anatomy and split need"
        ):
            groupings([name], rows, attributes={"sex": SEX})


def test_attributes_are_read_from_a_table(tmp_path: Path) -> None:
    text = "dataset,subject,sex,age\nheart,s0,female,30\nheart,s1, male ,\n"
    (tmp_path / "people.csv").write_text(text)
    known = read_attributes(tmp_path / "people.csv")
    (tmp_path / "people.csv").write_text(text, encoding="utf-8-sig")  # as spreadsheets do
    assert read_attributes(tmp_path / "people.csv") == known
    assert known["sex"] == {("heart", "s0"): "female", ("heart", "s1"): "male"}
    assert known["age"] == {("heart", "s0"): "30", ("heart", "s1"): ""}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dataset,sex\nheart,male\n", "is no table of subjects: expected columns dataset, subject and an attribute"),
        ("dataset,subject\nheart,s0\n", "is no table of subjects"),
        ("dataset;subject;sex\nheart;s0;male\n", "is no table of subjects: .* separated by commas"),
        ("dataset,subject,sex,sex\nheart,s0,male,female\n", "is no table of subjects: .* each of its own name"),
        ("", "is no table of subjects"),
        (
            "dataset,subject,sex\nheart,s0,male\nheart,s0,female\n",
            "repeats a subject: expected 2 different ones, got 1",
        ),
        ("dataset,subject,age\nheart,s0,3,5\n", "is no table in line 2: expected 3 cells, got 4. Put a cell"),
    ],
)
def test_other_tables_are_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "people.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_attributes(tmp_path / "people.csv")


def test_a_table_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "people.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"people\.csv is no table of subjects: expected UTF-8, got the byte 0xff"):
        read_attributes(tmp_path / "people.csv")


def test_a_table_of_others_is_refused() -> None:
    rows = [row("ours", subject, 0.5) for subject in PEOPLE]
    strangers = {("Heart", subject): "female" for _, subject in SEX}
    with pytest.raises(ValueError, match=r"describes no subject of the runs: expected some such as .* of Heart"):
        groupings(["sex"], rows, attributes={"sex": strangers})


def test_an_attribute_takes_no_name_of_another_grouping() -> None:
    rows = [row("ours", subject, 0.5) for subject in PEOPLE]
    with pytest.raises(ValueError, match="has a column 'size', by which images are grouped anyway"):
        groupings(["size"], rows, attributes={"size": SEX})


def test_one_subject_has_no_interval() -> None:
    rows = [row("ours", subject, 0.1 * place) for place, subject in enumerate(PEOPLE)]
    table = tabulate("who", lambda each: "first" if each.subject == PEOPLE[0] else "others", rows, ["ours"])
    assert [group.scores["ours"].subjects for group in table.groups] == [1, len(PEOPLE) - 1]
    assert table.groups[0].scores["ours"].written() == "0.0 (one subject)"
    assert table.gaps["ours"].difference.written(".2f") == "0.40 (one subject)"


def test_ages_become_ranges_of_equally_many() -> None:
    ages = {("heart", f"s{age}"): str(age) for age in range(20, 80, 10)} | {("heart", "unknown"): ""}
    ranges = {20: "20–36.6667", 30: "20–36.6667", 40: "36.6667–53.3333", 50: "36.6667–53.3333"}
    assert by_quantile(ages) == {("heart", f"s{age}"): ranges.get(age, "53.3333–70") for age in range(20, 80, 10)}
    assert by_quantile({}) == {}


def test_many_numbers_become_ranges_and_few_stay() -> None:
    ages = {("heart", f"s{age}"): str(age) for age in range(20, 80, 5)} | {("heart", "unknown"): ""}
    assert set(by_range(ages).values()) == {"20–38.3333", "38.3333–56.6667", "56.6667–75"}
    grades = {who: str(int(text) % 4) for who, text in ages.items() if text}
    assert by_range(grades) == grades
    assert by_range(ages | {("heart", "s0"): "NA", ("heart", "s1"): "nan"}) == by_range(ages)
    assert by_range(ages | {("heart", "s0"): "old"}) == ages | {("heart", "s0"): "old"}
