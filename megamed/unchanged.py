"""Files that are looked at once while they do not change."""

from collections.abc import Callable
from functools import lru_cache, wraps
from pathlib import Path
from typing import TypeVar, TypeVarTuple

Rest = TypeVarTuple("Rest")
Found = TypeVar("Found")


def while_unchanged(
    most: int,
) -> Callable[[Callable[[Path, *Rest], Found]], Callable[[Path, *Rest], Found]]:
    """Make a function of a file or folder remember what it returned, as long as the time and size of these stay.

    What it returns is shared by all who ask, and must not be changed by them. It raises what the function raises, which
    is not remembered, and `OSError` for what is not there.

    Args:
        most: Number of results that are remembered; those that were asked for last stay.
    """

    def remembering(function: Callable[[Path, *Rest], Found]) -> Callable[[Path, *Rest], Found]:
        @lru_cache(maxsize=most)
        def known(path: Path, _state: tuple[int, int], *args: *Rest) -> Found:
            return function(path, *args)

        @wraps(function)
        def asked(path: Path, *args: *Rest) -> Found:
            state = path.stat()
            return known(path, (state.st_mtime_ns, state.st_size), *args)

        return asked

    return remembering
