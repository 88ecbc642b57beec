"""Names of label values, from text and from files."""

from pathlib import Path

import pytest

from incontext.folders.class_names import read_classes


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
