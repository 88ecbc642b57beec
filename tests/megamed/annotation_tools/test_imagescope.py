"""Files of ImageScope as pathologists and data sets deliver them."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from megamed.annotation_tools import imagescope
from megamed.annotation_tools.model import SegmentedImage
from megamed.annotation_tools.tools import recognise
from megamed.pairing import find_pairs

SIZE = (12, 16)


def layer(*regions: str, attributes: str = "", **stated: str) -> str:
    tags = " ".join(f'{name}="{value}"' for name, value in {"Id": "1", "Type": "4", **stated}.items())
    return f"<Annotation {tags}><Attributes>{attributes}</Attributes><Regions>{''.join(regions)}</Regions></Annotation>"


def region(*corners: tuple[float, float], kind: int = 0, negative: int = 0) -> str:
    vertices = "".join(f'<Vertex X="{x}" Y="{y}" Z="0"/>' for x, y in corners)
    return (
        f'<Region Id="1" Type="{kind}" Zoom="0.5" Length="80.5" Text="" NegativeROA="{negative}" Analyze="0">'
        f"<Attributes/><Vertices>{vertices}</Vertices></Region>"
    )


def box(left: float, top: float, right: float, bottom: float, negative: int = 0) -> str:
    return region((left, top), (right, top), (right, bottom), (left, bottom), negative=negative)


def save(path: Path, *layers: str) -> Path:
    path.write_text(
        f'<?xml version="1.0" encoding="UTF-8"?><Annotations MicronsPerPixel="0.25">{"".join(layers)}</Annotations>'
    )
    return path


def test_regions_cover_the_pixels_whose_centres_they_surround(tmp_path: Path) -> None:
    path = save(tmp_path / "TCGA-1.xml", layer(box(2, 3, 6, 5), box(9.6, 0, 12.4, 2), LineColor="65280"))
    assert recognise(path) == "ImageScope"
    (image,) = imagescope.read(path)
    expected = np.zeros(SIZE, bool)
    expected[3:5, 2:6] = expected[:2, 10:12] = True
    assert np.array_equal(image.labels(SIZE)["annotation"], expected)
    assert (image.file_name, len(image.shapes), image.notes) == ("TCGA-1", 2, ())
    assert [each.colour for each in image.classes] == ["#00ff00"]


def test_negative_regions_are_holes_of_the_smallest_one_around_them(tmp_path: Path) -> None:
    """A vessel in a tumour, in whose lumen lies an island with a gap of its own."""
    rings = [box(0, 0, 12, 12), box(3, 3, 9, 9), box(5, 5, 7, 7), box(1, 1, 11, 11, 1), box(4, 4, 8, 8, 1)]
    (image,) = imagescope.read(save(tmp_path / "a.xml", layer(*rings, Name="wall")))
    levels = np.abs(np.mgrid[:12, :16] - 5.5).max(axis=0)
    frames = (levels < 6) & ~(levels < 5) | (levels < 3) & ~(levels < 2) | (levels < 1)
    assert np.array_equal(image.labels(SIZE)["wall"], frames)


def test_layers_are_classes_by_their_names_or_attributes(tmp_path: Path) -> None:
    layers = (
        layer(box(0, 0, 2, 2), Name="tumour", LineColor="255"),
        layer(box(4, 0, 6, 2), attributes='<Attribute Id="0" Name="Description" Value="stroma"/>'),
        layer(box(8, 0, 9, 2), attributes='<Attribute Id="0" Name="Epithelial" Value=""/>'),
        layer(Name="necrosis", LineColor="16711680"),
    )
    (image,) = imagescope.read(save(tmp_path / "a.xml", *layers))
    assert {name: int(mask.sum()) for name, mask in image.labels(SIZE).items()} == {
        "tumour": 4,
        "stroma": 4,
        "Epithelial": 2,
    }
    assert {each.name: each.colour for each in image.classes} == {
        "tumour": "#ff0000",
        "stroma": None,
        "Epithelial": None,
        "necrosis": "#0000ff",
    }


def test_ellipses_fill_their_box_and_what_has_no_inside_is_noted(tmp_path: Path) -> None:
    drawn = [region((2, 1), (14, 11), kind=2), region((0, 0), (9, 9), kind=3), region((1, 1), (2, 2))]
    (image,) = imagescope.read(save(tmp_path / "a.xml", layer(*drawn)))
    rows, columns = np.mgrid[:12, :16] + 0.5
    inside = ((columns - 8) / 6) ** 2 + ((rows - 6) / 5) ** 2 < 1
    assert np.count_nonzero(image.labels(SIZE)["annotation"] != inside) <= 2
    assert image.notes == (
        "1 × arrow left out: it has no inside",
        "1 × region left out: expected three or more points of finite x and y, got (2, 2)",
    )


def test_masks_of_a_reduced_level_are_written_at_full_resolution(tmp_path: Path) -> None:
    mask = np.zeros(SIZE, bool)
    mask[2:5, 3:8] = True
    path = tmp_path / "a.xml"
    imagescope.write(path, [SegmentedImage("a.svs", SIZE, {"x": mask}, full_size=(48, 64))])
    (image,) = imagescope.read(path)
    assert np.array_equal(image.labels((48, 64))["x"], mask.repeat(4, axis=0).repeat(4, axis=1))


def test_another_document_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text("<Slide><Annotations/></Slide>")
    with pytest.raises(ValueError, match=r"a\.xml is no file of ImageScope: expected <Annotations>, got <Slide>"):
        imagescope.read(path)


def test_files_beside_images_or_in_a_folder_are_their_labels(tmp_path: Path) -> None:
    for place in ("Tissue Images", "Annotations"):
        (tmp_path / place).mkdir()
    for name in ("TCGA-18-01Z-00-DX1", "TCGA-19-01Z-00-DX2"):
        Image.fromarray(np.zeros(SIZE, np.uint8)).save(tmp_path / "Tissue Images" / f"{name}.tif")
        save(tmp_path / "Annotations" / f"{name}.xml", layer(box(1, 1, 5, 5)))
    found = find_pairs(tmp_path)
    assert [(pair.image.stem, *map(str, pair.labels)) for pair in found.labelled] == [
        ("TCGA-18-01Z-00-DX1", ""),
        ("TCGA-19-01Z-00-DX2", ""),
    ]
