"""What values mean: drawings of each kind of label, and of those that look alike and must not be confused."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from megamed.colour_tables import colour_counts, colour_table
from megamed.label_values import (
    LabelRules,
    is_antialiased,
    is_instances,
    read_channels,
    read_palette,
    read_values,
    suspected_void,
    whole_numbers,
)


def disc(radius: float = 14.0, size: int = 48) -> np.ndarray:
    y, x = np.mgrid[:size, :size]
    return (y - size / 2) ** 2 + (x - size / 2) ** 2 < radius**2


def soft_disc(width: float = 1.0) -> np.ndarray:
    return np.rint(ndimage.gaussian_filter(disc() * 255.0, width)).astype(np.uint8)


def cells(count: int, first: int = 1, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:200, :200]
    label = np.zeros((200, 200), np.uint16)
    places = rng.permutation(100)[:count]
    for value, place in enumerate(places, start=first):
        centre = 10 + 20 * np.array(divmod(int(place), 10))
        label[(y - centre[0]) ** 2 + (x - centre[1]) ** 2 < rng.uniform(4, 9) ** 2] = value
    return label


@pytest.mark.parametrize(
    "stored",
    [
        np.array([[0.0, 0.99999994, 2.0000001]], np.float32),
        np.array([[0, 1, 2]], np.float32) / np.float32(255),
        np.array([[0, 1, 2]], np.uint16),
    ],
)
def test_near_numbers_are_whole(stored: np.ndarray) -> None:
    assert whole_numbers(stored, "a.nii").tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("stored", "fix"), [([[0.0, 0.3, 0.721]], "Cut probabilities off"), ([[0.0, 1.5, 3.0]], "Resize it by nearest")]
)
def test_other_numbers_are_refused(stored: list, fix: str) -> None:
    with pytest.raises(ValueError, match=f"a.nii is no label map: expected whole numbers, .*{fix}"):
        read_values(np.array(stored), "a.nii")
    with pytest.raises(ValueError, match=r"got NaN or infinity"):
        read_values(np.array([[np.nan, 1.0]]), "a.nii")


@pytest.mark.parametrize("width", [0.6, 1.0, 1.4])
def test_soft_edges_are_cut_off_at_half(width: float) -> None:
    reading = read_values(soft_disc(width), "a.png")
    assert set(np.unique(reading.values)) == {0, 255}
    assert (reading.values > 0).sum() == pytest.approx(disc().sum(), rel=0.02)
    assert reading.notes == ("a.png has soft edges: it is cut off at half of its largest value, 255.",)


def test_lossy_storage_leaves_soft_values() -> None:
    noise = np.random.default_rng(0).integers(0, 9, disc().shape)
    stored = np.where(disc(), 255 - noise, noise).astype(np.uint8)
    assert np.array_equal(read_values(stored, "a.png").values > 0, disc())


@pytest.mark.parametrize("quality", [30, 50, 75, 95, 98])
@pytest.mark.parametrize("is_disc", [True, False], ids=["disc", "box"])
def test_a_mask_that_was_stored_as_jpeg_is_one_class(is_disc: bool, quality: int) -> None:
    mask = np.zeros((96, 128), bool)
    mask[20:50, 30:80] = True
    mask = disc() if is_disc else mask
    content = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * np.uint8(255)).save(content, "JPEG", quality=quality)
    assert np.array_equal(read_values(np.asarray(Image.open(content)), "a.jpg").values > 0, mask)


def test_many_classes_beside_an_unknown_value_stay() -> None:
    label = np.repeat(np.arange(19, dtype=np.uint8), 4).reshape(4, 19)
    label[0, 0] = 255
    reading = read_values(label, "a.png")
    assert set(np.unique(reading.values)) == set(range(19))
    assert reading.unknown is not None
    assert reading.unknown.sum() == 1


def test_what_is_no_mask_with_soft_edges() -> None:
    ramp = np.tile(np.linspace(0, 255, 48).astype(np.uint8), (48, 1))
    classes = np.zeros((60, 60), np.uint8)
    for value in range(1, 30):
        classes[2 * value : 2 * value + 2, 5:50] = value
    for label in (disc(), disc() * np.uint8(255), ramp, classes, cells(30), np.zeros((4, 4), np.uint8)):
        assert not is_antialiased(label)


def test_numbered_objects_are_one_class() -> None:
    reading = read_values(cells(27), "cells.tif")
    assert np.array_equal(reading.values, cells(27) > 0)
    assert reading.notes == ("cells.tif numbers 27 objects: they are read as one class, 1.",)
    assert is_instances([cells(27, seed=seed) for seed in range(3)])


def test_a_user_decides_what_numbers_are() -> None:
    assert np.array_equal(read_values(cells(27), "a", LabelRules(instances=False)).values, cells(27))
    assert np.array_equal(read_values(cells(4), "a", LabelRules(instances=True)).values, cells(4) > 0)


def test_what_are_no_objects() -> None:
    organs = np.zeros((200, 200), np.uint8)
    for value, size in enumerate(np.geomspace(2, 70, 12).astype(int), start=1):
        corner = 16 * (value - 1)
        organs[corner % 100 : corner % 100 + size, corner : corner + size] = value
    skipped = cells(20)
    skipped[skipped > 0] = skipped[skipped > 0] * 5
    stripes = np.tile(np.arange(200) % 15, (200, 1)).astype(np.uint8)
    for label in (organs, skipped, stripes, cells(5), disc().astype(np.uint8)):
        assert not is_instances([label])
    assert not is_instances([])


def test_pixels_that_nobody_judged() -> None:
    stored = np.array([[0, 1, 255], [2, 255, 1]], np.uint8)
    reading = read_values(stored, "a.png", LabelRules(unknown=(255,)))
    assert reading.values.tolist() == [[0, 1, 0], [2, 0, 1]]
    assert reading.unknown is not None
    assert np.array_equal(reading.unknown, stored == 255)
    assert not reading.notes
    plausible = read_values(stored, "a.png")
    assert np.array_equal(plausible.values, reading.values)
    assert plausible.unknown is not None
    assert np.array_equal(plausible.unknown, stored == 255)
    assert plausible.notes == (
        "a.png has the value 255 apart from its classes: it is read as pixels that nobody judged.",
    )


def test_pixels_of_several_values_that_nobody_judged() -> None:
    reading = read_values(np.array([[0, 9, -1], [3, 9, 255]], np.int16), "a.nii", LabelRules(unknown=(-1, 9)))
    assert reading.unknown is not None
    assert reading.unknown.tolist() == [[False, True, True], [False, True, False]]
    assert reading.values.tolist() == [[0, 0, 0], [3, 0, 255]]


def test_no_number_is_no_judgement_beside_background() -> None:
    reading = read_values(np.array([[0, 1, np.nan], [2, np.nan, 1]], np.float32), "a.nii")
    assert reading.values.tolist() == [[0, 1, 0], [2, 0, 1]]
    assert reading.unknown is not None
    assert reading.unknown.tolist() == [[False, False, True], [False, True, False]]
    with pytest.raises(ValueError, match="got NaN"):
        read_values(np.array([[1, np.nan]], np.float32), "a.nii")  # NaN may as well be its background


@pytest.mark.parametrize(
    ("found", "void"),
    [
        ([0, 1, 255], 255),
        ([0, 15, 255], 255),
        ([0, 1, 2, -1], -1),
        ([0, 3, -100], -100),
        ([0, 1, 65535], 65535),
        ([0, 255], None),
        ([0, 65535], None),
        ([0, 128, 255], None),
        ([0, 1, 2], None),
    ],
)
def test_a_value_apart(found: list[int], void: int | None) -> None:
    assert suspected_void(np.array([found])) == void


@pytest.mark.parametrize("colour", [0, 255])
def test_a_mask_may_be_in_the_opacity(colour: int) -> None:
    drawn = disc() * np.uint8(255)
    for channels in (2, 4):
        layers = np.stack([*[np.full_like(drawn, colour)] * (channels - 1), drawn], axis=-1)
        reading = read_channels(layers, "a.png")
        assert np.array_equal(reading.values, drawn)
        assert "transparent layer" in reading.notes[0]


def test_full_opacity_says_nothing() -> None:
    grey = np.stack([disc() * np.uint8(3)] * 3 + [np.full((48, 48), 255, np.uint8)], axis=-1)
    reading = read_channels(grey, "a.png")
    assert np.array_equal(reading.values, disc() * 3)
    assert not reading.notes


def test_colours_on_a_transparent_layer() -> None:
    layers = np.zeros((4, 4, 4), np.uint8)
    layers[..., :3] = 255  # what is transparent may have any colour
    layers[0] = (255, 0, 0, 255)
    layers[1] = (0, 255, 0, 255)
    reading = read_channels(layers, "a.png", LabelRules(colours={"#ff0000": 1, "#00ff00": 2}))
    assert reading.values[:, 0].tolist() == [1, 2, 0, 0]


@pytest.mark.parametrize("background", [0, 255])
def test_a_mask_of_two_colours(background: int) -> None:
    picture = np.full((48, 48, 3), background, np.uint8)
    picture[disc()] = (200, 30, 30)
    reading = read_channels(picture, "a.png")
    assert np.array_equal(reading.values, disc() * 255)
    assert reading.notes == ("a.png has two colours: #c81e1e is read as one class, 255.",)


def test_more_colours_need_a_table() -> None:
    picture = np.zeros((4, 4, 3), np.uint8)
    picture[0], picture[1] = (255, 0, 0), (0, 0, 255)
    with pytest.raises(ValueError, match=r"a.png is drawn in colours: .* '#0000ff=1,#ff0000=2'; black"):
        read_channels(picture, "a.png")
    assert colour_table([picture]) == {"#0000ff": 1, "#ff0000": 2}
    reading = read_channels(picture, "a.png", LabelRules(colours={"#0000ff": 7, "#ff0000": 9}, unknown=(9,)))
    assert reading.values[:, 0].tolist() == [0, 7, 0, 0]
    assert reading.unknown is not None
    assert reading.unknown[0].all()
    with pytest.raises(ValueError, match=r"not in the table: expected #0000ff, got #ff0000\. Add"):
        read_channels(picture, "a.png", LabelRules(colours={"#0000ff": 7}))


def test_a_photograph_is_no_label() -> None:
    picture = np.random.default_rng(0).integers(0, 255, (20, 20, 3), np.uint8)
    with pytest.raises(ValueError, match=r"expected at most 64, got"):
        colour_table([picture])
    with pytest.raises(ValueError, match=r"expected a few, got 400, such as"):
        read_channels(picture, "a.jpg")


def test_colours_are_counted() -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    picture[0, 0] = (1, 2, 255)
    assert colour_counts(picture) == {"#000000": 3, "#0102ff": 1}


def test_black_in_a_palette_may_be_what_nobody_judged() -> None:
    palette = np.zeros((256, 3), np.uint8)
    palette[0] = 9
    indices = np.array([[0, 255, 0]], np.uint8)
    assert read_palette(indices, palette, "a").values.tolist() == [[1, 0, 1]]
    reading = read_palette(indices, palette, "a", LabelRules.of(255))
    assert reading.values.tolist() == [[0, 0, 0]]
    assert reading.unknown is not None
    assert reading.unknown.tolist() == [[False, True, False]]


def test_a_colour_of_the_table_may_be_unknown() -> None:
    colours = np.array([[(0, 0, 0), (255, 0, 0), (224, 224, 192)]], np.uint8)
    reading = read_channels(colours, "a", LabelRules.of([255], {"#FF0000": 1, "#e0e0c0": 255}))
    assert reading.values.tolist() == [[0, 1, 0]]
    assert reading.unknown is not None
    assert reading.unknown.tolist() == [[False, False, True]]


def test_the_indices_of_a_palette_are_values() -> None:
    palette = np.array([(0, 0, 0), (255, 0, 0), (0, 0, 0), (9, 9, 9)], np.uint8)
    indices = np.array([[0, 1, 3]], np.uint8)
    assert read_palette(indices, palette, "a").values.tolist() == [[0, 1, 3]]
    coloured = LabelRules(colours={"#ff0000": 5, "#090909": 6})
    assert read_palette(indices, palette, "a", coloured).values.tolist() == [[0, 5, 6]]


def test_black_is_the_background_of_a_palette_of_two() -> None:
    reading = read_palette(np.array([[0, 1, 1]], np.uint8), np.array([(255, 255, 255), (0, 0, 0)], np.uint8), "a")
    assert reading.values.tolist() == [[1, 0, 0]]
    assert "1 is black" in reading.notes[0]


def smooth(colours: np.ndarray) -> np.ndarray:
    """Mix the colours at edges, as drawing programs do."""
    return np.rint(ndimage.gaussian_filter(colours.astype(float), (0.7, 0.7, 0))).astype(np.uint8)


def two_discs() -> np.ndarray:
    """A red disc beside a blue one, on black."""
    left = disc(10) * np.array([255, 0, 0], np.uint8)[:, None, None]
    right = disc(10) * np.array([0, 0, 255], np.uint8)[:, None, None]
    return np.concatenate([left, right], axis=2).transpose(1, 2, 0)


def test_mixed_colours_at_edges_are_the_nearest_of_the_table() -> None:
    drawn, rules = two_discs(), LabelRules(colours={"#ff0000": 1, "#0000ff": 2})
    sharp = read_channels(drawn, "a", rules)
    assert not sharp.notes
    reading = read_channels(smooth(drawn), "a", rules)
    assert "mixed colours" in reading.notes[0]
    assert (reading.values != sharp.values).mean() < 0.02
    assert set(np.unique(reading.values)) == {0, 1, 2}


def test_what_is_drawn_in_a_further_colour_is_not_lost() -> None:
    drawn = smooth(two_discs())
    drawn[2:6, 2:6] = 0, 255, 0
    with pytest.raises(ValueError, match="got #00ff00"):
        read_channels(drawn, "a", LabelRules(colours={"#ff0000": 1, "#0000ff": 2}))


@pytest.mark.parametrize("background", [0, 255])
def test_a_mask_of_one_colour_may_have_soft_edges(background: int) -> None:
    drawn = np.where(disc()[..., None], np.array([200, 30, 60]), background)
    reading = read_channels(smooth(drawn), "a")
    assert (reading.values[~disc()] == 0).mean() > 0.98
    assert (reading.values[disc()] == 255).mean() > 0.98
    assert "soft edges" in reading.notes[0]


def test_a_layer_may_be_half_transparent() -> None:
    layer = np.dstack([disc() * np.uint8(90)] * 3 + [disc() * np.uint8(100)])
    assert np.array_equal(read_channels(layer, "a").values, disc() * 255)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_colours_of_any_type_are_the_same(dtype: type) -> None:
    factor = {np.uint8: 1, np.uint16: 257, np.float32: 1 / 255}[dtype]
    drawn = (two_discs() * np.float64(factor)).astype(dtype)
    rules = LabelRules(colours={"#ff0000": 3, "#0000ff": 2})
    assert np.array_equal(read_channels(drawn, "a", rules).values, read_channels(two_discs(), "a", rules).values)


def test_what_a_palette_hides_is_background() -> None:
    indices, palette = disc().astype(np.uint8), np.array([(255, 0, 0), (0, 255, 0)], np.uint8)
    assert np.array_equal(read_palette(indices, palette, "a").values, indices)
    reading = read_palette(indices, palette, "a", None, np.where(disc(), 0, 255))
    assert np.array_equal(reading.values, 1 - indices)
    assert "1 is transparent" in reading.notes[0]


@pytest.mark.parametrize("bits", [16, 32])
def test_the_largest_number_of_a_type_marks_what_is_drawn(bits: int) -> None:
    reading = read_values(disc() * np.array(2**bits - 1, f"u{bits // 8}"), "a")
    assert np.array_equal(reading.values, disc() * 255)
    assert "read as one class, 255" in reading.notes[0]


@pytest.mark.parametrize("factor", [1.7, 3, 4.2])
def test_a_map_of_classes_that_was_resized_smoothly_is_refused(factor: float) -> None:
    label = np.zeros((40, 50), np.uint8)
    label[5:25, 5:20], label[20:35, 25:45] = 100, 200
    size = round(50 * factor), round(40 * factor)
    smooth = np.asarray(Image.fromarray(label).resize(size, Image.Resampling.BILINEAR))
    with pytest.raises(ValueError, match=r"a.png is no label map: .* values at edges alone.*Resize it by nearest"):
        read_values(smooth, "a.png")
    sharp = np.asarray(Image.fromarray(label).resize(size, Image.Resampling.NEAREST))
    assert np.array_equal(read_values(sharp, "a.png").values, sharp)


def test_many_small_classes_are_no_edges() -> None:
    parcels = np.repeat(np.repeat(np.random.default_rng(0).permutation(100).reshape(10, 10), 3, axis=0), 3, axis=1)
    reading = read_values(parcels.astype(np.uint8), "a.png", LabelRules(instances=False))
    assert np.array_equal(reading.values, parcels)


def test_a_palette_with_black_elsewhere_than_first_tells_classes_by_colour() -> None:
    indices = np.array([[2, 2, 0, 1], [2, 2, 0, 1]], np.uint8)
    palette = np.array([[0, 255, 0], [255, 0, 0], [0, 0, 0]], np.uint8)
    with pytest.raises(ValueError, match="expected a table that gives each colour a class, got 3 colours"):
        read_palette(indices, palette, "a.png")
    rules = LabelRules.of(colours={"#ff0000": 1, "#00ff00": 2})
    assert read_palette(indices, palette, "a.png", rules).values.tolist() == [[0, 0, 2, 1]] * 2
    assert read_palette(indices, palette[::-1], "a.png").values.tolist() == indices.tolist()
