"""Official weights: the reference outputs, exact round trips, and files that do not fit."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from incontext.networks.cross_block import CrossBlockConfig, CrossBlockNet
from incontext.networks.universeg import (
    export_universeg,
    import_universeg,
    load_universeg,
    save_universeg,
    to_official,
)

WEIGHTS = "reference/universeg_v1_random_state_dict.safetensors"
OUTPUTS = "reference/universeg_v1_random_forward.npz"


@pytest.mark.parametrize("grad", [True, False], ids=["training", "streaming"])
@pytest.mark.parametrize("case", ["b1s1h128w128", "b2s3h64w64", "b1s8h32w48"])
def test_reproduces_the_official_network(shared: Path, case: str, grad: bool) -> None:
    network = load_universeg(shared / WEIGHTS)
    with np.load(shared / OUTPUTS, allow_pickle=False) as file:
        *inputs, logits = (
            torch.from_numpy(file[f"{case}/{name}"]).float()
            for name in ("query_images", "support_images", "support_labels", "logits")
        )
    with torch.set_grad_enabled(grad):
        torch.testing.assert_close(network(*inputs).detach(), logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_official_weights_survive_a_round_trip_exactly(shared: Path, tmp_path: Path, suffix: str) -> None:
    official = load_file(shared / WEIGHTS)
    network = load_universeg(shared / WEIGHTS)
    assert not network.training
    save_universeg(network, tmp_path / f"again{suffix}")
    again = to_official(load_universeg(tmp_path / f"again{suffix}").state_dict())
    assert again.keys() == official.keys()
    assert all(torch.equal(again[name], official[name]) for name in official)


@pytest.mark.parametrize("plan", [CrossBlockConfig((2, 3), (4,)), CrossBlockConfig((4, 3, 2), (1, 5))])
def test_any_plan_is_read_off_the_weights(tmp_path: Path, plan: CrossBlockConfig) -> None:
    save_universeg(CrossBlockNet(plan), tmp_path / "weights.pt")
    assert load_universeg(tmp_path / "weights.pt").config == plan


def test_conversion_there_and_back_changes_no_weight(tmp_path: Path) -> None:
    save_universeg(CrossBlockNet(CrossBlockConfig((3, 2), (4,))), tmp_path / "official.safetensors")
    import_universeg(tmp_path / "official.safetensors", tmp_path / "ours.safetensors")
    export_universeg(tmp_path / "ours.safetensors", tmp_path / "back.safetensors")
    first, last = (load_file(tmp_path / f"{name}.safetensors") for name in ("official", "back"))
    assert first.keys() == last.keys()
    assert all(torch.equal(first[name], last[name]) for name in first)


def test_official_names() -> None:
    names = list(to_official(CrossBlockNet(CrossBlockConfig((2, 2), (2,))).state_dict()))
    assert names[0] == "enc_blocks.0.cross.cross_conv.weight"
    assert names[2] == "enc_blocks.0.target.vmapped.conv.weight"
    assert names[4] == "enc_blocks.0.support.vmapped.conv.weight"
    assert names[-2:] == ["out_conv.conv.weight", "out_conv.conv.bias"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"extra": torch.ones(1)}, r"at extra: expected no such tensor, got \(1,\)"),
        ({"out_conv.conv.bias": torch.ones(2)}, r"at out_conv.conv.bias: expected \(1,\), got \(2,\)"),
        ({"out_conv.conv.bias": None}, r"at out_conv.conv.bias: expected \(1,\), got no such tensor"),
        ({"out_conv.conv.bias": torch.tensor([torch.nan])}, "at out_conv.conv.bias: expected finite numbers"),
        ({"enc_blocks.0.target.vmapped.conv.bias": None}, "expected at least two 'enc_blocks' .* got 0 and 1"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    tmp_path: Path, change: dict[str, torch.Tensor | None], message: str
) -> None:
    state = to_official(CrossBlockNet(CrossBlockConfig((2, 2), (2,))).state_dict()) | change
    save_file({name: value for name, value in state.items() if value is not None}, tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match=message):
        load_universeg(tmp_path / "bad.safetensors")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_files_that_are_no_weights_are_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"text{suffix}"
    path.write_text("not weights")
    with pytest.raises(ValueError, match="is not readable: expected tensors"):
        load_universeg(path)


def test_weights_that_claim_to_be_huge_take_no_memory(tmp_path: Path) -> None:
    state = to_official(CrossBlockNet(CrossBlockConfig((2, 2), (2,))).state_dict())
    torch.save(state | {"enc_blocks.0.target.vmapped.conv.bias": torch.ones(1).expand(10**12)}, tmp_path / "huge.pt")
    with pytest.raises(ValueError, match="encoder_channels is unusable: expected 1 to 4096, got 1000000000000"):
        load_universeg(tmp_path / "huge.pt")


def test_names_that_are_no_names_are_refused(tmp_path: Path) -> None:
    torch.save({1: torch.ones(1), "a": torch.ones(1)}, tmp_path / "numbers.pt")
    with pytest.raises(ValueError, match="is no state dict"):
        load_universeg(tmp_path / "numbers.pt")


def test_pickles_of_other_objects_are_refused(tmp_path: Path) -> None:
    torch.save(CrossBlockNet(CrossBlockConfig((2, 2), (2,))), tmp_path / "module.pt")
    with pytest.raises(ValueError, match="is not readable: expected tensors"):
        load_universeg(tmp_path / "module.pt")
    torch.save({"step": 3}, tmp_path / "nested.pt")
    with pytest.raises(ValueError, match="is no state dict"):
        load_universeg(tmp_path / "nested.pt")


def test_other_networks_and_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected a CrossBlockNet, got Identity"):
        save_universeg(torch.nn.Identity(), tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"expected .pt, .pth or .safetensors, got weights.onnx"):
        save_universeg(CrossBlockNet(CrossBlockConfig((2, 2), (2,))), tmp_path / "weights.onnx")
    with pytest.raises(FileNotFoundError):
        load_universeg(tmp_path / "absent.pt")


def test_a_checkpoint_of_somebody_else_is_not_replaced(tmp_path: Path) -> None:
    save_universeg(CrossBlockNet(CrossBlockConfig((3, 2), (4,))), source := tmp_path / "official.pt")
    (out := tmp_path / "ours.safetensors").write_bytes(b"mine")
    with pytest.raises(ValueError, match=r"ours\.safetensors is somebody's own: .* Move it away"):
        import_universeg(source, out)
    assert out.read_bytes() == b"mine"
    out.unlink()
    for _ in range(2):
        import_universeg(source, out)
    with pytest.raises(ValueError, match=r"official\.pt is somebody's own"):
        export_universeg(out, source)
