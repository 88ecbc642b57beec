"""A BioImage.IO package of a model, for ilastik, deepImageJ or QuPath: its graph, what it is, and an example.

Source:
    https://github.com/bioimage-io/spec-bioimage-io, model 0.5.
"""

import json
import re
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from incontext.networks.onnx_graphs import OPSET

if TYPE_CHECKING:
    from incontext.inference.model_files import ModelFile

LEAST_PX = 16
"""Sides that programs may pass at least; the graph takes any."""
COVER_PX = 256
TEXT = """# {title}

Segments {names} by {count} labelled images, which are part of the model: it was made by incontext-seg.

* Input: one channel of grey values as files hold them, of any size. They are scaled inside: {scaling}.
* Output: the probability of each class ({names}) on the grid of the image; the background has the rest to 1{overlap}.
* Each plane is segmented by itself. Pixels are taken for squares.

About the model, as JSON:

```json
{about}
```
"""


def write_package(file: "ModelFile", path: Path, write_graph: Callable[["ModelFile", Path], None]) -> None:
    """Write a package, whose graph is checked on the way.

    Args:
        file: Model, what it is, and images with what is found in them; the first is the package's example.
        path: File to write.
        write_graph: Function that writes the model as a graph of ONNX, and checks it.
    """
    from bioimageio.spec import save_bioimageio_package

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_graph(file, folder / "model.onnx")
        _write_parts(file, folder)
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):  # it closes no file that it reads
            made = save_bioimageio_package(_description(file, folder), output_path=folder / "package.zip")
        path.write_bytes(Path(made).read_bytes())


def _write_parts(file: "ModelFile", folder: Path) -> None:
    """Write the example as arrays and as a picture, and the text about the model."""
    example, about = file.checks[0], file.about
    np.save(folder / "test_image.npy", example.image[None, None])
    np.save(folder / "test_probabilities.npy", example.probabilities[None])
    _cover(example.image, example.probabilities).save(folder / "cover.png")
    text = TEXT.format(
        title=_title(file),
        names=", ".join(about["classes"].values()),
        count=about["labelled_images"],
        scaling=about["scaling"],
        overlap=", unless classes overlap" if about["overlap"] else "",
        about=json.dumps(dict(about), indent=1, ensure_ascii=False),
    )
    (folder / "README.md").write_text(text, encoding="utf-8")


def _title(file: "ModelFile") -> str:
    return f"Segmentation of {', '.join(file.about['classes'].values())}"


def _cover(image: np.ndarray, probabilities: np.ndarray) -> Image.Image:
    """The example beside the example with its classes lit up, as a picture twice as wide as high."""
    low, high = float(image.min()), float(image.max())
    grey = (255 * (image - low) / ((high - low) or 1.0)).astype(np.uint8)
    lit = np.stack([np.maximum(grey, 255 * probabilities.max(0)).astype(np.uint8), grey, grey], axis=-1)
    both = (Image.fromarray(np.stack([grey] * 3, axis=-1)), Image.fromarray(lit))
    cover = Image.new("RGB", (2 * COVER_PX, COVER_PX))
    for index, picture in enumerate(both):
        cover.paste(picture.resize((COVER_PX, COVER_PX)), (index * COVER_PX, 0))
    return cover


def _description(file: "ModelFile", folder: Path) -> Any:
    """Describe the model in the terms of BioImage.IO."""
    from bioimageio.spec.model import v0_5 as spec

    def sides(kind: Any, size: Callable[[str], Any]) -> list[Any]:
        return [kind(id=spec.AxisId(axis), size=size(axis)) for axis in ("y", "x")]

    def like(axis: str) -> Any:
        return spec.SizeReference(tensor_id=spec.TensorId("image"), axis_id=spec.AxisId(axis))

    grey = spec.ChannelAxis(channel_names=[spec.Identifier("grey")])
    names: list[Any] = [spec.Identifier(f"class{value}") for value in file.about["classes"]]
    batch = spec.BatchAxis(size=1)
    free = spec.ParameterizedSize(min=LEAST_PX, step=1)
    image = spec.InputTensorDescr(
        id=spec.TensorId("image"),
        description="Grey values as files hold them.",
        axes=[batch, grey, *sides(spec.SpaceInputAxis, lambda _: free)],
        test_tensor=spec.FileDescr(source=folder / "test_image.npy"),
        data=spec.IntervalOrRatioDataDescr(type="float32"),
    )
    found = spec.OutputTensorDescr(
        id=spec.TensorId("probabilities"),
        description=f"Probabilities of {', '.join(file.about['classes'].values())}.",
        axes=[batch, spec.ChannelAxis(channel_names=names), *sides(spec.SpaceOutputAxis, like)],
        test_tensor=spec.FileDescr(source=folder / "test_probabilities.npy"),
        data=spec.IntervalOrRatioDataDescr(type="float32", range=(0.0, 1.0)),
    )
    return spec.ModelDescr(
        name=re.sub(r"[^A-Za-z0-9_+\- ()]", " ", _title(file)),  # no other characters are allowed
        description=f"Few-shot segmentation by {file.about['labelled_images']} labelled images.",
        authors=[spec.Author(name=file.author or "unknown")],
        covers=[spec.FileDescr(source=folder / "cover.png")],
        documentation=spec.FileDescr(source=folder / "README.md"),
        tags=["segmentation", "few-shot", "in-context", "2d"],
        inputs=[image],
        outputs=[found],
        weights=spec.WeightsDescr(onnx=spec.OnnxWeightsDescr(source=folder / "model.onnx", opset_version=OPSET)),
    )
