"""What nobody judged of an example is neither shown to the network nor scored, however its labels say so."""

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from incontext import Segmenter
from incontext.cli import app
from incontext.folders.check_folder import check_folder
from incontext.folders.segment_folder import segment_folder
from incontext.images.examples import Examples
from incontext.images.resampling import binary_to_square
from incontext.images.source_image import read_source_image
from incontext.inference.labelled_volume import read_labelled
from megamed.label_values import LabelRules
from megamed.unknown import UNKNOWN

SIDE = 96


def disc(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A noisy picture of a bright disc on dark ground, and its mask."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    mask = (rows - rng.uniform(34, 62)) ** 2 + (columns - rng.uniform(34, 62)) ** 2 < rng.uniform(12, 18) ** 2
    image = 0.2 + 0.5 * mask + 0.05 * rng.standard_normal(mask.shape)
    return (255 * image.clip(0, 1)).astype(np.uint8), mask.astype(np.uint8)


def bordered(mask: np.ndarray, void: int = 255) -> np.ndarray:
    """A label whose border is void, as VOC draws it."""
    edge = np.zeros(mask.shape, bool)
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        edge |= np.roll(mask, step, axis) != mask
    return np.where(edge, void, mask.astype(np.int16))


def pairs(count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    images, masks = zip(*map(disc, range(count)), strict=True)
    return list(images), list(masks)


def pool_of(labels: object, unknown: object = None, images: object = None) -> object:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Segmenter(unknown=unknown).fit(images or pairs(3)[0], labels).fitted.pool  # type: ignore[arg-type]


def test_values_that_stand_for_unknown_are_irrelevant() -> None:
    """255 said or found out, another value said, -1 found out and NaN are one and the same pool."""
    masks = pairs(3)[1]
    expected = pool_of([bordered(mask) for mask in masks], 255)
    assert set(expected.labels.unique().tolist()) == {0, 1, UNKNOWN}  # type: ignore[attr-defined]
    not_numbers = [np.where(bordered(mask) == 255, np.nan, mask) for mask in masks]
    mixed = [np.where(np.indices(mask.shape)[0] % 2 > 0, bordered(mask), bordered(mask, 9)) for mask in masks]
    for labels, unknown in (
        ([bordered(mask) for mask in masks], None),
        ([bordered(mask, 7) for mask in masks], 7),
        ([bordered(mask, -1) for mask in masks], None),
        (not_numbers, None),
        (mixed, (9, 255)),
    ):
        found = pool_of(labels, unknown)
        assert (found.labels == expected.labels).all()  # type: ignore[attr-defined]


def test_a_void_that_nobody_stated_is_said_once() -> None:
    images, masks = pairs(4)
    segmenter = Segmenter().fit(images[:3], [bordered(mask) for mask in masks[:3]])
    assert list(segmenter.fitted.names) == [1]
    with pytest.warns(UserWarning, match="255 apart from") as told:
        result = segmenter.predict(images[3])
    assert sum("255" in str(each.message) for each in told) == 1
    assert set(np.unique(result.masks[0])) <= {0, 1}


def test_one_map_tells_what_255_means_in_all() -> None:
    images, masks = pairs(2)
    nothing_but_border = np.where(bordered(masks[1]) == 255, 255, 0)
    examples = Examples(images, [bordered(masks[0]), nothing_but_border])
    assert [list(example.masks) for example in examples] == [[1], []]
    assert all(example.unknown is not None for example in examples)
    white = Examples(images, [255 * masks[0], 255 * masks[1]])
    assert [list(example.masks) for example in white] == [[255], [255]]
    assert all(example.unknown is None for example in white)
    asked = Examples(images, [bordered(masks[0]), bordered(masks[1])], LabelRules(()))
    assert [list(example.masks) for example in asked] == [[1, 255], [1, 255]], "who says that nothing is, is believed"


def test_masks_by_name_and_parts_have_unknown_pixels_too() -> None:
    images, masks = pairs(2)
    by_name = Examples(images, {"disc": [bordered(masks[0], 3), masks[1]]}, LabelRules.of(3))
    (first, second) = by_name
    assert first.unknown is not None
    assert not (first.unknown & first.masks[1]).any()
    assert second.unknown is None
    (united,) = Examples([images[0]], [(bordered(masks[0], 3), masks[0] * 0)], LabelRules.of(3))
    assert united.unknown is not None
    assert np.array_equal(united.unknown[0], bordered(masks[0], 3) == 3)


def test_numbered_objects_with_unknown_pixels_are_one_class() -> None:
    label = np.zeros((SIDE, SIDE), np.int16)
    for number in range(16):
        row, column = divmod(number, 4)
        label[24 * row + 4 : 24 * row + 16, 24 * column + 4 : 24 * column + 16] = number + 1
    label[:, 46:50] = 255
    (example,) = Examples([disc(0)[0]], [label], LabelRules.of(255))
    assert list(example.masks) == [1]
    assert example.unknown is not None
    assert example.unknown[0, :, 46:50].all()


def test_a_square_is_unknown_where_it_matters() -> None:
    mask, unknown = np.zeros((2, 8, 8), bool)
    mask[:, :3], unknown[:, 3:5] = True, True
    square = binary_to_square(mask, unknown, 4)
    assert (square[:, 0] == 1).all()
    assert (square[:, 1:3] == UNKNOWN).any()
    assert not square[:, 3].any()
    assert np.array_equal(binary_to_square(mask, None, 4), binary_to_square(mask, np.zeros_like(mask), 4))


def test_half_annotated_examples_find_the_whole_structure() -> None:
    """Sparse annotation: right of the middle nobody looked. Read as background, it would teach that discs end there."""
    images, masks = pairs(6)
    halves = [np.where(np.arange(SIDE) >= SIDE // 2, 9, mask) for mask in masks]
    truth = masks[4:]
    honest = Segmenter(unknown=9).fit(images[:4], halves[:4])
    wrong = Segmenter().fit(images[:4], [np.where(half == 9, 0, half) for half in halves[:4]])
    right, misled = (segmenter.score(images[4:], truth) for segmenter in (honest, wrong))
    assert right > 0.85
    assert 1 - right < (1 - misled) / 4


def test_scores_leave_unknown_pixels_out() -> None:
    images, masks = pairs(4)
    segmenter = Segmenter(unknown=9).fit(images[:3], masks[:3])
    found = segmenter.predict(images[3]).masks[0]
    assert segmenter.score(images[3], np.where(found == masks[3], found, 9)) == 1


def test_a_saved_task_keeps_unknown_pixels(tmp_path: Path) -> None:
    images, masks = pairs(4)
    segmenter = Segmenter(unknown=255).fit(images[:3], [bordered(mask) for mask in masks[:3]])
    loaded = Segmenter.load_task(segmenter.save_task(tmp_path / "a.task"))
    assert (loaded.fitted.pool.labels == segmenter.fitted.pool.labels).all()
    assert np.array_equal(loaded.predict(images[3]).masks[0], segmenter.predict(images[3]).masks[0])
    plain = Segmenter().fit(images[:3], masks[:3]).save_task(tmp_path / "b.task")
    assert b'version\\":2' not in plain.read_bytes()
    assert b'version\\":2' in (tmp_path / "a.task").read_bytes()


def test_labelled_planes_of_volumes_have_unknown_pixels() -> None:
    images, masks = pairs(3)
    volume = np.stack([*images, *images])
    labels = np.stack([masks[0] * 0, bordered(masks[1], 9), *[masks[2] * 0] * 4])
    labelled = read_labelled(volume, labels, rules=LabelRules((9,), instances=False))
    assert list(labelled.labels) == [1]
    assert labelled.values == {1}
    assert np.array_equal(labelled.unknown[1], labels[1] == 9)
    one = read_labelled(volume, {1: bordered(masks[1], 9)}, rules=LabelRules((9,), instances=False))
    assert np.array_equal(one.unknown[1], labelled.unknown[1])
    result = Segmenter(unknown=9).propagate(volume, labels)
    assert list(result.classes) == [1]


@pytest.mark.parametrize("stated", [True, False])
def test_the_shell_takes_unknown_pixels(tmp_path: Path, stated: bool) -> None:
    images, masks = pairs(5)
    for index, (image, mask) in enumerate(zip(images, masks, strict=True)):
        part = tmp_path / ("support" if index < 3 else "query")
        for folder, array in (("images", image), ("labels", bordered(mask).astype(np.uint8))):
            (part / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(part / folder / f"{index}.png")
    command = ["segment", "--support", tmp_path / "support", "--query", tmp_path / "query", "--out", tmp_path / "out"]
    found = CliRunner().invoke(app, list(map(str, [*command, "--quiet", *(["--unknown", "255"] if stated else [])])))
    assert found.exit_code == 0, found.output
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert any("255 apart from" in warning for warning in summary["warnings"]) != stated
    for report in summary["images"]:
        assert set(report["dice"]) == {"1"}
        assert report["dice"]["1"] > 0.9
        mask = np.asarray(Image.open(tmp_path / "out" / "masks" / report["mask"]))
        assert set(np.unique(mask)) <= {0, 1}


def write_pairs(folder: Path, images: list[np.ndarray], labels: list[np.ndarray], names: tuple[str, str]) -> None:
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        for part, array, name in zip(names, (image, label), (f"{index}_0000.png", f"{index}.png"), strict=True):
            (folder / part).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array.astype(np.uint8)).save(folder / part / (name if "Tr" in part else f"{index}.png"))


@pytest.mark.filterwarnings("ignore:.* has the value 255 apart from")
def test_labels_to_score_by_mean_what_those_of_the_examples_do(tmp_path: Path) -> None:
    """A border without any disc could be a class of 255, were it not for the examples; a saved task remembers."""
    images, masks = pairs(4)
    segmenter = Segmenter().fit(images[:3], [bordered(mask) for mask in masks[:3]])
    assert segmenter.fitted.unknown == (255,)
    found = segmenter.predict(images[3]).masks[0]
    wrong = np.where(found == 1, 255, 0)
    loaded = Segmenter.load_task(segmenter.save_task(tmp_path / "a.task"))
    for each in (segmenter, loaded):
        assert each.fitted.rules_for_others(each.rules).unknown == (255,)
        assert each.score(images[3], wrong) == 1, "nothing that was judged is of the class, or was found"
    white = Segmenter().fit(images[:3], [255 * mask for mask in masks[:3]])
    assert white.fitted.rules_for_others(white.rules).unknown == ()
    assert Segmenter(unknown=9).fit(images[:3], masks[:3]).fitted.unknown == (9,)


def test_one_value_is_not_unknown_in_some_maps_and_a_class_in_others() -> None:
    images, masks = pairs(2)
    other = np.where(masks[1] > 0, 255, 0)
    other[:2] = 128  # a shade of grey beside which 255 is another one
    examples = Examples(images, [bordered(masks[0]), other])
    assert [sorted(example.masks) for example in examples] == [[1, 255], [128, 255]]


def test_volumes_say_what_was_taken_for_unknown() -> None:
    volume, labels = np.stack(pairs(3)[0] * 2), np.zeros((6, SIDE, SIDE), np.int16)
    labels[1] = bordered(pairs(3)[1][1])
    with pytest.warns(UserWarning, match="255 apart from"):
        Segmenter().propagate(volume, labels)


def test_a_folder_states_what_to_ignore(tmp_path: Path) -> None:
    images, masks = pairs(5)
    write_pairs(tmp_path / "support", images[:3], [bordered(mask, 3) for mask in masks[:3]], ("imagesTr", "labelsTr"))
    facts = {"channel_names": {"0": "XR"}, "file_ending": ".png", "labels": {"background": 0, "disc": 1, "ignore": 3}}
    (tmp_path / "support" / "dataset.json").write_text(json.dumps(facts))
    write_pairs(tmp_path / "query", images[3:], [bordered(mask, 3) for mask in masks[3:]], ("images", "labels"))
    summary = segment_folder(Segmenter(), tmp_path / "support", tmp_path / "query", tmp_path / "out")
    assert summary.classes == {1: "disc"}
    assert all(report.dice is not None and report.dice[1] > 0.9 for report in summary.images)
    assert [each.name for each in check_folder(tmp_path / "support").classes] == ["disc"]


def test_check_knows_unknown_pixels(tmp_path: Path) -> None:
    images, masks = pairs(3)
    write_pairs(tmp_path, images, [bordered(mask) for mask in masks], ("images", "labels"))
    (problem,) = check_folder(tmp_path).problems
    assert "--unknown 255" in problem
    assert [each.value for each in check_folder(tmp_path).classes] == [1]
    told = CliRunner().invoke(app, ["check", str(tmp_path), "--unknown", "255"])
    assert told.exit_code == 0, told.output


def test_save_task_and_propagate_take_unknown_pixels(tmp_path: Path) -> None:
    images, masks = pairs(3)
    write_pairs(tmp_path / "a", images, [bordered(mask, 9) for mask in masks], ("images", "labels"))
    saved = CliRunner().invoke(
        app, ["save-task", "--support", str(tmp_path / "a"), "--out", str(tmp_path / "a.task"), "--unknown", "9"]
    )
    assert saved.exit_code == 0, saved.output
    assert list(Segmenter.load_task(tmp_path / "a.task").fitted.names) == [1]
    labels = np.stack([bordered(masks[0], 9), *[masks[0] * 0] * 5]).astype(np.uint8)
    np.save(tmp_path / "volume.npy", np.stack(images * 2))
    np.save(tmp_path / "labels.npy", labels)
    command = ["propagate", "volume.npy", "--labels", "labels.npy", "--out", "mask.tif", "--unknown", "9"]
    paths = [str(tmp_path / each) if "." in each else each for each in command]
    told = CliRunner().invoke(app, paths)
    assert told.exit_code == 0, told.output
    assert set(np.unique(read_source_image(tmp_path / "mask.tif", "mask").planes)) <= {0, 1}
