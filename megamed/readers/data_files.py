"""The files beside a header that hold its data: one, those of a list, or those of a pattern with numbers."""

import re
from collections.abc import Sequence
from pathlib import Path

LIST = re.compile(r"LIST(?:\s+\d+)?", re.IGNORECASE)
PATTERN = re.compile(r"([^%]*)%(0?)(\d*)d(\S*)\s+(\d+)\s+(\d+)\s+(\d+)")
"""A name with a place for a number, then the first and the last number and the step."""
MOST_FILES = 10_000


def data_file(header: Path, name: str) -> Path:
    """Return the file of a name in the folder of a header, where capitals may be others than the header says.

    Raises:
        ValueError: If the name leads to another folder.
    """
    if Path(name).name != name or "\\" in name:
        msg = f"expected its data in the same folder, got {name!r}"
        raise ValueError(msg)
    path = header.with_name(name)
    if path.exists():
        return path
    return next((each for each in sorted(header.parent.iterdir()) if each.name.lower() == name.lower()), path)


def data_files(header: Path, name: str, lines: Sequence[str]) -> list[Path]:
    """Return the files that hold the data of a header, each an equal part of it, in their order.

    Args:
        header: The header.
        name: Name of the file; `LIST`, which may be followed by the number of axes in each file; or a pattern.
        lines: Lines after the header, which are the names of a list.

    Raises:
        ValueError: If there are none or too many, or one lies in another folder.
    """
    names = [name]
    if LIST.fullmatch(name):
        names = [line.strip() for line in lines if line.strip()]
    elif match := PATTERN.fullmatch(name):
        before, zero, width, after, *numbers = match.groups()
        first, last, step = map(int, numbers)
        counted = range(first, last + 1, max(step, 1))[: MOST_FILES + 1]
        names = [f"{before}{f'{number:{zero}{width}d}'}{after}" for number in counted]
    if not 0 < len(names) <= MOST_FILES:
        msg = f"expected 1 to {MOST_FILES} files with its data, got {len(names)}"
        raise ValueError(msg)
    return [data_file(header, each) for each in names]
