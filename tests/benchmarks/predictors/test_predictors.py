"""Baselines by hand and by law; weights of both kinds load."""

from pathlib import Path

import pytest
import torch

from benchmarks.predictors import Predictor, load_predictor, load_predictors, mean_mask, nearest_copy


def episode(batch: int = 2, support: int = 3, size: int = 8) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(batch, support, 1, size, size, generator=generator)
    labels = (torch.rand(batch, support, 1, size, size, generator=generator) > 0.5).float()
    return torch.rand(batch, 1, size, size, generator=generator), images, labels


def test_mean_mask_by_hand() -> None:
    labels = torch.tensor([[1.0, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 0], [1, 0, 1, 0]]).reshape(1, 4, 1, 1, 4)
    logits = mean_mask(torch.zeros(1, 1, 1, 4), torch.zeros(1, 4, 1, 1, 4), labels)
    assert (logits >= 0).flatten().tolist() == [True, True, True, False]  # half of the labels is enough


def test_nearest_copy_returns_the_label_of_the_image_itself() -> None:
    _, images, labels = episode()
    for place in range(3):
        logits = nearest_copy(images[:, place], images, labels)
        assert torch.equal(logits >= 0, labels[:, place] > 0)


@pytest.mark.parametrize("predictor", [mean_mask, nearest_copy])
def test_support_order_is_irrelevant_and_batched_equals_one_at_a_time(predictor: Predictor) -> None:
    query, images, labels = episode()
    logits = predictor(query, images, labels)
    order = [2, 0, 1]
    torch.testing.assert_close(predictor(query, images[:, order], labels[:, order]), logits)
    torch.testing.assert_close(predictor(query[1:], images[1:], labels[1:]), logits[1:])


def test_names_are_distinct() -> None:
    assert [each.name for each in load_predictors(["mean-mask", "nearest-copy"])] == ["mean-mask", "nearest-copy"]
    with pytest.raises(ValueError, match="expected distinct names, got mean-mask, mean-mask"):
        load_predictors(["mean-mask", "mean-mask"])


def test_unknown_predictor_is_refused() -> None:
    with pytest.raises(ValueError, match="expected mean-mask, nearest-copy, packaged or a weights file, got 'oracle'"):
        load_predictor("oracle")


def test_logits_are_divided_by_the_temperature_of_the_file(tmp_path: Path) -> None:
    from incontext import checkpoint
    from incontext.model import CrossBlockConfig, CrossBlockNet

    path = tmp_path / "ours.safetensors"
    checkpoint.save(path, CrossBlockNet(CrossBlockConfig(encoder_channels=(4, 4), decoder_channels=(4,))), {})
    with torch.inference_mode():
        raw = load_predictor(str(path)).predict(*episode())
        checkpoint.write_calibration(path, {"temperature": 2.0})
        torch.testing.assert_close(load_predictor(str(path)).predict(*episode()), raw / 2)


def test_weights_files_of_both_kinds_predict(tmp_path: Path) -> None:
    from incontext import checkpoint
    from incontext.model import CrossBlockConfig, CrossBlockNet
    from incontext.universeg import save_universeg

    network = CrossBlockNet(CrossBlockConfig(encoder_channels=(4, 4), decoder_channels=(4,))).eval()
    checkpoint.save(tmp_path / "ours.safetensors", network, {"trained": "never"})
    save_universeg(network, tmp_path / "official.safetensors")
    ours, official = load_predictors([str(tmp_path / f"{name}.safetensors") for name in ("ours", "official")])
    assert (ours.name, official.name) == ("ours", "official")
    assert ours.provenance["provenance"] == {"trained": "never"}
    assert ours.fingerprint != official.fingerprint
    with torch.inference_mode():
        torch.testing.assert_close(ours.predict(*episode()), official.predict(*episode()), atol=1e-2, rtol=0)
