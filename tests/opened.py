"""Files that are opened while something is done, however they are opened."""

import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

_counting: list[tuple[str, Counter[str]]] = []


def _count(event: str, arguments: tuple[object, ...]) -> None:
    if event == "open" and _counting and isinstance(arguments[0], str | bytes | os.PathLike):
        path = os.path.abspath(os.fsdecode(arguments[0]))
        for folder, counts in _counting:
            if path.startswith(folder) and os.path.isfile(path):
                counts[os.path.relpath(path, folder)] += 1


@cache
def _listen() -> None:
    sys.addaudithook(_count)  # which nothing removes


@contextmanager
def opened_in(folder: Path) -> Iterator[Counter[str]]:
    """Count how often each file of a folder is opened within, by its path from there."""
    _listen()
    counts: Counter[str] = Counter()
    _counting.append((f"{folder.absolute()}{os.sep}", counts))
    try:
        yield counts
    finally:
        _counting.pop()
