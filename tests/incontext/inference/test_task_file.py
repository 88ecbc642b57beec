"""Tasks in files: what is loaded predicts what was saved, and nothing hostile gets through."""

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from incontext import Segmenter
from incontext.images.examples import Examples
from incontext.images.source_image import read_source_image
from incontext.inference import task_file
from incontext.inference.task_file import Weights, describe_task, find_weights, is_task, read_task
from incontext.networks import checkpoint
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from megamed.files import sha256_of

RNG = np.random.default_rng(0)
LABELS = [np.pad(np.ones((12, 8 + 2 * i), dtype=np.uint8), ((6, 14), (5 + i, 19 - 3 * i))) for i in range(4)]
IMAGES = [(40 + 150 * label + RNG.integers(0, 40, label.shape)).astype(np.uint8) for label in LABELS]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    network = SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8))
    checkpoint.save(path, network, {})
    return path


@pytest.fixture
def task(weights: Path, tmp_path: Path) -> Path:
    return Segmenter(weights, size_px=32, device="cpu").fit(IMAGES[1:], LABELS[1:]).save_task(tmp_path / "disc.task")


def by_name() -> dict[str, list[np.ndarray | None]]:
    return {"left": [LABELS[1], None, LABELS[3]], "right": [LABELS[2], LABELS[2], None]}


@pytest.mark.parametrize(
    ("labels", "params"),
    [
        (LABELS[1:], {}),
        (by_name(), {"overlap": True, "support": "random", "support_size": 2, "ensemble": 2, "seed": 3}),
        (LABELS[1:], {"tiling": 20, "scaling": "window", "flips": True}),
        ([3 * label for label in LABELS[1:]], {"support": "nearest", "support_size": 1, "size_px": 48}),
    ],
    ids=["map", "by name", "tiles", "nearest"],
)
@pytest.mark.filterwarnings("ignore:support_labels")
def test_what_is_loaded_predicts_what_was_saved(
    labels: Any, params: dict[str, Any], weights: Path, tmp_path: Path
) -> None:
    saved = Segmenter(weights, device="cpu", **{"size_px": 32, **params}).fit(IMAGES[1:], labels)
    loaded = Segmenter.load_task(saved.save_task(tmp_path / "a.task"), weights, "cpu")
    assert loaded.get_params() == saved.get_params()
    ours, theirs = saved.predict(IMAGES[:2]), loaded.predict(IMAGES[:2])
    for index in range(2):
        np.testing.assert_array_equal(theirs.probabilities[index], ours.probabilities[index])
        np.testing.assert_array_equal(theirs[index], ours[index])
    assert theirs.classes == ours.classes
    assert (theirs.report.normalisation, theirs.report.tiling) == (ours.report.normalisation, ours.report.tiling)
    assert theirs.report.label_budget == ours.report.label_budget


def test_a_task_remembers_that_labels_number_objects(weights: Path, tmp_path: Path) -> None:
    saved = Segmenter(weights, size_px=32, device="cpu").fit(IMAGES[1:], LABELS[1:])
    assert not Segmenter.load_task(saved.save_task(tmp_path / "a.task"), weights, "cpu").fitted.has_objects
    saved._fitted = replace(saved.fitted, has_objects=True)
    assert Segmenter.load_task(saved.save_task(tmp_path / "b.task"), weights, "cpu").fitted.has_objects


def test_a_task_is_described(weights: Path, tmp_path: Path) -> None:
    fitted = Segmenter(weights, size_px=32, device="cpu").fit(IMAGES[1:], by_name())
    path = fitted.save_task(tmp_path / "a.task", author="A. Person, Some Clinic")
    assert is_task(path)
    assert not is_task(weights)
    found = describe_task(path)
    assert found["classes"] == {
        1: {"name": "left", "labelled_images": 2},
        2: {"name": "right", "labelled_images": 2},
    }
    assert (found["labelled_images"], found["author"]) == (3, "A. Person, Some Clinic")
    assert found["weights"] == {"name": "tiny.safetensors", "sha256": sha256_of(weights)}
    assert found["parameters"]["size_px"] == 32
    assert found["size_bytes"] == path.stat().st_size


def test_a_task_of_nobody_has_no_author(task: Path) -> None:
    assert describe_task(task)["author"] is None


def test_a_loaded_task_warns_as_the_saved_one(weights: Path, task: Path) -> None:
    loaded = Segmenter.load_task(task, weights, "cpu")
    with pytest.warns(UserWarning, match="images differ from support_images in contrast"):
        loaded.predict([255 - image for image in IMAGES])


