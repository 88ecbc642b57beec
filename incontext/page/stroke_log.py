"""The log of what was done to one image: each entry is on the disk before it counts, and none is ever taken out."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megamed.files import make_folder, naming, sync_folder

Entry = dict[str, Any]


class StrokeLog:
    """Entries of a file that only grows, a line each.

    A process that is killed leaves whole lines, and at most the beginning of one more, which is cut off when the file
    is opened: nobody was told that it was kept.

    Args:
        path: The file, made at the first entry.

    Raises:
        OSError: If the file cannot be read or mended.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.entries = _mended(path) if path.is_file() else []

    def add(self, entry: Mapping[str, Any]) -> None:
        """Put an entry on the disk, and only then among the entries.

        Raises:
            Unwritable: If the system refuses; nothing was added then.
        """
        is_new = not self._path.exists()
        if is_new:
            make_folder(self._path.parent)
        line = (json.dumps(entry, separators=(",", ":")) + "\n").encode()
        with naming(self._path), self._path.open("ab", buffering=0) as file:
            before = file.tell()
            try:
                written = file.write(line)
                while written < len(line):
                    written += file.write(line[written:])
                os.fsync(file.fileno())
            except OSError:
                file.truncate(before)
                raise
            if is_new:
                sync_folder(self._path.parent)
        self.entries.append(json.loads(line))


def _mended(path: Path) -> list[Entry]:
    """Read the whole lines, and cut off the rest."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        with naming(path), path.open("rb+") as file:
            file.truncate(whole)
            os.fsync(file.fileno())
    try:
        return [json.loads(line) for line in content[:whole].splitlines()]
    except ValueError as error:
        msg = f"{path} is damaged: expected a JSON object on each line, got {error}. Move it away to begin anew."
        raise ValueError(msg) from error
