"""Images are segmented by a graph alone, without torch."""

import json
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from incontext.cli import app

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

ABOUT = {
    "format": "incontext-model-1",
    "classes": {"3": "disc", "5": "ring"},
    "colours": {"3": "#ff0000", "5": "#00ff00"},
    "overlap": False,
    "scaling": "min-max (as asked)",
    "scaled_by_plane": False,
}


def write_graph(path: Path, **changed: object) -> Path:
    """A graph whose first class is as probable as a pixel is bright, and whose second has the half of what is left."""
    helper = onnx.helper
    channels = {"image": 1, "probabilities": 2}
    shapes = [helper.make_tensor_value_info(name, 1, [1, n, "h", "w"]) for name, n in channels.items()]
    numbers = [helper.make_tensor(name, 1, [1], [value]) for name, value in (("one", 1.0), ("half", 0.45))]
    nodes = [
        helper.make_node("Sub", ["one", "image"], ["rest"]),
        helper.make_node("Mul", ["rest", "half"], ["other"]),
        helper.make_node("Concat", ["image", "other"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(nodes, "two", shapes[:1], shapes[1:], numbers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {name: json.dumps(value) for name, value in {**ABOUT, **changed}.items()})
    onnx.save(model, path)
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.fromarray(np.eye(6, 8, dtype=np.float32)).save(folder / "a.tif")
    np.save(folder / "b.npy", np.stack([np.eye(5), 1 - np.eye(5)]).astype(np.float32))
    return folder


def segment(*options: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["segment", *map(str, options)])
    return result.exit_code, result.output


def test_masks_have_the_label_values_of_the_most_probable_class(tmp_path: Path, images: Path) -> None:
    (images / "c.png").write_bytes(b"no picture")
    model, out = write_graph(tmp_path / "a.onnx"), tmp_path / "out"
    code, told = segment("--task", model, "--query", images, "--out", out)
    assert code == 3
    assert "2 of 3 images have a mask" in told
    assert "Failed: c.png" in told
    mask = np.asarray(Image.open(out / "masks" / "a.tif"))
    np.testing.assert_array_equal(mask, 3 * np.eye(6, 8, dtype=np.uint8))
    summary = json.loads((out / "summary.json").read_text())
    assert summary["masks"].keys() == {"a.tif", "b.npy"}
    assert summary["model"] == ABOUT
    assert len([note for note in summary["notes"] if "scaled by itself" in note]) == 1


@pytest.mark.parametrize("name", ["a.bioimage.zip", "A.ZIP"])
def test_a_package_is_segmented_by_whatever_it_is_called(name: str, tmp_path: Path, images: Path) -> None:
    with zipfile.ZipFile(tmp_path / name, "w") as package:
        package.write(write_graph(tmp_path / "a.onnx"), "model.onnx")
    code, told = segment("--task", tmp_path / name, "--query", images, "--out", tmp_path / "out")
    assert code == 0, told
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 2


def test_a_mask_that_somebody_made_is_not_replaced(tmp_path: Path, images: Path) -> None:
    model, out = write_graph(tmp_path / "a.onnx"), tmp_path / "out"
    (out / "masks").mkdir(parents=True)
    (out / "masks" / "a.tif").write_text("mine")
    code, told = segment("--task", model, "--query", images / "a.tif", "--out", out)
    assert code == 1
    assert "somebody's own" in told
    assert (out / "masks" / "a.tif").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (("--tune", "auto"), "an exported model takes"),
        (("--select", "nearest"), "an exported model takes"),
        (("--images", "{case}_flair"), "an exported model takes"),
        (("--json",), "an exported model takes"),
        (("--overwrite",), "an exported model takes"),
    ],
)
def test_options_that_it_has_decided_are_refused(
    options: tuple[str, ...], expected: str, tmp_path: Path, images: Path
) -> None:
    model = write_graph(tmp_path / "a.onnx")
    code, told = segment("--task", model, "--query", images, "--out", tmp_path / "out", *options)
    assert code == 2
    assert expected in told
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"no graph", None])
def test_a_file_that_is_no_model_is_refused_in_one_line(content: bytes | None, tmp_path: Path, images: Path) -> None:
    path = tmp_path / "a.onnx"
    if content is not None:
        path.write_bytes(content)
    code, told = segment("--task", path, "--query", images, "--out", tmp_path / "out")
    assert code == 1
    assert str(path) in told.replace("\n", "")
    assert ("is missing" if content is None else "is no exported model") in told.replace("\n", "")


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"format": "incontext-model-2"}, "expected the format incontext-model-1"),
        ({"classes": {"300": "disc", "5": "ring"}}, "values from 1 to 255"),
        ({"classes": {"0": "disc", "5": "ring"}}, "values from 1 to 255"),
        ({"classes": ["disc", "ring"]}, "values from 1 to 255"),
        ({"classes": {}}, "values from 1 to 255"),
        ({"colours": {"3": "red"}}, "colours such as"),
        ({"colours": None}, "colours such as"),
        ({"overlap": "no"}, "whether classes overlap"),
        ({"classes": {"3": "disc"}}, "finds no probabilities: expected some of shape (1, 1, 6, 8), got shape (1, 2"),
    ],
)
def test_a_graph_that_tells_what_no_model_tells_is_refused(
    changed: dict[str, object], expected: str, tmp_path: Path, images: Path
) -> None:
    model = write_graph(tmp_path / "a.onnx", **changed)
    code, told = segment("--task", model, "--query", images / "a.tif", "--out", tmp_path / "out")
    assert code == 1
    assert expected in told.replace("\n", "")
    assert "unforeseen" not in told


