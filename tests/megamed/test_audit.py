"""Duplicates, crossing subjects and thin data are found; what is merely alike is not."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from megamed.audit import NEAR_SIMILARITY, AuditReport, audit, content_hash, detail, perceptual_hash
from megamed.build import BuildReport

SIZE_PX = 64
Picture = np.ndarray


def texture(seed: int) -> Picture:
    """A smooth random picture of 64×64, different for every seed."""
    noise = np.random.default_rng(seed).integers(0, 256, (SIZE_PX, SIZE_PX), np.uint8)
    blurred = np.asarray(Image.fromarray(noise).filter(ImageFilter.GaussianBlur(2)), np.float32)
    return np.interp(blurred, (blurred.min(), blurred.max()), (0, 255)).astype(np.uint8)


def compressed(picture: Picture) -> Picture:
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=50)
    return np.asarray(Image.open(file))


def smaller(picture: Picture) -> Picture:
    half = Image.fromarray(picture).resize((48, 48), Image.Resampling.BICUBIC)
    return np.asarray(half.resize((SIZE_PX, SIZE_PX), Image.Resampling.BICUBIC))


def dimmer(picture: Picture) -> Picture:
    return (20 + 0.7 * picture).astype(np.uint8)


@pytest.fixture
def audited(
    make_dataset: Callable[..., Path], build_folder: Callable[..., BuildReport], tmp_path: Path
) -> Callable[..., AuditReport]:
    """Audit a collection of one dataset per keyword: pictures by case name, the subject before the underscore."""

    def run(cards: dict[str, dict[str, object]] | None = None, **datasets: dict[str, Picture]) -> AuditReport:
        label = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
        label[8:40, 8:40] = 1
        for name, pictures in datasets.items():
            root = make_dataset(0, f"data/{name}", id=name, **(cards or {}).get(name, {}))
            for case, picture in pictures.items():
                Image.fromarray(picture).save(root / "images" / f"{case}.png")
                Image.fromarray(label).save(root / "labels" / f"{case}.png")
        build_folder(tmp_path / "data", size_px=SIZE_PX)
        return audit(tmp_path / "out")

    return run


def test_different_pictures_are_no_duplicates(audited: Callable[..., AuditReport]) -> None:
    report = audited(a={f"p{i}_x": texture(i) for i in range(30)})
    assert (report.images, report.duplicates, report.crossing, report.flat) == (30, (), (), ())
    assert not report.leaks
    assert report.licences == {"CC0": ("a",)}


@pytest.mark.parametrize("change", [compressed, smaller, dimmer])
def test_changed_copy_is_a_near_duplicate(
    audited: Callable[..., AuditReport], change: Callable[[Picture], Picture]
) -> None:
    (pair,) = audited(a={"p0_x": texture(0), "p1_x": texture(1)}, b={"p7_x": change(texture(1))}).duplicates
    assert (pair.first.dataset, pair.first.case) == ("a", "p1_x")
    assert (pair.second.dataset, pair.second.case) == ("b", "p7_x")
    assert pair.reach == "datasets"
    assert 0.8 <= pair.similarity <= 1


def test_copy_is_an_exact_duplicate_within_a_dataset(audited: Callable[..., AuditReport]) -> None:
    pictures = {f"p{i}_x": texture(i) for i in range(12)}
    report = audited(a=pictures | {"p99_x": texture(3)})
    (pair,) = report.duplicates
    assert {pair.first.case, pair.second.case} == {"p3_x", "p99_x"}
    assert pair.similarity == 1
    assert pair.reach == ("subjects" if pair.first.split == pair.second.split else "splits")
    assert report.leaks


def test_equal_slices_of_one_subject_are_no_leak(audited: Callable[..., AuditReport]) -> None:
    assert audited(a={"p0_x": texture(0), "p0_y": texture(0)}).duplicates == ()


def test_same_person_in_two_datasets_is_no_duplicate_but_may_cross(audited: Callable[..., AuditReport]) -> None:
    def cards(role: str) -> dict[str, dict[str, object]]:
        return {"b": {"shares_patients_with": ["a"], "role": role}}

    pictures = {"p0_x": texture(0)}
    report = audited(cards("heldout"), a=pictures, b=pictures)
    assert report.duplicates == ()
    (line,) = report.crossing
    assert line.startswith("subject p0 is in b (heldout, ")
    assert " and a (" in line


def test_thin_data_is_told(audited: Callable[..., AuditReport]) -> None:
    dark = np.zeros((SIZE_PX, SIZE_PX), np.uint8)
    dark[0, 0] = 255
    report = audited(a={"p0_x": texture(0), "p1_x": dark})
    assert [place.case for place in report.flat] == ["p1_x"]
    assert report.scarce == {"a/ct-drawn/2d/disc": 2, "a/ct-drawn/2d/both-of-them": 2}
    assert not report.leaks
    assert "few subjects: a: 2 labels with 2" in report.lines()


def test_report_is_json(audited: Callable[..., AuditReport]) -> None:
    report = audited(a={"p0_x": texture(0), "p1_x": texture(0)})
    assert AuditReport.model_validate(json.loads(report.model_dump_json())) == report
    assert any(line.startswith("leak: a: 1 equal across ") for line in report.lines())


def test_content_hash_names_pixels() -> None:
    assert content_hash(texture(0)) == content_hash(texture(0).copy())
    changed = texture(0)
    changed[0, 0] ^= 1
    assert content_hash(changed) != content_hash(texture(0))


def test_hash_and_detail_ignore_brightness() -> None:
    assert (perceptual_hash(texture(0)) != perceptual_hash(dimmer(texture(0)))).sum() <= 2
    assert detail(texture(0)) @ detail(dimmer(texture(0))) > 0.98
    assert abs(detail(texture(0)) @ detail(texture(1))) < 0.2
    assert np.isfinite(detail(np.zeros((SIZE_PX, SIZE_PX), np.uint8))).all()


def test_shared_rims_are_no_likeness() -> None:
    """Photographs of different eyes share the bright disc of the camera, which dominates every correlation."""
    y, x = np.ogrid[:SIZE_PX, :SIZE_PX]
    disc = (y - 32) ** 2 + (x - 32) ** 2 < 28**2
    one, two = (np.where(disc, 100 + texture(seed) // 2, 0).astype(np.uint8) for seed in (0, 1))
    assert np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.95
    assert detail(one) @ detail(two) < 0.6 < NEAR_SIMILARITY


def test_known_copies_in_real_data_are_found(
    shared: Path, build_folder: Callable[..., BuildReport], tmp_path: Path
) -> None:
    build_folder(shared / "data" / "etis_larib_part", size_px=128)
    pairs = {(pair.first.case, pair.second.case) for pair in audit(tmp_path / "out").duplicates}
    assert ("c0004", "c0006") in pairs
