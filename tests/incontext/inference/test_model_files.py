"""Exported models find in any image what the segmenter finds that they were made of."""

import json
import shutil
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from incontext.inference import model_files
from incontext.inference.bioimage_package import write_package
from incontext.inference.model_files import Check, ModelFile, writer_of
from incontext.inference.model_of_task import checks_of, described, one_input
from incontext.inference.one_input import OneInput
from incontext.networks.cross_block import CrossBlockConfig, CrossBlockNet
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from incontext.networks.weights_delta import Tuned, WeightsDelta
from incontext.segmenter import Segmenter
from tests.checked import unchecked

pytestmark = pytest.mark.filterwarnings("ignore:images")  # they are of other sizes than the examples, on purpose

SIZES = [(40, 60), (32, 32), (30, 19), (90, 50), (25, 120)]
CONFIG = SupportOnceConfig(channels=(4, 8), stem_px=4, heads=1, head_channels=4, groups=2, fitted_channels=2)


def draw(height: int, width: int, seed: int, small: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc (1) and, if asked, a brighter square (2) on noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width]
    disc = (rows - height * (0.3 + 0.04 * seed)) ** 2 + (columns - width * 0.4) ** 2 < (min(height, width) * 0.2) ** 2
    label = disc.astype(np.uint8)
    if small:
        label[-height // 4 : -height // 8, -width // 4 : -width // 8] = 2
    return (rng.normal(100.0 * label, 20) - 15).astype(np.float32), label


def fitted(
    network: torch.nn.Module | None = None, lacking: bool = False, count: int = 6, **parameters: object
) -> Segmenter:
    torch.manual_seed(1)
    network = network or SupportOnceNet(CONFIG)
    examples = [draw(40, 60, seed, small=not lacking or seed < 4) for seed in range(count)]
    images, labels = zip(*examples, strict=True)
    settings = {"size_px": 32, "device": "cpu", **parameters}
    return Segmenter(network, **settings).fit(list(images), list(labels), {1: "disc", 2: "square"})


def tuned(segmenter: Segmenter) -> Segmenter:
    """A segmenter with weights that are moved as tuning moves them, far enough to be seen."""
    parameters = segmenter._load().module.named_parameters()
    delta = WeightsDelta.of({name: 0.3 * torch.randn_like(each) for name, each in parameters})
    return segmenter.set_params(tune="auto").keep_tuned(Tuned(delta, "moved"))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Segmenter, Path]:
    """A tuned segmenter, and the folder with its graph and its program, of one trace, which takes many seconds."""
    pytest.importorskip("onnxruntime")
    trace, traced = model_files._program, []

    def traced_once(model: OneInput) -> torch.export.ExportedProgram:
        traced.extend([] if traced else [trace(model)])
        return traced[0]

    folder, segmenter = tmp_path_factory.mktemp("exported"), tuned(fitted(scaling="percentile"))
    with unchecked(), pytest.MonkeyPatch.context() as patched:
        patched.setattr(model_files, "_program", traced_once)
        for name in ("a.onnx", "a.pt2"):
            assert segmenter.export(folder / name) == folder / name
    return segmenter, folder


@torch.no_grad()
@pytest.mark.parametrize(
    "parameters",
    [
        {"scaling": "min-max"},
        {"scaling": "percentile"},
        {"scaling": "window", "overlap": True},
        {"flips": True, "support": "random", "support_size": 2, "ensemble": 2},
        {"count": 2},
        {"tiling": 24},
        {"tiling": 24, "overlap": True, "flips": True},
        {"network": CrossBlockNet(CrossBlockConfig((2, 2), (2,)))},
    ],
    ids=str,
)
def test_the_module_computes_what_predict_does(parameters: dict) -> None:
    segmenter = fitted(**parameters)
    model = one_input(segmenter.judgement, segmenter._task_network().network, segmenter.fitted.preparation, "keep")
    segmenter.set_params(absent="keep")
    images = [draw(*size, 2)[0] for size in SIZES] + [np.full((20, 30), 7, np.float32)]
    for image, expected in zip(images, segmenter.predict_proba(images), strict=True):
        found = model(torch.from_numpy(image)[None, None])[0].numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@torch.no_grad()
