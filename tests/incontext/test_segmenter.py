"""The public face, with networks small enough to foresee what they answer."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from incontext import Segmenter
from incontext.images.arrays import Picture
from incontext.inference.segmentation import dice
from incontext.networks import checkpoint
from incontext.networks.quality import QualityModel
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from megamed.label_colours import colour_of

SIZE_PX = 32
LITTLE_GB = 1e-9
"""Not enough for two squares at a time."""


class Thresholder(nn.Module):
    """Finds what is bright in the query, whatever the support shows."""

    def forward(self, query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
        assert support_images.shape == support_labels.shape
        assert len(support_images) == len(query_images)
        return 20 * (query_images - 0.5)


class MeanLabel(nn.Module):
    """Repeats where the support's label was; encodes the support once, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.encoded = 0

    def encode_support(self, support_images: Tensor, support_labels: Tensor) -> Tensor:
        self.encoded += 1
        return support_labels.mean(dim=1)

    def segment(self, query_images: Tensor, code: Tensor) -> Tensor:
        return (20 * code - 10).expand_as(query_images)


def discs(count: int, shape: tuple[int, int] = (40, 56)) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Bright discs on a dark ground, and their labels."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    labels = [((rows - 20) ** 2 + (columns - 15 - 3 * i) ** 2 < 100).astype(np.uint8) for i in range(count)]
    return [50 + 150 * label for label in labels], labels


def segmenter(network: nn.Module, memory_gb: float | None = None, **params: Any) -> Segmenter:
    return Segmenter(network, size_px=SIZE_PX, device="cpu", memory_gb=memory_gb, **params)


def tiny_network() -> SupportOnceNet:
    torch.manual_seed(0)
    return SupportOnceNet(SupportOnceConfig())


@pytest.mark.parametrize("shape", [(40, 56), (90, 45), (30, 120), (32, 32)])
def test_mask_is_on_the_image_s_grid(shape: tuple[int, int]) -> None:
    images, labels = discs(2, shape)
    result = segmenter(Thresholder()).predict(images[0], images[1], labels[1])
    assert result.masks[0].shape == result.probabilities[0].shape == shape
    assert result.masks[0].dtype == np.uint8
    assert result.probabilities[0].dtype == np.float32
    area_px = np.count_nonzero(labels[0])
    assert np.count_nonzero(result.masks[0] != labels[0]) < 0.25 * area_px


@pytest.mark.filterwarnings("ignore:images differ from support_images")
def test_images_of_many_sizes() -> None:
    (support,), (label,) = discs(1)
    images = [np.arange(h * w).reshape(h, w) for h, w in [(8, 9), (100, 3), (64, 64)]]
    result = segmenter(Thresholder(), memory_gb=LITTLE_GB).predict(images, support, label)
    assert [mask.shape for mask in result.masks] == [(8, 9), (100, 3), (64, 64)]


@pytest.mark.parametrize("network", [tiny_network(), Thresholder()], ids=["support once", "callable"])
def test_batched_is_one_at_a_time(network: nn.Module) -> None:
    images, labels = discs(5)
    together = segmenter(network).predict(images, images[:2], labels[:2])
    for image, probabilities in zip(images, together.probabilities, strict=True):
        alone = segmenter(network, memory_gb=LITTLE_GB).predict(image, images[:2], labels[:2])
        np.testing.assert_allclose(alone.probabilities[0], probabilities, atol=1e-5)


def test_support_order_is_irrelevant() -> None:
    images, labels = discs(4)
    forward = segmenter(tiny_network()).predict(images[3], images[:3], labels[:3])
    backward = segmenter(tiny_network()).predict(images[3], images[2::-1], labels[2::-1])
    np.testing.assert_allclose(forward.probabilities[0], backward.probabilities[0], atol=1e-5)


def test_support_is_read_once_per_class() -> None:
    images, labels = discs(9)
    network = MeanLabel()
    segmenter(network, memory_gb=LITTLE_GB).predict(images, images[:3], [2 * labels[0], labels[1], labels[2]])
    assert network.encoded == 2


def test_every_form_of_input_gives_one_answer(tmp_path: Path) -> None:
    images, labels = discs(2)
    for name, array in (("image", images[0]), ("support", images[1]), ("label", labels[1])):
        Image.fromarray(array).save(tmp_path / f"{name}.png")
    forms: list[tuple[Picture, Picture, Picture]] = [
        (images[0], images[1], labels[1]),
        (torch.from_numpy(images[0]), torch.from_numpy(images[1]), torch.from_numpy(labels[1])),
        (Image.fromarray(images[0]), Image.fromarray(images[1]), Image.fromarray(labels[1])),
        (tmp_path / "image.png", str(tmp_path / "support.png"), tmp_path / "label.png"),
        (np.stack([images[0]] * 3, -1), images[1].astype(np.uint16) * 256, labels[1].astype(bool)),
    ]
    results = [segmenter(tiny_network()).predict(*form).probabilities[0] for form in forms]
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], atol=1e-5)


