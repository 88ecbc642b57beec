"""The manifest: replaced in one step, read strictly, locked against a second writer."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from megamed.manifest import LOCK_NAME, Manifest, exclusive, parse_manifest, read_manifest, replace_file


def test_written_is_read(tmp_path: Path) -> None:
    replace_file(tmp_path / "manifest.json", Manifest(size_px=16).model_dump_json().encode())
    assert read_manifest(tmp_path) == Manifest(size_px=16)
    assert os.listdir(tmp_path) == ["manifest.json"]


def test_a_failed_write_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "manifest.json"
    replace_file(path, b"old")

    def full(_: int) -> None:
        msg = "disk full"
        raise OSError(msg)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"


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


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    with exclusive(tmp_path, "run"):
        with pytest.raises(ValueError, match="expected to run there alone"), exclusive(tmp_path, "run"):
            pass
        assert (tmp_path / LOCK_NAME).exists()
    assert list(tmp_path.iterdir()) == []


def test_the_lock_of_a_killed_build_is_void(tmp_path: Path) -> None:
    (tmp_path / LOCK_NAME).touch()
    with exclusive(tmp_path):
        pass


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
def test_a_child_that_outlives_its_parent_keeps_no_lock(tmp_path: Path) -> None:
    program = """
import os, sys, time
from pathlib import Path
from megamed.manifest import exclusive

reading, writing = os.pipe()
with exclusive(Path(sys.argv[1])):
    if not os.fork():
        print(os.getpid(), flush=True)
        os.write(writing, b"!")
        time.sleep(60)
    os.read(reading, 1)
    os.kill(os.getpid(), 9)
"""
    with (tmp_path / "child").open("w") as output:
        subprocess.run([sys.executable, "-c", program, tmp_path], stdout=output, check=False)
    with exclusive(tmp_path):
        os.kill(int((tmp_path / "child").read_text()), signal.SIGKILL)


def test_no_file_may_lie_elsewhere(tmp_path: Path) -> None:
    """A manifest from a stranger cannot point out of its folder."""
    entry = '{"card": {"id": "a", "modality": "CT"}, "subjects": {}, "views": [], "file": "../a-0123456789ab.h5"}'
    (tmp_path / "manifest.json").write_text(f'{{"size_px": 16, "datasets": {{"a": {entry}}}}}')
    with pytest.raises(ValueError, match=r"datasets\.a\.file"):
        read_manifest(tmp_path)
