"""The wheel is whole, and works where there is no source tree."""

import re
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest
from hatchling.builders.sdist import SdistBuilder
from hatchling.builders.wheel import WheelBuilder

LARGEST_BYTES = 20 * 2**20

SEGMENT = """
import sys
import incontext, numpy
assert incontext.__file__.startswith({root!r}), incontext.__file__
incontext.Segmenter  # what it needs is imported when it is first asked for
assert not {{"scipy", "kornia"}} & set(sys.modules)  # each takes half a second to import
label = numpy.zeros((40, 50), dtype=numpy.uint8)
label[10:30, 15:35] = 1
result = incontext.Segmenter.from_pretrained(device="cpu").predict([200 * label], [200 * label], [label])
assert result.masks[0].shape == label.shape
assert "torch._dynamo" not in sys.modules  # it takes as long to import as torch
"""

TYPED = """
import numpy
from incontext import Segmenter, Segmentation, load_pretrained
image = numpy.zeros((40, 50), dtype=numpy.uint8)
segmenter = Segmenter().fit([image], [image])
result = segmenter.predict([image])
reveal_type(segmenter)
reveal_type(result)
reveal_type(result.masks)
reveal_type(result.report.seconds)
reveal_type(result.predicted_dice)
reveal_type(segmenter.score([image], [image]))
reveal_type(load_pretrained())
Segmenter(seed="one")
segmenter.tell()
"""
REVEALED = [
    r"incontext\.segmenter\.Segmenter",
    r"incontext\.inference\.segmentation\.Segmentation",
    r"(builtins\.)?list\[numpy\.ndarray\[.*\]\]",
    r"(builtins\.)?float",
    r"numpy\.ndarray\[.*\]",
    r"(builtins\.)?float",
    r".*\.SupportOnceNet \| .*\.CrossBlockNet",
]
MISTAKES = ["arg-type", "attr-defined"]
"""Codes of the errors in the last two lines of `TYPED`."""

# What others say of themselves takes a checker minutes to read, and nothing but numpy's is asked here.
CHECKER = """
[mypy]
[mypy-torch.*,safetensors.*,kornia.*,einops.*,pydantic.*,PIL.*,h5py.*,pydicom.*,highdicom.*,nibabel.*,onnx.*,onnx_ir.*]
follow_imports = skip
ignore_missing_imports = true
[mypy-onnxscript.*,matplotlib.*,huggingface_hub.*,zarr.*,fastapi.*,bioimageio.*,rich.*,typer.*,tifffile.*,imagecodecs.*]
follow_imports = skip
ignore_missing_imports = true
"""


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path,) = WheelBuilder(str(repository)).build(directory=str(tmp_path_factory.mktemp("dist")), versions=["standard"])
    return Path(path)


def test_wheel_holds_code_weights_and_cards_but_no_tests(repository: Path, wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "incontext/networks/weights/default.safetensors" in names
    for package in ("incontext", "megamed", "benchmarks"):
        source = {
            path.relative_to(repository).as_posix()
            for path in (repository / package).rglob("*")
            if path.suffix in {".py", ".toml", ".safetensors", ".typed"} and path.parent.name != "perf"
        }
        assert source <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/perf/"))]


def test_the_source_distribution_builds_the_same_wheel(repository: Path, wheel: Path, tmp_path: Path) -> None:
    (sources,) = SdistBuilder(str(repository)).build(directory=str(tmp_path))
    with tarfile.open(sources) as archive:
        archive.extractall(tmp_path, filter="data")
    (root,) = (path for path in tmp_path.iterdir() if path.is_dir())
    assert (root / "LICENSE").is_file()
    (again,) = WheelBuilder(str(root)).build(directory=str(tmp_path / "dist"), versions=["standard"])
    assert Path(again).name == wheel.name
    assert Path(again).read_bytes() == wheel.read_bytes()
    assert wheel.stat().st_size < LARGEST_BYTES


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment in which the wheel is installed; what it depends on is that of this one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    site = next(folder.rglob("site-packages"))
    (site / "others.pth").write_text(sysconfig.get_path("purelib"))
    zipfile.ZipFile(wheel).extractall(site)  # as an installer does: all that it holds is of Python alone
    return next(path for part in ("bin", "Scripts") for path in folder.glob(f"{part}/python*"))


def test_wheel_segments_without_the_source_tree(environment: Path, tmp_path: Path) -> None:
    program = SEGMENT.format(root=str(environment.parents[1]))
    subprocess.run([environment, "-I", "-c", program], check=True, cwd=tmp_path)


def test_a_checker_knows_the_types_of_the_wheel(environment: Path, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(TYPED)
    (tmp_path / "mypy.ini").write_text(CHECKER)
    command = [sys.executable, "-m", "mypy", "--python-executable", environment, "--show-error-codes", "script.py"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    revealed = re.findall(r'note: Revealed type is "(.*)"', told.stdout)
    assert len(revealed) == len(REVEALED), told.stdout + told.stderr
    for pattern, found in zip(REVEALED, revealed, strict=True):
        assert re.fullmatch(pattern, found), f"expected {pattern}, got {found}"
    assert re.findall(r"error: .*\[(.*)\]", told.stdout) == MISTAKES, told.stdout
