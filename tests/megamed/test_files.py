"""A file is the old one or the new one, never a part; a folder has one writer; what is damaged is said to be."""

import hashlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from megamed.files import LOCK_NAME, exclusive, read_json, replace_file, replacing, sha256_of, write_json


def test_new_content_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    path.write_text("old")
    with replacing(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    path.write_text("old")

    def fail_halfway() -> None:
        with replacing(path) as partial:
            partial.write_text("ne")
            message = "disk full"
            raise OSError(message)

    with pytest.raises(OSError, match="disk full"):
        fail_halfway()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_is_replaced_and_what_it_led_to_stays(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("kept")
    link.symlink_to(target)
    with replacing(link) as partial:
        partial.write_text("new")
    assert target.read_text() == "kept"
    assert link.read_text() == "new"
    assert not link.is_symlink()


def test_content_reaches_the_disk_before_the_name_and_the_name_before_the_return(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    rename = Path.replace

    def synced(descriptor: int) -> None:
        done.append("folder" if os.path.samestat(os.fstat(descriptor), tmp_path.stat()) else "file")

    def renamed(self: Path, target: Path) -> Path:
        done.append("rename")
        return rename(self, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "replace", renamed)
    with replacing(tmp_path / "weights.safetensors") as partial:
        partial.write_bytes(b"weights")
    assert done == ["file", "rename", *(["folder"] if os.name == "posix" else [])]


def test_a_full_disk_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "manifest.json"
    replace_file(path, b"old")

    def full(_: int) -> None:
        msg = "disk full"
        raise OSError(msg)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="disk full"):
        replace_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_text_is_written_as_utf8_with_its_line_ends(tmp_path: Path) -> None:
    replace_file(tmp_path / "table.csv", "Größe\n")
    assert (tmp_path / "table.csv").read_bytes() == "Größe\n".encode()


def test_a_file_and_its_bytes_have_one_hash(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    assert sha256_of(tmp_path / "file") == sha256_of(b"content") == hashlib.sha256(b"content").hexdigest()


def test_json_that_was_written_is_read(tmp_path: Path) -> None:
    write_json(tmp_path / "settings.json", {"suite": "größe", "seed": 0})
    assert read_json(tmp_path / "settings.json", "") == {"suite": "größe", "seed": 0}


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"", "got an empty file"), (b'{"a": ', "line 1"), (b"[1]", "got a list"), (b"\xff", "utf-8"), (b"[" * 10**5, "")],
)
def test_damaged_json_is_named_with_the_remedy(tmp_path: Path, content: bytes, fault: str) -> None:
    path = tmp_path / "settings.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"settings.json is damaged: expected a JSON object, .*{fault}.* Delete it\."):
        read_json(path, "Delete it.")


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
import os, sys
from pathlib import Path
from megamed.files import exclusive

reading, writing = os.pipe()
with exclusive(Path(sys.argv[1])):
    if not os.fork():
        os.write(writing, b"!")
        sys.stdin.read()
        os._exit(0)
    os.read(reading, 1)
    os.kill(os.getpid(), 9)
"""
    with subprocess.Popen([sys.executable, "-c", program, tmp_path], stdin=subprocess.PIPE) as parent:
        assert parent.wait() == -signal.SIGKILL
        with exclusive(tmp_path):  # the child waits for an end of its input, which comes after this
            pass
