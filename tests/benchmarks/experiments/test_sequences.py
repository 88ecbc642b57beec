"""Films: frames in their order, scored where nobody drew and a structure shows, by the distance from what was drawn."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from benchmarks.experiments import films, sequences
from benchmarks.experiments.bench import Bench, ExperimentOptions
from benchmarks.experiments.films import Film, find_films
from benchmarks.experiments.runner import run_experiment
from benchmarks.plans.task_plans import Settings
from benchmarks.scoring.evaluator import Execution
from incontext import Segmenter
from megamed import Collection
from megamed.build import BuildOptions, build
from megamed.standardise import Standard

CARD = {
    "id": "drifting",
    "role": "dev",
    "modality": "video",
    "labels": {"1": "disc", "2": "corner"},
    "subject_pattern": r"^(film\d)",
    "license": "CC0",
    "shares_patients_with": ["elsewhere"],
}
FRAMES = 4


class Brightness(nn.Module):
    """Finds what is bright, whatever it is shown, but only where a support had its label or beside it."""

    def forward(self, query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
        near = torch.nn.functional.max_pool2d(support_labels.amax(1), 5, 1, 2)
        return 40 * (query_images - 0.5) * near - 20 * (1 - near)


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Collection:
    """Two films of a disc that moves, whose names are out of order as text, and a corner that shows at first only."""
    root = tmp_path_factory.mktemp("films")
    for part in ("images", "labels"):
        (root / "drifting" / part).mkdir(parents=True)
    (root / "drifting" / "meta.json").write_text(json.dumps(CARD))
    rows, columns = np.mgrid[:32, :32]
    for film in (0, 1):
        for frame in range(FRAMES):
            disc = (rows - 16) ** 2 + (columns - 8 - 2 * frame) ** 2 < 25
            label = disc + 2 * ((rows < 4) & (columns < 4) & (frame == 0))
            for part, values in (("images", 40 + 200 * (label > 0)), ("labels", label)):
                path = root / "drifting" / part / f"film{film}_{8 + frame}.png"
                Image.fromarray(values.astype(np.uint8)).save(path)
    with ThreadPoolExecutor(1) as executor:
        build(root, root / "built", BuildOptions(Standard(size_px=32)), executor, lambda *_: None)
    return Collection(root / "built")


@pytest.fixture(autouse=True)
def short_films(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(films, "LEAST_FRAMES", FRAMES)


def test_frames_are_in_the_order_of_their_numbers(collection: Collection) -> None:
    first, second = find_films(collection)
    assert (first.subject, second.subject, first.dataset) == ("film0", "film1", "drifting")
    assert [task.label for task in first.tasks] == ["corner", "disc"]
    discs = first.labels == 2
    assert [round(np.nonzero(disc)[1].mean()) for disc in discs] == [8, 10, 12, 14]
    assert [bool((label == 1).any()) for label in first.labels] == [True, False, False, False]
    assert (first.images[discs] > 200).all()


def test_too_few_images_are_no_film(collection: Collection, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(films, "LEAST_FRAMES", FRAMES + 1)
    assert not list(find_films(collection))


def test_structures_are_scored_where_they_show_and_nobody_drew_them(collection: Collection) -> None:
    film = next(find_films(collection))
    masks = film.labels.copy()
    masks[3] = 0
    found = list(sequences.scored(film, masks, [0, 1]))
    assert [(each.task.rpartition("/")[2], each.distance, each.dice) for each in found] == [
        ("disc", 1, 1),
        ("disc", 2, 0),
    ]
    late = Film(film.subject, film.tasks, film.images, film.labels[::-1])
    assert {each.task.rpartition("/")[2] for each in sequences.scored(late, masks, [0])} == {"disc"}


def test_labels_that_travel_reach_what_moves(collection: Collection, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        sequences, "Segmenter", lambda weights, device: Segmenter(Brightness(), size_px=32, device=device)
    )
    settings = Settings("dev", support_size=1, draws=1, queries=1)
    bench = Bench("sequences", collection, ExperimentOptions(settings), tmp_path / "out", Execution())
    outcome = run_experiment(bench)
    findings = json.loads((tmp_path / "out" / "experiment.json").read_text())
    value = {tuple(point["place"]): point["value"]["mean"] for point in findings["points"]}
    assert value["all", "the first labelled, propagation", "drifting"] > 0.99
    assert value["all", "the first labelled, frame by frame", "drifting"] < 0.9
    assert findings["trained on the same patients"] == {"drifting": []}
    assert "At most 1 films of each dataset" in outcome.table
    assert len(list((tmp_path / "out" / "measured").iterdir())) == len(sequences.LABELLED) * len(sequences.METHODS)
    monkeypatch.setattr(sequences, "measure", lambda *_: pytest.fail("A film is measured anew."))
    assert run_experiment(bench).table == outcome.table


def test_without_a_film_there_is_no_experiment(collection: Collection, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(films, "LEAST_FRAMES", 99)
    bench = Bench("sequences", collection, ExperimentOptions(Settings()), tmp_path / "out", Execution())
    with pytest.raises(ValueError, match="No film was found: expected subjects with twenty labelled images"):
        sequences.sequences(bench)
