"""Downloads go on where they broke off and are what they should be; archives cannot write where they like."""

import gzip
import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from megamed import download
from megamed.download import Limits, fetch, unpack

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8).tobytes()
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Site:
    """A web server with one file, that can break off and forget how to continue."""

    def __init__(self) -> None:
        self.break_after = len(CONTENT)
        self.ranges = True
        self.tells_length = True
        self.sent: list[int] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site._answer(self)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/data.tar"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        asked = handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").removesuffix("-")
        start = int(asked) if self.ranges else 0
        if start >= len(CONTENT):
            handler.send_error(416)
            return
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        if self.tells_length:
            handler.send_header("Content-Length", str(len(CONTENT) - start))
        handler.end_headers()
        part = CONTENT[start : start + self.break_after]
        self.sent.append(len(part))
        handler.wfile.write(part)

    def close(self) -> None:
        """Stop; a second time does nothing."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    yield site
    site.close()


def test_file_is_fetched_once(site: Site, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    for _ in range(2):
        path = fetch(site.url, SHA256, tmp_path / "new" / "a.tar", lambda *done: seen.append(done))
        assert path.read_bytes() == CONTENT
    assert site.sent == [len(CONTENT)]
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert [path.name for path in path.parent.iterdir()] == ["a.tar"]


def test_broken_download_goes_on(site: Site, tmp_path: Path) -> None:
    site.break_after = 200_000
    with pytest.raises(OSError, match="broke off: expected 300000 bytes, got 200000"):
        fetch(site.url, SHA256, tmp_path / "a.tar")
    assert not (tmp_path / "a.tar").exists()
    assert fetch(site.url, SHA256, tmp_path / "a.tar").read_bytes() == CONTENT
    assert site.sent == [200_000, 100_000]


def test_server_without_ranges_starts_over(site: Site, tmp_path: Path) -> None:
    (tmp_path / f".a.tar.{SHA256[:12]}.part").write_bytes(CONTENT[:1000])
    site.ranges = False
    assert fetch(site.url, SHA256, tmp_path / "a.tar").read_bytes() == CONTENT


def test_whole_partial_file_is_accepted(site: Site, tmp_path: Path) -> None:
    (tmp_path / f".a.tar.{SHA256[:12]}.part").write_bytes(CONTENT)
    assert fetch(site.url, SHA256, tmp_path / "a.tar").read_bytes() == CONTENT


@pytest.mark.parametrize(("tells_length", "fault"), [(True, "does not fit on the disk"), (False, "does not end")])
def test_a_download_fills_no_disk(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tells_length: bool, fault: str
) -> None:
    site.tells_length = tells_length
    monkeypatch.setattr(download.shutil, "disk_usage", lambda _: SimpleNamespace(free=200_000))
    with pytest.raises(OSError, match=f"{fault}: expected at most [12]00000 bytes, got "):
        fetch(site.url, SHA256, tmp_path / "a.tar")
    assert list(tmp_path.iterdir()) == []


def test_a_server_need_not_tell_the_length(site: Site, tmp_path: Path) -> None:
    site.tells_length = False
    assert fetch(site.url, SHA256, tmp_path / "a.tar").read_bytes() == CONTENT


@pytest.mark.parametrize("partial", [b"", b"x" * 1000, b"x" * len(CONTENT)])
def test_other_content_is_refused_and_discarded(site: Site, tmp_path: Path, partial: bytes) -> None:
    (tmp_path / f".a.tar.{'0' * 12}.part").write_bytes(partial)
    with pytest.raises(ValueError, match=f"has other content: expected sha256 {'0' * 64}, got "):
        fetch(site.url, "0" * 64, tmp_path / "a.tar")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", [SHA256.upper(), f" {SHA256}\n"])
def test_a_hash_is_one_in_large_letters_too(site: Site, tmp_path: Path, given: str) -> None:
    assert fetch(site.url, given, tmp_path / "a.tar").read_bytes() == CONTENT


@pytest.mark.parametrize("given", ["", "0" * 63, "0" * 65, "g" * 64, f"sha256:{SHA256}"])
def test_what_cannot_be_a_hash_is_refused_before_the_download(site: Site, tmp_path: Path, given: str) -> None:
    with pytest.raises(ValueError, match="cannot be a hash: expected 64 hexadecimal digits"):
        fetch(site.url, given, tmp_path / "a.tar")
    assert (site.sent, list(tmp_path.iterdir())) == ([], [])


def test_files_of_others_stay(site: Site, tmp_path: Path) -> None:
    mine = {tmp_path / name: name.encode() for name in ("a.tar", "b.tar.part", "c.archive")}
    for path, content in mine.items():
        path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.tar is there already: .* Move it away\."):
        fetch(site.url, SHA256, tmp_path / "a.tar")
    assert site.sent == []
    assert fetch(site.url, SHA256, tmp_path / "b.tar").read_bytes() == CONTENT
    with pytest.raises(ValueError, match="cannot be unpacked"):
        download.download(site.url, SHA256, tmp_path / "c", True, lambda done, total: None)
    assert {path: path.read_bytes() for path in mine} == mine


def test_a_full_disk_ends_a_download_which_goes_on_later(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(download, "CHUNK_BYTES", 50_000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (120_000, before[1]))
    try:
        with pytest.raises(OSError, match=r"a\.tar cannot be written: .* Free some, then give the same command again"):
            fetch(site.url, SHA256, tmp_path / "a.tar")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not (tmp_path / "a.tar").exists()
    assert fetch(site.url, SHA256, tmp_path / "a.tar").read_bytes() == CONTENT


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://host/a", "a.tar"])
def test_only_the_web_is_asked(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not of the web"):
        fetch(url, SHA256, tmp_path / "a.tar")


def test_unreachable_server_is_an_os_error(site: Site, tmp_path: Path) -> None:
    site.close()
    with pytest.raises(OSError, match="refused"):
        fetch(site.url, SHA256, tmp_path / "a.tar")


def tar_of(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".gz" else "w") as tar:
        for member, content in members:
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def zip_of(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return path


def link(name: str, target: str, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.zip"])
def test_sound_archive_is_unpacked(tmp_path: Path, name: str) -> None:
    members = {"images/a.png": CONTENT[:1000], "meta.json": b"{}"}
    if name == "a.zip":
        archive = zip_of(tmp_path / name, members)
    else:
        archive = tar_of(tmp_path / name, *((tarfile.TarInfo(key), content) for key, content in members.items()))
    folder = unpack(archive, tmp_path / "new" / "data")
    assert {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*.*")} == members
    with pytest.raises(FileExistsError, match="expected a new folder"):
        unpack(archive, folder)


HOSTILE_NAMES = ["../evil", "a/../../evil", "/evil", "..\\evil", "C:\\evil", "//host/evil"]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_names_cannot_lead_outside(tmp_path: Path, name: str, kind: str) -> None:
    if kind == "tar":
        archive = tar_of(tmp_path / "a.tar", (tarfile.TarInfo("good"), b"1"), (tarfile.TarInfo(name), b"1"))
    else:
        archive = zip_of(tmp_path / "a.zip", {"good": b"1", name: b"1"})
    refused(archive, "leads outside the folder")


@pytest.mark.parametrize(
    "member",
    [
        link("out", "/etc/passwd", tarfile.SYMTYPE),
        link("out", "../..", tarfile.SYMTYPE),
        link("out", "good", tarfile.LNKTYPE),
        link("tty", "", tarfile.CHRTYPE),
        link("pipe", "", tarfile.FIFOTYPE),
    ],
)
def test_links_and_devices_are_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    refused(tar_of(tmp_path / "a.tar", (tarfile.TarInfo("good"), b"1"), (member, b"")), "is a link or a device")


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_bombs_are_refused_before_they_go_off(tmp_path: Path, kind: str) -> None:
    zeros = bytes(20_000_000)
    if kind == "zip":
        archive = zip_of(tmp_path / "a.zip", {"zeros": zeros})
    else:
        archive = tar_of(tmp_path / "a.tar.gz", (tarfile.TarInfo("zeros"), zeros))
    refused(archive, "expected at most 1000000 entries, 200 times its")


def test_sizes_are_what_they_declare(tmp_path: Path) -> None:
    """A header that declares a tebibyte is refused though the file has not got it."""
    member = tarfile.TarInfo("large")
    member.size = 2**40
    (tmp_path / "a.tar").write_bytes(member.tobuf() + bytes(1024))
    refused(tmp_path / "a.tar", "is not safe to unpack")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_headers_cannot_fill_the_memory(tmp_path: Path, kind: bytes) -> None:
    header = tarfile.TarInfo("header")
    header.type, header.size = kind, 2**30
    with gzip.open(tmp_path / "a.tar.gz", "wb") as file:
        file.write(header.tobuf() + bytes(4096))
    refused(tmp_path / "a.tar.gz", "a header declares 1073741824 bytes")


def test_too_many_entries_are_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {str(i): b"" for i in range(5)})
    with pytest.raises(ValueError, match="got 5 entries"):
        unpack(archive, tmp_path / "data", Limits(members=4))


def test_encrypted_zip_is_refused(tmp_path: Path) -> None:
    archive = zip_of(tmp_path / "a.zip", {"a": b"1"})
    content = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    archive.write_bytes(content)
    refused(archive, "is encrypted")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
@pytest.mark.parametrize("make", [zip_of, tar_of])
def test_truncated_archive_is_refused(tmp_path: Path, make: Callable[..., Path], share: float) -> None:
    if make is zip_of:
        archive = zip_of(tmp_path / "a.zip", {"a": CONTENT, "b": CONTENT})
    else:
        archive = tar_of(tmp_path / "a.tar.gz", *((tarfile.TarInfo(name), CONTENT) for name in "ab"))
    archive.write_bytes(archive.read_bytes()[: int(share * archive.stat().st_size)])
    refused(archive, "cannot be unpacked")


def test_disk_that_is_too_small_is_noticed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = download.shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda path: usage)
    refused(zip_of(tmp_path / "a.zip", {"a": CONTENT}), "1000 bytes in all")


def refused(archive: Path, reason: str) -> None:
    """Assert that nothing but the archive exists afterwards."""
    with pytest.raises(ValueError, match=reason) as raised:
        unpack(archive, archive.parent / "data")
    assert archive.name in str(raised.value)
    assert list(archive.parent.iterdir()) == [archive]
