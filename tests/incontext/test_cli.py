"""The commands: what they write, what they print, how they end."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner, Result

from incontext.cli import app
from incontext.networks import checkpoint
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from incontext.networks.weights_delta import Tuned, WeightsDelta
from incontext.training import tuning
from megamed.vocabulary import WrittenTool


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def read(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a small network that learnt nothing."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "random.safetensors"
    network = SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), stem_px=2, heads=1, head_channels=8))
    checkpoint.save(path, network, {"seed": 0})
    return path


def write_squares(folder: Path, names: list[str], labelled: bool = True) -> Path:
    """Bright squares of one size, each image of its own size; {0, 255} labels."""
    for i, name in enumerate(names):
        label = np.zeros((30 + i, 40), dtype=np.uint8)
        label[8:20, 10 + i : 24 + i] = 255
        (folder / "images").mkdir(parents=True, exist_ok=True)
        Image.fromarray(30 + label // 2).save(folder / "images" / name)
        if labelled:
            (folder / "labels").mkdir(parents=True, exist_ok=True)
            Image.fromarray(label).save(folder / "labels" / f"{Path(name).stem}.png")
    return folder


@pytest.fixture
def support(tmp_path: Path) -> Path:
    return write_squares(tmp_path / "support", ["a.png", "b.png"])


@pytest.fixture
def tuned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The most steps of each tuning, none of which is taken: logits grow by 20."""
    steps: list[int] = []

    def tune(network: object, data: object, config: tuning.TuningConfig, *_: object) -> Tuned:
        steps.append(config.steps)
        return Tuned(WeightsDelta.of({"head.bias": torch.full((4,), 20.0)}), "tuned 3 steps: better")

    monkeypatch.setattr(tuning, "tune", tune)
    return steps


def test_a_network_is_tuned_if_asked_for_and_travels_with_the_task(
    tmp_path: Path, support: Path, weights: Path, tuned: list[int]
) -> None:
    task = tmp_path / "square.task"
    saved = run("save-task", "--support", support, "--out", task, "--weights", weights, "--tune", "auto")
    told = "Note: The network was tuned 3 steps: better."
    assert saved.exit_code == 0
    assert told in saved.stderr
    query = write_squares(tmp_path / "query", ["c.png"], labelled=False)
    segmented = run("segment", "--task", task, "--weights", weights, "--query", query, "--out", tmp_path / "tuned")
    assert told in segmented.stderr
    assert read(tmp_path / "tuned" / "masks" / "c.png").all()
    run("segment", "--task", task, "--weights", weights, "--query", query, "--out", tmp_path / "plain", "--tune", "0")
    assert not read(tmp_path / "plain" / "masks" / "c.png").all()
    assert tuned == [tuning.DEFAULT.steps]
    by_folder = ("--support", support, "--query", query, "--weights", weights, "--out", tmp_path / "tuned")
    assert run("segment", *by_folder, "--tune", "7", "--overwrite").exit_code == 0
    assert tuned[1:] == [7]
    assert "masks of another run" in run("segment", *by_folder).stderr
    assert "tune is unknown" in run("segment", *by_folder, "--tune", "much").stderr


def test_segment_writes_masks_preview_and_summary(tmp_path: Path, support: Path, weights: Path) -> None:
    query = write_squares(tmp_path / "query", ["c.png", "d.jpg"], labelled=False)
    out = tmp_path / "out"
    result = run("segment", "--support", support, "--query", query, "--out", out, "--weights", weights)
    assert result.exit_code == 0, result.output
    for name, image in (("c.png", "c.png"), ("d.png", "d.jpg")):
        mask = read(out / "masks" / name)
        assert mask.dtype == np.uint8
        assert mask.shape == read(query / "images" / image).shape
        assert set(np.unique(mask)) <= {0, 255}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["weights"]["provenance"] == {"seed": 0}
    assert summary["classes"] == {"255": "255"}
    assert [report["file"] for report in summary["images"]] == ["c.png", "d.jpg"]
    assert summary["images"][1]["size_px"] == [31, 40]
    assert summary["images"][0]["area_px"] == {"255": np.count_nonzero(read(out / "masks" / "c.png"))}
    assert summary["mean_dice"] == {}
    assert read(out / "overlay.png").shape[-1] == 3
    assert sorted(path.name for path in out.glob("[!.]*")) == ["masks", "overlay.png", "progress.jsonl", "summary.json"]


