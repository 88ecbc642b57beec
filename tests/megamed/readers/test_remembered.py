"""Memory of what files hold: within a piece of work each is decoded once, as long as that is small."""

from pathlib import Path

import numpy as np
import pytest

from megamed import formats
from megamed.readers import remembered
from megamed.readers.remembered import once, remembering
from megamed.readers.source import Source
from megamed.readers.stored import StoredImage


class Files:
    """Files that count how often they are read."""

    def __init__(self, side: int = 4) -> None:
        self.read: list[str] = []
        self._side = side

    def get(self, name: str) -> StoredImage:
        def read() -> StoredImage:
            self.read.append(name)
            return StoredImage(np.zeros((self._side, self._side), np.uint8), "YX")

        return once(Source((Path(name),)), read)


@pytest.fixture
def files() -> Files:
    return Files()


def test_a_file_is_read_once_within_a_block_and_its_inner_blocks(files: Files) -> None:
    with remembering():
        first = files.get("a")
        with remembering():
            assert files.get("a") is first
        assert files.get("a") is first
    assert files.read == ["a"]


def test_nothing_is_remembered_outside(files: Files) -> None:
    with remembering():
        files.get("a")
    files.get("a")
    with remembering():
        files.get("a")
    assert files.read == ["a"] * 3


def test_parts_of_a_file_are_read_apart() -> None:
    reads = []
    with remembering():
        for part in ("red", "green", "red"):
            once(Source((Path("a"),), part), lambda: reads.append(0) or StoredImage(np.zeros((2, 2)), "YX"))
    assert len(reads) == 2


def test_what_was_not_asked_for_longest_is_forgotten_where_memory_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "MOST_BYTES", 32)
    files = Files(side=4)  # of which two fit
    with remembering():
        for name in "abacab":
            files.get(name)
    assert files.read == ["a", "b", "c", "b"]
    large = Files(side=8)
    with remembering():
        large.get("a"), large.get("a")
    assert large.read == ["a", "a"]


def test_what_is_shared_cannot_be_changed(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.ones((3, 3), np.uint8))
    source = formats.source_at(tmp_path / "a.npy")
    with remembering():
        assert formats.read(source) is formats.read(source)
        with pytest.raises(ValueError, match="read-only"):
            formats.read(source).array[0] = 0
    assert formats.read(source) is not formats.read(source)
