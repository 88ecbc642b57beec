"""A file is the old one or the new one, never a part; a folder has one writer; what is damaged is said to be."""

import errno
import hashlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from megamed.files import (
    LEDGER_NAME,
    LOCK_NAME,
    InUse,
    Ledger,
    Unwritable,
    after_others,
    append,
    claimed,
    claimed_file,
    exclusive,
    make_folder,
    read_json,
    replace_file,
    replacing,
    sha256_of,
    write_json,
)


def test_threads_may_replace_a_file_at_once(tmp_path: Path) -> None:
    path, writing = tmp_path / "main", Barrier(4)

    def write(number: int) -> None:
        with replacing(path) as partial:
            partial.write_text(str(number))
            writing.wait(timeout=60)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    assert path.read_text() in set("0123")
    assert os.listdir(tmp_path) == ["main"]


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


def test_a_pipe_in_the_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / LOCK_NAME)
    with (
        pytest.raises(ValueError, match=r"\.lock is in the way: expected the lock of a former run"),
        exclusive(tmp_path),
    ):
        pass


def test_a_pipe_in_the_place_of_the_ledger_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / LEDGER_NAME)
    with pytest.raises(ValueError, match=r"is in the way: expected the ledger"), claimed(tmp_path, "run"):
        pass


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


@pytest.mark.parametrize(
    ("number", "told"),
    [
        (errno.ENOSPC, r"expected room on the disk, got .* Free some, then give the same command again\."),
        (errno.EDQUOT, r"expected room within the disk quota, got .* again\."),
        (errno.EROFS, r"expected a place that may be written to, got .* write elsewhere\."),
        (errno.EIO, r"expected a file system that takes it, got .* Mend this .*"),
    ],
)
def test_what_the_system_refuses_is_said_with_the_file_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, told: str
) -> None:
    def refused(_: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refused)
    with pytest.raises(Unwritable, match=rf"summary\.json cannot be written: {told}"):
        write_json(tmp_path / "summary.json", {})
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_another_file_is_not_one_of_writing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"), replacing(tmp_path / "a") as partial:
        partial.write_bytes((tmp_path / "missing").read_bytes())


def test_lines_are_added_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.csv"
    append(path, "step\n")
    limit = path.stat().st_size + 3
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(Unwritable, match=r"log\.csv cannot be written: expected room for a file of this size"):
            append(path, "1234567\n")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "step\n"
    append(path, "1\n")
    assert path.read_text() == "step\n1\n"


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    for folder in (tmp_path / "out", tmp_path / "out" / "masks"):
        with pytest.raises(NotADirectoryError, match=r"expected a folder, got the file .*out\. Name another folder\."):
            make_folder(folder)
    with (
        pytest.raises(IsADirectoryError, match="is a folder: expected a file to write"),
        claimed_file(tmp_path, "save"),
    ):
        pass