def test_segment_writes_the_files_of_annotation_tools(tmp_path: Path, support: Path, weights: Path) -> None:
    query, out = write_squares(tmp_path / "query", ["c.png"], labelled=False), tmp_path / "out"
    asked = ("segment", "--support", support, "--query", query, "--out", out, "--weights", weights)
    refused = run(*asked, "--write", "coco", "--write", "bogus")
    assert refused.exit_code == 2
    assert not out.exists()
    result = run(*asked, "--write", "coco", "--write", "OME-tiff", "--write", "label-studio", "--write", "COCO")
    assert result.exit_code == 0, result.output
    assert "Written for annotation tools: coco.json and 2 more." in result.output
    tools = [name for name in sorted(path.name for path in out.glob("[!.]*")) if name not in ("masks", "overlay.png")]
    assert tools == ["coco.json", "labelstudio.json", "ome-tiff", "progress.jsonl", "summary.json"]
    told = " ".join(run("segment", "--help").output.replace("│", "").split())
    assert all(tool in told for tool in get_args(WrittenTool))


@pytest.mark.parametrize("option", [("--mask-format", "bogus"), ("--mask-format", "nii.gz"), ("--write", "slicer")])
def test_segment_refuses_what_cannot_hold_masks_before_any_work(
    tmp_path: Path, support: Path, weights: Path, option: tuple[str, str]
) -> None:
    query, out = write_squares(tmp_path / "query", ["c.png"], labelled=False), tmp_path / "out"
    result = run("segment", "--support", support, "--query", query, "--out", out, "--weights", weights, *option)
    assert result.exit_code == 1
    assert len(result.output.strip().splitlines()) == 1
    assert not out.exists()


def test_segment_scores_labelled_queries(tmp_path: Path, support: Path, weights: Path) -> None:
    query = write_squares(tmp_path / "query", ["c.png"])
    result = run("segment", "--support", support, "--query", query, "--out", tmp_path / "out", "--weights", weights)
    assert result.exit_code == 0, result.output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    mask = read(tmp_path / "out" / "masks" / "c.png") > 0
    label = read(query / "labels" / "c.png") > 0
    expected = 2 * np.count_nonzero(mask & label) / (np.count_nonzero(mask) + np.count_nonzero(label))
    assert summary["images"][0]["dice"] == {"255": pytest.approx(expected)}
    assert f"Dice label 255: {expected:.3f}" in result.stdout


def test_segment_goes_on_after_an_unreadable_query(tmp_path: Path, support: Path, weights: Path) -> None:
    query = write_squares(tmp_path / "query", ["c.png", "e.png"], labelled=False)
    (query / "images" / "d.png").write_text("no image")
    result = run("segment", "--support", support, "--query", query, "--out", tmp_path / "out", "--weights", weights)
    assert result.exit_code == 3
    assert f"Failed: d.png: {query / 'images' / 'd.png'} is unreadable" in result.stderr
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["c.png", "e.png"]
    assert list(json.loads((tmp_path / "out" / "summary.json").read_text())["failures"]) == ["d.png"]


@pytest.mark.parametrize(
    ("label", "error"),
    [
        (
            np.ones((30, 40), dtype=np.uint8),
            "label of c.png shows none of the support's classes: expected values (255,)",
        ),
        (
            np.zeros((20, 40), dtype=np.uint8),
            "labels/c.png does not match its image: expected (30, 40), got (20, 40)",
        ),
    ],
)
def test_segment_reports_a_label_that_does_not_fit(
    tmp_path: Path, support: Path, weights: Path, label: np.ndarray, error: str
) -> None:
    query = write_squares(tmp_path / "query", ["c.png"])
    Image.fromarray(label).save(query / "labels" / "c.png")
    result = run("segment", "--support", support, "--query", query, "--out", tmp_path / "out", "--weights", weights)
    assert result.exit_code == 0, result.output
    assert "c.png is segmented, but not scored: " in result.stderr
    assert error in result.stderr
    assert (tmp_path / "out" / "masks" / "c.png").is_file()