def test_classes_are_taken_off_where_they_are_improbable() -> None:
    segmenter = fitted("default", lacking=True)
    model = one_input(segmenter.judgement, segmenter._task_network().network, segmenter.fitted.preparation, "auto")
    assert model.presence is not None
    images = [draw(40, 60, seed, small=seed % 2 == 0)[0] for seed in (7, 8)]
    found = [model(torch.from_numpy(image)[None, None])[0].numpy() for image in images]
    for expected, each in zip(segmenter.predict_proba(images), found, strict=True):
        np.testing.assert_allclose(each, expected, rtol=0, atol=1e-5)
    assert min(each[1].max() for each in found) < 1e-6 < 0.5 < max(each[1].max() for each in found)


@torch.no_grad()
def test_classes_are_taken_off_where_they_are_plainly_absent() -> None:
    segmenter = fitted("default")
    model = one_input(segmenter.judgement, segmenter._task_network().network, segmenter.fitted.preparation, "auto")
    shown = draw(40, 60, 7)[0]
    blank = np.random.default_rng(7).normal(-15, 20, shown.shape).astype(np.float32)
    result = segmenter.predict([shown, blank])
    assert [sorted(set(np.unique(each))) for each in result.masks] == [[0, 1, 2], [0]]
    assert result.absent.tolist() == [[False, False], [True, True]]
    for image, expected in zip([shown, blank], result.probabilities, strict=True):
        found = model(torch.from_numpy(image)[None, None])[0].numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("codes_only", [True, False])
def test_a_saved_task_is_checked_with_images_or_without(codes_only: bool, tmp_path: Path) -> None:
    fitted("default").save_task(tmp_path / "a.task", codes_only=codes_only)
    task = Segmenter.load_task(tmp_path / "a.task", device="cpu")
    model = one_input(task.judgement, task._task_network().network, task.fitted.preparation, "keep")
    checks = checks_of(task.fitted, task.set_params(absent="keep").predict_proba)
    assert len({check.image.shape for check in checks}) > 1
    for check in checks:
        found = model(torch.from_numpy(check.image.astype(np.float32))[None, None])[0].numpy()
        np.testing.assert_allclose(found, check.probabilities, rtol=0, atol=1e-5)