def test_a_link_that_leads_nowhere_is_named(tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("circle")
    for name in ("out", "circle"):
        told = rf"expected a folder, got the link .*{name}, which leads nowhere\. Name another folder\."
        with pytest.raises(NotADirectoryError, match=told):
            make_folder(tmp_path / name / "masks")


def test_a_name_may_have_as_many_bytes_as_the_system_takes(tmp_path: Path) -> None:
    path = tmp_path / ("肝" * 83 + ".png")
    for text in ("one", "two"):
        with claimed_file(path, "write"):
            replace_file(path, text)
    replace_file(path, "three")
    assert path.read_text() == "three"
    assert {each.name for each in tmp_path.iterdir()} == {path.name, LEDGER_NAME}
    with pytest.raises(Unwritable, match=r"expected names of at most 255 bytes, got .* Choose a shorter one\."):
        make_folder(tmp_path / ("肝" * 100) / "masks")


def test_a_pipe_and_a_device_are_somebody_s_own(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    for name in ("pipe", "endless"):
        with pytest.raises(ValueError, match="somebody's own"), claimed_file(tmp_path / name, "save"):
            pass


def test_only_what_was_written_in_a_claimed_place_is_replaced_there(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for text in ("one", "two"):
        with claimed(out, "run", ["a.txt"]):
            replace_file(out / "a.txt", text)
            append(out / "log.csv", "step\n1\n")
    assert (out / "log.csv").read_text() == "step\n1\nstep\n1\n"
    (out / "a.txt").write_text("mine")
    refused = pytest.raises(ValueError, match=r"a\.txt is somebody's own: .* Move it away, or write elsewhere\.")
    with refused, claimed(out, "run", ["a.txt"]):
        pass
    with claimed(out, "run"):
        with refused:
            replace_file(out / "a.txt", "three")
        (out / "b.txt").touch()
        replace_file(out / "b.txt", "an empty file is nobody's work")
    assert (out / "a.txt").read_text() == "mine"
    replace_file(out / "a.txt", "no claim, no check")


def test_a_claim_of_one_file_leaves_the_others_of_its_folder_to_others(tmp_path: Path) -> None:
    (tmp_path / "b.task").write_text("mine")
    with claimed_file(tmp_path / "a.task", "save"), claimed_file(tmp_path / "c.task", "save"):
        replace_file(tmp_path / "a.task", "one")
        replace_file(tmp_path / "c.task", "two")
        with pytest.raises(ValueError, match=r"a\.task is in use"), claimed_file(tmp_path / "a.task", "save"):
            pass
        with pytest.raises(ValueError, match=r"b\.task is somebody's own"), claimed_file(tmp_path / "b.task", "save"):
            pass
    with claimed_file(tmp_path / "a.task", "save"):
        replace_file(tmp_path / "a.task", "three")
    assert (tmp_path / "a.task").read_text() == "three"


def test_a_folder_is_replaced_as_a_file_is(tmp_path: Path) -> None:
    for number in range(2):
        with claimed(tmp_path, "run"), replacing(tmp_path / "a.zarr") as partial:
            partial.mkdir()
            (partial / "0").write_text(str(number))
    assert (tmp_path / "a.zarr" / "0").read_text() == "1"
    (tmp_path / "a.zarr" / "1").write_text("mine")
    with claimed(tmp_path, "run"), pytest.raises(ValueError, match="somebody's own"), replacing(tmp_path / "a.zarr"):
        pass
    assert sorted(path.name for path in (tmp_path / "a.zarr").iterdir()) == ["0", "1"]


def test_a_kill_between_the_ledger_and_the_name_leaves_a_file_of_ours(tmp_path: Path) -> None:
    with claimed(tmp_path, "run"):
        replace_file(tmp_path / "a", "old")
    with claimed(tmp_path, "run") as ledger:
        ledger.add(tmp_path / "a", sha256_of(b"new"))
    with claimed(tmp_path, "run", ["a"]) as ledger:
        assert ledger.knows(tmp_path / "a")
        replace_file(tmp_path / "a", "new")


@pytest.mark.parametrize("cut", [1, 2, 20])
def test_a_ledger_that_a_kill_cut_off_goes_on(tmp_path: Path, cut: int) -> None:
    with claimed(tmp_path, "run"):
        replace_file(tmp_path / "a", "one")
        replace_file(tmp_path / "b", "two")
    ledger = tmp_path / LEDGER_NAME
    ledger.write_bytes(ledger.read_bytes()[:-cut])
    with claimed(tmp_path, "run") as known:
        assert known.knows(tmp_path / "a")
        assert known.knows(tmp_path / "b") == (cut == 1)
        replace_file(tmp_path / "c", "three")
    assert Ledger(tmp_path).knows(tmp_path / "c")


def test_a_line_of_the_ledger_that_is_damaged_is_passed_over(tmp_path: Path) -> None:
    with claimed(tmp_path, "run"):
        replace_file(tmp_path / "a", "one")
    with (tmp_path / LEDGER_NAME).open("a") as ledger:
        ledger.write("[" * 10**5 + "\n[]\n" + "9" * 5000 + "\n")
    assert Ledger(tmp_path).knows(tmp_path / "a")


def test_what_content_was_made_of_is_found_again(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    with claimed_file(path, "write") as ledger:
        path.write_text("mask")
        ledger.add(path, sha256_of(path), of="inputs")
    assert Ledger(tmp_path, path).knows(path, "inputs")
    assert not Ledger(tmp_path, path).knows(path, "others")


def test_a_place_is_claimed_after_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    held = exclusive(tmp_path)
    held.__enter__()
    monkeypatch.setattr(time, "sleep", lambda _: held.__exit__(None, None, None))
    with after_others(lambda: exclusive(tmp_path)), pytest.raises(InUse), exclusive(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


def test_who_has_waited_often_enough_is_told_that_a_place_is_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with exclusive(tmp_path), pytest.raises(InUse), after_others(lambda: exclusive(tmp_path), tries=3):
        pass
    assert len(pauses) == 2
