"""Files of prompts, and folders that are segmented by them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from incontext import Segmenter
from incontext.cli import app
from incontext.folders.prompt_file import PromptFile
from incontext.images.prompts import Prompts
from incontext.networks import checkpoint
from incontext.networks.prompted_weights import prompted_beside
from megamed.files import sha256_of
from megamed.pairing import ImagePair
from tests.incontext.inference.test_editor import discs, segmenter


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file of weights of a small network, with a network for prompts beside it."""
    made, path = segmenter(), tmp_path / "small.safetensors"
    checkpoint.save(path, made.network, {})
    assert made.prompted is not None
    checkpoint.save(prompted_beside(path), made.prompted, {"beside": {"sha256": sha256_of(path)}})
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    images, labels = discs(4)
    for part in ("query", "support/images", "support/labels"):
        (tmp_path / part).mkdir(parents=True)
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        where = tmp_path / ("query" if index < 2 else "support/images")
        Image.fromarray(image).save(where / f"{index}.png")
        if index >= 2:
            Image.fromarray(label).save(tmp_path / "support" / "labels" / f"{index}.png")
    return tmp_path


@pytest.fixture
def run(folder: Path, weights: Path) -> Callable[..., Result]:
    def invoke(said: Any, *arguments: object) -> Result:
        (folder / "prompts.json").write_text(json.dumps(said))
        given = ("--query", folder / "query", "--out", folder / "out", "--weights", weights, "--quiet")
        every = ("segment", *given, "--prompts", folder / "prompts.json", *arguments)
        return CliRunner().invoke(app, [str(each) for each in every])

    return invoke


def mask(folder: Path, name: str) -> np.ndarray:
    with Image.open(folder / "out" / "masks" / name) as picture:
        return np.asarray(picture)


def test_prompts_correct_the_masks_of_their_images_and_a_changed_one_is_corrected_anew(
    run: Callable[..., Result], folder: Path, weights: Path
) -> None:
    support = ("--support", folder / "support")
    said: dict[str, Any] = {"1.png": [{"click": [3, 50]}, {"click": [39, 0], "inside": False}]}
    assert run(said, *support).exit_code == 0
    assert mask(folder, "1.png")[3, 50] == 1
    assert mask(folder, "1.png")[39, 0] == 0
    summary = json.loads((folder / "out" / "summary.json").read_text())
    assert [each["prompts"] for each in summary["images"]] == [0, 2]
    images, labels = discs(4)
    made = Segmenter(weights, size_px=128, device="cpu").fit(images[2:], labels[2:])
    prompts = [None, Prompts().click(3, 50).click(39, 0, inside=False)]
    np.testing.assert_array_equal(made.predict(images[:2], prompts=prompts).masks[1], mask(folder, "1.png"))
    said["1.png"][0] = {"click": [30, 2]}
    again = run(said, *support)
    assert "1 of them by an earlier run" in again.output
    assert mask(folder, "1.png")[30, 2] == 1


def test_what_another_network_for_prompts_would_correct_is_corrected_anew(
    run: Callable[..., Result], folder: Path, weights: Path
) -> None:
    said, support = {"1.png": [{"click": [3, 50]}]}, ("--support", folder / "support")
    assert run(said, *support).exit_code == 0
    prompted = segmenter().prompted
    assert prompted is not None
    with torch.no_grad():
        next(prompted.parameters()).add_(1)
    checkpoint.save(prompted_beside(weights), prompted, {"beside": {"sha256": sha256_of(weights)}})
    assert "2 masks, 1 of them by an earlier run" in run(said, *support).output
    prompted_beside(weights).unlink()
    without = run(said, *support)
    assert without.exit_code == 1
    assert "takes no prompts" in without.stderr


def test_without_labelled_images_those_with_prompts_are_segmented(run: Callable[..., Result], folder: Path) -> None:
    found = run({"0": {"points": [[50, 3]], "label": 2}}, "--classes", "2=disc")
    assert found.exit_code == 0
    assert "1 image has no prompts" in found.stderr
    assert [path.name for path in (folder / "out" / "masks").iterdir()] == ["0.png"]
    assert mask(folder, "0.png")[3, 50] == 2
    assert (folder / "out" / "overlay.png").is_file()
    summary = json.loads((folder / "out" / "summary.json").read_text())
    assert (summary["classes"], summary["label_budget"]) == ({"2": "disc"}, 0)
    again = run({"query/0.png": [{"click": [3, 50], "label": 2}]}, "--classes", "2=disc")
    assert "1 of them by an earlier run" in again.output
    other = run({"1.png": [{"click": [3, 50], "label": 2}]}, "--classes", "2=disc")
    assert "masks/0.png is of a run before: no prompt is about its image now." in other.stderr
    assert "1.png is of" not in other.stderr


