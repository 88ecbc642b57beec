"""Files that describe datasets, told from a file of the same name in which Supervisely describes a project."""

import json
from pathlib import Path

from megamed.vocabulary import CARD_NAMES


def cards_in(folder: Path) -> list[Path]:
    """List the cards in a folder, of which there should be one at most."""
    files = [path for path in (folder / name for name in CARD_NAMES) if path.is_file()]
    return [path for path in files if path.suffix != ".json" or not _is_of_supervisely(path)]


def _is_of_supervisely(path: Path) -> bool:
    """Whether a file lists classes as a project of Supervisely does, with a shape for each."""
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        return False  # what is wrong with it is told when it is read as a card
    classes = content.get("classes") if isinstance(content, dict) else None
    return isinstance(classes, list) and all(isinstance(each, dict) and "shape" in each for each in classes)
