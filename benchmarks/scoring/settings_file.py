"""The file `settings.json` of a results folder: what was run there, and checksums of what was written."""

import json
import logging
from collections import Counter
from pathlib import Path
from typing import Any
from zlib import crc32

from megamed.files import read_json, sha256_of, write_json

logger = logging.getLogger(__name__)

SETTINGS_NAME = "settings.json"
SUMMARY_NAME = "summary.json"
SUMMARIES = (SUMMARY_NAME, "summary.csv")
"""Names of the files that a run writes at its end."""
TABLES = ("rows.csv", "candidates.csv", "costs.csv")
"""Names of the files that a run adds lines to."""
CHECKSUM = "sha256"
"""Key of the SHA-256 of all other keys and values."""
LINES = "lines"
"""Key of the checksums of the lines of each table: file name → CRC-32 of each line in eight hex digits, joined."""
SUMMARY = "summary_sha256"
"""Key of the SHA-256 of `summary.json`."""
CONTENT = "content"
"""Key of the content of the collection: task → case → first hex digits of the SHA-256 of image and label."""
FIX = "Restore it from a copy, or choose another --out."
DIGITS = 8


def read_settings(folder: Path) -> dict[str, Any]:
    """Read the settings that a folder of results was claimed with, and its `predictors` by name.

    Raises:
        ValueError: If the file that tells them is damaged.
    """
    path = folder / SETTINGS_NAME
    known = read_json(path, FIX)
    for key, what in (("predictors", "predictors"), (LINES, "checksums"), (CONTENT, "tasks")):
        if not isinstance(known.get(key, None if key == "predictors" else {}), dict):
            msg = f"{path} is damaged: expected {what} by name, got {known.get(key)!r}. {FIX}"
            raise ValueError(msg)
    if known.pop(CHECKSUM, None) not in (None, _checksum(known)):
        msg = f"{path} is damaged: expected the values that were written, got others. {FIX}"
        raise ValueError(msg)
    return known


def write_settings(folder: Path, known: dict[str, Any]) -> None:
    """Write the settings of a folder of results with their checksum."""
    write_json(folder / SETTINGS_NAME, known | {CHECKSUM: _checksum(known)})


def _checksum(known: dict[str, Any]) -> str:
    return sha256_of(json.dumps(known, sort_keys=True).encode())


def check_lines(path: Path, content: bytes) -> None:
    """Check that the lines of a table are those that were written, as far as the settings beside it know these.

    Lines may be gone, and a killed run may have added some at the end, which are unknown.

    Raises:
        ValueError: If a line was changed, or the settings are damaged.
    """
    if not (path.parent / SETTINGS_NAME).exists():
        return
    known = _split(read_settings(path.parent).get(LINES, {}).get(path.name, ""))
    lines = _sums(content)
    if not known or lines[:1] != known[:1]:  # a table of other columns, which its reader judges
        return
    left = Counter(known)
    strange: list[int] = []
    for number, line in enumerate(lines, 1):
        if left[line]:
            left[line] -= 1
            if strange:
                break
        else:
            strange.append(number)
    if strange and (left.total() or strange[-1] < len(lines)):
        msg = (
            f"{path} is damaged in line {strange[0]}: expected a line as it was written, got another. Restore it from "
            "a copy, or delete the line, and the command that wrote it scores it anew."
        )
        raise ValueError(msg)


def seal(folder: Path) -> None:
    """Write the checksums of a folder's tables to its settings, except of damaged tables; the caller holds its lock."""
    known = read_settings(folder)
    sums: dict[str, str] = dict(known.get(LINES, {}))
    for path in (folder / name for name in TABLES):
        content = path.read_bytes() if path.exists() else b""
        try:
            check_lines(path, content)
        except ValueError:
            logger.debug("%s is damaged, its checksums are kept", path)
        else:
            sums[path.name] = "".join(_sums(content))
    sums = {name: text for name, text in sums.items() if text}
    if sums != known.get(LINES, {}):
        write_settings(folder, known | {LINES: sums})


def write_summary(folder: Path, summary: dict[str, Any]) -> None:
    """Write `summary.json`, and its hash to the settings; the caller holds the folder's lock."""
    write_json(folder / SUMMARY_NAME, summary)
    write_settings(folder, read_settings(folder) | {SUMMARY: sha256_of(folder / SUMMARY_NAME)})


def is_summary_changed(folder: Path) -> bool:
    """Whether `summary.json` is another than was written last, as far as the settings beside it know."""
    known = read_settings(folder) if (folder / SETTINGS_NAME).exists() else {}
    return SUMMARY in known and known[SUMMARY] != sha256_of(folder / SUMMARY_NAME)


def _sums(content: bytes) -> list[str]:
    """Checksums of the complete lines."""
    return [f"{crc32(line):08x}" for line in content.split(b"\n")[:-1]]


def _split(text: str) -> list[str]:
    return [text[start : start + DIGITS] for start in range(0, len(text), DIGITS)]
