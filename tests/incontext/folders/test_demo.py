"""The demo: its slices, its result, and what it says without nilearn."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

pytest.importorskip("nilearn", reason="the brain slices come with the extra `demo`")

from incontext.cli import app
from incontext.folders import demo
from incontext.folders.demo import QUERY_SLICES, SUPPORT_SLICES, write_example, write_slices
from incontext.folders.folder_images import read_folder


@pytest.fixture(scope="module")
def template() -> tuple[np.ndarray, np.ndarray]:
    """The brain, which takes seconds to read."""
    return demo._read_template()


@pytest.fixture
def _template_once(template: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "_read_template", lambda: template)


@pytest.mark.usefixtures("_template_once")
def test_slices_are_apart_and_labelled(tmp_path: Path) -> None:
    support, query = write_slices(tmp_path)
    names = [{path.name for path in (folder / "images").iterdir()} for folder in (support, query)]
    assert [len(found) for found in names] == [SUPPORT_SLICES, QUERY_SLICES]
    assert not names[0] & names[1]
    for folder in (support, query):
        for image in (folder / "images").iterdir():
            with Image.open(image) as brain, Image.open(folder / "labels" / image.name) as structures:
                assert brain.size == structures.size
                label = np.asarray(structures)
            assert set(np.unique(label)) == {0, 1, 2}


def test_the_example_has_one_label_and_is_written_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template = np.linspace(0, 1, 8 * 8 * 80).reshape(8, 8, 80), np.ones((8, 8, 80), np.uint8)
    monkeypatch.setattr(demo, "_read_template", lambda: template)
    write_example(tmp_path)
    (labelled,) = read_folder(tmp_path).labelled
    assert len(read_folder(tmp_path).bare) == SUPPORT_SLICES + QUERY_SLICES - 1
    label = labelled.files[1]
    label.write_bytes(b"mine")
    write_example(tmp_path)
    assert label.read_bytes() == b"mine"


@pytest.mark.usefixtures("_template_once")
def test_demo_segments_the_brain(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path), "--quiet"])
    assert result.exit_code == 0, result.output
    scores = dict(line.removeprefix("Dice ").split(": ") for line in result.stdout.splitlines()[:2])
    assert list(scores) == ["grey matter", "white matter"]
    assert min(map(float, scores.values())) > 0.6
    assert (tmp_path / "result" / "overlay.png").is_file()


def test_without_nilearn_it_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nilearn", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "incontext-seg\[demo\]"'):
        write_slices(tmp_path)
    assert not list(tmp_path.iterdir())