def test_segment_reads_images_that_lie_in_the_folder_itself(tmp_path: Path, support: Path, weights: Path) -> None:
    query = write_squares(tmp_path / "query", ["c.png"], labelled=False) / "images"
    (query / "notes.txt").write_text("ignored")
    result = run("segment", "--support", support, "--query", query, "--out", tmp_path / "out", "--weights", weights)
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize("place", ["query", "query/images", "query/labels", "support/images"])
def test_segment_writes_to_no_folder_of_inputs(tmp_path: Path, support: Path, weights: Path, place: str) -> None:
    query = write_squares(tmp_path / "query", ["c.png"])
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    result = run("segment", "--support", support, "--query", query, "--out", tmp_path / place, "--weights", weights)
    assert result.exit_code == 1
    assert "out is a folder of inputs" in result.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.png")} == before


def test_segment_writes_to_no_folder_of_inputs_named_masks(tmp_path: Path, support: Path, weights: Path) -> None:
    query = write_squares(tmp_path / "query", ["a.png"], labelled=False)
    (query / "images").rename(tmp_path / "masks")
    result = run(
        "segment", "--support", support, "--query", tmp_path / "masks", "--out", tmp_path, "--weights", weights
    )
    assert result.exit_code == 1
    assert "out is a folder of inputs" in result.stderr


def no_labels(support: Path) -> str:
    for label in (support / "labels").iterdir():
        label.unlink()
    (support / "labels").rmdir()
    return "has no labels"


def two_of_one_name(support: Path) -> str:
    Image.fromarray(255 - read(support / "images" / "a.png")).save(support / "images" / "a.bmp")
    return "holds two images of one name: expected one, got a.bmp and a.png"


def no_images(support: Path) -> str:
    for image in (support / "images").iterdir():
        image.unlink()
    return "has no images: expected files ending in .dicom"


def broken_images(support: Path) -> str:
    for image in (support / "images").iterdir():
        image.write_text("no image")
    return "a.png is unreadable"


def no_folder(support: Path) -> str:
    support.rename(support.with_name("elsewhere"))
    return "support does not exist: expected a folder of images"


@pytest.mark.parametrize("spoil", [no_labels, two_of_one_name, no_images, broken_images, no_folder])
def test_unusable_support_ends_in_one_line(
    tmp_path: Path, support: Path, weights: Path, spoil: Callable[[Path], str]
) -> None:
    query = write_squares(tmp_path / "query", ["c.png"])
    error = spoil(support)
    result = run("segment", "--support", support, "--query", query, "--out", tmp_path / "out", "--weights", weights)
    assert result.exit_code == 1
    assert error in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_broken_image_of_the_support_is_left_out(tmp_path: Path, support: Path, weights: Path) -> None:
    query = write_squares(tmp_path / "query", ["c.png"])
    (support / "images" / "b.png").write_text("no image")
    result = run("segment", "--support", support, "--query", query, "--out", tmp_path / "out", "--weights", weights)
    assert result.exit_code == 0, result.output
    assert re.search("b.png is left out of the support: .* is unreadable", result.stderr)


def test_segment_takes_a_folder_that_is_labelled_in_part(tmp_path: Path, support: Path, weights: Path) -> None:
    write_squares(support, ["c.png", "d.png"], labelled=False)
    result = run("segment", "--support", support, "--out", tmp_path / "out", "--weights", weights)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in (tmp_path / "out" / "masks").iterdir()) == ["c.png", "d.png"]
    assert "Note: 2 labelled images are the support, the 2 others are segmented." in result.stderr


