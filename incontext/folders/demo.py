"""The demo: grey and white matter of brain slices, segmented by a few labelled slices between them."""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int64, UInt8
from PIL import Image

from incontext.folders.report import Summary
from incontext.folders.segment_folder import SegmentOptions, Track, segment_folder
from incontext.segmenter import Segmenter
from megamed.extras import require
from megamed.files import claimed, replacing

STRUCTURES = {1: "grey matter", 2: "white matter"}
SUPPORT_SLICES = 6
QUERY_SLICES = 12
HEIGHTS = (0.25, 0.75)
"""Lowest and highest slice, as shares of the volume's height: where there is both grey and white matter."""


def run(segmenter: Segmenter, folder: Path, track: Track = iter) -> Summary:
    """Segment slices of the brain in `folder`: see `segment_folder` for what is in `folder/result`.

    Raises:
        ModuleNotFoundError: If nilearn, which ships the brain, is not installed.
        OSError: If the folder cannot be written.
    """
    support, query = write_slices(folder)
    return segment_folder(
        segmenter, support, query, folder / "result", track, SegmentOptions(STRUCTURES, overwrite=True)
    )


def write_slices(folder: Path) -> tuple[Path, Path]:
    """Write axial slices of the MNI152 brain template as a support and a query folder.

    Every third slice is support, so that no query is a labelled slice.

    Returns:
        The support folder and the query folder, each with `images/` and `labels/`.

    Raises:
        ModuleNotFoundError: If nilearn, which ships the brain, is not installed.
    """
    brain, label = _read_template()
    with claimed(folder, "draw"):
        return _write_slices(folder, brain, label)


def write_example(folder: Path) -> None:
    """Write the same slices to be annotated, one of which is; a folder that has images already stays as it is.

    Raises:
        ModuleNotFoundError: If nilearn, which ships the brain, is not installed.
    """
    if (folder / "images").exists():
        return
    brain, label = _read_template()
    with claimed(folder, "draw"):
        heights = _heights(brain)
        drawn = heights[len(heights) // 2]
        for height in heights:
            _write_slice(folder / "images" / f"axial_{height:03d}.png", np.round(brain[..., height] * 255))
        _write_slice(folder / "labels" / f"axial_{drawn:03d}.png", label[..., drawn])


def _heights(brain: Float[np.ndarray, "X Y Z"]) -> Int64[np.ndarray, " n"]:
    """Heights of the slices, in voxels."""
    low, high = (round(share * brain.shape[2]) for share in HEIGHTS)
    return np.linspace(low, high, SUPPORT_SLICES + QUERY_SLICES).round().astype(int)


def _write_slices(
    folder: Path, brain: Float[np.ndarray, "X Y Z"], label: UInt8[np.ndarray, "X Y Z"]
) -> tuple[Path, Path]:
    folders = folder / "support", folder / "query"
    for i, height in enumerate(_heights(brain)):
        target = folders[0] if i % 3 == 1 else folders[1]
        _write_slice(target / "images" / f"axial_{height:03d}.png", np.round(brain[..., height] * 255))
        _write_slice(target / "labels" / f"axial_{height:03d}.png", label[..., height])
    return folders


def _read_template() -> tuple[Float[np.ndarray, "X Y Z"], UInt8[np.ndarray, "X Y Z"]]:
    """The brain in [0, 1] and its structures, in RAS orientation; each voxel is its more probable matter."""
    require("demo", "The brain of the demo", "nilearn")
    from nilearn import datasets

    brain = datasets.load_mni152_template(resolution=1).get_fdata()
    grey = datasets.load_mni152_gm_template(resolution=1).get_fdata()
    white = datasets.load_mni152_wm_template(resolution=1).get_fdata()
    label = np.stack([np.full_like(grey, 0.5), grey, white]).argmax(axis=0).astype(np.uint8)
    return brain, label


def _write_slice(path: Path, plane: np.ndarray) -> None:
    """Write an axial plane with the front of the head up."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        Image.fromarray(np.rot90(plane).astype(np.uint8)).save(partial, "PNG")