def test_a_volume_s_sample_goes_there_and_back(tmp_path: Path, weights: Path) -> None:
    volume = RNG.normal(0, 100, (5, 20, 24))
    label = np.zeros((5, 20, 24), dtype=np.uint8)
    label[1, 5:15, 5:15] = 2
    saved = Segmenter(weights, size_px=32, device="cpu").fit(volume, label, {2: "liver"})
    found = read_task(saved.save_task(tmp_path / "a.task")).fitted
    (sample,), (kept,) = found.sample, saved.fitted.sample
    np.testing.assert_array_equal(sample.case.planes, kept.case.planes)
    np.testing.assert_array_equal(sample.masks[2], kept.masks[2])
    assert found.names == {2: "liver"}


def test_no_path_is_told(weights: Path, tmp_path: Path) -> None:
    for index, (image, label) in enumerate(zip(IMAGES, LABELS, strict=True)):
        np.save(tmp_path / f"JaneDoe{index}.npy", image)
        np.save(tmp_path / f"JaneDoe{index}_label.npy", label)
    images = [tmp_path / f"JaneDoe{index}.npy" for index in range(4)]
    labels = [tmp_path / f"JaneDoe{index}_label.npy" for index in range(4)]
    content = Segmenter(weights, size_px=32).fit(images, labels).save_task(tmp_path / "a.task").read_bytes()
    assert b"JaneDoe" not in content
    assert str(weights.parent).encode() not in content


def test_weights_are_found_beside_the_task_and_by_hash_alone(weights: Path, task: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"not at hand: expected tiny.safetensors of SHA-256 \w{64}, got"):
        Segmenter.load_task(task)
    beside = task.parent / weights.name
    beside.write_bytes(weights.read_bytes())
    assert Segmenter.load_task(task).weights == beside
    beside.write_bytes(weights.read_bytes() + b" ")
    with pytest.raises(FileNotFoundError, match="not at hand"):
        Segmenter.load_task(task)
    moved = task.parent / "renamed.safetensors"
    moved.write_bytes(weights.read_bytes())
    assert Segmenter.load_task(task, moved).weights == moved


def test_packaged_weights_go_by_their_name() -> None:
    packaged = Weights(name="default", sha256=sha256_of(checkpoint.PACKAGED))
    assert find_weights(packaged, ["default", "no such file"]) == "default"


def test_a_module_cannot_be_saved(tmp_path: Path) -> None:
    network = SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8))
    with pytest.raises(ValueError, match="task cannot be saved: expected weights that come from a file"):
        Segmenter(network, size_px=32).fit(IMAGES, LABELS).save_task(tmp_path / "a.task")
    with pytest.raises(ValueError, match="knows no examples"):
        Segmenter(network).save_task(tmp_path / "a.task")


def rewrite(path: Path, change: Callable[[dict, dict], None]) -> None:
    """Change the header and the tensors of a task."""
    with safe_open(path, "pt") as file:
        head, tensors = json.loads(file.metadata()["task"]), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    change(head, tensors)
    save_file({name: each.contiguous() for name, each in tensors.items()}, path, {"task": json.dumps(head)})


def _put(*places: str, value: Any) -> Callable[[dict, dict], None]:
    def change(head: dict, tensors: dict) -> None:
        for place in places[:-1]:
            head = head[place]
        head[places[-1]] = value

    return change


def _tensor(name: str, edit: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[dict, dict], None]:
    return lambda _, tensors: tensors.update({name: edit(tensors[name])})


