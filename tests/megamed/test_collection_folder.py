"""A build touches nothing of others, trusts nothing that is damaged, and goes on after a full disk."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from megamed.build import BuildReport
from megamed.files import LEDGER_NAME
from tests.megamed.conftest import draw_case, save_case


def snapshot(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("[!.]*")}


@pytest.mark.parametrize("name", ["build_report.json", "x-0123456789ab.h5", ".x.partial", "manifest.json"])
@pytest.mark.parametrize("built", [False, True])
def test_a_file_of_somebody_else_is_neither_replaced_nor_deleted(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path, name: str, built: bool
) -> None:
    root, out = make_dataset(2), tmp_path / "out"
    out.mkdir()
    if built:
        build_folder(root)
    (out / name).write_text("dear")
    save_case(root, "p0_a", *draw_case(9))
    if built and name in ("x-0123456789ab.h5", ".x.partial"):
        build_folder(root)
    else:
        with pytest.raises(ValueError, match=rf"{re.escape(name)} is somebody's own|holds other files|not a manifest"):
            build_folder(root)
    assert (out / name).read_text() == "dear"


def test_a_damaged_dataset_is_built_again(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    root = make_dataset(2)
    build_folder(root)
    whole = snapshot(tmp_path / "out")
    (file,) = (tmp_path / "out").glob("*.h5")
    file.write_bytes(file.read_bytes()[:-9] + bytes(9))
    assert build_folder(root).datasets["drawn"].status == "built"
    assert {**snapshot(tmp_path / "out"), "build_report.json": b""} == {**whole, "build_report.json": b""}


@pytest.mark.parametrize("limit", [1_000, 9_000])
def test_a_full_disk_leaves_what_was_there_and_the_same_build_goes_on(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path, limit: int
) -> None:
    resource = pytest.importorskip("resource")
    root, out = make_dataset(2), tmp_path / "out"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        with pytest.raises(OSError, match=r"drawn-\*\.h5 cannot be written: .* Free some, then give the same command"):
            build_folder(root)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert [path.name for path in out.iterdir() if path.name != LEDGER_NAME] == []
    assert build_folder(root).complete
