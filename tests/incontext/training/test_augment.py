"""Laws of augmentation, and label changes on drawings of a few pixels."""

import math
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from incontext.training.augment import (
    INTENSITY_CHANGES,
    NOISE_STD,
    AffineRange,
    AugmentConfig,
    ImageChances,
    TaskChances,
    augment,
    dilate,
    edges,
    elastic_field,
    erode,
    random_affine,
    sometimes,
    vary_labels,
    warp,
)

EVERYTHING = AugmentConfig(
    task=TaskChances(**dict.fromkeys(TaskChances.model_fields, 1.0)),
    image=ImageChances(**dict.fromkeys(ImageChances.model_fields, 1.0)),
)


def draw(rows: str) -> Tensor:
    """A label from a drawing, `#` marking what belongs to it."""
    return torch.tensor([[float(pixel == "#") for pixel in row] for row in rows.split()])


def sets_of(label: Tensor, sets: int = 1, count: int = 2) -> Tensor:
    return label.expand(sets, count, 1, *label.shape)


def blobs(height: int = 32, width: int = 32) -> tuple[Tensor, Tensor]:
    """Two sets of five equal images: a soft ellipse off the centre, which the label marks."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    images = torch.exp(-(((y - 0.1) / 0.5) ** 2) - ((x + 0.2) / 0.3) ** 2).expand(2, 5, 1, height, width)
    return images, (images >= 0.5).float()


def dice(a: Tensor, b: Tensor) -> float:
    return float(2 * (a * b).sum() / (a + b).sum())


@pytest.mark.parametrize("config", [AugmentConfig(), EVERYTHING], ids=["default", "everything"])
@pytest.mark.parametrize("size_px", [(64, 64), (128, 128), (256, 256), (48, 80)], ids=str)
def test_images_stay_in_range_and_labels_crisp(config: AugmentConfig, size_px: tuple[int, int]) -> None:
    torch.manual_seed(0)
    images, labels = augment(*blobs(*size_px), config)
    assert images.shape == labels.shape == (2, 5, 1, *size_px)
    assert images.min() >= 0
    assert images.max() <= 1
    assert set(labels.unique().tolist()) <= {0.0, 1.0}


def test_chances_of_zero_change_nothing() -> None:
    images, labels = torch.rand(2, 3, 1, 16, 24), torch.rand(2, 3, 1, 16, 24).round()
    changed = augment(images, labels, AugmentConfig.only())
    assert torch.equal(changed[0], images)
    assert torch.equal(changed[1], labels)


def test_what_is_given_stays_as_it_was() -> None:
    images, labels = (given.clone() for given in blobs())
    augment(images, labels, EVERYTHING)
    assert torch.equal(images, blobs()[0])
    assert torch.equal(labels, blobs()[1])


def test_same_seed_same_result() -> None:
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(augment(*blobs()))
    assert all(torch.equal(a, b) for a, b in zip(*drawn, strict=True))
    assert not torch.equal(augment(*blobs())[0], drawn[0][0])


@pytest.mark.parametrize("name", [name for name in TaskChances.model_fields if name != "noise"])
def test_task_changes_are_one_draw_per_set(name: str) -> None:
    torch.manual_seed(0)
    given = blobs(64, 64)
    changed = augment(*given, AugmentConfig.only(task={name: 1.0}))
    for values in changed:
        assert torch.equal(values, values[:, :1].expand_as(values))
    assert any(not torch.equal(after, before) for after, before in zip(changed, given, strict=True))


@pytest.mark.parametrize("name", ["affine", "elastic", *INTENSITY_CHANGES])
def test_drawn_changes_differ_between_items(name: str) -> None:
    torch.manual_seed(0)
    of_sets, _ = augment(*blobs(), AugmentConfig.only(task={name: 1.0}))
    of_images, _ = augment(*blobs(), AugmentConfig.only(image={name: 1.0}))
    assert not torch.equal(of_sets[0], of_sets[1])
    assert all(not torch.equal(of_images[0, 0], of_images[0, i]) for i in range(1, 5))


def test_task_noise_is_of_one_strength_with_a_grain_per_image() -> None:
    torch.manual_seed(0)
    grey = torch.full((2, 3, 1, 64, 64), 0.5)
    noisy, _ = augment(grey, grey.round(), AugmentConfig.only(task={"noise": 1.0}))
    assert not torch.equal(noisy[0, 0], noisy[0, 1])
    means, stds = noisy.mean((2, 3, 4)), noisy.std((2, 3, 4))
    torch.testing.assert_close(means, means[:, :1].expand_as(means), atol=6 * NOISE_STD[1] / 64, rtol=0)
    torch.testing.assert_close(stds, stds[:, :1].expand_as(stds), atol=0, rtol=0.06)
    assert NOISE_STD[0] * 0.9 < stds.min() < stds.max() < NOISE_STD[1] * 1.1


def test_in_task_changes_leave_labels_in_place_unless_they_move_images() -> None:
    torch.manual_seed(0)
    images, labels = blobs()
    chances = AugmentConfig.only(image=dict.fromkeys(INTENSITY_CHANGES, 1.0))
    changed, same_labels = augment(images, labels, chances)
    assert torch.equal(same_labels, labels)
    assert not torch.equal(changed, images)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("size_px", [(64, 64), (64, 96)], ids=str)
def test_labels_move_with_their_images(seed: int, size_px: tuple[int, int]) -> None:
    torch.manual_seed(seed)
    images, labels = warp(*blobs(*size_px), EVERYTHING)
    assert not torch.equal(labels, blobs(*size_px)[1])
    assert dice((images >= 0.5).float(), labels) > 0.95


@pytest.mark.parametrize(("name", "axis"), [("horizontal_flip", -1), ("vertical_flip", -2)])
def test_flips_mirror(name: str, axis: int) -> None:
    images, labels = blobs()
    mirrored, mirrored_labels = augment(images, labels, AugmentConfig.only(task={name: 1.0}))
    torch.testing.assert_close(mirrored, images.flip(axis), atol=1e-4, rtol=0)
    assert torch.equal(mirrored_labels, labels.flip(axis))


def test_intensity_and_label_flips_complement() -> None:
    images, labels = blobs()
    changed, flipped = augment(images, labels, AugmentConfig.only(task={"intensity_flip": 1.0, "label_flip": 1.0}))
    assert torch.equal(changed, 1 - images)
    assert torch.equal(flipped, 1 - labels)


def test_labels_grow_and_shrink_and_become_outlines() -> None:
    block = sets_of(draw("...... .###.. .###.. .###.. ......"))
    assert torch.equal(dilate(block, 1), sets_of(draw("#####. #####. #####. #####. #####.")))
    assert torch.equal(erode(block, 1), sets_of(draw("...... ...... ..#... ...... ......")))
    assert torch.equal(edges(block), sets_of(draw("#####. #####. ##.##. #####. #####.")))


def test_the_frame_of_the_image_is_no_border() -> None:
    corner = sets_of(draw("###.. ###.. ###.. ....."))
    assert torch.equal(erode(corner, 1), sets_of(draw("##... ##... ..... .....")))
    assert torch.equal(edges(corner), sets_of(draw("..##. ..##. ####. ####.")))


def test_erosion_spares_sets_with_a_thin_label() -> None:
    square, line = torch.zeros(2, 24, 24)
    square[4:20, 4:20] = 1
    line[12, 2:22] = 1
    labels = torch.stack([torch.stack([square, square]), torch.stack([square, line])])[:, :, None]
    eroded = vary_labels(labels, AugmentConfig.only(task={"erosion": 1.0}).task)
    assert eroded[0].sum() == 2 * 12 * 12
    assert torch.equal(eroded[1], labels[1])


@pytest.mark.parametrize("name", ["edges", "erosion", "label_flip"])
def test_no_change_empties_a_label_that_fills_its_image(name: str) -> None:
    full = torch.ones(1, 2, 1, 8, 8)
    assert torch.equal(vary_labels(full, AugmentConfig.only(task={name: 1.0}).task), full)


@pytest.mark.parametrize("seed", range(8))
def test_small_labels_survive_and_empty_ones_stay_empty(seed: int) -> None:
    torch.manual_seed(seed)
    labels = torch.zeros(6, 4, 1, 32, 32)
    for i in range(6):
        labels[i, :3, 0, 6 * i, 31 - 6 * i] = 1  # from one corner to the other
    config = EVERYTHING.model_copy(update={"task": EVERYTHING.task.model_copy(update={"label_flip": 0.0})})
    _, changed = augment(torch.rand_like(labels), labels, config)
    assert torch.equal(changed.amax((2, 3, 4)), labels.amax((2, 3, 4)))


def test_affine_maps_without_freedom_are_the_identity() -> None:
    affine = random_affine(3, AffineRange(rotation=0.0, shift=0.0, scale=(1.0, 1.0)))
    assert torch.equal(affine, torch.eye(3).repeat(3, 1, 1))


def test_rotation_keeps_the_shape_of_things_in_oblong_images() -> None:
    aspect = 2.5
    turn = random_affine(4, AffineRange(rotation=math.pi, shift=0.0, scale=(1.0, 1.0)), aspect)[:, :2, :2]
    to_pixels = torch.tensor([[aspect, 0.0], [0.0, 1.0]])
    turn_px = to_pixels @ turn @ to_pixels.inverse()
    torch.testing.assert_close(turn_px @ turn_px.mT, torch.eye(2).repeat(4, 1, 1))


def test_elastic_fields_do_not_fold() -> None:
    torch.manual_seed(0)
    field = elastic_field(16, 64, 64)
    step = 2 / 64
    assert field.abs().amax((1, 2, 3)).min() > 0
    assert field.diff(dim=1).abs().max() < step
    assert field.diff(dim=2).abs().max() < step


def test_some_items_change_as_a_whole() -> None:
    torch.manual_seed(0)
    items = torch.zeros(64, 3)
    picked = sometimes(0.5, lambda drawn: drawn + 1, items)
    assert set(picked.mean(1).tolist()) == {0.0, 1.0}
    assert items.sum() == 0


def test_configurations_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValidationError, match="label_flp"):
        AugmentConfig.only(task={"label_flp": 1.0})
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        TaskChances(edges=1.5)


def test_every_intensity_change_has_a_chance_on_both_levels() -> None:
    assert set(INTENSITY_CHANGES) <= set(TaskChances.model_fields)
    assert set(INTENSITY_CHANGES) <= set(ImageChances.model_fields)


def test_configurations_survive_json() -> None:
    config = AugmentConfig.only(image={"noise": 0.5})
    assert AugmentConfig.model_validate_json(config.model_dump_json()) == config


def test_the_page_states_the_default_chances(repository: Path) -> None:
    lines = (repository / "docs" / "augmentation.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.split("|")[1:4]] for line in lines if line.startswith("| `")]
    for level, chances in enumerate((TaskChances(), ImageChances()), start=1):
        stated = {row[0].strip("`"): float(row[level]) for row in rows if row[level]}
        assert stated == chances.model_dump()
