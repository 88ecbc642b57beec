"""Configurations are read from TOML, say what is wrong with them in one line, and decide the learning rate."""

import pytest

from incontext.networks.cross_block import CrossBlockConfig
from incontext.networks.support_once import SupportOnceConfig
from incontext.training.config import TrainConfig, read_config


def test_the_shipped_default_is_the_default():
    assert read_config("default") == TrainConfig()


def test_the_shipped_open_config_uses_open_data_and_tasks_from_noise():
    config = read_config("open")
    assert config.episodes.licence == "open"
    assert config.episodes.synthetic_share > 0


@pytest.mark.parametrize(
    "network", [SupportOnceConfig(channels=(8, 8, 8)), CrossBlockConfig((4, 4), (4,))], ids=["support-once", "cross"]
)
def test_write_then_read_is_identity(network):
    config = TrainConfig(network=network, minutes=2.5)
    assert TrainConfig.model_validate_json(config.model_dump_json()) == config


def test_a_file_states_what_differs_from_the_default(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('schedule = "cosine"\nsteps = 5\n[network]\nfamily = "cross-block"\n[episodes]\nset_sizes = [2]\n')
    config = read_config(str(path), steps=7, seed=None)
    assert config == TrainConfig(
        schedule="cosine",
        steps=7,
        network=CrossBlockConfig(),
        episodes=config.episodes.model_copy(update={"set_sizes": (2,)}),
    )


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("steps = 0", "steps: Input should be greater than 0"),
        ("step = 1", "step is no setting"),
        ("[episodes]\nset_size = 1", "episodes.set_size is no setting"),
        ('[loss]\npixel = "hinge"', "loss.pixel: Input should be 'cross-entropy' or 'focal'"),
        ('[network]\nfamily = "mystery"', "network: expected a table whose family is support-once or cross-block"),
        ("network = 3", "network: expected a table whose family is"),
        ("[network]\ndepth = 3", "network.support-once: expected settings out of .*channels.*, got depth"),
        ('[network]\nchannels = ["a"]', "network.support-once.channels.0: Input should be a valid integer"),
        ("[network]\nchannels = [8]", "channels describe too few stages"),
        ("steps = ", "mine.toml is not readable: expected TOML, got: "),
    ],
    ids=range(10),
)
def test_a_mistake_is_told_in_one_line(text, error, tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=error) as caught:
        read_config(str(path))
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_told():
    with pytest.raises(FileNotFoundError, match=r"expected default, open, prompted or a TOML file, got else"):
        read_config("elsewhere.toml")


def test_a_plateau_warms_up_stays_and_falls():
    config = TrainConfig(learning_rate=1.0, warmup_steps=9, decay_share=0.2)
    found = [config.learning_rate_at(step, step / 100) for step in (0, 9, 50, 80, 90, 99, 100)]
    assert found == pytest.approx([0.1, 1, 1, 1, 0.5, 0.05, 0])


def test_a_cosine_warms_up_and_falls():
    config = TrainConfig(learning_rate=1.0, warmup_steps=9, schedule="cosine")
    found = [config.learning_rate_at(step, step / 100) for step in (0, 25, 50, 75, 100)]
    assert found == pytest.approx([0.1, 0.853553, 0.5, 0.146447, 0], abs=1e-6)


def test_without_decay_the_learning_rate_stays():
    assert TrainConfig(learning_rate=1.0, decay_share=0.0).learning_rate_at(7999, 7999 / 8000) == 1