def run_graph(path: Path, image: np.ndarray) -> np.ndarray:
    """Run a graph as a program without this library does."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"image": image[None, None]})[0][0])


@pytest.mark.xdist_group("onnx")
def test_a_graph_and_a_program_of_tuned_weights_find_the_same(exported: tuple[Segmenter, Path]) -> None:
    segmenter, folder = exported
    asked = draw(*SIZES[0], 3)[0]
    assert np.abs(fitted(scaling="percentile").predict_proba(asked)[0] - segmenter.predict_proba(asked)[0]).max() > 0.01
    told: dict[str, str] = {model_files.ABOUT: ""}
    run = torch.export.load(folder / "a.pt2", extra_files=told).module()
    for size in SIZES:
        image = draw(*size, 3)[0]
        (expected,) = segmenter.predict_proba(image)
        np.testing.assert_allclose(run_graph(folder / "a.onnx", image), expected, rtol=0, atol=1e-4)
        np.testing.assert_allclose(run(torch.from_numpy(image)[None, None])[0].numpy(), expected, rtol=0, atol=1e-4)
    graph = pytest.importorskip("onnx").load(folder / "a.onnx")
    about = {each.key: json.loads(each.value) for each in graph.metadata_props}
    assert about["classes"] == {"1": "disc", "2": "square"}
    assert about["tuning"] == "moved"
    assert json.loads(told[model_files.ABOUT]) == about
    assert [each.domain for each in graph.opset_import] == [""]
    assert not [node for node in graph.graph.node if node.op_type in ("Constant", "CastLike")]
    assert sorted(path.name for path in folder.iterdir()) == ["a.onnx", "a.pt2"]


@pytest.mark.parametrize(
    "network",
    [SupportOnceNet(CONFIG), CrossBlockNet(CrossBlockConfig((2, 2), (2,)))],
    ids=lambda each: type(each).__name__,
)
def test_a_program_with_tiles_takes_images_that_are_larger_or_smaller_than_these(network: torch.nn.Module) -> None:
    segmenter = fitted(network, tiling=24, support="random", support_size=2, absent="keep")
    model = one_input(segmenter.judgement, segmenter._task_network().network, segmenter.fitted.preparation, "keep")
    with unchecked():
        program = model_files._program(model).module()
    for size in [*SIZES, (24, 24), (12, 25)]:
        image = draw(*size, 3)[0]
        (expected,) = segmenter.predict_proba(image)
        found = program(torch.from_numpy(image)[None, None])[0].detach().numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.xdist_group("onnx")
@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")  # of bioimageio.spec
def test_a_package_of_bioimage_io_holds_a_valid_model_and_an_example_of_it(
    exported: tuple[Segmenter, Path], tmp_path: Path
) -> None:
    spec = pytest.importorskip("bioimageio.spec")
    segmenter, folder = exported
    model = one_input(segmenter.judgement, segmenter._task_network().network, segmenter.fitted.preparation, "keep")
    about = described(segmenter.fitted, segmenter.predict(draw(40, 60, 1)[0]).report, overlap=False)
    file = ModelFile(model, about, checks_of(segmenter.fitted, segmenter.predict_proba), "Ada")
    write_package(file, tmp_path / "a.zip", lambda _, path: shutil.copyfile(folder / "a.onnx", path))
    with zipfile.ZipFile(tmp_path / "a.zip") as package:
        package.extractall(tmp_path)
    told = spec.load_description(tmp_path / "rdf.yaml", format_version="latest")
    assert told.validation_summary.status == "valid-format", told.validation_summary.display()
    assert told.authors[0].name == "Ada"
    assert told.outputs[0].axes[1].channel_names == ["class1", "class2"]
    image, expected = (np.load(tmp_path / f"test_{name}.npy") for name in ("image", "probabilities"))
    np.testing.assert_allclose(run_graph(tmp_path / "model.onnx", image[0, 0]), expected[0], rtol=0, atol=1e-4)


def test_a_file_that_finds_something_else_does_not_appear(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segmenter = fitted(support="random", support_size=2)
    model = one_input(segmenter.judgement, segmenter._task_network().network, segmenter.fitted.preparation, "keep")
    check = Check(np.zeros((4, 4), np.float32), np.full((1, 4, 4), 0.5, np.float32))

    def other(file: ModelFile, path: Path) -> None:
        path.write_text("other")
        model_files._verify(path, file.checks, lambda image: image + 0.5002)

    monkeypatch.setitem(model_files.WRITERS, ".pt2", other)
    (tmp_path / "a.pt2").write_text("before")
    with pytest.raises(ValueError, match=r"does not compute what the segmenter does: .* got 0\.0002 apart"):
        ModelFile(model, {}, [check]).write(tmp_path / "a.pt2")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a.pt2", "before")]


def test_what_cannot_be_exported_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"a\.task is no file of a model: expected \.onnx"):
        writer_of(tmp_path / "a.task")
    with pytest.raises(ValueError, match="support is not one for all images"):
        fitted(support="nearest", support_size=2).export(tmp_path / "a.pt2")
    with pytest.raises(ValueError, match=r"network cannot be exported: .* got Whole"):
        fitted(Whole()).export(tmp_path / "a.pt2")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("suffix", "extra"), [(".onnx", "onnx"), (".bioimage.zip", "bioimage")])
def test_the_extra_of_a_format_is_named_at_once(suffix: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for missing in ("onnx", "onnxscript", "onnxruntime", "bioimageio"):
        monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ModuleNotFoundError, match=rf'pip install "incontext-seg\[{extra}\]"'):
        writer_of(Path(f"a{suffix}"))


class Whole(torch.nn.Module):
    """A network of somebody else."""

    def forward(self, queries: torch.Tensor, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        return labels.mean(1) - 0.5


def test_a_model_tells_what_it_is_made_of() -> None:
    segmenter = fitted()
    report = replace(segmenter.predict(draw(40, 60, 1)[0]).report, seconds=0.0)
    about = described(segmenter.fitted, report, overlap=False)
    assert json.loads(json.dumps(about)) == about
    assert about["labelled_images"] == 6
    assert about["scaled_by_plane"]
    assert sys.getsizeof(json.dumps(about)) < 4000
