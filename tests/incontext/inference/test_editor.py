"""An editor: what is said of an image is obeyed, can be undone, and gives what `predict` gives headless."""

import dataclasses
import itertools
from typing import Any

import numpy as np
import pytest
import torch

from incontext import Segmenter
from incontext.images.prompts import Prompts
from incontext.networks.prompted import PromptedConfig, PromptedNet
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from tests.checked import unchecked

SIZE_PX = 32


def discs(count: int, shape: tuple[int, int] = (40, 56)) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Bright discs on a dark ground, and their labels."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    labels = [((rows - 20) ** 2 + (columns - 15 - 3 * i) ** 2 < 100).astype(np.uint8) for i in range(count)]
    return [50 + 150 * label for label in labels], labels


def segmenter(**params: Any) -> Segmenter:
    torch.manual_seed(0)
    network = SupportOnceNet(SupportOnceConfig(channels=(4, 8, 8), heads=1, head_channels=8, groups=2))
    made = Segmenter(network, size_px=SIZE_PX, device="cpu", **params)
    config = PromptedConfig((4, 8, 8), (4, 4, 4), matched_channels=4, heads=1, head_channels=4, groups=2)
    made.prompted = PromptedNet(config)
    return made


def taught(**params: Any) -> tuple[Segmenter, np.ndarray]:
    """A segmenter with two examples of two classes, and another image."""
    images, labels = discs(3)
    labels[1][labels[1] > 0] = 2
    return segmenter(**params).fit(images[:2], labels[:2]), images[2]


SETTINGS: list[dict[str, Any]] = [
    {},
    {"tiling": 16},
    {"support": "nearest", "support_size": 1},
    {"support": "random", "support_size": 1, "ensemble": 2},
    {"flips": True},
    {"overlap": True},
]


@pytest.mark.parametrize("params", SETTINGS, ids=lambda params: "-".join(map(str, params.values())) or "usual")
def test_headless_is_bit_by_bit_what_an_editor_gives(params: dict[str, Any]) -> None:
    made, image = taught(**params)
    editor, alone = made.edit(image, label=2), made.predict(image)
    np.testing.assert_array_equal(editor.mask, alone.masks[0])
    np.testing.assert_array_equal(editor.probabilities, alone.probabilities[0])
    editor.click(20, 22)
    editor.scribble([(3, 3), (30, 5)], inside=False)
    mask = editor.box(8, 8, 30, 40)
    found = made.predict([image, image], prompts=[None, editor.prompts])
    np.testing.assert_array_equal(mask, editor.mask)
    np.testing.assert_array_equal(found.masks[1], mask)
    np.testing.assert_array_equal(found.probabilities[1], editor.probabilities)
    assert not (found.masks[0] == found.masks[1]).all()
    assert found.report.prompts == 3


