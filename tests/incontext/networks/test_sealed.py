"""Sealed files come back as they were; a change anywhere in one is noticed."""

import json
import random
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from incontext.networks.sealed import Damaged, read_sealed_metadata, read_tensors, save_sealed

TENSORS = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(4, dtype=torch.uint8)}
TOLD = {"config": json.dumps({"checksum": "00000000", "name": 'a "quoted" word, 肝'})}


def test_write_then_read_is_identity(tmp_path: Path) -> None:
    save_sealed(TENSORS, tmp_path / "a", TOLD)
    assert read_sealed_metadata(tmp_path / "a") == TOLD
    found = read_tensors(tmp_path / "a")
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)
    with safe_open(tmp_path / "a", "pt") as file:
        assert file.metadata().keys() == {"config", "checksum"}


def test_whoever_may_read_any_new_file_may_read_it(tmp_path: Path) -> None:
    (tmp_path / "new").touch()
    save_sealed(TENSORS, tmp_path / "a", TOLD)
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "new").stat().st_mode


def test_every_byte_counts(tmp_path: Path) -> None:
    path, rng = tmp_path / "a", random.Random(0)
    save_sealed(TENSORS, path, TOLD)
    content = path.read_bytes()
    for place in range(len(content)):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :])
        try:  # a checksum under another name is one more entry, which nobody knows
            assert read_sealed_metadata(path) != TOLD, place
        except Damaged:
            continue


def test_files_without_a_checksum_are_taken_as_they_are(tmp_path: Path) -> None:
    save_file(TENSORS, tmp_path / "a", TOLD)
    assert read_sealed_metadata(tmp_path / "a") == TOLD


@pytest.mark.parametrize("content", [b"", b"\x80\x02.", b"\xff" * 8 + b"{}", bytes(100)])
def test_other_files_are_damaged(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(Damaged):
        read_sealed_metadata(tmp_path / "a")