def test_segment_reads_templates(tmp_path: Path, support: Path, weights: Path) -> None:
    (support / "labels").rename(support / "drawn")
    query = write_squares(tmp_path / "query", ["c.png"], labelled=False) / "images"
    options = ("--support", support, "--images", "images/{case}", "--labels", "drawn/{case}", "--weights", weights)
    result = run("segment", *options, "--query", query, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert run("save-task", *options, "--out", tmp_path / "a.task").exit_code == 0


def test_check_tells_what_looks_wrong_by_its_exit_status(tmp_path: Path, support: Path) -> None:
    write_squares(support, ["c.png", "d.png"], labelled=False)
    (support / "labels").rename(support / "drawn")
    sound = run("check", support, "--labels", "drawn/{case}")
    assert sound.exit_code == 0, sound.output
    assert sound.stdout.startswith("2 labelled and 2 bare images (4 PNG); images/a.png has the label drawn/a.png.")
    (support / "images" / "d.png").write_text("no image")
    wrong = run("check", support, "--labels", "drawn/{case}", "--json")
    assert wrong.exit_code == 3
    assert "d.png is unreadable" in json.loads(wrong.stdout)["problems"][0]
    assert run("check", tmp_path / "nowhere").exit_code == 1


def test_missing_weights_end_in_one_line(tmp_path: Path, support: Path) -> None:
    result = run("segment", "--support", support, "--query", support, "--out", tmp_path / "out", "--weights", "none.pt")
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1


def segment(out: Path, query: Path, weights: Path, *options: object) -> Result:
    return run("segment", "--query", query, "--out", out, "--weights", weights, *options)


def test_segment_prints_its_summary_as_json_and_writes_statistics(tmp_path: Path, support: Path, weights: Path) -> None:
    query = write_squares(tmp_path / "query", ["c.png"], labelled=False)
    options = ("--support", support, "--classes", "255=square", "--statistics", "--no-preview", "--json")
    result = segment(tmp_path / "out", query, weights, *options)
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert summary == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert (summary["classes"], summary["resumed"]) == ({"255": "square"}, 0)
    first, last = [*summary][:5], [*summary][-3:]
    assert first == ["classes", "mean_dice", "support", "images", "failures"]  # what came out comes first
    assert last == ["parameters", "versions", "weights"]  # and by what, last
    row = (tmp_path / "out" / "statistics.csv").read_text().splitlines()[1]
    assert row.startswith(f"c.png,c.png,255,square,{summary['images'][0]['area_px']['255']},")
    assert not (tmp_path / "out" / "overlay.png").exists()
    again = segment(tmp_path / "out", query, weights, "--support", support, "--classes", "255=square")
    assert "1 mask, 1 of them by an earlier run" in again.stdout
    other = segment(tmp_path / "out", query, weights, "--support", support, "--support-size", 1)
    assert other.exit_code == 1
    assert "add --overwrite" in other.stderr
    forced = segment(
        tmp_path / "out", query, weights, "--support", support, "--support-size", 1, "--overwrite", "--json"
    )
    assert json.loads(forced.stdout)["parameters"]["support"] == "nearest"


@pytest.mark.parametrize(
    "options",
    [(), ("--support", "a", "--task", "b"), ("--task", "b", "--classes", "1=c"), ("--support", "a", "--select", "x")],
)
def test_a_mistaken_command_ends_with_2(tmp_path: Path, weights: Path, options: tuple[str, ...]) -> None:
    assert segment(tmp_path / "out", tmp_path, weights, *options).exit_code == 2


def test_a_saved_task_segments_as_its_support_does(tmp_path: Path, support: Path, weights: Path) -> None:
    query = write_squares(tmp_path / "query", ["c.png"]) / "images" / "c.png"
    saved = run("save-task", "--support", support, "--out", tmp_path / "square.task", "--weights", weights)
    assert saved.exit_code == 0, saved.output
    for name, options in {"one": ("--support", support), "two": ("--task", tmp_path / "square.task")}.items():
        result = segment(tmp_path / name, query, weights, *options)
        assert result.exit_code == 0, result.output
    first, second = (read(tmp_path / name / "masks" / "c.png") for name in ("one", "two"))
    np.testing.assert_array_equal(first, second)
    assert json.loads((tmp_path / "two" / "summary.json").read_text())["folders"]["task"] == "../square.task"


def test_propagate_segments_a_stack_by_one_plane(tmp_path: Path, weights: Path) -> None:
    label = np.zeros((5, 30, 40), dtype=np.uint8)
    label[2, 8:20, 10:24] = 3
    Image.fromarray(label[2] * 60).save(
        tmp_path / "film.tif", save_all=True, append_images=[Image.fromarray(label[2] * 50 + i) for i in range(4)]
    )
    pages = [Image.fromarray(page) for page in label]
    pages[0].save(tmp_path / "label.tif", save_all=True, append_images=pages[1:])
    options = ("--labels", tmp_path / "label.tif", "--out", tmp_path / "mask.tif", "--weights", weights)
    result = run("propagate", tmp_path / "film.tif", *options)
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "mask.tif") as mask:
        assert mask.n_frames == 5
        mask.seek(2)
        np.testing.assert_array_equal(np.asarray(mask), label[2])
    assert f"Wrote {tmp_path / 'mask.tif'}, and mask_overlay.png to look at." in result.output
    assert re.search(r"Label slice [0134] along axis 0, counted from 0, next", result.output)
    assert "Propagating" in result.output
    assert run("propagate", tmp_path / "film.tif", "--out", tmp_path / "mask.tif").exit_code == 2


