"""Notes on files: each kind is told once, and of many files the first is named."""

from collections.abc import Iterable, Iterator, Sequence


def counted(notes: Iterable[str]) -> Iterator[str]:
    """Yield the first of each kind of notes on files in words, and the number of others.

    Notes that differ in their first word, which is the file, and before their last colon are of one kind.
    """
    kinds: dict[str, list[str]] = {}
    for note in notes:
        kinds.setdefault(note.partition(" ")[2].split(":")[-1], []).append(note)
    for first, *others in kinds.values():
        sentence = f"{first.rstrip('.')}."
        yield f"{sentence} So it is with {len(others)} more." if others else sentence


def left_out(files: Sequence[object], why: str) -> list[str]:
    """Note that files are left out, by the first and the number of the others; nothing if there are none."""
    more = f", and so are {len(files) - 1} others" if len(files) > 1 else ""
    return [f"{files[0]} is left out, for {why}{more}."] if files else []
