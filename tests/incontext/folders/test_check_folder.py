"""The check of a folder: what would be used, what looks wrong, at what price."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from incontext.cli import app
from incontext.folders.check_folder import check_folder
from megamed.label_colours import palette_of
from megamed.label_values import LabelRules
from tests.opened import opened_in


def disc(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc on noise, and its label."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:48, :64]
    label = ((rows - rng.integers(16, 32)) ** 2 + (columns - rng.integers(16, 48)) ** 2 < 100).astype(np.uint8)
    return (rng.integers(0, 60, label.shape) + 120 * label).astype(np.uint8), label


def draw(folder: Path, labelled: int, bare: int) -> Path:
    for part in ("images", "labels"):
        (folder / part).mkdir()
    for index in range(labelled + bare):
        image, label = disc(index)
        Image.fromarray(image).save(folder / "images" / f"{index:04}.png")
        if index < labelled:
            Image.fromarray(label).save(folder / "labels" / f"{index:04}.png")
    return folder


def test_a_sound_folder_is_described(tmp_path: Path) -> None:
    found = check_folder(draw(tmp_path, 4, 3))
    assert (found.labelled, found.bare, found.formats) == (4, 3, {"PNG": 7})
    assert found.sizes_px == ((48, 64), (48, 64))
    (only,) = found.classes
    assert (only.value, only.images) == (1, 4)
    assert only.share == pytest.approx(np.mean([disc(seed)[1].mean() for seed in range(4)]))
    assert found.problems == ()
    assert json.loads(found.as_json())["classes"][0]["images"] == 4
    lines = list(found.lines())
    assert lines[0] == ("4 labelled and 3 bare images (7 PNG); images/0000.png has the label labels/0000.png.")
    assert lines[-1] == "Nothing looks wrong with the files."


def test_masks_of_the_field_of_view_are_told(tmp_path: Path) -> None:
    folder = draw(tmp_path, 4, 1)
    rows, columns = np.mgrid[:48, :64]
    shown = (rows - 24) ** 2 + (columns - 32) ** 2 < 23**2
    for path in (folder / "images").iterdir():
        Image.fromarray(shown * (np.asarray(Image.open(path)) // 2 + np.uint8(60))).save(path)
    assert not check_folder(folder).problems
    for path in (folder / "labels").iterdir():
        Image.fromarray(shown.astype(np.uint8)).save(path)
    (problem,) = check_folder(folder).problems
    assert problem.startswith("4 of 4 labels, such as that of 0000.png, cover just what is not black")


def test_labels_with_a_palette_mean_their_indices(tmp_path: Path) -> None:
    folder = draw(tmp_path, 4, 1)
    plain = check_folder(folder)
    for path in (folder / "labels").iterdir():
        label = Image.open(path)
        label.putpalette(palette_of().tobytes())
        label.save(path)
    assert check_folder(folder) == plain


def small_label(folder: Path) -> str:
    Image.fromarray(disc(0)[1][::2, ::2]).save(folder / "labels" / "0000.png")
    return r"0000.png does not match its image: expected \(48, 64\), got \(24, 32\). Resize it by nearest neighbour"


def label_on_its_side(folder: Path) -> str:
    Image.fromarray(np.ascontiguousarray(disc(0)[1].T)).save(folder / "labels" / "0000.png")
    return r"expected \(48, 64\), got \(64, 48\). It lies on its side"


def turned_image(folder: Path) -> str:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(disc(0)[0]).save(folder / "images" / "0000.png", exif=exif)
    return r"1 images have an orientation tag, such as 0000.png \(6\)"


def label_of_a_turned_image(folder: Path) -> str:
    turned_image(folder)
    return r"The orientation tag of 0000.png \(6\) turns it: save both upright"


def broken_image(folder: Path) -> str:
    (folder / "images" / "0005.png").write_text("no picture")
    return "0005.png is unreadable: it is no picture of a known format"


def empty_label(folder: Path) -> str:
    Image.fromarray(np.zeros((48, 64), np.uint8)).save(folder / "labels" / "0001.png")
    return "1 of 4 labels are empty, such as labels/0001.png"


def other_stain(folder: Path) -> str:
    Image.fromarray(255 - disc(6)[0]).save(folder / "images" / "0006.png")
    return "1 of 7 images looked at differ from the labelled ones in contrast, such as 0006.png"


def blank_image(folder: Path) -> str:
    Image.fromarray(np.full((48, 64), 7, np.uint8)).save(folder / "images" / "0006.png")
    return "1 images show one grey value only, such as 0006.png"


def large_image(folder: Path) -> str:
    Image.fromarray(np.kron(disc(6)[0], np.ones((5, 5), np.uint8))).save(folder / "images" / "0006.png")
    return "images differ in size: expected longer sides within 4 to 1, got 64 to 320 pixels"


def copied_image(folder: Path) -> str:
    for index in (1, 3):
        Image.fromarray(disc(0)[0]).save(folder / "images" / f"{index:04}.png")
    return "labelled images hold one picture, such as 0000.png, 0001.png, 0003.png, 2 too many in all: they judge"


SPOILERS = [small_label, label_on_its_side, label_of_a_turned_image, turned_image, broken_image, empty_label]
SPOILERS += [other_stain, blank_image, large_image, copied_image]


@pytest.mark.parametrize("spoil", SPOILERS)
def test_what_looks_wrong_is_told(tmp_path: Path, spoil: Callable[[Path], str]) -> None:
    expected = spoil(draw(tmp_path, 4, 3))
    problems = check_folder(tmp_path).problems
    assert [problem for problem in problems if re.search(expected, problem)], problems


def test_classes_with_files_of_their_own_are_named(tmp_path: Path) -> None:
    draw(tmp_path, 0, 2)
    for name in ("liver", "spleen"):
        (tmp_path / "masks" / name).mkdir(parents=True)
        for index in range(2):
            Image.fromarray(255 * disc(index)[1]).save(tmp_path / "masks" / name / f"{index:04}.png")
    found = check_folder(tmp_path)
    assert [(each.name, each.images) for each in found.classes] == [("liver", 2), ("spleen", 2)]
    assert found.problems == ()


def test_volumes_are_checked(tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    label = np.zeros((20, 24, 6), np.uint8)
    label[5:12, 6:14, 2:5] = 2
    for seed, name in enumerate("abc"):
        noise = np.random.default_rng(seed).normal(100, 10, label.shape)
        nibabel.save(nibabel.Nifti1Image((noise + 60 * label).astype(np.int16), np.eye(4)), tmp_path / f"{name}.nii.gz")
    nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), tmp_path / "a_seg.nii.gz")
    nibabel.save(nibabel.Nifti1Image(label[1:], np.eye(4)), tmp_path / "b_seg.nii.gz")
    found = check_folder(tmp_path)
    assert (found.labelled, found.bare, found.formats) == (2, 1, {"NIfTI": 3})
    assert [each.value for each in found.classes] == [2]
    (problem,) = found.problems
    assert "b_seg.nii.gz does not match its image: expected (20, 24, 6), got (19, 24, 6)" in problem


@pytest.mark.parametrize("count", [2, 3, 4])
def test_few_slices_are_no_channels(tmp_path: Path, count: int) -> None:
    nibabel = pytest.importorskip("nibabel")
    label = np.zeros((8, 8, count), np.uint8)
    label[2:6, 2:4, 0], label[2:6, 4:6, 0] = 1, 2
    for kind in ("images", "labels"):
        (tmp_path / kind).mkdir()
        nibabel.save(nibabel.Nifti1Image(label, np.eye(4)), tmp_path / kind / "a.nii.gz")
    report = check_folder(tmp_path)
    assert [(each.value, each.share) for each in report.classes] == [(1, 8 / label.size), (2, 8 / label.size)]
    assert report.problems == ()


def test_a_folder_without_labels_is_told_so(tmp_path: Path) -> None:
    (problem,) = check_folder(draw(tmp_path, 0, 3)).problems
    assert problem.startswith("no image has a label: expected label maps in labels/")


def test_a_series_counts_as_one_image_that_is_not_opened(tmp_path: Path) -> None:
    pytest.importorskip("pydicom")
    from tests.dicom_files import series_affine, write_series

    affine = series_affine(np.eye(3), (1, 1, 2), (0, 0, 0))
    write_series(tmp_path / "scan", np.ones((3, 4, 5), np.int16), affine)
    found = check_folder(tmp_path / "scan")
    assert (found.labelled, found.bare, found.formats) == (0, 1, {"DICOM": 1})
    assert found.notes == ("1 of 1 images were not opened: of volumes a sample is, and no DICOM series.",)


def test_classes_are_called_as_the_folder_s_card_says(tmp_path: Path) -> None:
    draw(tmp_path, 4, 0)
    (tmp_path / "card.toml").write_text('id = "a"\nmodality = "CT"\n[labels]\n1 = "liver"\n')
    assert [each.name for each in check_folder(tmp_path).classes] == ["liver"]


def save_as(suffix: str, path: Path, pixels: np.ndarray) -> None:
    if suffix == ".nii.gz":
        volume = np.stack([pixels] * 3, axis=-1)
        nibabel.save(nibabel.Nifti1Image(volume, np.diag([1.0, 1, 3, 1])), path.with_suffix(suffix))
    else:
        Image.fromarray(pixels).save(path.with_suffix(suffix))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".tif", ".nii.gz"])
@pytest.mark.parametrize("option", ["--expect", "--no-expect"])
def test_no_file_is_read_twice(tmp_path: Path, suffix: str, option: str) -> None:
    """Not even where the labelled images judge each other, or tell by common rules what their labels mean."""
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    for index in range(20):
        image, label = disc(index)
        save_as(suffix, tmp_path / "images" / f"{index:04}", image)
        if index < 9:
            save_as(suffix if suffix != ".jpg" else ".png", tmp_path / "labels" / f"{index:04}", label)
    with opened_in(tmp_path) as opened:
        found = CliRunner().invoke(app, ["check", str(tmp_path), option], catch_exceptions=False)
    assert ("Expect a Dice" in found.stdout) == (option == "--expect")
    assert len(opened) == 20 + 9
    for name, count in opened.items():
        # of a volume's label the header tells first whether it has a mask for each class
        assert count == (2 if name.startswith("labels") and suffix == ".nii.gz" else 1), name


def test_looking_at_a_folder_of_many_images_loads_no_network_library(tmp_path: Path) -> None:
    """In a process of its own, as a user starts it; the import alone would take longer than a thousand images."""
    draw(tmp_path, 4, 12)
    program = f"""
