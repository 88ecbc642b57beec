"""Regular expressions of a card, which anyone may have written: checked, and searched for a limited time."""

import math
import re
from functools import lru_cache
from typing import Any

MOST_COUNTED = 10_000
"""Largest product of the counts in a pattern, such as `{4}`, each of which unrolls what is within."""
MOST_SECONDS = 1.0
"""Time after which a search is given up: what tries many ways through a name may try them for years."""


@lru_cache(maxsize=64)
def compiled(pattern: str) -> Any:
    """Compile a pattern with at least one group, by an engine whose searches can be stopped.

    A dot stands for any character: names of files may hold newlines.

    Raises:
        ValueError: If it is no regular expression, has no group, or counts too far.
    """
    import regex

    counts = [max(map(int, re.findall(r"\d+", count))) for count in re.findall(r"{(\d*,?\d+|\d+,)}", pattern)]
    if math.prod(max(count, 1) for count in counts) > MOST_COUNTED:
        msg = f"subject_pattern is no regular expression: expected counts up to {MOST_COUNTED}, got {pattern!r}."
        raise ValueError(msg)
    try:
        found = regex.compile(pattern, regex.DOTALL)
    except (regex.error, OverflowError, RecursionError) as error:
        msg = f"subject_pattern is no regular expression: {error}, got {pattern!r}."
        raise ValueError(msg) from error
    if found.groups < 1:
        msg = f"subject_pattern has no group: expected one, got {pattern!r}. Add parentheses."
        raise ValueError(msg)
    return found


def first_group(pattern: str, name: str) -> str | None:
    """Return the first group of a pattern where it is found in a name; None if it is not found.

    Raises:
        TimeoutError: If the search takes too long.
    """
    try:
        match = compiled(pattern).search(name, timeout=MOST_SECONDS)
    except TimeoutError as error:
        msg = (
            f"subject_pattern takes too long: expected an answer within {MOST_SECONDS:g} s, got none for {name!r} by "
            f"{pattern!r}. Let no two of its repetitions match the same letters."
        )
        raise TimeoutError(msg) from error
    return match[1] if match else None
