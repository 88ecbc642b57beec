"""The shell of sharing: tasks are published, kept, found by words and by looks, and used by their names."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from incontext import Segmenter
from incontext.cli import app
from incontext.folders.library_tasks import agreement_of
from incontext.images.source_image import read_source_image
from tests.incontext.hub_server import HubServer, serving

RUNNER = CliRunner()
SIZE_PX = 32


def drawing(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc on noise, or a dark square on stripes."""
    rng = np.random.default_rng(seed)
    rows, columns = np.ogrid[:40, :40]
    row, column = rng.integers(10, 30, 2)
    if kind == "disc":
        label = (rows - row) ** 2 + (columns - column) ** 2 <= 49
        image = 60 + 130 * label + rng.integers(0, 40, label.shape)
    else:
        label = (abs(rows - row) <= 6) & (abs(columns - column) <= 6)
        image = np.where(label, 20, 120 + 100 * (columns // 3 % 2)) + rng.integers(0, 10, label.shape)
    return image.astype(np.uint8), label.astype(np.uint8)


@pytest.fixture(scope="module")
def tasks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two tasks."""
    folder = tmp_path_factory.mktemp("tasks")
    for kind in ("disc", "square"):
        images, labels = zip(*(drawing(kind, seed) for seed in range(4)), strict=True)
        Segmenter(size_px=SIZE_PX, device="cpu").fit(images, labels, {1: kind}).save_task(folder / f"{kind}.task", "Me")
    return folder


@pytest.fixture(scope="module")
def library(tasks: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kept") / "library"
    run("library", "add", folder, tasks / "disc.task", tasks / "square.task")
    return folder


def run(*arguments: object, code: int = 0) -> str:
    done = RUNNER.invoke(app, [str(each) for each in arguments])
    assert done.exit_code == code, done.output
    return done.output


def image_file(folder: Path, kind: str) -> Path:
    path = folder / "query.png"
    Image.fromarray(drawing(kind, 9)[0]).save(path)
    return path


def test_a_library_lists_what_was_added(library: Path) -> None:
    found = {each["name"]: each for each in json.loads(run("library", "list", library, "--json"))}
    assert found.keys() == {"disc", "square"}
    assert found["disc"]["labelled_images"] == 4
    assert 0 < found["disc"]["expected_dice"]["1"] <= 1
    assert found["disc"]["author"] == "Me"
    assert run("library", "verify", library) == "All 2 tasks are as they were added.\n"
    with Image.open(library / "pictures" / "disc.png") as picture:
        assert len(set(picture.convert("L").tobytes())) > 10


def test_a_folder_of_tasks_is_named_with_the_files_in_it(tasks: Path, tmp_path: Path) -> None:
    told = run("library", "add", tmp_path / "library", tasks, code=1)
    assert "is a folder: expected the file of a task" in told
    assert f"such as {tasks / 'disc.task'}." in told.replace("\n", "")


def test_words_find_a_task(library: Path) -> None:
    assert [line.split()[0] for line in run("library", "search", library, "disc").splitlines()] == ["task", "disc"]
    assert "No task is found" in run("library", "search", library, "kidney", code=1)


@pytest.mark.parametrize("kind", ["disc", "square"])
def test_an_image_finds_the_task_that_fits(kind: str, library: Path, tmp_path: Path) -> None:
    found = json.loads(run("library", "search", library, "--which", image_file(tmp_path, kind), "--json"))
    assert found[0]["task"] == kind
    assert float(found[0]["likeness"]) >= float(found[1]["likeness"])
    assert all(0 <= float(each["agreement"]) <= 1 for each in found)


def test_a_task_agrees_with_images_of_its_own_kind_and_not_where_it_finds_nothing(
    tasks: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = Segmenter.load_task(tasks / "disc.task", device="cpu")
    case = read_source_image(drawing("disc", 9)[0], "disc")
    assert agreement_of(task, [case]) > 0.5
    nothing = SimpleNamespace(masks=[np.zeros((40, 40), np.uint8)])
    monkeypatch.setattr(task, "predict", lambda images: nothing)
    assert agreement_of(task, [case]) == 0


def test_a_task_of_a_library_segments_by_its_name(library: Path, tasks: Path, tmp_path: Path) -> None:
    query = image_file(tmp_path, "disc")
    run("segment", "--library", library, "--task", "disc", "--query", query, "--out", tmp_path / "a", "--quiet")
    run("segment", "--task", tasks / "disc.task", "--query", query, "--out", tmp_path / "b", "--quiet")
    masks = [np.asarray(Image.open(tmp_path / out / "masks" / "query.png")) for out in ("a", "b")]
    np.testing.assert_array_equal(*masks)
    assert masks[0].any()
    refused = run("segment", "--library", library, "--task", "dusc", "--query", query, "--out", tmp_path / "c", code=1)
    assert "is not in" in refused


def test_a_file_that_was_replaced_is_told_and_not_used(tasks: Path, tmp_path: Path) -> None:
    folder = tmp_path / "library"
    run("library", "add", folder, tasks / "disc.task", "--name", "My disc")
    (folder / "tasks" / "my-disc.task").write_bytes((tasks / "square.task").read_bytes())
    assert "my-disc.task was changed" in run("library", "verify", folder, code=3)
    arguments = ("--query", image_file(tmp_path, "disc"), "--out", tmp_path / "out")
    assert "was changed" in run("segment", "--library", folder, "--task", "my-disc", *arguments, code=1)


def test_a_task_without_images_is_kept_by_its_name(tasks: Path, tmp_path: Path) -> None:
    code = Segmenter.load_task(tasks / "disc.task", device="cpu").save_task(tmp_path / "code.task", codes_only=True)
    run("library", "add", tmp_path / "library", code)
    (entry,) = json.loads(run("library", "list", tmp_path / "library", "--json"))
    assert entry["labelled_images"] == 0
    assert entry["expected_dice"]["1"] > 0.5
    found = run("library", "search", tmp_path / "library", "--which", image_file(tmp_path, "disc"), code=1)
    assert "No task is found" in found


@pytest.mark.parametrize(
    "arguments",
    [
        ("library", "search", "folder"),
        ("library", "search", "folder", "word", "--which", "image.png"),
        ("library", "add", "folder", "a.task", "b.task", "--name", "c"),
        ("segment", "--library", "folder", "--support", "images", "--out", "out"),
    ],
)
def test_mistaken_commands_are_refused(arguments: tuple[str, ...]) -> None:
    run(*arguments, code=2)


@pytest.mark.parametrize("words", [("list",), ("search", "word"), ("verify",), ("search", "--which", "x.png")])
def test_a_folder_that_is_no_library_is_told(words: tuple[str, ...], tmp_path: Path) -> None:
    command, *rest = words
    assert "is no library: expected index.safetensors in it" in run("library", command, tmp_path, *rest, code=1)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        yield server


def test_what_is_published_segments_elsewhere(server: HubServer, tasks: Path, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    refused = run("publish", tasks / "disc.task", "me/disc", code=1)
    assert "expected a licence that surely lets them be passed on, got none" in refused
    assert not server.files
    assert run("publish", tasks / "disc.task", "me/disc", "--codes-only") == f"Published {server.endpoint}/me/disc.\n"
    assert "by Me" in server.files["me/disc"]["README.md"].decode()
    run("segment", "--task", "me/disc", "--query", image_file(tmp_path, "disc"), "--out", tmp_path / "out", "--quiet")
    assert np.asarray(Image.open(tmp_path / "out" / "masks" / "query.png")).any()


def test_the_card_of_a_folder_goes_along(tmp_path: Path) -> None:
    folder = tmp_path / "examples"
    for part in ("images", "labels"):
        (folder / part).mkdir(parents=True)
    for seed in range(2):
        for part, pixels in zip(("images", "labels"), drawing("disc", seed), strict=True):
            Image.fromarray(pixels).save(folder / part / f"{seed}.png")
    card = {"id": "discs", "title": "Discs", "modality": "drawing", "labels": {"1": "disc"}, "license": "CC BY 4.0"}
    (folder / "meta.json").write_text(json.dumps(card))
    run("save-task", "--support", folder, "--out", tmp_path / "disc.task")
    (source,) = Segmenter.load_task(tmp_path / "disc.task", device="cpu").image_sources
    assert (source.title, source.licence) == ("Discs", "CC BY 4.0")
