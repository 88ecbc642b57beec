"""A card's regular expression finds subjects, or is refused, and takes no time without end."""

from collections.abc import Callable
from pathlib import Path

import pytest

from megamed import subject_pattern
from megamed.build import BuildReport
from megamed.subject_pattern import compiled, first_group

ENDLESS = r"^((a|a?)+)+b\d$"
"""Tries 2²⁰⁰ ways through two hundred letters."""


@pytest.mark.parametrize(
    ("pattern", "name", "subject"),
    [
        (r"^(p\d+)_", "p12_a", "p12"),
        (r"^(.+)$", "磁共振-1", "磁共振-1"),
        (r"^(.+)$", "a\nb", "a\nb"),
        (r"^(\w+)_", "肝é_x", "肝é"),
        (r"(?<=s)(\d{1,4})(?=_)", "ss07_1", "07"),
        (r"^(p\d+)_", "q", None),
    ],
)
def test_the_first_group_is_the_subject(pattern: str, name: str, subject: str | None) -> None:
    assert first_group(pattern, name) == subject


@pytest.mark.parametrize(
    ("pattern", "fault"),
    [
        ("(", "no regular expression"),
        ("p", "has no group"),
        ("(" * 10_000 + ")" * 10_000, "no regular expression"),
        ("((a{1000}){1000}){1000}", "expected counts up to 10000"),
        ("(a{0,65000}){,65000}", "expected counts up to 10000"),
    ],
)
def test_other_patterns_are_refused(pattern: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        compiled(pattern)


@pytest.mark.parametrize("pattern", [r"^(\d{4})_(\d{2}){1,2}$", r"(a{3,})", "([{]1000000[}])"])
def test_honest_counts_pass(pattern: str) -> None:
    assert compiled(pattern).groups


def test_an_endless_search_leaves_its_dataset_out_and_no_other(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subject_pattern, "MOST_SECONDS", 0.01)
    good = make_dataset(2)
    bad = make_dataset(1, "data/endless", id="endless", subject_pattern=ENDLESS)
    for path in (*bad.glob("*/*.png"),):
        path.rename(path.with_name("a" * 200 + path.name))
    report = build_folder(good.parent)
    assert report.datasets["drawn"].status == "built"
    assert "subject_pattern takes too long: expected an answer within 0.01 s" in report.datasets["endless"].reason
