"""Find the one series that a folder of DICOM files means, as archives deliver it among reports and localisers."""

from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from megamed.readers.dicom_grid import CLOSE_TOLERANCE, is_localiser, left_out, planes_of
from megamed.readers.dicom_headers import LABEL_MODALITIES, SUFFIXES, has_mark, header_of, readable
from megamed.readers.dicom_stored import PIXEL_TAGS
from megamed.readers.source import SERIES, Source

NO_IMAGES = LABEL_MODALITIES | {"RTDOSE", "RTPLAN", "REG", "PR", "KO", "SR"}
"""Modalities of what is derived from images: labels, doses, plans, registrations, presentations, reports."""
Series = dict[str, dict[Path, Any]]


def find_series(folder: Path) -> Source:
    """Find the one series in a folder and its subfolders.

    Labels drawn on it, reports, dose sheets and localisers are left out; the source says so. Of several series the one
    that is a volume is meant, if there is one such.

    Raises:
        ValueError: If there is none or several.
        ImportError: If pydicom is not installed; the message has the command.
    """
    series: Series = defaultdict(dict)
    others: list[Path] = []
    damaged: list[Path] = []
    for path in sorted(folder.rglob("*")):
        if has_mark(path):
            header = header_of(path)
            if header.get("Modality") not in LABEL_MODALITIES:
                if is_image(header):
                    series[str(header.get("SeriesInstanceUID", ""))][path] = header
                else:
                    others.append(path)
        elif path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".") and path.is_file():
            damaged.append(path)
    unnamed = series.pop("", {}) if len(series) > 1 else {}
    notes = (
        *left_out("files without images", others),
        *left_out("files that state no series", unnamed),
        *left_out("files that are empty or not of DICOM", damaged),
    )
    if len(series) > 1:
        volumes = {uid: headers for uid, headers in series.items() if _is_volume(headers)}
        if len(volumes) == 1:
            beside = [path for uid in series.keys() - volumes.keys() for path in series[uid]]
            notes, series = (*notes, *left_out("other series", beside)), volumes
    if len(series) != 1:
        msg = (
            f"{folder.name} is not one series: expected a folder of one DICOM series, got {len(series)}"
            f"{_described(series)}. Keep each series in its own folder; pass pictures as a list."
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
    for headers in sorted(series.values(), key=len):
        first = next(iter(headers.values()))
        words = [str(first.get(tag, "") or "") for tag in ("Modality", "SeriesDescription")]
        texts.append(f"{' '.join(filter(None, words))} of {len(headers)} files".strip())
    return f" ({'; '.join(texts[:5])})" if texts else ""
