"""Pyramids and whole slides, as tifffile writes them."""

from pathlib import Path

import numpy as np

UM = 0.5
"""Side of a pixel at full resolution in micrometres, as the files state it."""


def write_pyramid(path: Path, array: np.ndarray, levels: int = 3) -> Path:
    """Write an image of grey values or colours and copies, each half as large as the one before."""
    import tifffile

    photometric = "rgb" if array.shape[2:] == (3,) else "minisblack"
    with tifffile.TiffWriter(path) as file:
        for level in range(levels):
            file.write(
                array[:: 2**level, :: 2**level],
                photometric=photometric,
                tile=(32, 32),
                subifds=0 if level else levels - 1,
                subfiletype=1 if level else 0,
                resolution=(1e4 / UM / 2**level,) * 2,
                resolutionunit="CENTIMETER",
            )
    return path


def write_slide(path: Path, array: np.ndarray) -> Path:
    """Write colours as a scanner of Aperio's does: two levels, a thumbnail, the label's picture and an overview."""
    import tifffile

    rows, columns, _ = array.shape
    title = f"Aperio Image Library v10.0.51\n{columns}x{rows} [0,0 {columns}x{rows}] (32x32)"
    half = array[::2, ::2]
    pages = [
        (array, f"{title} RAW|AppMag = 20|MPP = {UM}", {"tile": (32, 32)}),
        (array[::8, ::8], f"{title} -> thumbnail|AppMag = 20|MPP = {UM}", {}),
        (half, f"{title} -> {half.shape[1]}x{half.shape[0]} RAW|AppMag = 20|MPP = {UM}", {"tile": (32, 32)}),
        (np.full((20, 20, 3), 9, np.uint8), "Aperio Image Library v10.0.51\nlabel 20x20", {"subfiletype": 1}),
        (np.full((20, 40, 3), 9, np.uint8), "Aperio Image Library v10.0.51\nmacro 40x20", {"subfiletype": 9}),
    ]
    with tifffile.TiffWriter(path) as file:
        for pixels, description, options in pages:
            file.write(pixels, photometric="rgb", description=description, metadata=None, **options)
    return path