def changed_graph(path: Path, change: Callable[[Any], None]) -> Path:
    model = onnx.load(write_graph(path))
    change(model.graph)
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda graph: graph.initializer[0].CopyFrom(onnx.helper.make_tensor("one", 1, [1], [np.nan])), "no numbers"),
        (lambda graph: setattr(graph.input[0].type.tensor_type.shape.dim[2], "dim_value", 64), "cannot run"),
        (lambda graph: setattr(graph.input[0], "name", "x"), "no exported model"),
        (lambda graph: setattr(graph.node[0], "op_type", "Zorble"), "no exported model"),
    ],
)
def test_a_graph_that_computes_no_probabilities_is_refused(
    change: Callable[[Any], None], expected: str, tmp_path: Path, images: Path
) -> None:
    model = changed_graph(tmp_path / "a.onnx", change)
    code, told = segment("--task", model, "--query", images / "a.tif", "--out", tmp_path / "out")
    assert code == 1
    assert expected in told.replace("\n", "")
    assert "unforeseen" not in told


def test_a_graph_reads_no_other_file(tmp_path: Path, images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_bytes(np.float32(1).tobytes())
    monkeypatch.chdir(tmp_path)

    def name_file(graph: Any) -> None:
        tensor = graph.initializer[0]
        tensor.ClearField("float_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", "secret"), ("offset", "0"), ("length", "4")):
            tensor.external_data.add(key=key, value=value)

    code, told = segment(
        *("--task", changed_graph(tmp_path / "a.onnx", name_file), "--query", images, "--out", tmp_path / "out")
    )
    assert code == 1
    assert "is no exported model" in told.replace("\n", "")


def broken_package(path: Path, content: bytes, packing: int) -> Path:
    with zipfile.ZipFile(path, "w", packing) as package:
        package.writestr("model.onnx", content)
    return path


def test_a_package_that_unpacks_to_much_more_is_refused(tmp_path: Path, images: Path) -> None:
    package = broken_package(tmp_path / "a.zip", bytes(2**24), zipfile.ZIP_DEFLATED)
    code, told = segment("--task", package, "--query", images, "--out", tmp_path / "out")
    assert code == 1
    assert "a graph of 16777216 bytes in" in told.replace("\n", "")


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("fault", ["content", "flags"])
def test_a_package_that_is_damaged_or_encrypted_is_refused(
    fault: str, packing: int, tmp_path: Path, images: Path
) -> None:
    package = broken_package(tmp_path / "a.zip", bytes(range(256)) * 4, packing)
    content = bytearray(package.read_bytes())
    if fault == "flags":
        content[6] |= 1
        content[content.find(b"PK\x01\x02") + 8] |= 1
    else:
        content[50:70] = bytes(20)
    package.write_bytes(content)
    code, told = segment("--task", package, "--query", images, "--out", tmp_path / "out")
    assert code == 1
    assert "is no exported model" in told.replace("\n", "")


def test_classes_that_overlap_are_refused(tmp_path: Path, images: Path) -> None:
    model = write_graph(tmp_path / "a.onnx", overlap=True)
    code, told = segment("--task", model, "--query", images, "--out", tmp_path / "out")
    assert code == 1
    assert "classes that overlap" in told.replace("\n", "")


def test_torch_is_not_imported(tmp_path: Path, images: Path, repository: Path) -> None:
    model, out = write_graph(tmp_path / "a.onnx"), tmp_path / "out"
    program = f"""
import sys
from incontext.cli import app
sys.argv = ["incontext", "segment", "--task", {str(model)!r}, "--query", {str(images)!r}, "--out", {str(out)!r}]
try:
    app()
except SystemExit as exit:
    assert not exit.code, exit.code
for name in ("torch", "kornia", "scipy", "h5py", "onnx"):
    assert name not in sys.modules, name
"""
    subprocess.run([sys.executable, "-c", program], cwd=repository, check=True)
    assert (out / "masks" / "a.tif").is_file()
