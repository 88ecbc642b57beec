"""Failures of any kind: what each tells in a line, and the failing of one of many without stopping the others.

No list names all exceptions that libraries raise at damaged files, full memory or killed processes. Here, and nowhere
else, every one of them is taken: where one item of many fails, and where a command ends.
"""

import re
from concurrent.futures import BrokenExecutor
from types import TracebackType
from typing import Self

EXPECTED = (ValueError, OSError, ImportError, FloatingPointError)
"""Errors that state what is wrong and what to do."""
FULL_MEMORY = re.compile(r"out of memory|(?:can't|cannot|unable to) allocate", re.IGNORECASE)
"""Words of libraries that raise other errors than `MemoryError` where the memory is full."""
DEAD_WORKER = re.compile(r"DataLoader worker .* (?:killed|exited)")
"""Words by which a loader of batches tells that one of its processes is gone."""
REPEATED = "Original Traceback"
"""Mark of an error that was raised in another process and repeats what that one printed; its last line says what."""
LONGEST = 1000
"""Number of characters above which an error is told by its beginning and its end."""


class Attempt:
    """Context in which something may fail, for whatever reason, without ending what is around it.

    Interruptions by the user pass, and so do exceptions of the classes that are named.
    """

    def __init__(self, *passing: type[Exception]) -> None:
        self._passing = passing
        self.error: Exception | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception) or isinstance(error, self._passing):
            return False
        self.error = error
        return True

    @property
    def reason(self) -> str:
        """The reason of the failure in one line; empty if there was none."""
        return "" if self.error is None else told(self.error)


def told(error: BaseException) -> str:
    """Tell in one line why something failed: by an error's own words if it was foreseen, else with its class."""
    text = str(error)
    if REPEATED in text:
        text = text.strip().splitlines()[-1]
    if isinstance(error, MemoryError) or FULL_MEMORY.search(text):
        text = (
            "the memory is full: expected room for images and networks, got too little. Take smaller images or fewer "
            "workers, or close other programs."
        )
    elif isinstance(error, BrokenExecutor) or DEAD_WORKER.match(text):
        text = f"a worker process died: {text} Take fewer workers, or more memory, and the same command goes on."
    elif not (isinstance(error, EXPECTED) and text):
        text = f"something unforeseen happened: {type(error).__name__}: {text.rstrip('.')}. Please report it."
    line = one_line(text)
    if len(line) > LONGEST:  # a damaged value may be as long as its file
        line = f"{line[: LONGEST // 2]} … {line[-LONGEST // 2 :]}"
    return line


def one_line(text: str) -> str:
    """Write a text in one line, with control characters, as file names may hold, as escapes."""
    return "".join(each if each.isprintable() else " " if each.isspace() else repr(each)[1:-1] for each in text)