def test_propagate_segments_a_folder_of_frames_and_says_what_to_label_next(tmp_path: Path, weights: Path) -> None:
    for folder in ("images", "labels"):
        (tmp_path / "film" / folder).mkdir(parents=True)
    label = np.zeros((30, 40), dtype=np.uint8)
    label[8:20, 10:24] = 3
    for frame in range(3):
        Image.fromarray(label * 60 + frame).save(tmp_path / "film" / "images" / f"{frame}.png")
    Image.fromarray(label).save(tmp_path / "film" / "labels" / "0.png")
    result = run("propagate", tmp_path / "film", "--out", tmp_path / "out", "--weights", weights, "--quiet")
    assert result.exit_code == 0, result.output
    assert f"3 masks and overlay.gif are in {tmp_path / 'out'}." in result.output
    assert re.search(r"Label frame [12] next", result.output)
    assert {path.name for path in (tmp_path / "out" / "masks").iterdir()} == {"0.png", "1.png", "2.png"}


def test_info_prints_json(weights: Path) -> None:
    result = run("info", weights)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["config"]["family"] == "support-once"


def test_info_describes_a_task(tmp_path: Path, support: Path, weights: Path) -> None:
    task = tmp_path / "square.task"
    options = ("--weights", weights, "--classes", "255=square", "--author", "me")
    assert run("save-task", "--support", support, "--out", task, *options).exit_code == 0
    found = json.loads(run("info", task).stdout)
    assert found["classes"] == {"255": {"name": "square", "labelled_images": 2}}
    assert found["author"] == "me"


def test_info_of_the_packaged_weights() -> None:
    assert "provenance" in json.loads(run("info").stdout)


def test_calibrate_writes_into_the_file(tmp_path: Path, weights: Path, collection_path: Path) -> None:
    path = tmp_path / "copy.safetensors"
    path.write_bytes(weights.read_bytes())
    result = run("calibrate", "--collection", collection_path, "--weights", path, "--device", "cpu")
    assert result.exit_code == 0, result.output
    calibration = json.loads(result.stdout)
    assert calibration == checkpoint.read_metadata(path)["calibration"]
    assert calibration["datasets"] == ["eyes"]
    assert calibration["temperature"] > 1  # what learnt nothing is sure of too much


def test_average_of_weights_by_name_or_file(tmp_path: Path) -> None:
    out = tmp_path / "mean.safetensors"
    result = run("average", "open", checkpoint.NAMED["open"], "--out", out)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"Wrote {out}.\n", "")
    parts = checkpoint.read_metadata(out)["provenance"]["average_of"]
    assert [part["file"] for part in parts] == ["open.safetensors"] * 2


