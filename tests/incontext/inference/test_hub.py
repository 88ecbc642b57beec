"""Repositories on a hub: brought once, whole and as their hash says, or refused in one line, and nothing is kept."""

import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from incontext.inference import hub
from incontext.inference.hub import HubError, fetch, is_repository
from tests.incontext.hub_server import Fault, Handler, HubServer, serving, silent

pytest.importorskip("huggingface_hub")
NAME = "owner/name"
CONTENT = b"weights" * 100
PATIENCE_S = 60
"""Time that an answer may take on a busy machine."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[HubServer]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with serving() as server:
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        server.put(NAME, {}, model=CONTENT)
        yield server


def kept(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_what_is_fetched_is_what_was_put_there_and_comes_once(server: HubServer, tmp_path: Path) -> None:
    path = fetch(NAME, "weights")
    assert path.read_bytes() == CONTENT
    assert kept(tmp_path) == ["incontext.json", "main", "model.safetensors"]
    server.asked.clear()
    assert fetch(NAME, "weights") == path
    assert [asked for asked, _ in server.asked] == [f"/api/models/{NAME}/revision/main"]


def test_of_several_that_want_the_same_at_once_one_brings_it(server: HubServer, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = list(pool.map(lambda _: fetch(NAME, "weights"), range(4)))
    assert {path.read_bytes() for path in paths} == {CONTENT}
    assert [asked.endswith(".safetensors") for asked, _ in server.asked].count(True) == 1
    assert kept(tmp_path) == ["incontext.json", "main", "model.safetensors"]


def test_a_commit_that_is_here_needs_no_hub(server: HubServer) -> None:
    commit = server.commit(NAME)
    path = fetch(NAME, "weights", commit)
    server.asked.clear()
    assert fetch(NAME, "weights", commit) == path
    assert not server.asked


def test_a_branch_follows_the_hub_and_a_commit_stays(server: HubServer) -> None:
    before = server.commit(NAME)
    fetch(NAME, "weights")
    server.put(NAME, {}, model=b"other")
    assert fetch(NAME, "weights").read_bytes() == b"other"
    assert fetch(NAME, "weights", before).read_bytes() == CONTENT
    assert fetch(NAME, "weights", "v1").read_bytes() == b"other"


@pytest.mark.parametrize("fault", ["busy", "closed", "offline"])
def test_what_was_brought_serves_without_the_hub(
    fault: str, server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = fetch(NAME, "weights")
    if fault == "busy":
        server.faults["main"] = status(503)
    elif fault == "closed":
        server.faults["main"] = closed
    else:
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.warns(UserWarning, match="What was brought before is used"):
        assert fetch(NAME, "weights") == path


def test_what_was_damaged_here_is_brought_anew(server: HubServer) -> None:
    path = fetch(NAME, "weights")
    path.write_bytes(b"rot")
    assert fetch(NAME, "weights").read_bytes() == CONTENT
    path.with_name("incontext.json").write_bytes(b"{")
    assert fetch(NAME, "weights").read_bytes() == CONTENT


def test_listed_files_may_come_from_elsewhere_and_the_token_stays_here(server: HubServer) -> None:
    with serving() as other:
        other.put(NAME, {}, model=CONTENT)
        commit = server.commit(NAME)
        server.faults[".safetensors"] = redirect(f"{other.endpoint}/{NAME}/resolve/{commit}/model.safetensors")
        assert fetch(NAME, "weights").read_bytes() == CONTENT
        assert {token for _, token in server.asked} == {"Bearer hf_secret"}
        assert [token for _, token in other.asked] == [None]


def test_a_task_brings_its_weights_along(server: HubServer) -> None:
    server.put(NAME, {"kind": "task", "main": "liver.safetensors"}, liver=b"task", mine=CONTENT)
    path = fetch(NAME, "task")
    assert (path.name, path.read_bytes(), path.with_name("mine.safetensors").read_bytes()) == (
        "liver.safetensors",
        b"task",
        CONTENT,
    )


def status(code: int, **headers: str) -> Fault:
    return lambda handler: handler.answer(b"", code, **headers)


def content(text: bytes, length: int | None = None) -> Fault:
    return lambda handler: handler.answer(text, length=length)


def redirect(url: str) -> Fault:
    return lambda handler: handler.answer(b"", 302, Location=url)


def elsewhere(handler: Handler) -> None:
    """Send the client to another host."""
    handler.answer(b"", 302, Location=f"http://localhost:{handler.server.server_port}/login")


def round_and_round(handler: Handler) -> None:
    """Send the client to where it comes from."""
    handler.answer(b"", 302, Location=handler.path)


def closed(handler: Handler) -> None:
    """Hang up."""
    handler.close_connection = True


def garbled(handler: Handler) -> None:
    """Speak another protocol."""
    handler.wfile.write(b"220 welcome\r\n")
    handler.close_connection = True


def relisted(**changes: object) -> Callable[[HubServer], None]:
    """List contents otherwise."""
    return lambda server: [server.put(NAME, changes, model=CONTENT), None][1]


def at(ending: str, fault: Fault) -> Callable[[HubServer], None]:
    return lambda server: server.faults.update({ending: fault})


HTML = b"<!doctype html><html><title>Log in</title></html>"
LISTED = {"sha256": "0" * 64, "size_bytes": 7}
FILE = ".safetensors"
FAULTS: dict[str, tuple[Callable[[HubServer], None], str]] = {
    "no repository": (
        lambda server: server.files.clear(),
        "expected a file here, or a repository of the hub, got stat",
    ),
    "log in": (at("main", status(401)), "expected a token that may read it.*hf auth login"),
    "gated": (at("main", status(403)), "Ask for access on its page"),
    "too many requests": (at("main", status(429)), "Wait some minutes"),
    "fault of the hub": (at("main", status(500)), "status 500: the hub has a fault. Give the same command again"),
    "overloaded": (at("main", status(503)), "status 503"),
    "odd status": (at("main", status(204)), "expected status 200, got status 204"),
    "no revision": (at("main", status(404, X_Error_Code="RevisionNotFound")), "Check the revision"),
    "page in the place of JSON": (at("main", content(HTML)), "got '<!doctype html>.*a login page answers in its place"),
    "cut JSON": (at("main", content(b'{"sha": "12')), "expected the commit of the revision, as JSON"),
    "no commit": (at("main", content(b"{}")), "expected the commit of the revision"),
    "commit of another form": (at("main", content(b'{"sha": "../../x"}')), "expected the commit of the revision"),
    "a list": (at("main", content(b"[1]")), "expected the commit of the revision"),
    "deep JSON": (at("main", content(b"[" * 100_000)), "expected the commit of the revision"),
    "endless text": (at("main", content(b" " * 1_100_000)), "expected at most 1048576 bytes of text"),
    "sent to another host": (
        at("main", elsewhere),
        "expected an answer of the hub itself, got one of localhost",
    ),
    "sent round and round": (at("main", round_and_round), "TooManyRedirects"),
    "sent nowhere": (at("main", redirect("gopher://x")), "UnsupportedProtocol"),
    "silence": (at("main", silent), "ReadTimeout.*Check the connection"),
    "hung up": (at("main", closed), "RemoteProtocolError.*Check the connection"),
    "other protocol": (at("main", garbled), "RemoteProtocolError"),
    "foreign repository": (
        lambda server: server.files.update({NAME: {"config.json": b"{}"}}),
        "expected incontext.json, got a repository without it. Name one that `incontext publish` made",
    ),
    "list is a page": (at("incontext.json", content(HTML)), "got no JSON.*publish it anew"),
    "list is empty": (at("incontext.json", content(b"")), "got an empty file"),
    "list is cut": (at("incontext.json", content(b'{"kind": ', 900)), "RemoteProtocolError"),
    "list lacks fields": (at("incontext.json", content(b'{"kind": "weights"}')), "wrong at main: Field required"),
    "list of a later version": (relisted(format="incontext-hub-2"), "wrong at format"),
    "no hash": (relisted(files={"model.safetensors": {"size_bytes": 7}}), "sha256: Field required"),
    "pickle": (relisted(main="model.pkl", files={"model.pkl": LISTED}), "wrong at main"),
    "file outside": (relisted(files={"../model.safetensors": LISTED}), "wrong at files"),
    "main file is not listed": (relisted(main="other.safetensors"), "expected other.safetensors among the files"),
    "list comes from elsewhere": (
        at("incontext.json", elsewhere),
        "expected an answer of the hub itself, got one of localhost",
    ),
    "other kind": (relisted(kind="task"), "got one of kind task. Load it by Segmenter.load_task"),
    "file is missing": (at(FILE, status(404)), "expected model.safetensors, got a repository without it"),
    "file is cut": (at(FILE, content(CONTENT[:99], len(CONTENT))), "RemoteProtocolError"),
    "file is short": (
        at(FILE, content(CONTENT[:99])),
        "expected 700 bytes of model.safetensors, got 99. Give the same",
    ),
    "file is empty": (at(FILE, content(b"")), "expected 700 bytes of model.safetensors, got 0"),
    "file is long": (at(FILE, content(CONTENT * 2)), "expected 700 bytes of model.safetensors, got more"),
    "file is another": (at(FILE, content(CONTENT[::-1])), "expected model.safetensors of SHA-256 [0-9a-f]{64}, got"),
    "file is a page": (at(FILE, content(HTML)), "expected 700 bytes"),
    "file comes from nowhere": (at(FILE, redirect("http://127.0.0.1:1/x")), "ConnectError"),
    "file is silent": (at(FILE, silent), "ReadTimeout"),
    "file breaks": (at(FILE, status(502)), "status 502"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_ends_in_one_line_and_leaves_nothing(
    fault: str, server: HubServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    cause, told = FAULTS[fault]
    cause(server)
    if fault in ("silence", "file is silent"):
        monkeypatch.setattr(hub, "TIMEOUT_S", 0.1)
    with pytest.raises(HubError, match=told) as refused:
        fetch(NAME, "weights")
    monkeypatch.setattr(hub, "TIMEOUT_S", PATIENCE_S)
    text = str(refused.value)
    assert len(text.splitlines()) == 1
    assert NAME in text
    assert "hf_secret" not in text
    assert not kept(tmp_path)
    server.faults.clear()
    server.put(NAME, {}, model=CONTENT)
    assert fetch(NAME, "weights").read_bytes() == CONTENT


def test_a_fault_leaves_what_was_there(server: HubServer, tmp_path: Path) -> None:
    fetch(NAME, "weights")
    before = kept(tmp_path)
    server.put(NAME, {}, model=b"other")
    server.faults[FILE] = content(b"wrong")
    with pytest.raises(HubError, match="SHA-256"):
        fetch(NAME, "weights")
    assert kept(tmp_path) == before


def test_without_the_library_a_name_may_be_a_mistaken_path(server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ModuleNotFoundError, match=r"owner/name is no file here, and seeking .*incontext-seg\[hub\]"):
        fetch(NAME, "weights")


@pytest.mark.parametrize("endpoint", ["nowhere", "http://[", "ftp://127.0.0.1", "file:///etc"])
def test_an_address_that_is_none(endpoint: str) -> None:
    with pytest.raises(ValueError, match="is no address of a hub"):
        fetch(NAME, "weights", endpoint=endpoint)


def test_an_address_may_be_spelt_otherwise(server: HubServer) -> None:
    assert fetch(NAME, "weights", endpoint=f"http://LocalHost:{server.server_port}").read_bytes() == CONTENT


@pytest.mark.parametrize("revision", ["..", "../../x", "/main", "main\n", " ", "x" * 300, "?x"])
def test_a_revision_that_is_none(revision: str, server: HubServer, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no revision: expected a branch, tag or commit"):
        fetch(NAME, "weights", revision)
    assert not server.asked
    assert not kept(tmp_path)


@pytest.mark.parametrize("content", [b"\xff", b"", b"../../x", b"0" * 40])
def test_without_hub_a_damaged_note_of_the_last_commit_is_none(content: bytes, server: HubServer) -> None:
    fetch(NAME, "weights").parents[1].joinpath("revisions", "main").write_bytes(content)
    server.faults["main"] = status(503)
    with pytest.raises(HubError, match="status 503"):
        fetch(NAME, "weights")


@pytest.mark.parametrize(
    ("text", "revision", "is_one"),
    [
        ("owner/name", None, True),
        ("runs/weights.safetensors", None, False),
        ("runs/weights.safetensors", "main", True),
        ("default", None, False),
        ("a/b/c", None, False),
        ("../name", None, False),
        ("owner--of/name", "main", False),
        ("owner/name..v1", "main", False),
        (Path("owner/name"), None, False),
    ],
)
def test_repositories_are_told_from_files(text: str | Path, revision: str | None, is_one: bool) -> None:
    assert is_repository(text, revision) == is_one


def test_a_file_of_that_name_is_meant_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "owner").mkdir()
    (tmp_path / "owner" / "name").write_bytes(b"")
    assert not is_repository(os.path.join("owner", "name"))
