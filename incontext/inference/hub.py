"""Weights and tasks from a hub: whole and with the hash that they shall have, or not at all; kept for later."""

import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, Self
from urllib.parse import quote, urlsplit

from incontext.inference.backends import cache_folder
from incontext.inference.hub_contents import CONTENTS, HubContents, Kind, ListedFile
from megamed.extras import require
from megamed.files import after_others, exclusive, make_folder, replace_file, replacing, sha256_of

NAME = re.compile(r"(?!.*(--|\.\.))[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
"""Names of repositories, `owner/name`; hubs, and names of our folders, keep -- for the slash between them."""
ADDRESS = re.compile(r"https?://[\w.-]+(:\d{1,5})?(/[\w./-]*)?", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")
REVISION = re.compile(r"\w(?!.*\.\.)[\w./+@-]{0,79}")
"""Branches, tags and commits that are asked for, and whose names files can bear."""
FILE_SUFFIXES = (".safetensors", ".task", ".pt", ".pth", ".ckpt", ".bin", ".onnx")
"""Suffixes by which a text with a slash is a path, though there is no such file."""
TIMEOUT_S = 20.0
"""Seconds without an answer after which a hub counts as silent."""
MOST_TEXT_BYTES = 2**20
"""Largest answer that is no file to load."""

AGAIN = "Give the same command again later."
IN_ITS_PLACE = "Check HF_ENDPOINT, and whether a proxy or a login page answers in its place."
LOG_IN = "Log in with `hf auth login`, or set HF_TOKEN to a token of an account that may read it."
REFUSALS = {
    401: ("a token that may read it, or its right name", LOG_IN),
    403: ("to be allowed to read it", "Ask for access on its page, then log in with `hf auth login`."),
    404: ("a file here, or a repository of the hub", "Check the name; if it is private, log in with `hf auth login`."),
    429: ("to be served", "Wait some minutes, or log in with `hf auth login`, which allows more."),
}
"""Expectation and remedy where a hub refuses, by its status."""
LOADERS: dict[Kind, str] = {
    "task": "Load it by Segmenter.load_task, or as --task.",
    "weights": "Load it by Segmenter.from_pretrained, or as --weights.",
}


class HubError(OSError):
    """Something that a hub does not give, or not as it should be; the message names it and the remedy."""


class Unreachable(HubError):
    """A hub that does not answer, or is too busy to."""


def is_repository(text: Any, revision: str | None = None) -> bool:
    """Whether a text means a repository on a hub, `owner/name`, and no file: it does if a revision is told."""
    if not isinstance(text, str) or not NAME.fullmatch(text):
        return False
    return revision is not None or not (Path(text).exists() or text.endswith(FILE_SUFFIXES))


def fetch(name: str, kind: Kind, revision: str | None = None, endpoint: str | None = None) -> Path:
    """Bring what a repository holds to this machine, unless it is here, and return the file to load.

    Where the hub cannot be reached, what was brought of this revision before is used, with a warning.

    Args:
        name: Name of the repository, `owner/name`.
        kind: What it shall hold.
        revision: Branch, tag or commit; by default `main`. A whole commit that is here is not asked for.
        endpoint: Address of the hub; by default that in HF_ENDPOINT, else https://huggingface.co.

    Raises:
        HubError: If the hub does not give it, or not as it should be. Nothing is kept then.
        ModuleNotFoundError: If the extra `hub` is not installed.
    """
    there = Repository.of(name, revision, endpoint)
    if COMMIT.fullmatch(there.revision) and (kept := there.kept(there.revision)):
        return there.main_file(kept, there.revision, kind)
    try:
        commit = there.commit()
    except Unreachable as error:
        last = there.last_commit()
        if last is None or there.kept(last) is None:
            raise
        warnings.warn(f"{error} What was brought before is used, of commit {last[:8]}.", stacklevel=3)
        commit = last
    contents = there.kept(commit) or there.bring(commit, kind)
    file = there.main_file(contents, commit, kind)
    make_folder(there.last.parent)
    replace_file(there.last, commit)
    return file


@dataclass(frozen=True)
class Repository:
    """A repository on a hub, at a revision.

    Attributes:
        name: `owner/name`.
        revision: Branch, tag or commit.
        endpoint: Address of the hub.
    """

    name: str
    revision: str
    endpoint: str

    @classmethod
    def of(cls, name: str, revision: str | None = None, endpoint: str | None = None) -> Self:
        """Complete what is not told.

        Raises:
            ValueError: If the name is none of a repository, the address none of a hub, or the revision none.
        """
        if not NAME.fullmatch(name):
            msg = f"{name!r} is no repository: expected owner/name, got another form. Check the name."
            raise ValueError(msg)
        hub = endpoint or os.environ.get("HF_ENDPOINT") or "https://huggingface.co"
        if not ADDRESS.fullmatch(hub):
            msg = f"{hub!r} is no address of a hub: expected https://…, got another form. Check HF_ENDPOINT."
            raise ValueError(msg)
        if revision and not REVISION.fullmatch(revision):
            msg = f"{revision!r:.80} is no revision: expected a branch, tag or commit, got another form. Check it."
            raise ValueError(msg)
        return cls(name, revision or "main", hub.rstrip("/"))

    @property
    def folder(self) -> Path:
        """Folder of what was brought of the repository, by commit."""
        return cache_folder("hub") / quote(urlsplit(self.endpoint).netloc, safe="") / self.name.replace("/", "--")

    @property
    def last(self) -> Path:
        """File with the commit that the revision was when it was last asked for."""
        return self.folder / "revisions" / quote(self.revision, safe="")

    def last_commit(self) -> str | None:
        """The commit that the revision was when it was last asked for; None if it never was."""
        commit = self.last.read_text(encoding="ascii", errors="replace") if self.last.is_file() else ""
        return commit if COMMIT.fullmatch(commit) else None

    def kept(self, commit: str) -> HubContents | None:
        """Contents of a commit that is here, each file as its hash says; None otherwise."""
        folder = self.folder / commit
        if not (folder / CONTENTS).is_file():
            return None
        try:
            contents = HubContents.parsed((folder / CONTENTS).read_bytes())
        except ValueError:  # damaged since
            return None
        whole = (
            (folder / file).is_file() and sha256_of(folder / file) == told.sha256
            for file, told in contents.files.items()
        )
        return contents if all(whole) else None

    def main_file(self, contents: HubContents, commit: str, kind: Kind) -> Path:
        """Return the file to load.

        Raises:
            HubError: If it is of another kind.
        """
        if contents.kind != kind:
            self.refuse(f"a repository of kind {kind}", f"one of kind {contents.kind}", LOADERS[contents.kind])
        return self.folder / commit / contents.main

    def commit(self) -> str:
        """Ask for the commit that the revision is.

        Raises:
            HubError: If the hub does not tell.
        """
        text = self._text(f"api/models/{self.name}/revision/{quote(self.revision, safe='')}")
        try:
            commit = json.loads(text)["sha"]
        except (ValueError, KeyError, TypeError, RecursionError):
            commit = None
        if not isinstance(commit, str) or not COMMIT.fullmatch(commit):
            got = text[:40].decode("utf-8", "replace") if text else "nothing"
            self.refuse("the commit of the revision, as JSON", f"{got!r}", IN_ITS_PLACE)
        return commit

    def bring(self, commit: str, kind: Kind) -> HubContents:
        """Bring all files of a commit; their folder appears when all are here.

        Raises:
            HubError: If one is not there, or is not what it should be.
        """
        text = self._text(f"{self.name}/resolve/{commit}/{CONTENTS}")
        try:
            contents = HubContents.parsed(text)
        except ValueError as error:
            fix = "Ask its owner to publish it anew by `incontext publish`, or update incontext-seg."
            self.refuse(f"a list of its contents in {CONTENTS}", str(error), fix)
        self.main_file(contents, commit, kind)
        make_folder(self.folder)
        with after_others(lambda: exclusive(self.folder, "bring it", commit)):
            if self.kept(commit):  # another process has brought it meanwhile
                return contents
            with replacing(self.folder / commit) as partial:
                partial.mkdir()
                for file, told in contents.files.items():
                    self._save(f"{self.name}/resolve/{commit}/{file}", partial / file, told)
                (partial / CONTENTS).write_bytes(text)
        return contents

    def refuse(self, expected: str, got: str, fix: str, error: type[HubError] = HubError) -> NoReturn:
        """Say what is wrong with the repository.

        Raises:
            HubError: In any case, or the error that is given.
        """
        at = "" if self.revision == "main" else f" at revision {self.revision}"
        msg = f"{self.name}{at} fails on {self.endpoint}: expected {expected}, got {got}. {fix}"
        raise error(msg)

    def _text(self, path: str) -> bytes:
        """Ask for a short text, which has no hash and so must come from the hub itself."""
        with self._answer(path) as answer:
            asked = [*answer.history, answer][0]
            if answer.url.netloc != asked.url.netloc:
                self.refuse("an answer of the hub itself", f"one of {answer.url.host}", IN_ITS_PLACE)
            text = b"".join(self._chunks(answer, MOST_TEXT_BYTES))
        if len(text) > MOST_TEXT_BYTES:
            fix = "Check HF_ENDPOINT."
            self.refuse(f"at most {MOST_TEXT_BYTES} bytes of text", "more", fix)
        return text

    def _save(self, path: str, file: Path, told: ListedFile) -> None:
        """Save a file that is listed, which may come from wherever the hub sends us, since its hash is known."""
        found, size_bytes = hashlib.sha256(), 0
        with self._answer(path) as answer, file.open("wb") as opened:
            for chunk in self._chunks(answer, told.size_bytes):
                opened.write(chunk)
                found.update(chunk)
                size_bytes += len(chunk)
        if size_bytes != told.size_bytes:
            got = "more" if size_bytes > told.size_bytes else f"{size_bytes}"
            self.refuse(f"{told.size_bytes} bytes of {file.name}", got, AGAIN)
        if found.hexdigest() != told.sha256:
            fix = f"{AGAIN[:-1]}, or ask its owner to publish it anew."
            self.refuse(f"{file.name} of SHA-256 {told.sha256}", found.hexdigest(), fix)

    def _chunks(self, answer: Any, most_bytes: int) -> Iterator[bytes]:
        """Read an answer, at most the chunk after a number of bytes."""
        read = 0
        for chunk in answer.iter_bytes(2**20):
            yield chunk
            read += len(chunk)
            if read > most_bytes:
                return

    @contextmanager
    def _answer(self, path: str) -> Iterator[Any]:
        """Ask the hub, with the user's token if there is one, and pass a good answer on.

        Raises:
            HubError: If there is none.
        """
        require("hub", f"{self.name} is no file here, and seeking it on a hub", "huggingface_hub")
        import httpx2
        from huggingface_hub.errors import OfflineModeIsEnabled
        from huggingface_hub.utils import build_hf_headers, get_session

        url, headers = f"{self.endpoint}/{path}", build_hf_headers(library_name="incontext-seg")
        try:
            with get_session().stream("GET", url, headers=headers, timeout=TIMEOUT_S) as answer:
                self._check(answer, path)
                yield answer
        except (httpx2.TransportError, OfflineModeIsEnabled) as error:
            fix = "Check the connection, the proxy and HF_ENDPOINT, then give the same command again."
            self.refuse("an answer", _named(error), fix, Unreachable)
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            self.refuse("an answer", _named(error), "Check HF_ENDPOINT.")

    def _check(self, answer: Any, path: str) -> None:
        status, about = answer.status_code, answer.headers.get("x-error-code")
        if about == "RevisionNotFound":
            self.refuse("a branch, tag or commit of it", f"{self.revision!r}", "Check the revision.")
        if status == 404 and "/resolve/" in path:
            self.refuse(path.rpartition("/")[2], "a repository without it", "Name one that `incontext publish` made.")
        if status in REFUSALS:
            expected, fix = REFUSALS[status]
            self.refuse(expected, f"status {status}", fix, Unreachable if status == 429 else HubError)
        if status >= 500:
            self.refuse("an answer", f"status {status}: the hub has a fault", AGAIN, Unreachable)
        if status != 200:
            self.refuse("status 200", f"status {status}", "Check HF_ENDPOINT.")


def _named(error: Exception) -> str:
    """Tell an error of a library with its class, since some say nothing themselves."""
    return f"{type(error).__name__}: {error}".rstrip(".: \n")