def test_info_of_something_else(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_text("no weights")
    result = run("info", tmp_path / "weights.safetensors")
    assert result.exit_code == 1
    assert len(result.stderr.strip().splitlines()) == 1


def test_convert_there_and_back(tmp_path: Path, shared: Path) -> None:
    official = shared / "reference" / "universeg_v1_random_state_dict.safetensors"
    assert run("convert", official, tmp_path / "ours.safetensors").exit_code == 0
    back = run("convert", tmp_path / "ours.safetensors", tmp_path / "back.safetensors", "--to", "universeg")
    assert back.exit_code == 0, back.output
    expected, found = load_file(official), load_file(tmp_path / "back.safetensors")
    assert expected.keys() == found.keys()
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor), name


SMALL = """
steps = 2
workers = 0
[network]
channels = [8, 8, 8, 8]
heads = 1
head_channels = 8
[episodes]
images_per_batch = 4
set_sizes = [2]
large_share = 0
"""


def test_train_writes_weights_that_segment(tmp_path: Path, support: Path, collection_path: Path) -> None:
    (tmp_path / "small.toml").write_text(SMALL)
    train = ("train", "--config", tmp_path / "small.toml", "--collection", collection_path, "--device", "cpu")
    result = run(*train, "--out", tmp_path / "run", "--steps", 1, "--seed", 5)
    assert result.exit_code == 0, result.output
    weights = tmp_path / "run" / "weights.safetensors"
    assert result.stdout == f"Wrote {weights}.\n"
    provenance = json.loads(run("info", weights).stdout)["provenance"]
    assert (provenance["steps"], provenance["seed"]) == (1, 5)
    segment = ("segment", "--support", support, "--query", support, "--weights", weights)
    assert run(*segment, "--out", tmp_path / "out").exit_code == 0
    again = run(*train, "--out", tmp_path / "again", "--init", weights)
    assert again.exit_code == 0, again.output
    origin = json.loads(run("info", tmp_path / "again" / "weights.safetensors").stdout)["provenance"]["init_from"]
    assert origin["file"] == "weights.safetensors"


@pytest.mark.parametrize(
    ("options", "error"),
    [
        (("--config", "elsewhere.toml"), "configuration is missing: expected default, open, prompted or a TOML file"),
        (("--steps", 0), "steps: Input should be greater than 0"),
        (("--init", "none.safetensors"), "weights are missing"),
    ],
)
def test_train_reports_a_mistake_in_one_line(
    tmp_path: Path, collection_path: Path, options: tuple[object, ...], error: str
) -> None:
    result = run("train", "--collection", collection_path, "--out", tmp_path / "run", "--device", "cpu", *options)
    assert result.exit_code == 1
    assert error in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_segment_that_did_nothing_says_so(tmp_path: Path, support: Path, weights: Path) -> None:
    (query := tmp_path / "query").mkdir()
    (query / "c.png").write_text("no image")
    result = run("segment", "--support", support, "--query", query, "--out", tmp_path / "out", "--weights", weights)
    assert result.exit_code == 1
    assert result.stdout.startswith("0 masks, and summary.json, are in ")


def test_segment_counts_in_plain_words_and_begins_its_summary_with_results(
    tmp_path: Path, support: Path, weights: Path
) -> None:
    query = write_squares(tmp_path / "query", ["c.png"], labelled=False)
    asked = ("segment", "--support", support, "--query", query, "--out", tmp_path / "out", "--weights", weights)
    assert "\n1 mask, and summary.json, are in " in f"\n{run(*asked).stdout}"
    keys = list(json.loads((tmp_path / "out" / "summary.json").read_text()))
    assert keys[:2] == ["classes", "mean_dice"]
    assert keys[-2:] == ["versions", "weights"]


