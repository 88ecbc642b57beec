"""Names of label values, from text and from files."""

from pathlib import Path

import pytest

from incontext.folders.class_names import read_classes, read_colours


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.json", '{"1": "liver", "2": "left kidney"}'),
        ("c.toml", '1 = "liver"\n2 = "left kidney"'),
        ("card.toml", '[labels]\n1 = "liver"\n2 = "left kidney"'),
    ],
)
def test_classes_are_named_in_a_file(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert (
        read_classes(str(tmp_path / name)) == {1: "liver", 2: "left kidney"} == read_classes("1=liver, 2=left kidney")
    )


@pytest.mark.parametrize("text", ["liver", "liver=1", "1=", "1=a,1=b", "", "1=a=b"])
def test_classes_that_are_no_names_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Write 1=liver,2=spleen"):
        read_classes(text)


def test_no_text_names_no_class() -> None:
    assert read_classes(None) == {}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("c.json", '{"#FF0000": 1, "#00ff7f": 2}'),
        ("c.toml", '"#ff0000" = 1\n"#00ff7f" = 2'),
        ("c.toml", '[colours]\n"#ff0000" = 1\n"#00ff7f" = 2'),
        ("card.json", '{"labels": {"1": "liver"}, "files": {"colours": {"#ff0000": 1, "#00ff7f": 2}}}'),
    ],
)
def test_colours_have_values_in_a_file(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    assert read_colours(str(tmp_path / name)) == {"#ff0000": 1, "#00ff7f": 2} == read_colours("#FF0000=1, 00ff7f=2")


@pytest.mark.parametrize("text", ["red=1", "#ff0000", "#ff0000=a", "", "#ff00=1"])
def test_colours_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Write '#ff0000=1,#00ff00=2'"):
        read_colours(text)


def test_no_text_gives_no_colour_a_value() -> None:
    assert read_colours(None) == {}
