"""Masks that are taken away: all of them, in their formats and in those of tools, and the examples as a task."""

import base64
import io
import re
import sys
import zipfile
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from PIL import Image

from incontext import Segmenter
from incontext.page.export import archive, export_forms, task_of
from incontext.page.export_page import MOST_SHOWN, ShownMask, export_page
from incontext.page.live import Live
from incontext.page.mask_to_export import count_masks
from incontext.page.prediction import Prediction
from incontext.page.store import AnnotatedFolder, opened
from megamed.label_colours import rgb
from megamed.vocabulary import WrittenTool
from tests.incontext.page.test_store import SIDE, draw_and_accept, plain_folder, segmenter

Given = tuple[AnnotatedFolder, Live]


@pytest.fixture
def given(tmp_path: Path) -> Iterator[Given]:
    with opened(plain_folder(tmp_path / "in"), {1: "disc", 2: "rim"}) as annotated:
        live = Live(annotated, segmenter)
        draw_and_accept(annotated)
        planes = np.zeros((1, SIDE, SIDE), np.uint8)
        planes[0, :5, :7] = 2
        live.predictions[2] = Prediction.packing(planes, 0.75, False, 1)
        yield annotated, live


def test_masks_of_labels_and_predictions_are_in_the_archive(given: Given) -> None:
    with zipfile.ZipFile(io.BytesIO(archive(*given, tool=None).content)) as found:
        assert sorted(found.namelist()) == ["images.csv", "masks/a.png", "masks/c.png", "report.html"]
        sums = [np.asarray(Image.open(found.open(f"masks/{name}.png"))).sum() for name in "ac"]
        table = found.read("images.csv").decode().splitlines()
    assert sums == [81, 70]
    assert table == [
        "image,state,predicted_dice,unit_of_size,disc (pixels),disc (size),rim (pixels),rim (size)",
        "a.png,accepted,,mm²,81,,0,",
        "c.png,predicted,0.75,mm²,0,,35,",
    ]


def test_sizes_are_told_where_pixels_have_one(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    array = np.random.default_rng(0).random((SIDE, SIDE, 3)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(array, np.diag([2.0, 0.5, 4.0, 1.0])), tmp_path / "a.nii")
    with opened(tmp_path, {1: "=disc"}) as annotated:
        draw_and_accept(annotated)
        with zipfile.ZipFile(io.BytesIO(archive(annotated, Live(annotated, segmenter), None).content)) as found:
            lines = found.read("images.csv").decode().splitlines()
    assert lines == [
        "image,state,predicted_dice,unit_of_size,'=disc (pixels),'=disc (size)",
        f"a.nii,accepted,,mm³,81,{81 * 4}",
    ]


def test_the_page_shows_masks_in_colour_with_their_names_the_worst_first(given: Given) -> None:
    annotated, live = given
    annotated.classes.keep([replace(each, name=f"<{each.name}>") for each in annotated.classes.values()])
    with zipfile.ZipFile(io.BytesIO(archive(annotated, live, None).content)) as found:
        page = found.read("report.html").decode()
    names = re.findall(r"<figcaption>(.*?)<br>(.*?)</figcaption>", page)
    assert names == [("c.png", "predicted, Dice about 0.75"), ("a.png", "accepted")]
    for each in annotated.classes.values():
        assert f'style="background:{each.colour}"></i>{escape(each.name)}' in page
    picture = base64.b64decode(re.findall(r"base64,([^\"]*)", page)[1])
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).reshape(-1, 3)
    assert (pixels == rgb(annotated.classes[1].colour)).all(axis=1).any()
    assert not re.search(r"https?://|<script", page)


def test_a_page_of_many_shows_some() -> None:
    many = [ShownMask(str(number), "predicted", 1 - number / 1000, b"") for number in range(MOST_SHOWN + 20)]
    page = export_page("in", many, {})
    assert f"{MOST_SHOWN} of {MOST_SHOWN + 20} masks" in page
    assert page.count("<figure>") == MOST_SHOWN
    assert ">19<br>" not in page