@pytest.mark.parametrize("command", ["segment", "save-task", "export", "propagate"])
def test_a_place_that_cannot_be_written_to_is_named_in_one_line(
    tmp_path: Path, support: Path, weights: Path, command: str
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder").mkdir()
    image = support / "images" / "a.png"
    asked, told = {
        "segment": (("--support", support, "--query", support, "--out", tmp_path / "file"), "expected a folder"),
        "export": (("--out", tmp_path / "file"), "expected a folder, got the file"),
        "save-task": (("--support", support, "--out", tmp_path / "folder"), "is a folder: expected a file to write"),
        "propagate": ((image, "--labels", image, "--out", tmp_path / "file" / "a.png"), "expected"),
    }[command]
    result = run(command, *asked, "--weights", weights)
    assert result.exit_code == 1
    assert result.output.count("\n") == 1
    assert told in result.output
    assert "[Errno" not in result.output
    assert (tmp_path / "file").read_text() == "mine"


def test_a_task_of_somebody_else_is_not_replaced(tmp_path: Path, support: Path, weights: Path) -> None:
    asked = ("save-task", "--support", support, "--weights", weights, "--out", tmp_path / "liver.task")
    (tmp_path / "liver.task").write_text("mine")
    result = run(*asked)
    assert "liver.task is somebody's own" in result.stderr
    assert (tmp_path / "liver.task").read_text() == "mine"
    (tmp_path / "liver.task").unlink()
    assert [run(*asked).exit_code for _ in range(2)] == [0, 0]
    assert run("info", tmp_path / "nope.task").stderr.startswith("Error: ")


def test_the_tasks_of_a_structure_are_listed_by_any_of_its_names(collection_path: Path, tmp_path: Path) -> None:
    picture = tmp_path / "disks.png"
    listed = json.loads(run("tasks", collection_path, "disks", "--json", "--picture", picture).stdout)
    with Image.open(picture) as drawn:
        assert drawn.size == (6 * 32, len(listed) * (32 + 12))
    assert [each["task"].split("/")[0] for each in listed] == ["bones", "cells", "eyes", "toys"]
    table = run("tasks", collection_path, "disc").stdout
    assert "disc" in table
    assert "square" not in table
    assert "square" in run("tasks", collection_path).stdout


def test_a_structure_without_a_task_is_refused_in_one_line(collection_path: Path) -> None:
    refused = run("tasks", collection_path, "spleen")
    assert refused.exit_code == 1
    assert refused.stderr.startswith("Error: 'spleen' is in no task of the collection")
    assert refused.stderr.count("\n") == 1


def test_images_are_segmented_by_the_name_of_a_task_in_a_collection(
    collection_path: Path, weights: Path, tmp_path: Path
) -> None:
    query = write_squares(tmp_path / "query", ["a.png"], labelled=False)
    command = ("segment", "--collection", collection_path, "--query", query, "--weights", weights, "--quiet")
    assert run(*command, "--task", "disks", "--out", tmp_path / "out").exit_code == 0
    notes = json.loads((tmp_path / "out" / "summary.json").read_text())["notes"]
    assert [note.split()[0] for note in notes if "CC0" in note] == ["Learned", "Compared", "Compared", "Compared"]
    assert read(tmp_path / "out" / "masks" / "a.png").shape == (30, 40)
    assert "is in no task" in run(*command, "--task", "liver", "--out", tmp_path / "other").stderr
    assert run(*command, "--out", tmp_path / "other").exit_code == 2


@pytest.mark.parametrize("name", ["prompts", "volume", "info", "convert"])
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(support: Path, tmp_path: Path, name: str) -> None:
    pipe, label = tmp_path / "pipe.png", support / "labels/a.png"
    os.mkfifo(pipe)
    done = run(
        *{
            "prompts": (
                "segment",
                "--support",
                support,
                "--query",
                support,
                "--prompts",
                pipe,
                "--out",
                tmp_path / "o",
            ),
            "volume": ("propagate", pipe, "--labels", label, "--out", tmp_path / "o.png"),
            "info": ("info", pipe),
            "convert": ("convert", pipe, tmp_path / "o.safetensors"),
        }[name]
    )
    assert done.exit_code == 1
    assert re.search(r"expected .*a file, got ", " ".join(done.output.split()))