import sys
from incontext.cli import app
try:
    app(["check", {str(tmp_path)!r}, "--no-expect"])
except SystemExit as exit:
    assert not exit.code
assert "torch" not in sys.modules
"""
    result = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert result.stdout.startswith("4 labelled and 12 bare images (16 PNG)")


def test_labels_in_colours_are_counted_by_a_table(tmp_path: Path) -> None:
    draw(tmp_path, 3, 0)
    for seed, colour in enumerate([(255, 0, 0), (0, 255, 0), (0, 255, 0)]):
        both = disc(seed)[1][..., None] * np.array(colour, np.uint8)
        both[:2, :2] = 0, 0, 255
        Image.fromarray(both).save(tmp_path / "labels" / f"{seed:04}.png")
    (problem,) = check_folder(tmp_path).problems
    assert "--colours '#0000ff=1,#00ff00=2,#ff0000=3'" in problem
    found = check_folder(tmp_path, None, LabelRules(colours={"#0000ff": 5, "#00ff00": 2, "#ff0000": 3}))
    assert found.problems == ()
    assert [(each.value, each.images) for each in found.classes] == [(2, 2), (3, 1), (5, 3)]


def test_labels_on_a_transparent_layer_are_counted(tmp_path: Path) -> None:
    draw(tmp_path, 2, 0)
    for seed in range(2):
        layer = np.dstack([np.full((48, 64, 3), 255, np.uint8), disc(seed)[1] * 255])
        Image.fromarray(layer).save(tmp_path / "labels" / f"{seed:04}.png")
    found = check_folder(tmp_path)
    assert found.problems == ()
    assert [(each.value, each.images) for each in found.classes] == [(255, 2)]
    assert any("transparent layer: what is opaque" in note and "1 more" in note for note in found.notes)


def save_with_palette(path: Path, label: np.ndarray, *colours: tuple[int, int, int]) -> None:
    picture = Image.fromarray(label).convert("P")
    picture.putpalette([0, 0, 0, *(part for colour in colours for part in colour)])
    picture.save(path)


def test_a_table_of_colours_counts_for_palettes_too(tmp_path: Path) -> None:
    draw(tmp_path, 2, 0)
    red, green = (255, 0, 0), (0, 255, 0)
    for seed, palette in enumerate([(red, green), (green, red)]):
        label = disc(seed)[1]
        label[:2, :2] = 2
        numbers = label if seed else np.array([0, 2, 1], np.uint8)[label]
        save_with_palette(tmp_path / "labels" / f"{seed:04}.png", numbers, *palette)
    (problem,) = check_folder(tmp_path).problems
    assert problem.startswith("palettes of labels disagree")
    found = check_folder(tmp_path, None, LabelRules(colours={"#ff0000": 7, "#00ff00": 4}))
    assert found.problems == ()
    shares = {each.value: each.share for each in found.classes}
    assert shares[7] == pytest.approx(4 / (48 * 64))
    assert shares[4] > 10 * shares[7]


def test_the_black_one_of_two_colours_is_the_background(tmp_path: Path) -> None:
    draw(tmp_path, 1, 0)
    label = disc(0)[1]
    picture = Image.fromarray(1 - label).convert("P")
    picture.putpalette([255, 255, 255, 0, 0, 0])
    picture.save(tmp_path / "labels" / "0000.png")
    (found,) = check_folder(tmp_path).classes
    assert found.share == pytest.approx(label.mean())


def test_a_smaller_copy_of_an_image_is_no_plane_of_it(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    draw(tmp_path, 2, 0)
    image, label = disc(0)
    with tifffile.TiffWriter(tmp_path / "images" / "0000.tif") as file:
        file.write(image, photometric="minisblack")
        file.write(image[::4, ::4], photometric="minisblack", subfiletype=1)
    (tmp_path / "images" / "0000.png").unlink()
    found = check_folder(tmp_path)
    assert not any("does not match" in problem for problem in found.problems)
    assert found.sizes_px == (label.shape, label.shape)


def test_segments_of_a_part_of_a_volume_lie_on_all_of_it(tmp_path: Path) -> None:
    """Each file numbers its segments in its own way, so that only names tell the classes."""
    sitk = pytest.importorskip("SimpleITK")
    for number, names in enumerate([("organ", "tumour"), ("Tumour", "organ")]):
        volume = np.random.default_rng(number).integers(0, 99, (6, 20, 20)).astype(np.float32)
        image = sitk.GetImageFromArray(volume)
        image.SetOrigin((1.0, 2.0, 3.0))
        sitk.WriteImage(image, str(tmp_path / f"{number}.nii.gz"))
        label = np.zeros(volume.shape, np.uint8)
        label[2:4, 5:15, 5:15] = 1 + number
        label[2:4, 8:10, 8:10] = 2 - number
        drawn = sitk.GetImageFromArray(label)
        drawn.CopyInformation(image)
        part = drawn[4:18, 4:18, 1:5]
        for place, name in enumerate(names):
            facts = {"Name": name, "LabelValue": place + 1, "Layer": 0, "ID": f"Segment_{place + 1}"}
            for key, value in facts.items():
                part.SetMetaData(f"Segment{place}_{key}", str(value))
        sitk.WriteImage(part, str(tmp_path / f"{number}.seg.nrrd"), True)
    found = check_folder(tmp_path)
    assert not found.problems
    assert [each.name for each in found.classes] == ["organ", "tumour"]
    assert [each.share for each in found.classes] == pytest.approx([192 / 2400, 8 / 2400])


@pytest.mark.parametrize("in_colours", [True, False])
def test_a_list_beside_the_labels_names_colours_or_values(tmp_path: Path, in_colours: bool) -> None:
    draw(tmp_path, 2, 0)
    (tmp_path / "labelmap.txt").write_text("background:0,0,0::\nnone:9,9,9::\ncell:250,50,83::\n")
    for seed in range(2):
        label = 2 * disc(seed)[1]
        colours = np.array([(0, 0, 0), (9, 9, 9), (250, 50, 83)], np.uint8)
        Image.fromarray(colours[label] if in_colours else label).save(tmp_path / "labels" / f"{seed:04}.png")
    found = check_folder(tmp_path)
    assert not found.problems
    assert [(each.value, each.name) for each in found.classes] == [(2, "cell")]


def test_classes_are_called_as_the_user_says(tmp_path: Path) -> None:
    found = check_folder(draw(tmp_path, 2, 0), names={1: "disc", 3: "cup"})
    assert [each.name for each in found.classes] == ["disc"]
    assert "no label that was looked at shows 3 'cup'." in found.notes


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_the_channel_that_is_asked_for_is_looked_at(tmp_path: Path, suffix: str) -> None:
    for index in range(3):
        image, label = disc(index)
        for part, array in (("images", np.dstack([image, np.zeros_like(image), image])), ("labels", label)):
            (tmp_path / part).mkdir(exist_ok=True)
            Image.fromarray(array).save(tmp_path / part / f"{index}.{suffix if part == 'images' else 'png'}")
    assert not check_folder(tmp_path, channel="red").problems
    assert "3 images show one grey value only, such as 0." in "".join(check_folder(tmp_path, channel="green").problems)


def test_channels_that_segment_asks_about_are_asked_about(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    image, _ = disc(0)
    draw(tmp_path, 1, 0)
    (tmp_path / "images/0000.png").unlink()
    stack = np.stack([image, np.full_like(image, 9), image])
    metadata = {"axes": "CYX", "Channel": {"Name": ["DAPI", "GFP", "GFP"]}}
    tifffile.imwrite(tmp_path / "images/0000.ome.tif", stack, metadata=metadata, photometric="minisblack")
    (problem,) = check_folder(tmp_path).problems
    assert "--channel DAPI" in problem
    assert not check_folder(tmp_path, channel="DAPI").problems
    assert "several channels called 'GFP'" in check_folder(tmp_path, channel="GFP").problems[0]
