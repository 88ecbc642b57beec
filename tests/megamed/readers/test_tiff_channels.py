"""Names of the channels of TIFF files."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megamed import formats
from megamed.readers.source import Source

tifffile = pytest.importorskip("tifffile")
STAINS = np.random.default_rng(0).integers(0, 255, (3, 2, 5, 6), np.uint8)


def save(path: Path, **metadata: object) -> Path:
    kind: dict[str, Any] = {"photometric": "minisblack"} if ".ome." in path.name else {"imagej": True}
    tifffile.imwrite(path, STAINS, metadata={"axes": "ZCYX", **metadata}, **kind)
    return path


@pytest.mark.parametrize(
    ("name", "metadata"),
    [
        ("a.ome.tif", {"Channel": {"Name": ["DAPI", "488"]}}),
        ("a.tif", {"Labels": ["DAPI", "488"] * 3}),
        (
            "a.tif",
            {"Labels": [f"c:{c}/2 z:{z}/3 - {name}" for z in (1, 2, 3) for c, name in ((1, "DAPI"), (2, "488"))]},
        ),
    ],
    ids=["OME", "ImageJ", "ImageJ with places"],
)
def test_names_choose(tmp_path: Path, name: str, metadata: dict[str, Any]) -> None:
    path = save(tmp_path / name, **metadata)
    assert formats.channels_in(Source((path,))) == ("DAPI", "488")
    for index, channel in enumerate(("dapi", "488")):
        read = formats.read(Source((path,), channel))
        assert (read.axes, read.has_part) == ("ZYX", True)
        assert np.array_equal(read.array, STAINS[:, index])
    for part, message in (("", "Choose it: channel='DAPI'"), ("CD8", "it has no channel 'CD8'")):
        with pytest.raises(ValueError, match=rf"expected .*0 'DAPI', 1 '488'.*{message}|{message}: expected 0 'DAPI'"):
            formats.read(Source((path,), part))


def test_labels_of_planes_name_no_channels(tmp_path: Path) -> None:
    """Labels that differ from plane to plane, or are alike for all channels, are those of files or slices."""
    for labels in ([f"slice {plane}" for plane in range(6)], ["scan.czi"] * 6):
        assert formats.channels_in(Source((save(tmp_path / "a.tif", Labels=labels),))) == ("0", "1")


def test_one_channel_has_its_name_only(tmp_path: Path) -> None:
    """A file of one channel that states another name than is asked for is not it; one without a name may be."""
    named = {"axes": "CYX", "Channel": {"Name": ["DAPI"]}}
    tifffile.imwrite(tmp_path / "a.ome.tif", STAINS[0, :1], photometric="minisblack", metadata=named)
    tifffile.imwrite(tmp_path / "b.tif", STAINS[0, 0])
    assert formats.channels_in(Source((tmp_path / "a.ome.tif",))) == ()
    for name, channel in (("a.ome.tif", "DAPI"), ("a.ome.tif", "1"), ("b.tif", "GFP")):
        assert np.array_equal(formats.read(Source((tmp_path / name,), channel)).array, STAINS[0, 0])
    with pytest.raises(ValueError, match="it has no channel 'GFP': expected 0 'DAPI'"):
        formats.read(Source((tmp_path / "a.ome.tif",), "GFP"))
