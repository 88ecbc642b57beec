"""The mean of networks, and what the file tells of whence it comes."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from incontext.networks import checkpoint
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from incontext.training.averaging import average
from megamed.files import sha256_of

CONFIG = SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8, fitted_channels=4)


def trained(path: Path, seed: int, licence: str = "any", config: SupportOnceConfig = CONFIG, **datasets: str) -> Path:
    torch.manual_seed(seed)
    begun = {"file": "start.safetensors", "sha256": "5eed", "provenance": {}}
    provenance = {"training": {"episodes": {"licence": licence}}, "datasets": datasets, "init_from": begun}
    checkpoint.save(path, SupportOnceNet(config), provenance, torch.float32)
    return path


def test_each_counts_as_much_as_the_others(tmp_path: Path) -> None:
    paths = [trained(tmp_path / f"{seed}.safetensors", seed) for seed in range(3)]
    average(paths, tmp_path / "mean.safetensors")
    *states, mean = (checkpoint.load(path).state_dict() for path in (*paths, tmp_path / "mean.safetensors"))
    for name, value in mean.items():
        expected = torch.stack([state[name] for state in states]).mean(0)
        torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-6)  # written in float16


@pytest.mark.parametrize(("licences", "expected"), [(("open", "open"), "open"), (("open", "any"), "any")])
def test_the_file_tells_whence_it_comes(tmp_path: Path, licences: tuple[str, str], expected: str) -> None:
    first = trained(tmp_path / "a.safetensors", 0, licences[0], eyes="CC0", teeth="MIT")
    second = trained(tmp_path / "b.safetensors", 1, licences[1], eyes="CC0", liver="CC BY")
    average([first, second], tmp_path / "mean.safetensors")
    metadata = checkpoint.read_metadata(tmp_path / "mean.safetensors")
    told = metadata["provenance"]
    assert told["datasets"] == {"eyes": "CC0", "teeth": "MIT", "liver": "CC BY"}
    assert told["training"]["episodes"]["licence"] == expected
    assert [part["sha256"] for part in told["average_of"]] == [sha256_of(first), sha256_of(second)]
    assert "calibration" not in metadata


def test_what_cannot_be_averaged_is_refused_and_nothing_written(tmp_path: Path) -> None:
    small = trained(tmp_path / "small.safetensors", 0)
    large = trained(tmp_path / "large.safetensors", 0, config=replace(CONFIG, channels=(8, 8, 16)))
    out = tmp_path / "mean.safetensors"
    with pytest.raises(ValueError, match=r"large.safetensors cannot be averaged with .*small.safetensors: expected"):
        average([small, large], out)
    with pytest.raises(ValueError, match="too few to average: expected two files or more, got 1"):
        average([small], out)
    assert not out.exists()


def test_strangers_are_averaged_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = (trained(tmp_path / f"{seed}.safetensors", seed) for seed in range(2))
    average([first, second], tmp_path / "mean.safetensors")
    average([tmp_path / "mean.safetensors", first], tmp_path / "again.safetensors")
    assert not caplog.messages
    torch.manual_seed(2)
    checkpoint.save(tmp_path / "alone.safetensors", SupportOnceNet(CONFIG), {})
    average([first, tmp_path / "alone.safetensors"], tmp_path / "strange.safetensors")
    assert re.search(r"alone.safetensors went on from no weights in common", caplog.text)