def test_tools_get_their_files(given: Given) -> None:
    with zipfile.ZipFile(io.BytesIO(archive(*given, tool="coco").content)) as found:
        assert sorted(found.namelist()) == ["coco.json", "images.csv", "report.html"]
        assert all(word in found.read("coco.json").decode() for word in ("a.png", "c.png", "disc", "rim"))


def reasons(annotated: AnnotatedFolder, live: Live) -> dict[str, str]:
    return {each.form: each.reason for each in export_forms(annotated, live)}


def test_what_images_can_be_taken_away_as_is_told_before(given: Given) -> None:
    found = reasons(*given)
    possible = {form for form, reason in found.items() if not reason}
    assert possible == {"masks", *get_args(WrittenTool)} - {"slicer", "itksnap"}
    assert found["slicer"] == "takes a volume, and a.png is a picture"
    assert found["task"] == "there is no example yet"
    for form in get_args(WrittenTool):
        with nullcontext() if form in possible else pytest.raises(ValueError, match="cannot hold the mask of a"):
            archive(*given, tool=form)
    assert count_masks(*given) == {"accepted": 1, "predicted": 1}


def test_of_a_volume_that_nobody_drew_on_nothing_is_said(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    folder = plain_folder(tmp_path / "in", "a")
    array = np.random.default_rng(0).random((SIDE, SIDE, 3)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), folder / "b.nii")
    with opened(folder, {1: "disc"}) as annotated:
        live = Live(annotated, segmenter)
        assert set(reasons(annotated, live).values()) == {"there is no mask yet", "there is no example yet"}
        draw_and_accept(annotated)
        assert not reasons(annotated, live)["coco"]
        draw_and_accept(annotated, 1)
        found = reasons(annotated, live)
    assert found["coco"] == "takes a picture, and b.nii is a volume"
    assert found["slicer"] == "takes a volume, and a.png is a picture"
    assert not found["masks"]


def test_files_of_one_name_and_a_missing_library_are_told_of(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    annotated, live = given
    monkeypatch.setitem(sys.modules, "tifffile", None)
    assert "pip install" in reasons(annotated, live)["ome-tiff"]
    Image.open(annotated.folder / "a.png").save(annotated.folder / "c.bmp")
    image = annotated.images[0]
    image.pair = replace(image.pair, image=annotated.folder / "c.bmp")
    found = reasons(annotated, live)
    assert found["labelme"] == "would call the files of c.bmp and c.png the same"
    assert not found["coco"]


def test_images_that_are_gone_are_left_out_and_named(given: Given) -> None:
    annotated, live = given
    live.predictions[1] = live.predictions[2]
    (annotated.folder / "a.png").rename(annotated.folder / "elsewhere.png")
    (annotated.folder / "b.png").write_bytes(b"no picture")
    assert not reasons(annotated, live)["coco"]
    assert count_masks(annotated, live) == {"predicted": 2}
    found = archive(annotated, live, None)
    assert [each.name for each in found.left_out] == ["a.png", "b.png"]
    with zipfile.ZipFile(io.BytesIO(found.content)) as files:
        assert sorted(files.namelist()) == ["images.csv", "masks/c.png", "report.html"]
        table, page = (files.read(name).decode() for name in ("images.csv", "report.html"))
    assert re.findall(r'^(.*),"?left out: .*', table, re.MULTILINE) == ["a.png", "b.png"]
    assert "Left out: a.png: " in page
    for name in "bc":
        (annotated.folder / f"{name}.png").unlink()
    with pytest.raises(ValueError, match=r"a\.png is gone"):
        archive(annotated, live, "coco")


def test_without_a_mask_there_is_nothing_to_take_away(tmp_path: Path) -> None:
    with opened(plain_folder(tmp_path / "in")) as annotated, pytest.raises(ValueError, match="there is no mask yet"):
        archive(annotated, Live(annotated, segmenter), None)


def test_examples_without_weights_of_a_file_are_no_task(given: Given) -> None:
    annotated, live = given
    live._segmenter = Segmenter(segmenter().weights, size_px=SIDE).fit(
        [annotated.folder / "a.png"], [annotated.folder / "labels" / "a.png"]
    )
    with pytest.raises(ValueError, match="weights"):
        task_of(live)
