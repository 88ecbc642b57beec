"""Correcting without examples, and examples that grow one by one."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from incontext import Segmenter
from incontext.images.prompts import Prompts
from incontext.inference import reader
from incontext.inference.presence import ClassPresence, PresenceModel
from incontext.inference.support_pool import TILES_OF_NOTHING
from incontext.networks import checkpoint
from incontext.networks.quality import QualityModel
from incontext.networks.support_code import ImageCodes
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet
from incontext.networks.weights_delta import Tuned, WeightsDelta
from incontext.training import tuning
from megamed.unknown import UNKNOWN
from tests.checked import unchecked
from tests.incontext.inference.test_editor import discs, segmenter, taught


def test_before_any_example_a_mask_is_what_prompts_make_of_it() -> None:
    images, _ = discs(2)
    made = segmenter()
    editor = made.edit(images[0], label="cell")
    assert editor.classes == {1: "cell"}
    assert not editor.mask.any()
    assert editor.click(20, 15)[20, 15] == 1
    found = made.predict(images, prompts=[editor.prompts, Prompts().box(2, 2, 9, 9)])
    np.testing.assert_array_equal(found.masks[0], editor.mask)
    assert (found.report.label_budget, found.report.support) == (0, "none: prompts alone")
    with pytest.raises(ValueError, match=r"images\[1\] has no prompts: expected some, as there are no examples"):
        made.predict(images, prompts=[editor.prompts, None])
    with pytest.raises(ValueError, match="prompts do not match images: expected 2, got 1"):
        made.predict(images, prompts=[editor.prompts])


def test_several_classes_are_sought_before_any_example() -> None:
    images, _ = discs(1)
    made = segmenter()
    editor = made.edit(images[0], classes={1: "cell", 4: "vessel"})
    editor.click(20, 15)
    editor.label = 4
    mask = editor.click(2, 50)
    assert (mask[20, 15], mask[2, 50], editor.classes) == (1, 4, {1: "cell", 4: "vessel"})
    found = made.predict(images, prompts=editor.prompts)
    np.testing.assert_array_equal(found.masks[0], mask)
    assert made.edit(images[0], "vessel", classes={1: "cell", 4: "vessel"}).label == 4
    with pytest.raises(ValueError, match="label is no class: expected a value from 1 to 255, got 300"):
        made.edit(images[0], classes={300: "cell"})


def test_before_any_example_prompts_about_no_class_are_about_the_first_though_others_name_one() -> None:
    images, _ = discs(2)
    made = segmenter()
    editor = made.edit(images[0], classes={1: "1", 4: "4"})
    editor.click(20, 15)
    both = [Prompts().click(20, 15), Prompts().click(2, 50, label=4)]
    found = made.predict(images, prompts=both)
    np.testing.assert_array_equal(found.masks[0], editor.mask)
    assert (dict(found.classes), found.masks[0][20, 15], found.masks[1][2, 50]) == ({1: "1", 4: "4"}, 1, 4)
    assert dict(made.predict(images[0], prompts=both[1]).classes) == {4: "4"}


def test_a_class_that_no_example_shows_is_sought_by_prompts_alone() -> None:
    made, image = taught()
    editor, before = made.edit(image, label=5), made.predict(image).masks[0]
    np.testing.assert_array_equal(editor.mask, before)
    mask = editor.click(2, 50)
    assert mask[2, 50] == 5
    found = made.predict(image, prompts=editor.prompts)
    assert list(found.classes) == [1, 2, 5]
    np.testing.assert_array_equal(found.masks[0], mask)
    assert list(made.add(image, mask).fitted.names) == [1, 2, 5]
    assert made.fitted.pool.annotated[:, 2].tolist() == [False, False, True]


def counting(**params: Any) -> tuple[Any, list[int]]:
    """A segmenter, and the numbers of images that it encodes at a time."""
    encoded: list[int] = []

    class Counting(SupportOnceNet):
        def encode_images(self, images: Tensor, labels: Tensor) -> ImageCodes:
            encoded.append(len(images))
            return super().encode_images(images, labels)

    torch.manual_seed(0)
    made = segmenter(**params)
    made.weights = Counting(SupportOnceConfig(channels=(4, 8, 8), heads=1, head_channels=8, groups=2))
    return made, encoded


@pytest.mark.parametrize(
    "params",
    [
        {"flips": False},
        {"support": "nearest", "support_size": 2},
        {"support": "diverse", "support_size": 2},
        {"tiling": 32},
    ],
    ids=["all", "nearest", "diverse", "tiles"],
)
def test_examples_that_join_are_those_of_one_fit_and_nothing_else_is_read_again(params: dict[str, Any]) -> None:
    images, labels = discs(5)
    made, encoded = counting(**params)
    made.fit(images[:2], labels[:2]).predict(images[4])
    del encoded[:]
    made.add(images[2], labels[2]).add(images[3], labels[3])
    found = made.predict(images[4])
    squares = len(made.fitted.pool.images)
    if "support" not in params:
        assert sum(encoded) == squares // 2
    at_once = counting(**params)[0].fit(images[:4], labels[:4])
    assert len(at_once.fitted.pool.images) == squares
    torch.testing.assert_close(made.fitted.pool.images, at_once.fitted.pool.images)
    assert made.fitted.pool.units.tolist() == at_once.fitted.pool.units.tolist()
    assert made.fitted.pool.places == at_once.fitted.pool.places
    np.testing.assert_allclose(found.probabilities[0], at_once.predict(images[4]).probabilities[0], atol=1e-5)


def test_the_first_example_is_fitted_and_an_empty_one_may_follow() -> None:
    images, labels = discs(2)
    made = segmenter().add(images[0], labels[0], {1: "disc"})
    assert made.fitted.names == {1: "disc"}
    made.add(images[1], np.zeros_like(labels[1]))
    assert made.predict(images[1]).report.label_budget == 2


def test_an_empty_example_may_follow_those_that_are_cut_into_tiles() -> None:
    images, labels = discs(3)
    made = segmenter(tiling=24).fit(images[:2], labels[:2])
    known = len(made.fitted.pool.images)
    made.add(images[2], np.zeros_like(labels[2]))
    further = made.fitted.pool.labels[known:]
    assert len(further) == TILES_OF_NOTHING
    assert not further.any()
    assert made.fitted.pool.annotated[known:].all()
    assert len(made.fitted.pool.places) == 3
    assert made.predict(images[2]).masks[0].any()


def test_masks_that_overlap_join_by_name() -> None:
    made, image = taught(overlap=True)
    editor = made.edit(image)
    editor.click(20, 20)
    editor.label = 2
    editor.click(20, 20)
    assert all(mask[20, 20] for mask in editor.masks.values())
    assert made.add(image, editor.masks).fitted.names == {1: "1", 2: "2"}
    assert (made.fitted.pool.labels[2] == 1).flatten(1).any(1).all()


def test_names_that_an_editor_was_told_of_keep_their_values_in_masks_by_name() -> None:
    images, _ = discs(2)
    made = segmenter(overlap=True)
    editor = made.edit(images[0], classes={3: "liver", 7: "tumour"})
    editor.click(20, 20)
    editor.label = 7
    editor.click(20, 24)
    made.add(images[0], {"tumour": editor.masks["tumour"], "liver": editor.masks["liver"]})
    assert made.fitted.names == {3: "liver", 7: "tumour"}
    assert made.predict(images[1], prompts=[editor.prompts]).classes == {3: "liver", 7: "tumour"}
    assert made.edit(images[1], "tumour").label == 7
    made.edit(images[1], "cyst").click(5, 5)
    assert made.add(images[1], {"vessel": np.eye(40, 56) > 0}).fitted.names[7] == "tumour"


@pytest.mark.parametrize("is_by_name", [False, True])
def test_a_plane_that_shows_nothing_teaches_that_too(is_by_name: bool) -> None:
    images, labels = discs(4)
    stack, nothing = np.stack(images), np.zeros_like(labels[0])
    made = segmenter().add(stack, labels[1], {1: "disc"}, plane=1)
    before = made.fitted.pool.label_budget
    made.add(stack, {"disc": nothing > 0} if is_by_name else nothing, plane=2)
    pool = made.fitted.pool
    assert pool.label_budget == before + 1
    torch.testing.assert_close(pool.images[-1], segmenter().fit(stack[2:3], labels[2:3]).fitted.pool.images[0])
    assert not pool.labels[-1].any()
    assert pool.annotated[-1].all()


@pytest.mark.parametrize("kind", ["box", "mask", "click"])
def test_whatever_is_said_of_a_plane_it_counts_as_drawn(kind: str) -> None:
    images, labels = discs(5)
    said = {
        "box": lambda plane: Prompts().box(5, 5, 20, 20, plane=plane),
        "mask": lambda plane: Prompts().start_from(labels[0], plane=plane),
        "click": lambda plane: Prompts().click(5, 5, plane=plane),
    }[kind]
    every = Prompts(tuple(stroke for plane in range(5) for stroke in said(plane).strokes))
    with pytest.raises(ValueError, match="no plane is left"):
        segmenter().predict([np.stack(images)], prompts=[every]).next_plane()
    others = Prompts(every.strokes[:1] + every.strokes[2:])
    assert segmenter().predict([np.stack(images)], prompts=[others]).next_plane() == 1


def test_one_plane_of_a_volume_joins() -> None:
    images, labels = discs(5)
    volume = np.moveaxis(np.stack(images), 0, 2).astype(np.int32)
    stack = np.moveaxis(volume, 2, 0)
    made = segmenter().fit([stack], [np.stack([labels[0], *[0 * label for label in labels[1:]]])])
    made.add(stack, labels[2], plane=2)
    assert made.fitted.pool.label_budget == 2
    torch.testing.assert_close(made.fitted.pool.labels[1, 0].sum(), made.fitted.pool.labels[0, 0].sum(), atol=9, rtol=0)
    editor = made.edit(stack, plane=3)
    editor.click(9, 9)
    assert made.add(stack, editor.masks, plane=3).fitted.pool.label_budget == 3
    wrong: list[tuple[np.ndarray, Any]] = [(labels[0], 9), (labels[0].T, 1), (labels[0], 1.5), (labels[0], "1")]
    for label, plane in wrong:
        with (
            unchecked(),
            pytest.raises(ValueError, match=r"label does not fit a plane: expected \(40, 56\) and an index"),
        ):
            made.add(stack, label, plane=plane)


def test_a_prompted_class_is_not_taken_off_as_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    images, labels = discs(6)
    made = segmenter(absent="suppress").fit(images[:5], labels[:5])

    quality = QualityModel(bias=0, confidence=1, coverage=1, flag_below=0.6)
    weights = torch.tensor([-100.0, 0, 0])
    never = ClassPresence(None, torch.zeros(2), torch.ones(2), weights, brightness=(0.0, 1.0), improbable=0.5)
    model = PresenceModel(made.judgement.reader, quality, [never], torch.zeros(1))
    monkeypatch.setitem(vars(made.judgement), "presence", model)
    assert not made.predict(images[5]).masks[0].any()
    editor = made.edit(images[5])
    assert not editor.mask.any()
    mask = editor.click(20, 30)
    assert mask[20, 30]
    found = made.predict(images[5], prompts=editor.prompts)
    np.testing.assert_array_equal(found.masks[0], mask)
    assert not found.absent.any()
    assert found.presence is not None
    assert found.presence[0, 0] == 1
    cleared = made.predict(images[5], prompts=editor.prompts.start_from(np.zeros_like(mask)))
    assert cleared.presence is not None
    assert cleared.presence[0, 0] < 0.5


def test_weights_without_a_network_for_prompts_say_so() -> None:
    images, _ = discs(1)
    made = segmenter()
    made.prompted = None
    with pytest.raises(ValueError, match=r"weights have no network for prompts: .* got a module"):
        made.edit(images[0])
    made.weights = torch.nn.Identity()
    made.prompted = segmenter().prompted
    with pytest.raises(ValueError, match=r"weights cannot be prompted: .* got Identity"):
        made.edit(images[0])


def test_graphs_of_onnx_are_joined_by_torch_which_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "backend_of", lambda network, name: network)
    made, image = taught(backend="onnx")
    with pytest.warns(UserWarning, match="prompts are computed by torch: backend='onnx' has no graph for them"):
        made.edit(image)
    assert made.edit(image).click(2, 2).any()


def test_a_tuned_network_stays_as_it_is_when_an_example_joins(monkeypatch: pytest.MonkeyPatch) -> None:
    tuned = []

    def tune(*_: object) -> Tuned:
        tuned.append(1)
        return Tuned(WeightsDelta.of({"head.bias": torch.ones(4)}), "tuned 1 steps: better")

    monkeypatch.setattr(tuning, "tune", tune)
    images, labels = discs(3)
    made = segmenter(tune=1).fit(images[:2], labels[:2])
    plain = segmenter().fit(images[:2], labels[:2])
    moved, still = (each.edit(images[2]).probabilities for each in (made, plain))
    assert (moved > still).all()
    assert made.add(images[2], labels[2]).edit(images[2]).click(1, 1)[1, 1]
    assert made.tuned is not None
    assert len(tuned) == 1


def test_scribbles_are_a_label_of_an_example() -> None:
    images, labels = discs(2)
    editor = segmenter().edit(images[0])
    editor.scribble([(20, 10), (20, 20)])
    editor.scribble([(2, 2), (2, 50), (38, 50)], inside=False)
    said = editor.said
    assert {*np.unique(said)} == {0, 1, 255}
    assert (said[20, 10:21] == 1).all()
    assert (said[2, 2:51] == 0).all()
    made = segmenter(unknown=255).fit([images[0]], [said])
    assert (made.fitted.pool.labels == UNKNOWN).float().mean() > 0.5
    assert made.fitted.names == {1: "1"}
    scribbled = made.predict(images[1]).probabilities[0]
    dense = segmenter().fit([images[0]], [labels[0]]).predict(images[1]).probabilities[0]
    assert not np.allclose(scribbled, dense)
    assert made.add(images[1], said).fitted.pool.label_budget == 2


def test_a_task_holds_examples_that_joined(tmp_path: Path) -> None:
    images, labels = discs(4)
    made, path = segmenter(), tmp_path / "small.safetensors"
    checkpoint.save(path, made.network, {})
    made = segmenter().set_params(weights=path).fit(images[:1], labels[:1])
    made.add(images[1], np.where(labels[1] > 0, 2, 0), {2: "other"}).add(images[2], labels[2])
    opened = Segmenter.load_task(made.save_task(tmp_path / "task"), path, "cpu")
    assert opened.fitted.names == {1: "1", 2: "other"}
    np.testing.assert_array_equal(opened.predict(images[3]).masks[0], made.predict(images[3]).masks[0])
    assert opened.add(images[3], labels[3]).predict(images[3]).report.label_budget == 4


def test_a_name_means_one_class_before_any_example_shows_it() -> None:
    images, labels = discs(3)
    made = segmenter()
    editor = made.edit(images[0], label="disc")
    editor.start_from(labels[0])
    made.add(images[0], editor.mask)
    assert made.fitted.names == {1: "disc"}
    assert (made.edit(images[1], label="disc").label, made.edit(images[1], label="ring").label) == (1, 2)
    assert made.edit(images[2], label="dot").label == 3
    made.add(images[1], 2 * labels[1])
    assert made.fitted.names == {1: "disc", 2: "ring"}
    assert segmenter().edit(images[0], label="ring").label == 1


@pytest.mark.parametrize(
    ("named", "error"),
    [
        ({"label": 0}, "label is no class: expected a value from 1 to 255, got 0"),
        ({"classes": {256: "a"}}, "label is no class: .* got 256"),
        ({"classes": {1: "a", 2: "a"}}, "classes are not clear: expected a name of its own for each, got 'a'"),
    ],
)
def test_classes_that_mean_nothing_are_refused(named: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        segmenter().edit(discs(1)[0][0], **named)
