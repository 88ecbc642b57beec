"""A hub on this machine: as much of the protocol of huggingface.co as reading and publishing take, and faults of it."""

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from typing import Any

Fault = Callable[["Handler"], None]
"""Function that answers a request otherwise."""


class HubServer(ThreadingHTTPServer):
    """A hub with repositories in memory.

    Attributes:
        files: Content of each file, by repository and name.
        faults: Answers in the place of right ones, by the ending of the path that is asked for.
        asked: Paths that were asked for, and the token that came along.
        released: Whether silent answers end.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, dict[str, bytes]] = {}
        self.faults: dict[str, Fault] = {}
        self.asked: list[tuple[str, str | None]] = []
        self.released = Event()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, repository: str) -> str:
        """The commit of a repository, which is a function of its files."""
        files = sorted((name, hashlib.sha1(content).hexdigest()) for name, content in self.files[repository].items())
        return hashlib.sha1(repr(files).encode()).hexdigest()

    def put(self, repository: str, contents: dict[str, Any], **files: bytes) -> str:
        """Put a repository there, with its list of contents and files by their stem, and return its commit."""
        named = {f"{stem}.safetensors": content for stem, content in files.items()}
        listed = {
            name: {"sha256": hashlib.sha256(content).hexdigest(), "size_bytes": len(content)}
            for name, content in named.items()
        }
        told = {"format": "incontext-hub-1", "kind": "weights", "main": next(iter(named), ""), "files": listed}
        self.files[repository] = {**named, "incontext.json": json.dumps({**told, **contents}).encode()}
        return self.commit(repository)


class Handler(BaseHTTPRequestHandler):
    """Answers to requests."""

    server: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Say nothing."""

    def answer(self, content: bytes, status: int = 200, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(content) if length is None else length))
        self.send_header("Connection", "close")  # lest the next request meet a connection that is about to close
        self.end_headers()
        self.wfile.write(content)

    def tell(self, value: Any) -> None:
        self.answer(json.dumps(value).encode(), Content_Type="application/json")

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append((path, self.headers.get("Authorization")))
        for ending, fault in self.server.faults.items():
            if path.endswith(ending):
                fault(self)
                return
        if path.startswith("/api/models/"):
            self._tell_of(path.removeprefix("/api/models/"))
        elif path == "/login":
            self.answer(b"<!doctype html><html><title>Log in</title></html>")
        else:
            repository, _, file = path[1:].partition("/resolve/")
            content = self.server.files.get(repository, {}).get(file.partition("/")[2])
            self.answer(content or b"", 404 if content is None else 200)

    def _tell_of(self, place: str) -> None:
        repository, _, revision = place.partition("/revision/")
        if repository not in self.server.files:
            self.answer(b"", 404, X_Error_Code="RepoNotFound")
        elif revision in ("", "main", "v1", self.server.commit(repository)):
            siblings = [{"rfilename": name} for name in self.server.files[repository]]
            self.tell({"id": repository, "sha": self.server.commit(repository), "siblings": siblings})
        else:
            self.answer(b"", 404, X_Error_Code="RevisionNotFound")

    def do_POST(self) -> None:
        path, content = self.path.partition("?")[0], self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append((path, self.headers.get("Authorization")))
        for ending, fault in self.server.faults.items():
            if path.endswith(ending):
                fault(self)
                return
        if path == "/api/repos/create":
            told = json.loads(content)
            name = f"{told['organization']}/{told['name']}"
            if name in self.server.files:
                self.answer(json.dumps({"url": f"{self.server.endpoint}/{name}"}).encode(), 409)
                return
            self.server.files[name] = {".gitattributes": b""}
            self.tell({"url": f"{self.server.endpoint}/{name}"})
        elif path == "/api/validate-yaml":
            self.tell({"errors": [], "warnings": []})
        elif "/preupload/" in path:
            names = [each["path"] for each in json.loads(content)["files"]]
            self.tell({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]})
        else:
            self._take(path.removeprefix("/api/models/").partition("/commit/")[0], content)

    def _take(self, repository: str, content: bytes) -> None:
        for line in map(json.loads, content.splitlines()):
            if line["key"] == "file":
                file = line["value"]
                self.server.files[repository][file["path"]] = base64.b64decode(file["content"])
            elif line["key"] == "deletedFile":
                del self.server.files[repository][line["value"]["path"]]
        commit = self.server.commit(repository)
        url = f"{self.server.endpoint}/{repository}/commit/{commit}"
        self.tell({"success": True, "commitUrl": url, "commitOid": commit, "hookOutput": ""})


def silent(handler: Handler) -> None:
    """Answer when nobody waits any longer."""
    handler.server.released.wait()
    handler.close_connection = True


@contextmanager
def serving() -> Iterator[HubServer]:
    """Serve until the block ends."""
    with HubServer() as server:
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield server
        finally:
            server.released.set()
            server.shutdown()
            thread.join()
