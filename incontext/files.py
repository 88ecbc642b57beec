"""Files that are replaced at once or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a path to write to, and put what was written there in place of `path`, unless an error came between.

    A link at `path` is replaced, not followed.
    """
    partial = path.with_name(f".{path.name}.part")
    yield partial
    os.replace(partial, path)