def test_prompts_that_name_no_class_are_about_the_first_though_others_name_one(
    run: Callable[..., Result], folder: Path
) -> None:
    assert run({"0.png": [{"click": [3, 50]}], "1.png": [{"click": [20, 15], "label": 2}]}).exit_code == 0
    assert (mask(folder, "0.png")[3, 50], mask(folder, "1.png")[20, 15]) == (1, 2)
    assert json.loads((folder / "out" / "summary.json").read_text())["classes"] == {"1": "1", "2": "2"}


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"0.png": [{"click": [1]}]}, "prompts.json: 0.png, entry 0 is no prompt: expected 2 numbers for a click"),
        (
            {"x.png": [{"click": [1, 1]}]},
            "prompts.json is about none of the images: expected names such as 0.png, 1.png, got x.png",
        ),
        ([], "prompts.json holds no prompts: expected an object"),
        (
            {"0.png": []},
            "prompts.json holds no prompts: expected an object with prompts by the names of images, got none",
        ),
        ({"0.png": [{"click": [99, 1]}]}, "Failed: 0.png: click is not on the image"),
        (
            {"0.png": [{"click": [9, 1], "label": 3}]},
            "0.png names an unknown class: expected label to be 1, got 3",
        ),
    ],
)
def test_what_is_wrong_with_a_prompt_is_told_with_its_image(
    run: Callable[..., Result], folder: Path, said: Any, error: str
) -> None:
    found = run(said, "--support", folder / "support")
    assert found.exit_code > 0
    assert error in " ".join(found.stderr.split())


def test_a_name_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """JSON would keep the last without a word."""
    path = tmp_path / "prompts.json"
    path.write_text('{"0.png": [{"click": [1, 1]}], "0.png": [{"click": [2, 2]}]}')
    with pytest.raises(ValueError, match=r"says something twice: expected each name once in an object, got '0\.png'"):
        PromptFile.read(path)


def test_where_every_image_fails_there_is_no_preview(run: Callable[..., Result], folder: Path) -> None:
    found = run({"0.png": [{"click": [99, 1]}]})
    assert "click is not on the image" in found.stderr
    assert "overlay.png" not in found.stderr
    assert not (folder / "out" / "overlay.png").exists()


@pytest.mark.parametrize("name", ["sub/a", "query/sub/a.png", "/data/query/sub/a", r"C:\query\sub\a.png"])
def test_the_image_is_meant_that_has_most_folders_of_a_name(name: str) -> None:
    images = [ImagePair(Path(each), each) for each in ("a.png", "sub/a.png", "other/a.png")]
    assert [*PromptFile("p.json", {name: Prompts().click(1, 1)}).of_images(images)[0]] == ["sub/a.png"]
    above = PromptFile("p.json", {"query/a.png": Prompts().click(1, 1)}).of_images(images)
    assert [*above[0]] == ["a.png"]
    with pytest.raises(ValueError, match="a is not clear"):
        PromptFile("p.json", {"a": Prompts().click(1, 1)}).of_images(images)


def test_names_of_images_may_be_short_where_they_are_clear() -> None:
    images = [ImagePair(Path(name), name) for name in ("a/1.png", "b/1.png", "b/2.nii.gz")]
    said = Prompts().click(1, 1)
    found, notes = PromptFile("p.json", {"a/1.png": said, "2.nii.gz": said, "other.png": said}).of_images(images)
    assert found == {"a/1.png": said, "b/2.nii.gz": said}
    assert notes == ["p.json: 1 name is of no image to segment: other.png."]
    with pytest.raises(ValueError, match=r"p.json: 1.png is not clear: expected one image, got a/1.png, b/1.png"):
        PromptFile("p.json", {"1.png": said}).of_images(images)


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ('{"a.png": ' + 9999 * "[" + 9999 * "]" + "}", "is not readable: expected JSON, got maximum recursion depth"),
        ('{"a.png": {"points": [], "labels": null}}', "holds no prompts: expected an object .* got none"),
        ('{"a.png": [{"click": [1e300, 4]}]}', "a.png, entry 0 is no prompt: .*click is nowhere"),
        ('{"a.png": [{"mask": {"size": [6.5, 8], "counts": [48]}}]}', "expected size to be a height and a width"),
        (
            '{"a.png": [{"mask": {"size": [6, 8], "counts": [1' + 30 * "0" + "]}}]}",
            "expected runs that fill 6 × 8 pixels",
        ),
        ('{"a.png": [' + 500 * "[" + 500 * "]" + "]}", "expected an object, got .{,40} Write"),
    ],
)
def test_files_that_hold_no_prompts_are_refused_in_a_line(tmp_path: Path, content: str, error: str) -> None:
    path = tmp_path / "prompts.json"
    path.write_text(content, "utf-8")
    with pytest.raises(ValueError, match=error):
        PromptFile.read(path)


def test_a_byte_order_mark_is_no_content(tmp_path: Path) -> None:
    path = tmp_path / "prompts.json"
    path.write_text('{"a.png": [{"click": [3, 4]}]}', "utf-8-sig")
    assert PromptFile.read(path).prompts == {"a.png": Prompts().click(3, 4)}


def test_an_image_has_one_name_in_any_form_of_letters() -> None:
    images = [ImagePair(Path("x/n\u00e9vus.png"), "n\u00e9vus.png")]
    file = PromptFile("p.json", {"ne\u0301vus.png": Prompts().click(1, 1)})
    assert file.of_images(images) == ({"n\u00e9vus.png": Prompts().click(1, 1)}, [])
    twice = PromptFile("p.json", {"n\u00e9vus": Prompts().click(1, 1), "n\u00e9vus.png": Prompts().click(2, 2)})
    with pytest.raises(ValueError, match=r"p.json says something twice: expected one name for n.vus.png, got n.vus, n"):
        twice.of_images(images)


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_a_file_that_cannot_be_read_is_named_with_what_to_do(tmp_path: Path, name: str) -> None:
    with pytest.raises(OSError, match=r"is unreadable: expected a JSON file of prompts, got '.*'\. Check the path"):
        PromptFile.read(tmp_path / name)