@pytest.mark.parametrize(
    ("shape", "tiling"),
    [((32, 32), "never"), ((9, 13), "never"), ((90, 45), "never"), ((30, 120), 24), ((70, 61), 40), ((70, 61), 16)],
)
def test_pixels_obey_on_grids_of_every_size(shape: tuple[int, int], tiling: str | int) -> None:
    image = np.random.default_rng(0).integers(0, 255, shape, np.uint8)
    editor = segmenter(tiling=tiling).edit(image)
    rng = np.random.default_rng(1)
    said = {}
    for index in range(12):
        place, inside = (int(rng.integers(shape[0])), int(rng.integers(shape[1]))), bool(index % 3)
        said[place] = inside
        mask = editor.click(*place, inside)
        assert all(bool(mask[each]) == value for each, value in said.items())
    drawn = np.zeros(shape, bool)
    drawn[2 : shape[0] // 2, 3] = True
    assert not editor.scribble(drawn, inside=False)[drawn].any()
    assert editor.scribble(drawn)[drawn].all()


def test_masks_do_not_depend_on_the_temperature() -> None:
    found = []
    for temperature in (1.0, 2.5):
        made, image = taught()
        made.metadata["calibration"] = {"temperature": temperature}
        editor = made.edit(image)
        editor.click(20, 22)
        mask = editor.click(4, 4, inside=False)
        np.testing.assert_array_equal(made.predict(image, prompts=editor.prompts).masks[0], mask)
        found.append((mask, editor.probabilities.max()))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    assert found[0][1] > found[1][1]


def test_undo_and_redo_restore_every_mask() -> None:
    made, image = taught()
    editor = made.edit(image)
    states = [editor.probabilities]
    for step in (lambda: editor.click(5, 5), lambda: editor.start_from(editor.mask > 5), lambda: editor.click(30, 50)):
        step()
        states.append(editor.probabilities)
    assert all(not np.array_equal(one, other) for one, other in itertools.pairwise(states))
    for state in states[-2::-1]:
        editor.undo()
        np.testing.assert_array_equal(editor.probabilities, state)
    assert not editor.can_undo
    editor.undo()
    for state in states[1:]:
        assert editor.can_redo
        editor.redo()
        np.testing.assert_array_equal(editor.probabilities, state)
    editor.undo()
    editor.click(1, 1)
    assert not editor.can_redo
    assert [stroke.where for stroke in editor.prompts.strokes[::2]] == [(5, 5), (1, 1)]


def test_another_class_is_told_that_it_is_not_there() -> None:
    made, image = taught()
    editor = made.edit(image, label=1)
    assert editor.click(20, 20)[20, 20] == 1
    editor.label = 2
    mask = editor.click(20, 20)
    assert mask[20, 20] == 2
    assert np.count_nonzero(mask == 2) > 1
    editor.label = 1
    assert editor.click(20, 20)[20, 20] == 1


def test_only_tiles_that_a_stroke_touches_change() -> None:
    made, image = taught(tiling=16)
    editor = made.edit(image)
    before = editor.probabilities
    editor.click(2, 2)
    changed = (editor.probabilities != before).any(0)
    assert changed[:16, :16].any()
    assert not changed[16:].any()
    assert not changed[:, 16:].any()


@pytest.mark.parametrize("tiling", ["never", 24])
def test_a_mask_to_start_from_stays_where_nothing_is_said(tiling: str | int) -> None:
    images, labels = discs(2)
    editor = segmenter(tiling=tiling).edit(images[0])
    started = editor.start_from(labels[0])
    np.testing.assert_array_equal(editor.click(20, 15), started)  # it is inside already
    np.testing.assert_array_equal(editor.click(3, 50, inside=False), started)
    np.testing.assert_array_equal(editor.box(5, 2, 35, 30), started)
    cut = editor.box(20, 2, 35, 30)
    assert started[:20].any()
    np.testing.assert_array_equal(cut[20:], started[20:])
    assert tiling != "never" or not cut[:20].any()
    editor.undo()
    changed = editor.click(20, 29) != started
    rows, columns = np.indices(started.shape)
    assert changed[20, 29]
    assert not changed[np.hypot(rows - 20, columns - 29) > 14].any()  # it is five pixels off the outline


@pytest.mark.parametrize("tiling", ["never", 16])
def test_a_mask_to_start_from_is_the_mask(tiling: str | int) -> None:
    image, label = (each[0] for each in discs(1, (32, 32)))
    editor = segmenter(tiling=tiling).edit(image, label=3)
    np.testing.assert_array_equal(editor.start_from(label), 3 * label)
    np.testing.assert_array_equal(editor.start_from(3 * label), 3 * label)
    assert editor.click(0, 0)[0, 0] == 3
    assert not editor.start_from(np.zeros_like(label)).any()


def test_the_latest_word_counts_and_a_mask_takes_back_all_before() -> None:
    image, label = (each[0] for each in discs(1))
    editor = segmenter().edit(image)
    assert editor.click(3, 3)[3, 3]
    assert not editor.click(3, 3, inside=False)[3, 3]
    assert editor.click(3, 3)[3, 3]
    assert not editor.start_from(label)[3, 3]


def test_a_plane_of_a_volume() -> None:
    images, labels = discs(5)
    volume = np.stack(images)
    made = segmenter().fit([volume], [np.stack(labels)])
    editor = made.edit(volume, plane=2)
    assert editor.mask.shape == volume.shape[1:]
    np.testing.assert_allclose(editor.probabilities, made.predict(volume).probabilities[0][2], atol=1e-5)
    editor.click(4, 50)
    found = made.predict(volume, prompts=editor.prompts)
    np.testing.assert_array_equal(found.masks[0][2], editor.mask)
    np.testing.assert_array_equal(found.masks[0][1], made.predict(volume).masks[0][1])
    several = Prompts().click(4, 50, plane=2).click(5, 5, plane=1)
    found = made.predict(volume, prompts=several)
    np.testing.assert_array_equal(found.masks[0][2], editor.mask)
    assert found.masks[0][1][5, 5]
    with pytest.raises(ValueError, match=r"plane is not clear: .* got none"):
        made.predict(volume, prompts=Prompts().click(4, 50))
    np.testing.assert_array_equal(made.edit(volume, plane=2).apply(Prompts().click(4, 50)), editor.mask)
    image, at_first = images[0], Prompts().click(4, 50, plane=0)
    np.testing.assert_array_equal(made.predict(image, prompts=at_first).masks[0], made.edit(image).click(4, 50))
    with pytest.raises(ValueError, match=r"plane is not clear: expected an index from 0 to 4 .* got none"):
        made.edit(volume)


@pytest.mark.parametrize(
    ("act", "error"),
    [
        (lambda editor: editor.click(40, 3), r"click is not on the image: expected rows from 0 to 39 .* got \[40, 3\]"),
        (lambda editor: editor.click(float("nan"), 3), "click is nowhere"),
        (lambda editor: editor.box(50, 60, 70, 80), "box is not on the image"),
        (lambda editor: editor.scribble([(-4, 2), (-5, 9)]), "scribble is not on the image"),
        (lambda editor: editor.scribble(np.zeros((40, 56))), "scribble is empty"),
        (lambda editor: editor.scribble(np.ones((56, 40))), r"scribble does not fit the image: expected \(40, 56\)"),
        (lambda editor: editor.scribble([(1, 2, 3)]), "scribble is no line"),
        (lambda editor: editor.start_from(np.ones((3, 3))), r"mask does not fit the image: expected \(40, 56\)"),
        (lambda editor: setattr(editor, "label", 7), "label is unknown: expected one of 1, 2, got 7"),
        (lambda editor: editor.apply(Prompts().click(1, 1, label=7)), "click is about an unknown class"),
        (lambda editor: editor.apply(Prompts().click(1, 1).click(1, 1, plane=4)), "prompts name a plane: .* got 4"),
    ],
)
def test_what_has_no_meaning_is_refused_and_changes_nothing(act: Any, error: str) -> None:
    made, image = taught()
    editor = made.edit(image)
    editor.click(1, 1)
    before = editor.probabilities
    with pytest.raises(ValueError, match=error):
        act(editor)
    np.testing.assert_array_equal(editor.probabilities, before)
    assert len(editor.prompts) == 1


def test_what_is_of_another_type_is_told_in_a_line() -> None:
    made, image = taught()
    editor: Any = made.edit(image)
    with unchecked():
        with pytest.raises(ValueError, match=r"prompts are unusable: expected Prompts .* got a list"):
            editor.apply([{"click": [1, 1]}])
        with pytest.raises(ValueError, match="label is unknown: expected one of 1, 2, got '1'"):
            editor.label = "1"


def test_a_mask_to_start_from_takes_its_pixels_from_other_classes() -> None:
    made, image = taught()
    editor = made.edit(image)
    corrector = editor._corrector
    sure = torch.tensor([[-20.0], [20.0]])[None, :, :, None].expand_as(corrector.shown.logits)
    corrector.shown = corrector.found = dataclasses.replace(corrector.shown, logits=sure)
    drawn = np.zeros(image.shape, bool)
    drawn[10:30, 10:40] = True
    mask = editor.start_from(drawn)
    assert (mask[12:28, 12:38] == 1).all()
    assert (mask[~drawn] == 2).mean() > 0.9
    editor.label = 2
    assert (editor.start_from(drawn)[12:28, 12:38] == 2).all()
    np.testing.assert_array_equal(editor.undo(), mask)
    assert (editor.undo() == 2).all()


def test_a_clicked_pixel_is_obeyed_under_the_mask_of_another_class() -> None:
    made, image = taught()
    editor = made.edit(image, label=2)
    editor.click(20, 20)
    editor.label = 1
    assert editor.start_from(np.ones(image.shape, bool))[20, 20] == 2
    assert editor.click(20, 20)[20, 20] == 1
    editor.label = 2
    assert editor.start_from(np.zeros(image.shape, bool))[20, 20] == 1
    editor.label = 1
    assert editor.start_from(np.ones(image.shape, bool))[20, 20] == 1


def test_other_classes_of_a_label_map_are_not_the_class_to_start_from() -> None:
    made, image = taught()
    editor = made.edit(image, classes={7: "other"})
    label = np.zeros(image.shape, np.uint8)
    label[:20], label[20:] = 1, 2
    editor.label = 7
    assert not (editor.start_from(label) == 7).any()
    assert not (editor.start_from(np.where(label == 2, 2, 0)) == 7).any()
    binary = editor.start_from(label == 2)
    assert (binary == 7).any()
    np.testing.assert_array_equal(editor.start_from((label == 2).astype(np.uint8)), binary)
    with pytest.raises(
        ValueError, match=r"mask is not clear: expected a binary mask, or a label map that shows 7, got"
    ):
        editor.start_from(np.where(label == 1, 1, 3))


def test_what_was_said_is_what_still_counts_of_each_pixel() -> None:
    image, label = (each[0] for each in discs(1))
    editor = segmenter().edit(image, classes={1: "a", 2: "b"})
    editor.click(3, 3)
    editor.click(5, 5, inside=False)
    editor.label = 2
    editor.click(3, 3, inside=False)
    editor.click(5, 6, inside=False)
    assert (editor.said[3, 3], editor.said[5, 5], editor.said[5, 6]) == (1, 255, 255)
    editor.click(5, 5, inside=False)
    assert editor.said[5, 5] == 0
    editor.label = 1
    editor.start_from(label)
    assert editor.said[3, 3] == 255
