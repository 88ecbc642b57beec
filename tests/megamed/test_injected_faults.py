"""Whatever fails in any stage of a command is told in a line, and leaves a collection that is whole."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from megamed.build import BuildReport
from megamed.cli import app
from megamed.collection import verify
from tests.injected import ERRORS, ends_well, inject

PLACES = (
    ("build", "megamed.build:find_datasets"),
    ("build", "megamed.build:read_card"),
    ("build", "megamed.build:find_subjects"),
    ("build", "megamed.prepare:read_image"),
    ("build", "megamed.prepare:read_annotations"),
    ("build", "megamed.collection:DatasetWriter.append"),
    ("build", "megamed.build:_hash"),
    ("build", "megamed.collection_folder:CollectionFolder.publish"),
    ("list", "megamed.manifest:read_manifest"),
    ("show", "megamed.catalogue:load_card"),
    ("verify", "megamed.collection:verify"),
    ("export", "megamed.export:export"),
    ("export", "megamed.collection:Collection.image"),
    ("init", "megamed.propose:propose"),
    ("download", "megamed.download:_continue_download"),
    ("audit", "megamed.audit:_scan"),
    ("audit", "megamed.collection:Collection.image"),
    ("preview", "megamed.collection:Collection.image"),
)


@contextmanager
def one_thread(*_: object) -> Iterator[tuple[ThreadPoolExecutor, int]]:
    with ThreadPoolExecutor(1) as executor:
        yield executor, 8


@pytest.mark.parametrize(("command", "place"), PLACES)
def test_a_command_ends_in_one_line(
    make_dataset: Callable[..., Path],
    build_folder: Callable[..., BuildReport],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    command: str,
    place: str,
) -> None:
    root, out = make_dataset(2), tmp_path / "out"
    build_folder(root)
    monkeypatch.setattr("megamed.executors.open_executor", one_thread)
    arguments: dict[str, tuple[Any, ...]] = {
        "build": (root, "--out", out, "--size", 16, "--force", "--quiet"),
        "list": (out,),
        "show": ("isic2018",),
        "export": (out, "--out", tmp_path / "new", "--format", "png"),
        "init": (root, "--force"),
        "download": ("http://127.0.0.1:1/a", "--sha256", "0" * 64, "--out", tmp_path / "a", "--quiet"),
        "preview": (out, "--out", tmp_path / "preview"),
    }
    for error in ERRORS[::2]:
        with monkeypatch.context() as patch:
            inject(patch, place, error)
            ends_well(app, command, *arguments.get(command, (out,)))
        assert verify(out) == []
