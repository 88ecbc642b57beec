"""The rows of the studies are real configurations, and a trial is measured once."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.experiments import study
from benchmarks.experiments.network_variants import VARIANTS
from benchmarks.experiments.prompted_variants import PROMPTED_VARIANTS
from benchmarks.experiments.study import Trial, configure, rows, run_study
from incontext.networks import checkpoint
from incontext.networks.cross_block import CrossBlockConfig
from incontext.networks.prompted import PromptedConfig
from incontext.networks.support_once import SupportOnceConfig
from incontext.training.config import TrainConfig
from megamed import manifest
from megamed.files import exclusive


def test_every_row_but_the_default_changes_something():
    known = {"network": VARIANTS, "prompts": PROMPTED_VARIANTS}
    for of, variants in known.items():
        default = configure(Trial("default", 3, 9, of))
        for row, override in rows(of).items():
            changed = configure(Trial(row, 3, 9, of)) != default
            assert (changed or override.get("variant") in variants) == (row != "default"), row
    assert configure(Trial("default", 3, 9)) == TrainConfig(seed=3, steps=9, workers=1)


def test_a_row_keeps_what_it_does_not_name():
    config = configure(Trial("keys without position", 0, 9))
    assert config.network == SupportOnceConfig(positions=False)
    assert isinstance(configure(Trial("cross-block, pyramid", 0, 9)).network, CrossBlockConfig)


def test_a_row_of_the_study_of_prompts_keeps_what_its_default_names():
    wide, once = (configure(Trial(row, 0, 9, "prompts")) for row in ("wide", "one round"))
    assert wide.network == PromptedConfig(channels=(24, 48, 96, 128, 128), geodesic=True)
    assert (once.prompts.rounds, once.prompts.centre_share, once.episodes.set_sizes) == (1, 0.6, (2, 3, 5))


def test_prompts_are_learned_in_the_shape_of_the_packaged_weights():
    packaged = checkpoint.Checkpoint.read(checkpoint.PACKAGED.with_name("default-prompts.safetensors"))
    assert configure(Trial("default", 0, 9, "prompts")).network == packaged.config


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
        patch.setattr(study, "rows", lambda _: {"default": {"learning_rate": 1e-3}})
        run_study(tmp_path, out, [trial])
    (tmp_path / manifest.NAME).write_text("two")
    with refused:
        run_study(tmp_path, out, [trial])


def test_one_study_at_a_time_writes_to_a_folder(tmp_path):
    with exclusive(tmp_path), pytest.raises(ValueError, match="expected to study there alone"):
        run_study(tmp_path, tmp_path, [])


def test_studies_of_one_folder_do_not_mix(tmp_path):
    assert Trial("default", 0, 9).folder(tmp_path) != Trial("default", 0, 9, "prompts").folder(tmp_path)


def test_a_result_on_prompts_is_of_the_weights_beside(tmp_path, monkeypatch):
    (tmp_path / manifest.NAME).touch()
    trials = [Trial("default", 0, 9, of) for of in ("network", "prompts")]
    before = [study._made_of(tmp_path, trial) for trial in trials]
    monkeypatch.setattr(checkpoint, "locate", lambda _: tmp_path / manifest.NAME)
    after = [study._made_of(tmp_path, trial) for trial in trials]
    assert (before[0] == after[0], before[1] == after[1]) == (True, False)
