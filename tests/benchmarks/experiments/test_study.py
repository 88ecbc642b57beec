"""The study's rows are real configurations, and its table says what was measured."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.experiments import study
from benchmarks.experiments.network_variants import VARIANTS
from benchmarks.experiments.study import Trial, configure, rows, run_study, table
from incontext.networks.cross_block import CrossBlockConfig
from incontext.networks.support_once import SupportOnceConfig
from incontext.training.config import TrainConfig
from megamed import manifest
from megamed.files import exclusive


@pytest.mark.parametrize("row", rows())
def test_every_row_but_the_default_changes_something(row):
    changed = configure(row, seed=3, steps=9) != TrainConfig(seed=3, steps=9, workers=1)
    assert (changed or rows()[row].get("variant") in VARIANTS) == (row != "default")


def test_a_row_keeps_what_it_does_not_name():
    config = configure("keys without position", seed=0, steps=9)
    assert config.network == SupportOnceConfig(positions=False)
    assert isinstance(configure("cross-block, pyramid", seed=0, steps=9).network, CrossBlockConfig)


def test_an_unknown_row_is_refused_before_anything_is_trained(tmp_path):
    with pytest.raises(ValueError, match="Unknown row 'taller'"):
        run_study(tmp_path, tmp_path, [Trial("taller", 0, 9)])


def test_a_damaged_result_is_named_with_the_remedy(tmp_path):
    trial = Trial("default", 0, 9)
    (tmp_path / manifest.NAME).touch()
    trial.folder(tmp_path).mkdir()
    (trial.folder(tmp_path) / "result.json").touch()
    with pytest.raises(ValueError, match=r"result\.json is damaged: .* got an empty file\. Delete it"):
        run_study(tmp_path, tmp_path, [trial])


def test_a_result_of_another_collection_or_configuration_is_refused(tmp_path, monkeypatch):
    def measured(*_: object) -> dict[str, object]:
        return {"row": "default"}

    def here(_: int) -> ThreadPoolExecutor:
        return ThreadPoolExecutor(1)

    monkeypatch.setattr(study, "local_executor", here)
    monkeypatch.setattr(study, "measure", measured)
    (tmp_path / manifest.NAME).write_text("one")
    trial, out = Trial("default", 0, 9), tmp_path / "out"
    first = run_study(tmp_path, out, [trial])
    assert run_study(tmp_path, out, [trial]) == first
    refused = pytest.raises(ValueError, match=r"result\.json is the result of another trial: .* delete the folder")
    with monkeypatch.context() as patch, refused:
        patch.setattr(study, "rows", lambda: {"default": {"learning_rate": 1e-3}})
        run_study(tmp_path, out, [trial])
    (tmp_path / manifest.NAME).write_text("two")
    with refused:
        run_study(tmp_path, out, [trial])


def test_one_study_at_a_time_writes_to_a_folder(tmp_path):
    with exclusive(tmp_path), pytest.raises(ValueError, match="expected to study there alone"):
        run_study(tmp_path, tmp_path, [])


def test_seeds_of_a_row_share_a_line_and_the_best_row_comes_first():
    def result(row: str, seed: int, dice: float) -> dict[str, object]:
        cost = {"1": 0.5, "200": 2.0}
        return {
            "row": row,
            "seed": seed,
            "steps": 100,
            "queries_learnt": 1.25,
            "dev_dice": {"a": dice, "b": dice + 0.1},
            "query_cost": dict.fromkeys(("1", "16", "64"), cost),
        }

    text = table([result("plain", 0, 0.4), result("good", 0, 0.5), result("good", 1, 0.6)], "study --row")
    assert text.splitlines()[2:] == [
        '| `study --row "good"` | 60.0 (55.0, 65.0) | 100 | 1.25 | 0.50 / 0.50 / 0.50 | 2.00 / 2.00 / 2.00 |',
        '| `study --row "plain"` | 45.0 | 100 | 1.25 | 0.50 / 0.50 / 0.50 | 2.00 / 2.00 / 2.00 |',
    ]
