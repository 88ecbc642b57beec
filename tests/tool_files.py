"""Files as annotation tools save them, written by the words of the tools' documents or by other libraries."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@dataclass(frozen=True)
class Region:
    """A region of a class: rings of x and y in pixels from the corner of the first one, the first of them around it."""

    name: str
    rings: tuple[np.ndarray, ...]

    def keyhole(self) -> np.ndarray:
        """One ring, in which a cut of no width leads to each hole and back."""
        outer = self.rings[0]
        ways = [np.concatenate([hole, hole[:1], outer[:1]]) for hole in self.rings[1:]]
        return np.concatenate([outer, outer[:1], *ways]) if ways else outer


@dataclass(frozen=True)
class Drawing:
    """What was drawn on an image of a size, (height, width)."""

    size: tuple[int, int]
    regions: tuple[Region, ...] = ()


Drawings = Mapping[str, Drawing]
"""Drawings by the name of their image."""


def square(name: str, left: float, top: float, side: float) -> Region:
    corners = [(left, top), (left + side, top), (left + side, top + side), (left, top + side)]
    return Region(name, (np.array(corners, float),))


def write_images(folder: Path, drawings: Drawings) -> None:
    """Write noise, brighter where something is drawn."""
    from matplotlib.path import Path as Ring

    folder.mkdir(parents=True, exist_ok=True)
    for seed, (name, drawing) in enumerate(drawings.items()):
        height, width = drawing.size
        y, x = np.indices(drawing.size)
        centres = np.stack([x.ravel(), y.ravel()], axis=1) + 0.5
        image = np.random.default_rng(seed).integers(0, 90, drawing.size, np.uint8)
        for region in drawing.regions:
            image[Ring(region.rings[0]).contains_points(centres).reshape(height, width)] += 120
        Image.fromarray(image).save(folder / name)


def names_of(drawings: Drawings) -> list[str]:
    return sorted({region.name for drawing in drawings.values() for region in drawing.regions})


def coco(folder: Path, drawings: Drawings) -> None:
    """One JSON; ids count from 1, and a hole is a further ring of its annotation."""
    names = names_of(drawings)
    annotations = [
        {
            "id": number,
            "image_id": image,
            "category_id": names.index(region.name) + 1,
            "segmentation": [ring.ravel().tolist() for ring in region.rings],
            "iscrowd": 0,
        }
        for image, drawing in enumerate(drawings.values(), start=1)
        for number, region in enumerate(drawing.regions, start=1000 * image)
    ]
    images = [
        {"id": image, "file_name": name, "height": drawing.size[0], "width": drawing.size[1]}
        for image, (name, drawing) in enumerate(drawings.items(), start=1)
    ]
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    content = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "instances_default.json").write_text(json.dumps(content))


def labelme(folder: Path, drawings: Drawings) -> None:
    for name, drawing in drawings.items():
        shapes = [
            {
                "label": region.name,
                "points": region.keyhole().tolist(),
                "group_id": None,
                "shape_type": "polygon",
                "flags": {},
            }
            for region in drawing.regions
        ]
        height, width = drawing.size
        content = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": name, "imageData": None}
        text = json.dumps(content | {"imageHeight": height, "imageWidth": width})
        (folder / Path(name).with_suffix(".json")).write_text(text)


def cvat(folder: Path, drawings: Drawings) -> None:
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations><version>1.1</version>"]
    for number, (name, drawing) in enumerate(drawings.items()):
        height, width = drawing.size
        lines.append(f'<image id="{number}" name="{name}" width="{width}" height="{height}">')
        for region in drawing.regions:
            points = ";".join(f"{x!r},{y!r}" for x, y in region.keyhole().tolist())
            lines.append(f'<polygon label="{region.name}" source="manual" occluded="0" points="{points}" z_order="0"/>')
        lines.append("</image>")
    (folder / "annotations.xml").write_text("\n".join([*lines, "</annotations>"]), encoding="utf-8")


def label_studio(folder: Path, drawings: Drawings) -> None:
    tasks = []
    for number, (name, drawing) in enumerate(drawings.items(), start=1):
        height, width = drawing.size
        results = [
            {
                "type": "polygonlabels",
                "from_name": "label",
                "to_name": "image",
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": {
                    "points": (100 * region.keyhole() / [width, height]).tolist(),
                    "closed": True,
                    "polygonlabels": [region.name],
                },
            }
            for region in drawing.regions
        ]
        data = {"image": f"/data/upload/1/0a1b2c3d-{name}"}
        tasks.append(
            {"id": number, "annotations": [{"id": number, "completed_by": 1, "result": results}], "data": data}
        )
    (folder / "project-1-at-2024-05-01.json").write_text(json.dumps(tasks))


def via(folder: Path, drawings: Drawings) -> None:
    content = {}
    for name, drawing in drawings.items():
        regions = []
        for region in drawing.regions:
            x, y = region.keyhole().T.tolist()
            shape = {"name": "polygon", "all_points_x": x, "all_points_y": y}
            regions.append({"shape_attributes": shape, "region_attributes": {"class": region.name}})
        content[f"{name}99"] = {"filename": name, "size": 99, "regions": regions, "file_attributes": {}}
    (folder / "via_region_data.json").write_text(json.dumps(content))


def yolo(folder: Path, drawings: Drawings) -> None:
    names = names_of(drawings)
    (folder / "labels").mkdir(exist_ok=True)
    (folder / "data.yaml").write_text(f"nc: {len(names)}\nnames: {names}\n")
    for name, drawing in drawings.items():
        height, width = drawing.size
        lines = [
            " ".join([str(names.index(region.name)), *map(repr, (region.keyhole() / [width, height]).ravel().tolist())])
            for region in drawing.regions
        ]
        (folder / "labels" / Path(name).with_suffix(".txt").name).write_text("".join(f"{line}\n" for line in lines))


def qupath(folder: Path, drawings: Drawings) -> None:
    geojson = pytest.importorskip("geojson")
    for name, drawing in drawings.items():
        features = [
            geojson.Feature(
                geometry=geojson.Polygon(
                    [[*map(tuple, ring.tolist()), tuple(ring[0].tolist())] for ring in region.rings]
                ),
                properties={"objectType": "annotation", "classification": {"name": region.name, "color": [200, 0, 0]}},
            )
            for region in drawing.regions
        ]
        text = geojson.dumps(geojson.FeatureCollection(features))
        (folder / Path(name).with_suffix(".geojson")).write_text(text)


def imagej(folder: Path, drawings: Drawings) -> None:
    roifile = pytest.importorskip("roifile")
    for name, drawing in drawings.items():
        rois = []
        for region in drawing.regions:
            roi = roifile.ImagejRoi.frompoints(region.keyhole().astype(np.float32), name=region.name)
            roi.roitype = roifile.ROI_TYPE.POLYGON
            rois.append(roi)
        members = [f"{number:04}-{roi.name}" for number, roi in enumerate(rois)]
        roifile.roiwrite(folder / f"{Path(name).stem}_RoiSet.zip", rois, name=members, mode="w")


def napari(folder: Path, drawings: Drawings) -> None:
    """A table of each layer, which is called as the image and the class; (0, 0) is the centre of the first pixel."""
    for name, drawing in drawings.items():
        for class_name in {region.name for region in drawing.regions}:
            lines = ["index,shape-type,vertex-index,axis-0,axis-1"]
            for index, region in enumerate(each for each in drawing.regions if each.name == class_name):
                corners = (region.keyhole() - 0.5).tolist()
                lines += [f"{index},polygon,{vertex},{y!r},{x!r}" for vertex, (x, y) in enumerate(corners)]
            (folder / f"{Path(name).stem}_{class_name}.csv").write_text("\n".join(lines) + "\n")


WRITERS: dict[str, Callable[[Path, Drawings], None]] = {
    "COCO": coco,
    "LabelMe": labelme,
    "CVAT": cvat,
    "Label Studio": label_studio,
    "VIA": via,
    "YOLO": yolo,
    "QuPath": qupath,
    "ImageJ": imagej,
    "napari": napari,
}
"""Writers by the title of the tool."""


def label_files(folder: Path, image: str) -> Sequence[Path]:
    """The files that hold what was drawn on an image, once its tool's writer has run alone."""
    stem = Path(image).stem
    files = [path for path in sorted(folder.rglob("*")) if path.suffix not in (".png", ".yaml") and path.is_file()]
    return [path for path in files if path.name.startswith(stem)] or files