def test_mask_holds_the_support_s_value() -> None:
    images, labels = discs(2)
    result = segmenter(MeanLabel()).predict(images[0], images[1], 255 * labels[1])
    assert result.classes == {255: "255"}
    assert set(np.unique(result.masks[0])) == {0, 255}


def test_several_classes_are_resolved_by_softmax() -> None:
    images, labels = discs(1)
    label = labels[0].copy()
    label[:, :15] *= 7
    result = segmenter(MeanLabel()).predict(images[0], images[0], label)
    one, seven = result.probabilities[0]
    assert list(result.classes) == [1, 7]
    assert (one + seven <= 1 + 1e-6).all()
    background = 1 - one - seven
    both = np.stack([background, one, seven])
    decided = np.ptp(np.sort(both, axis=0)[1:], axis=0) > 1e-5
    assert decided.mean() > 0.9
    np.testing.assert_array_equal(np.array([0, 1, 7])[both.argmax(axis=0)][decided], result.masks[0][decided])
    assert np.mean(result.masks[0] == label) > 0.9


def test_one_class_is_the_sigmoid() -> None:
    images, labels = discs(1, (SIZE_PX, SIZE_PX))
    result = segmenter(Thresholder()).predict(images[0], images[0], labels[0])
    expected = torch.sigmoid(20 * (torch.from_numpy(images[0] > 100).float() - 0.5))
    np.testing.assert_allclose(result.probabilities[0], expected, atol=1e-6)


@pytest.fixture
def calibrated(tmp_path: Path) -> tuple[Path, Path]:
    """Two checkpoints of one network, the second with a temperature."""
    paths = tmp_path / "sharp.safetensors", tmp_path / "soft.safetensors"
    for path in paths:
        checkpoint.save(path, tiny_network(), {})
    checkpoint.write_calibration(paths[1], {"temperature": 4.0})
    return paths


@pytest.mark.parametrize("classes", [1, 2])
def test_temperature_softens_probabilities_and_changes_no_mask(calibrated: tuple[Path, Path], classes: int) -> None:
    images, labels = discs(3)
    labels[1] *= classes
    sharp, soft = (Segmenter(path, device="cpu").predict(images[0], images, labels) for path in calibrated)
    np.testing.assert_array_equal(sharp.masks[0], soft.masks[0])
    assert np.ptp(soft.probabilities[0]) < np.ptp(sharp.probabilities[0])
    if classes == 1:
        logits = [np.log(p / (1 - p)) for p in (sharp.probabilities[0].astype(float), soft.probabilities[0])]
        np.testing.assert_allclose(logits[0], 4 * logits[1], atol=1e-2)


def test_the_temperature_of_a_checkpoint_is_used(calibrated: tuple[Path, Path]) -> None:
    sharp, soft = (Segmenter.from_pretrained(path, "cpu") for path in calibrated)
    assert sharp.temperature == 1
    assert soft.temperature == soft.metadata["calibration"]["temperature"] == 4.0


def test_a_support_image_may_lack_a_class() -> None:
    images, labels = discs(3)
    result = segmenter(MeanLabel()).predict(images[0], images, [labels[0], 2 * labels[1], 0 * labels[2]])
    assert list(result.classes) == [1, 2]


def test_no_image_gives_no_mask() -> None:
    images, labels = discs(1)
    assert segmenter(MeanLabel()).predict([], images, labels).masks == []


BLANK = np.zeros((8, 8), dtype=np.uint8)
SPOT = np.eye(8, dtype=np.uint8)


@pytest.mark.parametrize(
    ("images", "support_images", "support_labels", "error"),
    [
        (SPOT, [], [], "support_images are empty: expected at least one image, got none"),
        (SPOT, [SPOT, SPOT], [SPOT], "support_labels do not match support_images: expected 2, got 1"),
        (SPOT, [SPOT], [np.ones((8, 9))], r"support_labels\[0\] does not match.*expected \(8, 8\), got \(8, 9\)"),
        (SPOT, [SPOT], [BLANK], "support_labels have no foreground: expected a non-zero value"),
        (SPOT, [SPOT * np.nan], [SPOT], r"support_images\[0\] is not finite: expected numbers"),
        ([SPOT, np.zeros((4, 8, 8))], [SPOT], [SPOT], r"images\[1\] is not one image: expected shape \(H, W\)"),
        (np.zeros((9, 1, 8, 8)), [SPOT], [SPOT], r"images\[0\] is not one image.*list\(images"),
    ],
)
def test_wrong_input_is_named(
    images: Picture, support_images: list[Picture], support_labels: list[Picture], error: str
) -> None:
    with pytest.raises(ValueError, match=error):
        segmenter(MeanLabel()).predict(images, support_images, support_labels)


