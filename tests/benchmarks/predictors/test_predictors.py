"""Predictors are found by name; weights of both kinds load."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.predictors import PATTERNS, TUNED, expand, known_predictors, load_predictor, load_predictors
from incontext.networks import checkpoint


def test_names_are_distinct() -> None:
    assert [each.name for each in load_predictors(["mean-mask", "nearest-copy"])] == ["mean-mask", "nearest-copy"]
    with pytest.raises(ValueError, match="expected distinct names, got mean-mask, mean-mask"):
        load_predictors(["mean-mask", "mean-mask"])


def test_all_stands_for_every_predictor_that_is_quick_and_each_network_once() -> None:
    names = expand(["all", "mean-mask", "mine:predict"])
    assert set(names) == known_predictors().keys() - {"default", TUNED} | {"mine:predict"}
    assert not [name for name in names if "prompts" in name]
    assert len(names) == len(set(names))
    assert expand(["panet"]) == ["panet"]


def test_every_name_is_explained() -> None:
    assert {"packaged", "default", "mean-mask", "atlas", "forest", "panet", "unet-full"} < set(known_predictors())
    output = CliRunner().invoke(app, ["list", "predictors"]).stdout
    named, others = output.splitlines()[: -len(PATTERNS)], output.splitlines()[-len(PATTERNS) :]
    assert named == [f"{name}: {known.about}" for name, known in known_predictors().items()]
    assert [line.split(": ")[0] for line in others] == [
        "PATH",
        "MODULE:OBJECT",
        "multiverseg|tyche|seggpt@PATH",
        "packaged-tuned@NAME=VALUE,...",
        "packaged@copies=N",
        "NAME+KIND-STRENGTH",
    ]
    assert CliRunner().invoke(app, ["list"]).stdout == CliRunner().invoke(app, ["list", "suites"]).stdout


def test_what_decides_the_results_is_in_the_fingerprint() -> None:
    assert load_predictor("mean-mask").fingerprint == "mean-mask"  # as in results of old
    atlas, support, full = load_predictors(["atlas", "unet-support", "unet-full"])
    assert len({atlas.fingerprint, support.fingerprint, full.fingerprint}) == 3
    assert atlas.fingerprint == load_predictor("atlas").fingerprint != "atlas"


def test_prototypes_answer_for_what_their_encoder_was_trained_on() -> None:
    panet, packaged = load_predictors(["panet", "packaged"])
    assert panet.provenance == packaged.provenance
    assert panet.provenance["provenance"]["datasets"]


def test_unknown_predictor_is_refused() -> None:
    with pytest.raises(ValueError, match=r"packaged, .*unet-full, a weights file or module:object, got 'oracle'"):
        load_predictor("oracle")


def test_logits_are_divided_by_the_temperature_of_the_file(tmp_path: Path, episodes: Any) -> None:
    from incontext.networks.cross_block import CrossBlockConfig, CrossBlockNet

    path = tmp_path / "ours.safetensors"
    checkpoint.save(path, CrossBlockNet(CrossBlockConfig(encoder_channels=(4, 4), decoder_channels=(4,))), {})
    with torch.inference_mode():
        raw = load_predictor(str(path)).predict(*episodes)
        checkpoint.write_calibration(path, {"temperature": 2.0})
        torch.testing.assert_close(load_predictor(str(path)).predict(*episodes), raw / 2)


def test_weights_files_of_both_kinds_predict(tmp_path: Path, episodes: Any) -> None:
    from incontext.networks.cross_block import CrossBlockConfig, CrossBlockNet
    from incontext.networks.universeg import save_universeg

    network = CrossBlockNet(CrossBlockConfig(encoder_channels=(4, 4), decoder_channels=(4,))).eval()
    checkpoint.save(tmp_path / "ours.safetensors", network, {"trained": "never"})
    save_universeg(network, tmp_path / "official.safetensors")
    ours, official = load_predictors([str(tmp_path / f"{name}.safetensors") for name in ("ours", "official")])
    assert (ours.name, official.name) == ("ours", "official")
    assert ours.provenance["provenance"] == {"trained": "never"}
    assert ours.fingerprint != official.fingerprint
    with torch.inference_mode():
        torch.testing.assert_close(ours.predict(*episodes), official.predict(*episodes), atol=1e-2, rtol=0)


@pytest.mark.parametrize(
    ("place", "fault"), [(slice(-40, -20), "content of checksum"), (slice(20), "expected a safetensors file")]
)
def test_damaged_weights_are_not_taken_for_those_of_others(tmp_path: Path, place: slice, fault: str) -> None:
    path = tmp_path / "ours.safetensors"
    checkpoint.save(path, checkpoint.load_pretrained(), {})
    content = bytearray(path.read_bytes())
    content[place] = b"x" * 20
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"ours\.safetensors is not readable: .*{fault}"):
        load_predictor(str(path))


def test_networks_do_not_mind_who_else_is_in_the_batch(tmp_path: Path, episodes: Any) -> None:
    """But for the last bits, which differ between the kernels for batches of other sizes."""
    from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet

    network = SupportOnceNet(SupportOnceConfig(channels=(4, 8, 8, 8, 8), heads=1, head_channels=4)).eval()
    checkpoint.save(tmp_path / "ours.safetensors", network, {})
    predict = load_predictor(str(tmp_path / "ours.safetensors")).predict
    query, images, labels = episodes
    order = [2, 0, 1]
    with torch.inference_mode():
        alone = predict(query[1:], images[1:, order], labels[1:, order])
        torch.testing.assert_close(alone, predict(*episodes)[1:], atol=1e-4, rtol=0)


def test_few_examples_are_shown_with_copies_and_more_are_not(tmp_path: Path, episodes: Any) -> None:
    from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet

    torch.manual_seed(0)
    network = SupportOnceNet(SupportOnceConfig(channels=(4, 8, 8, 8, 8), heads=1, head_channels=4)).eval()
    checkpoint.save(tmp_path / "ours.safetensors", network, {})
    predict = load_predictor(str(tmp_path / "ours.safetensors")).predict
    plain = replace(predict, few=0)
    query, images, labels = episodes
    more = [torch.cat([each, each[:, :1]], 1) for each in (images, labels)]
    with torch.inference_mode():
        assert torch.equal(predict(query, *more), plain(query, *more))
        found = predict(*episodes)
        moved = predict(*(each.flip(-1) for each in episodes)).flip(-1)
        # Not equal, since labels between two pixels are rounded to one side.
        assert (moved - found).abs().mean() < 0.2 * (found - plain(*episodes)).abs().mean()
        shared = predict.encode_images(images.flatten(0, 1), labels.flatten(0, 1))
        again = predict.segment(query, shared.select(torch.tensor([[0, 1, 2], [3, 4, 5]])))
    torch.testing.assert_close(again, found, atol=1e-4, rtol=0)