SHARED = {"low": 0, "high": 5, "quartiles": [[1, 2], [2, 3], [3, 4]], "shares": [[0, 0.5]] * 3}
HOSTILE: dict[str, Callable[[dict, dict], None]] = {
    "later version": _put("version", value=2),
    "unknown field": _put("run", value="rm"),
    "unknown parameter": _put("parameters", "device", value="cpu"),
    "weights up the tree": _put("weights", "name", value="../../secret"),
    "weights by a path": _put("weights", "name", value="/etc/passwd"),
    "weights by a path of Windows": _put("weights", "name", value="C:\\secret"),
    "no classes": _put("names", value={}),
    "class 0": _put("names", value={"0": "air"}),
    "more classes than labels": _put("names", value={"1": "a", "2": "b"}),
    "huge squares": _put("size_px", value=10**9),
    "other squares": _put("size_px", value=64),
    "window upside down": _put("normalisation", value={"kind": "window", "low": 5, "high": 1, "reason": ""}),
    "window of one end": _put("normalisation", value={"kind": "window", "low": 0.5, "high": None, "reason": ""}),
    "window that is open below": _put("normalisation", value={"kind": "window", "high": 5, "reason": ""}),
    "endless window": _put("normalisation", value={"kind": "window", "low": 0, "high": 1e999, "reason": ""}),
    "shared scale upside down": _put("normalisation", "shared", value=SHARED | {"low": 9}),
    "endless shared scale": _put("normalisation", "shared", value=SHARED | {"high": 1e999}),
    "quartile without end": _put("normalisation", "shared", value=SHARED | {"shares": [[0, 1e999]] * 3}),
    "no way of scaling": _put("normalisation", "kind", value="eval"),
    "tiles of nothing": _put("tiling", "side_px", value=0),
    "tiles of a pixel": _put("tiling", "side_px", value=1),
    "tiles of a world": _put("tiling", "side_px", value=10**12),
    "tiles of a pixel, asked for": _put("parameters", "tiling", value=1),
    "tiles of no kind": _put("parameters", "tiling", value="some"),
    "endless ensemble": _put("parameters", "ensemble", value=10**9),
    "no ensemble": _put("parameters", "ensemble", value=0),
    "endless seed": _put("parameters", "seed", value=10**30),
    "another library": _put("parameters", "backend", value="tensorflow"),
    "another scaling": _put("parameters", "scaling", value="best"),
    "squares of a pixel": _put("parameters", "size_px", value=1),
    "no support": _put("parameters", "support_size", value=-1),
    "endless name": _put("names", value={"1": "a" * 10**6}),
    "spacing of nothing": lambda head, _: head["sample"][0].update(spacing_mm=[0, 1, 1]),
    "endless spacing": lambda head, _: head["sample"][0].update(spacing_mm=[1e999, 1, 1]),
    "a rule that is none": _put("parameters", "support", value="best"),
    "fewer samples": _put("sample", value=[]),
    "not a number": _tensor("images", lambda each: each * torch.nan),
    "too bright": _tensor("images", lambda each: each + 1),
    "half precision": _tensor("images", lambda each: each.half()),
    "an image too few": _tensor("images", lambda each: each[1:]),
    "no origins": _tensor("origins", lambda each: each[:0]),
    "empty labels": _tensor("labels", torch.zeros_like),
    "no sample": _tensor("sample.0.planes", lambda each: each[:0]),
    "flat sample": _tensor("sample.0.planes", lambda each: each[0]),
    "infinite sample": _tensor("sample.0.planes", lambda each: each.float() + torch.inf),
    "other masks": _tensor("sample.0.masks", lambda each: each[:, 1:]),
    "one tensor more": lambda _, tensors: tensors.update({"../../evil": torch.zeros(1)}),
    "one tensor less": lambda _, tensors: tensors.pop("annotated"),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE)
def test_what_was_tampered_with_is_refused(change: Callable[[dict, dict], None], task: Path, weights: Path) -> None:
    Segmenter.load_task(task, weights)
    rewrite(task, change)
    with pytest.raises(ValueError, match=r"is no readable task") as found:
        Segmenter.load_task(task, weights)
    assert str(found.value).isprintable()


def test_a_changed_byte_is_noticed(task: Path, weights: Path) -> None:
    content = task.read_bytes()
    for place in (content.index(b"min-max"), content.index(b"ensemble"), len(content) // 2, len(content) - 1):
        task.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(ValueError, match="is no readable task"):
            Segmenter.load_task(task, weights)


def test_more_in_the_header_is_of_a_later_version(task: Path, weights: Path) -> None:
    with safe_open(task, "pt") as file:
        head = file.metadata()["task"]
    save_file(task_file.read_tensors(task), task, {"task": head, "presence": "{}"})
    with pytest.raises(ValueError, match=r"presence: Extra inputs .* or update incontext-seg"):
        Segmenter.load_task(task, weights)


def _declaring(size: int, shape: list[int]) -> bytes:
    tensor = {"dtype": "F32", "shape": shape, "data_offsets": [0, size]}
    header = json.dumps({"images": tensor}).encode()
    return struct.pack("<Q", len(header)) + header


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 a zip",
        b"\x80\x04\x95 a pickle",
        struct.pack("<Q", 2**63) + b"{}",
        _declaring(2**60, [2**58]),
        _declaring(4, [2**62, 2**62]),
        _declaring(0, [0]),
    ],
    ids=["empty", "zip", "pickle", "huge header", "huge tensor", "overflow", "no header"],
)
def test_what_is_no_task_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.task").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.task is no readable task"):
        Segmenter.load_task(tmp_path / "a.task")


def test_a_file_cut_short_or_too_large_is_refused(task: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(task_file, "MOST_BYTES", 100)
    with pytest.raises(ValueError, match="expected at most 100 bytes"):
        read_task(task)
    monkeypatch.undo()
    task.write_bytes(task.read_bytes()[:-1])
    with pytest.raises(ValueError, match="is no readable task"):
        read_task(task)
    with pytest.raises(FileNotFoundError, match="task is missing"):
        read_task(task.parent / "other.task")


def test_a_failed_write_leaves_the_old_file(task: Path, weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = task.read_bytes()
    monkeypatch.setattr(task_file, "save_sealed", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        Segmenter.load_task(task, weights).save_task(task)
    assert task.read_bytes() == before


def test_eight_bit_images_stay_small() -> None:
    (example,) = Examples(IMAGES[0], LABELS[0])
    assert task_file._narrowed(example.case.planes).dtype == np.uint8
    assert task_file._narrowed(read_source_image(IMAGES[0] * 0.5, "image").planes).dtype == np.float32