def test_a_stack_is_one_thing_to_segment() -> None:
    images, labels = discs(5)
    one_by_one = segmenter(tiny_network()).predict(images, images[:2], labels[:2])
    stacked = segmenter(tiny_network()).predict(np.stack(images), images[:2], labels[:2])
    assert [mask.shape for mask in stacked.masks] == [(5, 40, 56)]
    np.testing.assert_array_equal(stacked.masks[0], np.stack(one_by_one.masks))
    np.testing.assert_allclose(stacked.probabilities[0], np.stack(one_by_one.probabilities), atol=1e-5)


def test_a_labelled_stack_teaches_what_its_labelled_planes_do() -> None:
    images, labels = discs(4)
    images, labels = [images[0] // 2, *images], [0 * labels[0], *labels]
    planes = segmenter(tiny_network()).predict(images[0], images[1:], labels[1:])
    stack = segmenter(tiny_network()).predict(images[0], np.stack(images), np.stack(labels))
    assert stack.report.label_budget == 4
    np.testing.assert_allclose(stack.probabilities[0], planes.probabilities[0], atol=0.02)


def test_a_stack_of_images_needs_a_stack_of_labels() -> None:
    images, labels = discs(3)
    with pytest.raises(ValueError, match="support_labels do not match support_images: expected 1, got 3"):
        segmenter(MeanLabel()).predict(images[0], np.stack(images), labels)


def test_pretrained_needs_no_argument_and_finds_discs() -> None:
    images, labels = discs(6, (100, 80))
    result = Segmenter.from_pretrained(device="cpu").predict(images[:2], images[2:], labels[2:])
    for mask, label in zip(result.masks, labels[:2], strict=True):
        assert np.count_nonzero(mask & label) / np.count_nonzero(mask | label) > 0.8


def test_pretrained_segments_real_cells(shared: Path) -> None:
    folder = shared / "data" / "wbc_cellavision"
    images, labels = (sorted((folder / part).iterdir())[:12] for part in ("images", "labels"))
    masks = Segmenter.from_pretrained(device="cpu").predict(images[8:], images[:8], labels[:8]).masks
    for mask, path in zip(masks, labels[8:], strict=True):
        label = np.asarray(Image.open(path))
        assert np.mean([dice(mask == value, label == value) for value in np.unique(label) if value]) > 0.6


def test_classes_have_names() -> None:
    images, labels = discs(3)
    labels[1] *= 4
    one = segmenter(MeanLabel()).fit(images, labels, classes={1: "disc", 9: "never shown"})
    assert one.predict(images[0]).classes == {1: "disc", 4: "4"}


def test_masks_have_the_colours_of_their_labels_and_serve_as_labels_again(tmp_path: Path) -> None:
    images, labels = discs(3)
    label = labels[1] * 4
    label[:, :20] //= 2
    picture = Image.fromarray(label)
    picture.putpalette([0, 0, 0, 9, 9, 9, 250, 10, 10, 0, 0, 0, 0, 0, 0])
    picture.save(tmp_path / "label.png")
    one = segmenter(MeanLabel()).fit(images[1], tmp_path / "label.png", classes={2: "left", 4: "right"})
    result = one.predict(images[1])
    assert set(np.unique(result[0])) == {0, 2, 4}
    assert result.colours == {2: "#fa0a0a", 4: colour_of(4)}
    written = result.write(0, tmp_path / "mask.png")
    assert np.array_equal(np.asarray(Image.open(written)), result[0])
    again = segmenter(MeanLabel()).fit(images[1], written)
    assert again.fitted.colours == result.colours
    plain = segmenter(MeanLabel()).fit(images[1], result[0])
    assert np.array_equal(again.predict(images[1])[0], plain.predict(images[1])[0])


def test_classes_by_name_are_numbered_in_their_order() -> None:
    images, labels = discs(2)
    wide = [np.maximum(label, np.roll(label, 20, axis=1)) for label in labels]
    result = segmenter(MeanLabel(), overlap=True).fit(images, {"wide": wide, "disc": labels}).predict(images[0])
    assert result.classes == {1: "wide", 2: "disc"}
    assert result.probabilities[0].shape == (2, 40, 56)


def test_classes_that_overlap_in_the_labels_compete_with_a_word() -> None:
    images, labels = discs(2)
    named = {"wide": [np.maximum(label, np.roll(label, 20, axis=1)) for label in labels], "disc": labels}
    told = "wide and disc share pixels in the labels: masks have one class there. For a mask of each pass overlap=True"
    fitted = segmenter(MeanLabel()).fit(images, named)
    with pytest.warns(UserWarning, match=told):
        result = fitted.predict(images)
    assert sum(told in warning for warning in result.report.warnings) == 1
    silent = [segmenter(MeanLabel(), overlap=True).fit(images, named), segmenter(MeanLabel()).fit(images, labels)]
    for each in silent:
        assert not any("share pixels" in warning for warning in each.predict(images).report.warnings)


def test_overlapping_classes_are_what_each_is_alone() -> None:
    images, labels = discs(3)
    named = {"disc": labels, "again": labels, "other": [np.roll(label, 20, axis=1) for label in labels]}
    together = segmenter(tiny_network(), overlap=True).fit(images[1:], {k: v[1:] for k, v in named.items()})
    result = together.predict(images[0])
    assert result[0].shape == (3, 40, 56)
    for index, (name, masks) in enumerate(named.items()):
        alone = segmenter(tiny_network()).fit(images[1:], {name: masks[1:]}).predict(images[0])
        np.testing.assert_array_equal(result[0][index], alone[0])
        np.testing.assert_allclose(result.probabilities[0][index], alone.probabilities[0], atol=1e-5)


def test_what_looks_wrong_is_warned_about_and_reported() -> None:
    images, labels = discs(3)
    with pytest.warns(UserWarning, match="images differ from support_images in contrast") as caught:
        result = segmenter(MeanLabel()).predict(255 - images[0], images, labels)
    assert result.report.warnings == tuple(str(each.message) for each in caught)


def test_the_report_tells_how() -> None:
    images, labels = discs(5)
    report = segmenter(tiny_network(), support="random", support_size=2).predict(images[0], images, labels).report
    assert report.support == "2 random of the labelled images"
    assert report.label_budget == 5
    assert report.normalisation.startswith("min-max")
    assert report.tiling.startswith("the whole image: structures are ")
    assert report.weights is None
    assert report.seconds > 0


def test_tiles_find_what_is_small_in_a_large_image() -> None:
    rows, columns = np.mgrid[:240, :240]
    labels = [((rows - 60 - 40 * i) ** 2 + (columns - 150) ** 2 < 9).astype(np.uint8) for i in range(4)]
    images = [50 + 150 * label for label in labels]
    found = {}
    for tiling in ("auto", "never"):
        result = Segmenter(device="cpu", tiling=tiling).predict(images[0], images[1:], labels[1:])
        assert result[0].shape == (240, 240)
        found[tiling] = dice(result[0] > 0, labels[0] > 0)
        assert result.report.label_budget == 3
    assert found["auto"] > max(0.8, found["never"])


def test_doubt_lies_where_examples_disagree_on_the_image_s_own_grid() -> None:
    shape = (30, 60)
    labels = [np.zeros(shape, dtype=np.uint8), np.zeros(shape, dtype=np.uint8)]
    labels[0][:, :40], labels[1][:, :20] = 1, 1
    images = [200 * label for label in labels]
    (doubt,) = segmenter(MeanLabel()).fit(images, labels).uncertainty(images[0], draws=20)
    assert doubt.shape == shape
    assert doubt[:, 30].min() > 0.5 > 0.1 > doubt[:, 8].max()
    assert 0 <= doubt.min() <= doubt.max() <= 1


@pytest.mark.parametrize("params", [{"support": "nearest", "support_size": 2}, {"support": "random"}], ids=str)
def test_doubt_of_each_class(params: dict[str, Any]) -> None:
    images, labels = discs(4)
    network, by_name = tiny_network(), {"disc": labels, "other": labels[::-1]}
    one = segmenter(network, **params).fit(images, by_name)
    maps = one.uncertainty([images[0], images[1][:, :30]], draws=2)
    assert [each.shape for each in maps] == [(2, 40, 56), (2, 40, 30)]
    np.testing.assert_allclose(one.uncertainty(images[0], draws=2)[0], maps[0], atol=1e-5)


def test_weights_that_tell_of_quality_judge_masks(tmp_path: Path) -> None:
    images, labels = discs(3)
    checkpoint.save(tmp_path / "tiny.safetensors", tiny_network(), {})
    quality = QualityModel(bias=-1.0, confidence=1.0, coverage=0.5, flag_below=0.6)
    calibration = {"temperature": 2.0, "quality": quality.model_dump()}
    assert Segmenter(tmp_path / "tiny.safetensors").quality is None
    checkpoint.write_calibration(tmp_path / "tiny.safetensors", calibration)
    one = Segmenter(tmp_path / "tiny.safetensors", size_px=SIZE_PX, device="cpu").fit(images[1:], labels[1:])
    assert one.quality == quality
    for result in (one.predict(images[0]), one.propagate(np.stack(images * 2), np.stack(labels + [0 * labels[0]] * 3))):
        undrawn = slice(3, None) if result[0].ndim == 3 else slice(None)
        probabilities, mask = (torch.from_numpy(each[undrawn][None]) for each in (result.probabilities[0], result[0]))
        expected = quality.predict(probabilities, mask > 0)
        assert result.predicted_dice[0, 0] == pytest.approx(expected.item(), rel=1e-4)
    assert segmenter(Thresholder()).quality is None


def train_on(network: nn.Module) -> None:
    """Move the weights as averages of weights are moved: no counter of changes tells of it."""
    for parameter in network.parameters():
        parameter.data.mul_(1.1)


@pytest.mark.parametrize("support", ["all", "nearest"])
def test_a_module_that_is_trained_on_reads_its_support_anew(support: str) -> None:
    images, labels = discs(4)
    network = tiny_network()
    params = {} if support == "all" else {"support": support, "support_size": 2}
    one = segmenter(network, **params).fit(images[:3], labels[:3])
    before = one.predict(images[3]).probabilities[0]
    doubt = one.uncertainty(images[3], draws=2)[0]
    train_on(network)
    anew = segmenter(network, **params).fit(images[:3], labels[:3])
    expected = anew.predict(images[3]).probabilities[0]
    assert abs(expected - before).max() > 1e-3
    np.testing.assert_array_equal(one.predict(images[3]).probabilities[0], expected)
    np.testing.assert_array_equal(one.uncertainty(images[3], draws=2)[0], anew.uncertainty(images[3], draws=2)[0])
    assert (one.uncertainty(images[3], draws=2)[0] != doubt).any()


def test_the_network_of_a_file_reads_its_support_anew_once_trained_on(tmp_path: Path) -> None:
    images, labels = discs(3)
    checkpoint.save(tmp_path / "net.safetensors", tiny_network(), {})
    one = Segmenter(tmp_path / "net.safetensors", size_px=SIZE_PX, device="cpu").fit(images[:2], labels[:2])
    before = one.predict(images[2]).probabilities[0]
    train_on(one.network)
    expected = segmenter(one.network).predict(images[2], images[:2], labels[:2]).probabilities[0]
    assert abs(expected - before).max() > 1e-3
    np.testing.assert_array_equal(one.predict(images[2]).probabilities[0], expected)


def test_a_network_that_stays_reads_its_support_once() -> None:
    images, labels = discs(2)
    network = MeanLabel()
    one = segmenter(network).fit(images[:1], labels[:1])
    for _ in range(3):
        one.predict(images[1])
    assert network.encoded == 1


class Moody(Thresholder):
    """Tells the mode in which it computes, and may refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.modes: list[bool] = []
        self.refuses = False

    def forward(self, query_images: Tensor, support_images: Tensor, support_labels: Tensor) -> Tensor:
        self.modes.append(self.training)
        if self.refuses:
            message = "refused"
            raise RuntimeError(message)
        return super().forward(query_images, support_images, support_labels)


@pytest.mark.parametrize("training", [True, False])
def test_a_module_is_left_in_the_mode_it_was_in(training: bool) -> None:
    images, labels = discs(3)
    network = Moody().train(training)
    one = segmenter(network).fit(images[:2], labels[:2])
    calls = [
        lambda: one.predict(images[2]),
        lambda: one.predict(images[2], images[:1], labels[:1]),
        lambda: one.score(images[2], labels[2]),
        lambda: one.uncertainty(images[2], draws=1),
        lambda: one.propagate(np.stack(images + images), {0: labels[0]}),
    ]
    for call in calls:
        call()
        assert network.training == training
        network.refuses = True
        with pytest.raises(RuntimeError, match="refused"):
            call()
        assert network.training == training
        network.refuses = False
    assert len(network.modes) >= 2 * len(calls)
    assert not any(network.modes)
