"""A hundred damaged inputs: no traceback, no good subject lost, every reject named with its reason."""

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from megamed import Collection
from megamed.build import BuildReport
from megamed.collection import verify

nibabel = pytest.importorskip("nibabel")

GOOD, DAMAGED = 12, 100
SIZE_PX = 24
PICTURES = (".png", ".jpg", ".tif", ".bmp", ".gif", ".npy")
VOLUMES = (
    ".nii",
    ".nii.gz",
    *((".nrrd",) if find_spec("nrrd") else ()),
    *((".mha",) if find_spec("SimpleITK") else ()),
)
CARD = {"id": "damaged", "modality": "MRI", "labels": {"1": "disc", "2": "ring"}, "license": "CC0"}
Noise = np.random.Generator
Damage = Callable[[Path, Noise], None]


def draw(noise: Noise) -> tuple[np.ndarray, np.ndarray]:
    label = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    label[4:12, 4:12], label[4:12, 12:20] = 1, 2
    return (noise.integers(0, 100, label.shape) + 70 * label).astype(np.uint8), label


def save(path: Path, array: np.ndarray) -> None:
    volume = np.repeat(array[..., None], 8, axis=2)
    if path.name.endswith((".nii", ".nii.gz")):
        nibabel.save(nibabel.Nifti1Image(volume, np.diag([1, 1, 3, 1.0])), path)
    elif path.suffix == ".nrrd":
        import nrrd

        nrrd.write(str(path), volume, {"space": "RAS", "space directions": np.diag([1, 1, 3]), "space origin": [0] * 3})
    elif path.suffix == ".mha":
        import SimpleITK

        image = SimpleITK.GetImageFromArray(volume.transpose(2, 1, 0))
        image.SetSpacing((1, 1, 3))
        image.SetDirection(np.diag([-1.0, -1, 1]).ravel().tolist())  # so that its label, in RAS, lies on it
        SimpleITK.WriteImage(image, str(path), useCompression=True)
    elif path.suffix == ".npy":
        np.save(path, array)
    else:
        Image.fromarray(array).save(path)


def label_of(image: Path) -> Path:
    """Where the label of an image lies: lossless, so that it is sound."""
    suffix = ".nii.gz" if image.name.endswith(VOLUMES) else ".png"
    return image.parents[1] / "labels" / f"{image.name.partition('.')[0]}{suffix}"


def cut(path: Path, noise: Noise) -> None:
    path.write_bytes(path.read_bytes()[: int(noise.uniform(0, 0.6) * path.stat().st_size)])


def flip_bits(path: Path, noise: Noise) -> None:
    content = np.frombuffer(path.read_bytes(), np.uint8).copy()
    places = noise.integers(0, len(content), noise.integers(1, 64))
    content[places] ^= np.uint8(1) << noise.integers(0, 8, len(places), np.uint8)
    path.write_bytes(content.tobytes())


def flip_header(path: Path, noise: Noise) -> None:
    content = bytearray(path.read_bytes())
    for place in noise.integers(0, min(len(content), 360), 4):
        content[place] = int(noise.integers(0, 256))
    path.write_bytes(content)


def overwrite(path: Path, noise: Noise) -> None:
    content = bytearray(path.read_bytes())
    start = int(noise.integers(0, len(content)))
    content[start : start + 200] = bytes(len(content[start : start + 200]))
    path.write_bytes(content)


def empty(path: Path, noise: Noise) -> None:
    path.write_bytes(b"")


def wrong_type(path: Path, noise: Noise) -> None:
    other = [b"not an image\n" * 40, b"PK\x03\x04" + noise.bytes(500), b"\x89PNG\r\n\x1a\n" + noise.bytes(500)]
    path.write_bytes(other[int(noise.integers(len(other)))] if noise.random() < 0.8 else noise.bytes(1000))


def be_missing(path: Path, noise: Noise) -> None:
    path.unlink()


def be_a_folder(path: Path, noise: Noise) -> None:
    path.unlink()
    path.mkdir()


def lie_about_size(path: Path, noise: Noise) -> None:
    save(path, np.ones((SIZE_PX, SIZE_PX + int(noise.integers(1, 9))), np.uint8))


def unknown_values(path: Path, noise: Noise) -> None:
    save(path, np.full((SIZE_PX, SIZE_PX), noise.integers(3, 255), np.uint8))


def unlabelled(path: Path, noise: Noise) -> None:
    save(path, np.zeros((SIZE_PX, SIZE_PX), np.uint8))


ANY: tuple[Damage, ...] = (cut, flip_bits, flip_header, overwrite, empty, wrong_type, be_missing, be_a_folder)
MISLABELLED: tuple[Damage, ...] = (lie_about_size, unknown_values, unlabelled)
MAY_SURVIVE = {flip_bits, flip_header, overwrite}
"""Damage to pixels that a format may not notice."""


def make_damaged_dataset(root: Path, damaged: int, seed: int) -> dict[str, Damage]:
    """Write good subjects `good…` and damaged ones `bad…`; per damaged subject, what was done to it."""
    noise = np.random.default_rng(seed)
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
    (root / "meta.json").write_text(json.dumps(CARD))
    done: dict[str, Damage] = {}
    for number in range(GOOD + damaged):
        name = f"good{number}" if number < GOOD else f"bad{number}"
        suffix = (*PICTURES, *VOLUMES)[number % (len(PICTURES) + len(VOLUMES))]
        image = root / "images" / f"{name}{suffix}"
        drawn = draw(noise)
        for path, array in zip((image, label_of(image)), drawn, strict=True):
            save(path, array)
        if number >= GOOD:
            kinds = [(damage, image) for damage in ANY] + [(damage, label_of(image)) for damage in (*ANY, *MISLABELLED)]
            damage, path = kinds[number % len(kinds)]
            damage(path, noise)
            done[name] = damage
    return done


@pytest.mark.filterwarnings("ignore")  # Pillow and nibabel warn of damage before they fail, or do not fail
@pytest.mark.parametrize("seed", [0, 1])
def test_damage_rejects_the_damaged_only(build_folder: Callable[..., BuildReport], tmp_path: Path, seed: int) -> None:
    done = make_damaged_dataset(tmp_path / "data", DAMAGED, seed)
    outcome = build_folder(tmp_path / "data").datasets["damaged"]
    assert outcome.status == "built"
    with Collection(tmp_path / "out") as collection:
        built = {sample.subject for task in collection.tasks() for sample in collection.samples(task)}
    assert {f"good{number}" for number in range(GOOD)} <= built
    rejected = set(outcome.rejected)
    assert built | rejected == {f"good{number}" for number in range(GOOD)} | set(done)
    assert not built & rejected
    assert {name for name in done if name not in rejected and done[name] not in MAY_SURVIVE} == set()
    for name, reasons in outcome.rejected.items():
        assert all(
            (f"case {name!r}" in reason and "expected" in reason) or "cannot be read" in reason for reason in reasons
        )
    assert verify(tmp_path / "out") == []
