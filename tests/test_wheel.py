"""The wheel is whole, and works where there is no source tree."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

SEGMENT = """
import sys
sys.path[:] = [{target!r}] + [path for path in sys.path if path != {repository!r}]
import incontext, numpy
assert incontext.__file__.startswith({target!r}), incontext.__file__
label = numpy.zeros((40, 50), dtype=numpy.uint8)
label[10:30, 15:35] = 1
result = incontext.Segmenter.from_pretrained(device="cpu").predict([200 * label], [200 * label], [label])
assert result.masks[0].shape == label.shape
"""


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, repository]
    subprocess.run(command, check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_wheel_holds_code_weights_and_cards_but_no_tests(repository: Path, wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "incontext/networks/weights/default.safetensors" in names
    for package in ("incontext", "megamed", "benchmarks"):
        source = {
            path.relative_to(repository).as_posix()
            for path in (repository / package).rglob("*")
            if path.suffix in {".py", ".toml", ".safetensors"} and path.parent.name != "perf"
        }
        assert source <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/perf/"))]


def test_wheel_segments_without_the_source_tree(repository: Path, wheel: Path, tmp_path: Path) -> None:
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"]
    subprocess.run([*install, "--target", tmp_path / "site", wheel], check=True, capture_output=True)
    program = SEGMENT.format(target=str(tmp_path / "site"), repository=str(repository))
    subprocess.run([sys.executable, "-I", "-c", program], check=True, cwd=tmp_path)
