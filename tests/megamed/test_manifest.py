"""The manifest: read strictly, and never beyond its folder."""

import os
from pathlib import Path

import pytest

from megamed.files import replace_file
from megamed.manifest import Manifest, parse_manifest, read_manifest


def test_written_is_read(tmp_path: Path) -> None:
    replace_file(tmp_path / "manifest.json", Manifest(size_px=16).model_dump_json().encode())
    assert read_manifest(tmp_path) == Manifest(size_px=16)
    assert os.listdir(tmp_path) == ["manifest.json"]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "file: "),
        ("[]", "file: "),
        ('{"size_px": 16, "format": "megamed-9"}', "format: "),
        ('{"size_px": 16, "colour": 1}', "colour: "),
        ('{"size_px": 16, "datasets": {"a": {"file": "../../etc/passwd"}}}', "datasets.a"),
    ],
)
def test_what_is_no_manifest_is_refused(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ValueError, match=f"not a manifest of this version: {fault}"):
        parse_manifest(tmp_path / "manifest.json")


def test_no_file_may_lie_elsewhere(tmp_path: Path) -> None:
    """A manifest from a stranger cannot point out of its folder."""
    entry = '{"card": {"id": "a", "modality": "CT"}, "subjects": {}, "views": [], "file": "../a-0123456789ab.h5"}'
    (tmp_path / "manifest.json").write_text(f'{{"size_px": 16, "datasets": {{"a": {entry}}}}}')
    with pytest.raises(ValueError, match=r"datasets\.a\.file"):
        read_manifest(tmp_path)
