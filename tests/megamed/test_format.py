"""docs/collection-format.md tells the truth: another program that knows only that page reads a collection."""

import json
import re
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from megamed import Collection
from megamed.build import BuildReport
from megamed.files import sha256_of


@pytest.fixture
def page(repository: Path) -> str:
    return (repository / "docs" / "collection-format.md").read_text()


@pytest.fixture
def folder(make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path) -> Path:
    build_folder(make_dataset(9, annotated={"ring": ["p1", "p2"]}), tmp_path / "collection")
    return tmp_path / "collection"


def test_example_reads_what_the_library_reads(folder: Path, page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    names: dict[str, Any] = {"seen": seen}
    monkeypatch.chdir(folder.parent)
    exec(block + " " * 20 + "seen.append((image, drawn))\n", names)
    with Collection(folder) as collection:
        samples = [(task, sample.row) for task in collection.tasks() for sample in collection.samples(task)]
        assert len(seen) == len(samples)
        for (image, drawn), (task, row) in zip(seen, samples, strict=True):
            assert np.array_equal(image, collection.image(task, row))
            assert np.array_equal(drawn, collection.label(task, row))


def test_every_key_is_on_the_page(folder: Path, page: str) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    entry = manifest["datasets"]["drawn"]
    for key in (*manifest, *entry, *entry["views"][0], *entry["provenance"]):
        assert f"`{key}`" in page, key
    assert entry["sha256"] == sha256_of(folder / entry["file"])
    assert entry["file"] == f"drawn-{entry['sha256'][:12]}.h5"


def test_file_is_as_described(folder: Path, page: str) -> None:
    (tree,) = re.findall(r"^```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (path,) = folder.glob("*.h5")
    with h5py.File(path, "r") as file:
        about, group = json.loads(file["about"][()]), file["ct-drawn/2d"]
        assert f"format, size_px, contents = {', '.join(about['contents'])}" in tree
        for name, array in group.items():
            for kind, stack in [(name, array)] if isinstance(array, h5py.Dataset) else array.items():
                described = name if kind == name else f"{name}/<label>"
                shape = "(N, H, W)" if stack.ndim == 3 else "(N,)"
                dtype = "bytes" if stack.dtype.kind == "S" else str(stack.dtype)
                assert re.search(rf"{re.escape(described)} +{dtype} {re.escape(shape)}", tree), described
        for subject, split, area in zip(group["subject"], group["split"], group["areas/ring"], strict=True):
            text = f"{about['contents']['provenance']['split_group']}:".encode() + subject
            u = int.from_bytes(blake2b(text, digest_size=8).digest(), "big") / 2**64
            assert split == (b"train" if u < 0.6 else b"val" if u < 0.8 else b"test")
            assert (area == -1) == (subject not in (b"p1", b"p2"))
