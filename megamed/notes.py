"""Notes on files: each kind is told once."""

from collections.abc import Iterable, Iterator


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
