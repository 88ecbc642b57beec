"""Splits by hash: shares, stability, shared patients."""

from collections import Counter

from megamed import DatasetCard
from megamed.splits import patient_groups, split_of


def card(name: str, *shares: str) -> DatasetCard:
    return DatasetCard(id=name, modality="CT", labels={1: "a"}, license="CC0", shares_patients_with=shares)


def test_shares_are_60_20_20() -> None:
    counts = Counter(split_of(f"p{i}", "data") for i in range(5000))
    assert abs(counts["train"] - 3000) < 150
    assert abs(counts["val"] - 1000) < 120
    assert counts.total() == 5000


def test_split_is_frozen() -> None:
    """These values are published with the splits; changing them moves test subjects into training."""
    assert [split_of(f"p{i}", "data") for i in range(8)] == [
        "train",
        "val",
        "val",
        "train",
        "test",
        "val",
        "train",
        "val",
    ]


def test_split_depends_on_the_group() -> None:
    assert [split_of(f"p{i}", "a") for i in range(20)] != [split_of(f"p{i}", "b") for i in range(20)]


def test_groups_are_symmetric_and_transitive() -> None:
    cards = [card("d", "c"), card("b", "c"), card("c"), card("a"), card("x", "missing")]
    assert patient_groups(cards) == {"a": "a", "b": "b", "c": "b", "d": "b", "x": "missing"}
