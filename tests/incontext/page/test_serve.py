"""The process behind the page: reached from this machine alone, one at a time, ended cleanly, killed without loss."""

import errno
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

pytest.importorskip("fastapi")

from typer.testing import CliRunner

from incontext.cli import app
from incontext.folders.segment_folder import segment_folder
from incontext.page.store import STORE, opened
from tests.incontext.page.served import Served, served
from tests.incontext.page.test_store import plain_folder, segmenter
from tests.killed_runs import write_images

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs fork")
TAB = "0123456789abcdef"
LISTEN = "0A"
"""State of a socket that listens, in the system's table."""
KILLS = 3
PATIENCE_S = 60
"""Time that anything may take on a busy machine."""


def ask(server: Served, path: str, content: object = None, tab: str = TAB) -> dict:
    data = None if content is None else json.dumps(content).encode()
    request = Request(server.address + path, data, {"x-tab": tab, "content-type": "application/json"})
    with urlopen(request, timeout=PATIENCE_S) as answer:
        return json.load(answer)


def enter(server: Served, tab: str = TAB) -> object:
    """Become the one tab: what is returned is the stream of news, to be closed."""
    return urlopen(f"{server.address}api/events?tab={tab}", timeout=PATIENCE_S)


def test_only_this_machine_is_listened_to(tmp_path: Path) -> None:
    with served(plain_folder(tmp_path / "in")) as server:
        assert server.address.startswith("http://127.0.0.1:")
        port = int(server.address.split(":")[2].split("/")[0])
        table = Path("/proc/net/tcp").read_text() if Path("/proc/net/tcp").exists() else ""
        sockets = [(place, state) for _, place, _, state, *_ in map(str.split, table.splitlines()[1:])]
        listening = {place for place, state in sockets if state == LISTEN and place.endswith(f":{port:04X}")}
        assert not table or listening == {f"0100007F:{port:04X}"}
        assert len(ask(server, "api/session")["images"]) == 3


def test_the_screen_waits_for_no_library_that_segments() -> None:
    program = "import sys, incontext.page.serve; assert not {'torch', 'fastapi', 'scipy', 'PIL'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_interruption_ends_it_cleanly_with_a_tab_open(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in")
    with served(folder) as server:
        with enter(server):
            began = time.monotonic()
            assert server.end() == 0
        assert time.monotonic() - began < PATIENCE_S
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "b.png", "c.png"]


def test_a_second_server_is_refused_with_a_word(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in")
    with opened(folder):
        result = CliRunner().invoke(app, ["annotate", str(folder), "--no-browser"])
    assert result.exit_code == 1
    assert "is in use: expected to annotate there alone" in result.output


def test_a_folder_of_results_is_told_apart_and_opens_its_images(tmp_path: Path) -> None:
    support, folder = write_images(tmp_path / "support", ["x"]), plain_folder(tmp_path / "in")
    segment_folder(segmenter(), support, folder, tmp_path / "out")
    with served(tmp_path / "out") as server:
        began, images = time.monotonic(), []
        while not images or {each["state"] for each in images} != {"predicted"}:
            assert time.monotonic() - began < PATIENCE_S
            images = ask(server, "api/session")["images"]
    assert [each["name"] for each in images] == ["a.png", "b.png", "c.png"]
    shutil.rmtree(folder)
    result = CliRunner().invoke(app, ["annotate", str(tmp_path / "out"), "--no-browser"])
    assert "--results" in result.output
    assert result.exit_code == 1


def test_a_second_tab_is_refused_until_the_first_is_closed(tmp_path: Path) -> None:
    with served(plain_folder(tmp_path / "in")) as server:
        first = enter(server)
        for tab in ("f" * 16, TAB):  # a tab that was doubled has the same name
            with pytest.raises(HTTPError, match="409"):
                enter(server, tab)
        with pytest.raises(HTTPError, match="409"):
            ask(server, "api/images/0/accept", {}, "f" * 16)
        first.close()  # type: ignore[attr-defined]
        began = time.monotonic()
        while True:
            try:
                enter(server, "f" * 16).close()  # type: ignore[attr-defined]
                break
            except HTTPError:
                assert time.monotonic() - began < PATIENCE_S, "the closed tab still keeps others out"
                time.sleep(0.05)


def test_a_taken_port_and_what_is_no_folder_are_refused(tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(app, ["annotate", str(folder), "--no-browser", "--port", port])
    assert f"port {port} cannot be used" in result.output
    result = CliRunner().invoke(app, ["annotate", str(folder / "a.png"), "--no-browser"])
    assert "is no folder" in result.output


def empty(folder: Path, _: pytest.MonkeyPatch) -> None:
    folder.mkdir()


def locked(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a folder on a disk that is read only, for the administrator, too."""
    plain_folder(folder)

    def refuse(path: Path, *rest: object, **more: object) -> object:
        if path.parent == folder and path.suffix != ".png":
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return before(path, *rest, **more)

    before = Path.open
    monkeypatch.setattr(Path, "open", refuse)


@pytest.mark.parametrize(
    ("make", "told"), [(empty, "has no images: expected files ending in"), (locked, "cannot be written")]
)
def test_a_folder_that_cannot_be_annotated_is_refused_before_an_address_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path, pytest.MonkeyPatch], object], told: str
) -> None:
    make(tmp_path / "in", monkeypatch)
    result = CliRunner().invoke(app, ["annotate", str(tmp_path / "in"), "--no-browser"])
    assert result.exit_code == 1
    assert told in result.output
    assert "http" not in result.output
    assert not [path for path in (tmp_path / "in").iterdir() if path.suffix != ".png"]


def test_kills_of_the_server_lose_no_stroke_that_was_answered(tmp_path: Path) -> None:
    folder, moments, answered = plain_folder(tmp_path / "in"), random.Random(0), 0
    for _ in range(KILLS):
        with served(folder) as server, enter(server):  # type: ignore[attr-defined]
            assert ask(server, "api/images/0")["undoable"] in (answered, answered + 1)
            before = answered = ask(server, "api/images/0")["undoable"]
            timer = threading.Timer(moments.uniform(0, 0.25), server.kill)  # from the second answer on
            try:
                while True:
                    runs = {answered % 2: [answered % 900, 20]}
                    stroke = {"plane": 0, "tool": "brush", "runs": runs}
                    answered = ask(server, "api/images/0/strokes", stroke)["undoable"]
                    if answered == before + 2:
                        timer.start()
            except (OSError, HTTPException):  # it is dead, maybe in the middle of an answer
                timer.join()
    with opened(folder) as annotated:
        assert answered <= annotated.open(0).drawing.undoable <= answered + 1
    assert answered >= 2 * KILLS
    assert [path.name for path in (folder / STORE).iterdir()] == ["strokes"]
