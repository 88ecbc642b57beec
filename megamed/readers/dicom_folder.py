"""Find the one series that a folder of DICOM files means, as archives deliver it among reports and localisers.

Of several series in a folder, the path of the folder with a series' UID behind it means one.
"""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from megamed.readers.dicom_grid import CLOSE_TOLERANCE, is_localiser, left_out, planes_of
from megamed.readers.dicom_headers import LABEL_MODALITIES, SUFFIXES, has_mark, header_of, readable
from megamed.readers.dicom_references import drawn_on
from megamed.readers.dicom_stored import PIXEL_TAGS
from megamed.readers.source import SERIES, Source

NO_IMAGES = LABEL_MODALITIES | {"RTDOSE", "RTPLAN", "REG", "PR", "KO", "SR"}
"""Modalities of what is derived from images: labels, doses, plans, registrations, presentations, reports."""
Series = dict[str, dict[Path, Any]]
UID = re.compile(r"\d+(?:\.\d+){3,}")


def find_series(folder: Path) -> Source:
    """Find the one series in a folder and its subfolders, or that of a UID behind the folder.

    Labels drawn on it, reports, dose sheets and localisers are left out; the source says so. Of several series the one
    that is a volume is meant, if there is one such, else the one that the labels name which lie there, too.

    Raises:
        ValueError: If there is none or several.
        ImportError: If pydicom is not installed; the message has the command.
    """
    series, labels, others, damaged = _contents(folder.parent if is_one_of_several(folder) else folder)
    if is_one_of_several(folder):
        if not (files := tuple(series.get(folder.name, ()))):
            msg = f"{folder.parent} holds no series {folder.name}: expected one of {len(series)}{_described(series)}."
            raise ValueError(msg)
        return Source(files, SERIES)
    unnamed = series.pop("", {}) if len(series) > 1 else {}
    notes = (
        *left_out("files without images", others),
        *left_out("files that state no series", unnamed),
        *left_out("files that are empty or not of DICOM", damaged),
    )
    if len(series) > 1:
        meant = {uid for uid, headers in series.items() if _is_volume(headers)}
        if len(meant) > 1:
            volumes = {uid: [*series[uid]] for uid in meant}
            meant = {drawn_on(header_of(label), volumes) for label in labels} - {""}
        if len(meant) == 1:
            beside = [path for uid in series.keys() - meant for path in series[uid]]
            notes, series = (*notes, *left_out("other series", beside)), {uid: series[uid] for uid in meant}
    if len(series) != 1:
        msg = (
            f"{folder.name} is not one series: expected a folder of one DICOM series, got {len(series)}"
            f"{_described(series)}. Keep each series in its own folder, or write its UID behind the folder's path; "
            "pass pictures as a list."
        )
        raise ValueError(msg)
    files = tuple(*series.values())
    if len(files) > 1 and not any(planes_of(file, header_of(file)) for file in files):
        msg = (
            f"{folder.name} is no volume: expected slices with positions, got {len(files)} images without. "
            "Pass the files one by one."
        )
        raise ValueError(msg)
    return Source(files, SERIES, notes)


def is_one_of_several(path: Path) -> bool:
    """Whether a path is that of a folder with the UID of a series in it behind."""
    return bool(UID.fullmatch(path.name)) and path.parent.is_dir() and not path.exists()


def volumes_in(folder: Path) -> list[Path]:
    """List the series that are volumes and lie in a folder itself, each as the path of the folder and its UID.

    Raises:
        ValueError: If a file is damaged.
        ImportError: If pydicom is not installed.
    """
    series = _contents(folder).series
    inside = {uid: files for uid, files in series.items() if {file.parent for file in files} == {folder}}
    return [folder / uid for uid, files in inside.items() if UID.fullmatch(uid) and _is_volume(files)]


class _Contents(NamedTuple):
    """Files in a folder: images by their series, labels, others without images, and those empty or not of DICOM."""

    series: Series
    labels: list[Path]
    others: list[Path]
    damaged: list[Path]


def _contents(folder: Path) -> _Contents:
    found = _Contents(defaultdict(dict), [], [], [])
    for path in sorted(folder.rglob("*")):
        if has_mark(path):
            header = header_of(path)
            if is_image(header):
                found.series[str(header.get("SeriesInstanceUID", ""))][path] = header
            else:
                (found.labels if header.get("Modality") in LABEL_MODALITIES else found.others).append(path)
        elif path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".") and path.is_file():
            found.damaged.append(path)
    return found


def is_image(header: Any) -> bool:
    """Whether a file holds an image that somebody may want to segment."""
    has_pixels = any(tag in header for tag in PIXEL_TAGS)
    return header.get("Modality") not in NO_IMAGES and bool(header.get("Rows")) and has_pixels


def _is_volume(headers: dict[Path, Any]) -> bool:
    """Whether most images of a series lie alike, at several places; localisers and single pictures do not."""
    planes = []
    for path, header in headers.items():
        if not is_localiser(header):
            with readable(path):
                planes += planes_of(path, header)
    for first in planes[: 1 + len(planes) // 2]:
        alike = [plane.position for plane in planes if not plane.lies_like(first)]
        if 2 * len(alike) > len(planes):
            return bool(np.ptp(alike, axis=0).max() > CLOSE_TOLERANCE)
    return False


def _described(series: Series) -> str:
    """Say what series there are, by what their headers call them."""
    texts = []
    for uid, headers in sorted(series.items(), key=lambda each: len(each[1])):
        first = next(iter(headers.values()))
        words = [str(first.get(tag, "") or "") for tag in ("Modality", "SeriesDescription")]
        texts.append(f"{' '.join(filter(None, words))} of {len(headers)} files, {uid}".strip(", "))
    return f" ({'; '.join(texts[:5])})" if texts else ""
