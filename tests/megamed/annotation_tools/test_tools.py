"""The laws of all tools: masks come back exactly, each file is known for what it is, and a bad one names itself."""

import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megamed.annotation_tools.model import SegmentedImage
from megamed.annotation_tools.tools import RECOGNISERS, TOOLS, recognise

SHAPES = 100
SIZE = (32, 40)


def one_class(tool: str, masks: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"first": masks["first"]} if tool == "napari" else masks


@pytest.mark.parametrize("tool", TOOLS)
def test_masks_come_back_exactly(tmp_path: Path, draw: Callable[..., np.ndarray], tool: str) -> None:
    path = tmp_path / f"first{TOOLS[tool].suffixes[0]}"
    for seed in range(SHAPES // 2):
        masks = one_class(tool, {"first": draw(seed, SIZE, 1 + seed % 4), "second lesion": draw(seed + SHAPES, SIZE)})
        TOOLS[tool].write(path, [SegmentedImage("images/first.png", SIZE, masks)])
        (image,) = TOOLS[tool].read(path)
        labels = image.labels(SIZE)
        assert labels.keys() == masks.keys()
        assert all(np.array_equal(labels[name], masks[name]) for name in masks)
        assert not image.notes


@pytest.mark.parametrize("tool", TOOLS)
def test_a_file_is_known_for_what_it_is(tmp_path: Path, draw: Callable[..., np.ndarray], tool: str) -> None:
    for suffix in TOOLS[tool].suffixes:
        path = tmp_path / f"case{suffix.upper()}"
        TOOLS[tool].write(path, [SegmentedImage("case.png", SIZE, {"first": draw(1, SIZE)})])
        assert recognise(path) == TOOLS[tool].title
        assert [title for title, recognises in RECOGNISERS.items() if recognises(path)] == [TOOLS[tool].title]


@pytest.mark.parametrize("tool", [name for name, tool in TOOLS.items() if tool.many_images])
def test_many_images_keep_their_names_and_masks(tmp_path: Path, draw: Callable[..., np.ndarray], tool: str) -> None:
    path = tmp_path / f"all{TOOLS[tool].suffixes[0]}"
    images = [SegmentedImage(f"a{seed}.png", SIZE, {"cell": draw(seed, SIZE)}) for seed in range(3)]
    TOOLS[tool].write(path, [*images, SegmentedImage("empty.png", SIZE)])
    found = {image.file_name: image for image in TOOLS[tool].read(path)}
    assert list(found) == ["a0.png", "a1.png", "a2.png", "empty.png"]
    for image in images:
        assert np.array_equal(found[image.file_name].labels(SIZE)["cell"], image.masks["cell"])
    assert found["empty.png"].labels(SIZE) == {}


@pytest.mark.parametrize("tool", [name for name, tool in TOOLS.items() if not tool.many_images])
def test_a_file_for_each_image_refuses_several(tmp_path: Path, tool: str) -> None:
    path = tmp_path / f"all{TOOLS[tool].suffixes[0]}"
    with pytest.raises(ValueError, match=r"expected one image, got 2"):
        TOOLS[tool].write(path, [SegmentedImage("a.png", SIZE), SegmentedImage("b.png", SIZE)])


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[1, 2]", b"null", b'"text"', b"\xff\xfe\x00", b"<a><b></a>", b"PK\x03\x04 no zip", b"[" * 100_000],
    ids=["empty", "cut", "numbers", "null", "text", "bytes", "xml", "zip", "deep"],
)
@pytest.mark.parametrize("tool", TOOLS)
def test_a_malformed_file_names_itself(tmp_path: Path, tool: str, content: bytes) -> None:
    for suffix in TOOLS[tool].suffixes:
        path = tmp_path / f"broken{suffix}"
        path.write_bytes(content)
        assert recognise(path) is None
        if tool == "yolo":  # each line of a text is a shape or a note
            continue
        with pytest.raises(ValueError, match=r"^broken\S+ ") as caught:
            TOOLS[tool].read(path)
        assert "\n" not in str(caught.value)


def places(node: Any, way: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the ways to all parts of a document, of long lists to the first two."""
    yield way
    if isinstance(node, dict):
        for key, part in node.items():
            yield from places(part, (*way, key))
    elif isinstance(node, list):
        for index, part in enumerate(node[:2]):
            yield from places(part, (*way, index))


@pytest.mark.parametrize("junk", [None, -1, 1e308, "x", [[1]], {"a": 1}], ids=repr)
@pytest.mark.parametrize("tool", [name for name, tool in TOOLS.items() if tool.suffixes[0].endswith("json")])
def test_any_part_of_a_document_may_be_damaged(tmp_path: Path, tool: str, junk: Any) -> None:
    path = tmp_path / f"a{TOOLS[tool].suffixes[0]}"
    ring = np.ones((4, 5), bool)
    ring[1, 2] = False
    TOOLS[tool].write(path, [SegmentedImage("a.png", (4, 5), {"ring": ring, "box": np.ones((4, 5), bool)})])
    whole = path.read_text()
    for way in places(json.loads(whole)):
        document = {"root": json.loads(whole)}
        *parents, last = ("root", *way)
        functools.reduce(lambda node, key: node[key], parents, document)[last] = junk
        path.write_text(json.dumps(document["root"]))
        with contextlib.suppress(ValueError):  # any other error fails
            for image in TOOLS[tool].read(path):
                image.labels((4, 5))


@pytest.mark.parametrize("tool", TOOLS)
def test_a_file_that_is_cut_off_is_read_or_refused(tmp_path: Path, tool: str) -> None:
    path = tmp_path / f"a{TOOLS[tool].suffixes[0]}"
    TOOLS[tool].write(path, [SegmentedImage("a.png", (4, 5), {"box": np.ones((4, 5), bool)})])
    whole = path.read_bytes()
    for length in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:length])
        with contextlib.suppress(ValueError):
            TOOLS[tool].read(path)


def test_a_byte_order_mark_is_no_obstacle(tmp_path: Path) -> None:
    document = json.dumps({"shapes": [], "imagePath": "ä.png", "imageHeight": 4, "imageWidth": 5})
    for encoding in ("utf-8-sig", "utf-16"):
        path = tmp_path / f"{encoding}.json"
        path.write_text(document, encoding=encoding)
        assert recognise(path) == "LabelMe"
        assert TOOLS["labelme"].read(path)[0].file_name == "ä.png"


def test_ordinary_files_belong_to_no_tool(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("1 2 3\nhello\n")
    (tmp_path / "table.csv").write_text("image,label\na.png,b.png\n")
    (tmp_path / "settings.json").write_text('{"images": 3, "shapes": 4}')
    (tmp_path / "page.xml").write_text("<html><image /></html>")
    assert [recognise(path) for path in [*sorted(tmp_path.iterdir()), tmp_path, tmp_path / "missing.json"]] == [
        None
    ] * 6
