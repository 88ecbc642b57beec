"""Of notes that say the same of several files, the first is told, and the number of the others."""

from megamed.notes import counted


def test_each_kind_is_told_once() -> None:
    notes = ["a.png has soft edges: cut at 3.", "b.png is turned.", "c.png has soft edges: cut at 3."]
    assert list(counted(notes)) == ["a.png has soft edges: cut at 3. So it is with 1 more.", "b.png is turned."]


def test_notes_end_like_sentences() -> None:
    assert list(counted(["a.json: 1 × box: filled"])) == ["a.json: 1 × box: filled."]
