"""Files that were made of images, or of which images were made, told by their names."""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath

from megamed import formats
from megamed.file_names import SEPARATORS, beginnings

_SHOWN = r"overlays?|previews?|thumb(?:nail)?s?|visuali[sz]ations?|heat[-_ ]?maps?|super[-_ ]?pixels?"
FOLDER = re.compile(rf"(?:.*[-_ ])?(?:{_SHOWN}|pred(?:iction)?s?|predicted|results?|outputs?)", re.I)
"""Folders of what was predicted, or drawn to be looked at."""
SUFFIX = re.compile(rf"[{SEPARATORS}]+(?:{_SHOWN}|pred(?:iction)?s?|predicted|results?)", re.I)
"""Words behind the name of an image in that of such a file."""


WHOLE = re.compile(rf"(.+)[{SEPARATORS}]4d", re.I)
"""Stem of a film of which frames lie beside it as files of their own."""


def without_films(files: Sequence[PurePosixPath]) -> tuple[list[PurePosixPath], list[PurePosixPath]]:
    """Tell data files from films whose frames lie beside them, as `p1_4d` of `p1_frame01`."""
    stems = {path: formats.stem(path.name) for path in files}
    begun = {
        (path.parent, start)
        for path, stem in stems.items()
        if not any(WHOLE.fullmatch(start) for start in beginnings(stem))
        for start in beginnings(stem)
    }
    films = [path for path in files if (match := WHOLE.fullmatch(stems[path])) and (path.parent, match[1]) in begun]
    return [path for path in files if path not in films], films


def without_derived(files: Sequence[PurePosixPath]) -> tuple[list[PurePosixPath], list[PurePosixPath]]:
    """Tell data files from those that were made of them; where all seem to be, none is."""
    stems = {formats.stem(path.name) for path in files}
    derived = [path for path in files if _is_derived(path, stems)]
    return ([*files], []) if len(derived) == len(files) else (sorted({*files} - {*derived}), derived)


def _is_derived(path: PurePosixPath, stems: set[str]) -> bool:
    stem = formats.stem(path.name)
    ends = (stem[: match.start()] for match in SUFFIX.finditer(stem) if match.end() == len(stem))
    return any(map(FOLDER.fullmatch, path.parent.parts)) or not stems.isdisjoint(ends)
