"""Large and medical folders in a real browser, and servers that are killed while somebody draws."""

import random
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("playwright")
pytest.importorskip("pydicom")

from playwright.sync_api import expect

from incontext import read_label_image, read_source_image
from incontext.page.store import opened
from tests.dicom_files import series_affine, write_series
from tests.incontext.page.person import Person, person
from tests.incontext.page.test_store import plain_folder
from tests.killed_runs import drawn

MANY, LARGE_PX = 1000, 10_000
SEEN_AT_ONCE = 60
"""More images than the list shows on a screen, and those just out of it."""
KILLS, STROKES = 3, 4
AT = re.compile(r"row 12, column 20 · file \[(.*)\] · (-?\d+)")
"""What is told of a pixel: its index in the file's array, and its value."""


def test_a_series_is_drawn_propagated_and_accepted(browser: Any, tmp_path: Path) -> None:
    hounsfield = 10 * drawn(0, 5)[0].astype(int) - 1000
    affine = series_affine(np.eye(3), (3.0, 1.0, 1.0), (0.0, 0.0, 0.0))
    write_series(tmp_path / "in" / "scan", hounsfield, affine)
    with person(browser, tmp_path / "in") as somebody:
        page = somebody.page
        expect(page.locator("#images li")).to_have_count(1)
        expect(page.locator("#slice-number")).to_have_text("3 / 5")
        expect(page.locator("#facts")).to_contain_text("Voxel1 × 1 × 3 mm")
        expect(page.locator("#sides i")).to_have_text(["A", "H", "P", "F"])
        page.mouse.move(*somebody.at(20.5, 12.5))
        expect(page.locator("#position")).to_have_text(AT)
        index, value = AT.fullmatch(page.locator("#position").inner_text()).groups()
        assert hounsfield[tuple(map(int, index.split(", ")))] == int(value)
        somebody.press("[", "[", "[", "[")
        somebody.drag((8.5, 8.5), (20.5, 8.5))
        somebody.undoable()
        somebody.press("g")
        expect(page.locator("#spoken")).to_have_text("Propagated")
        somebody.press("a")
        expect(page.locator("#count")).to_have_text("1 accepted of 1")
    (path,) = (tmp_path / "in" / "labels").glob("scan*")
    case = read_source_image(tmp_path / "in" / "scan", "image")
    found = read_label_image(path, "label", case)
    assert found.planes.shape == hounsfield.shape
    assert found.planes[2, 8, 8] == found.planes[2, 8, 20] == 1


def test_a_thousand_images_are_listed_at_once_and_loaded_as_they_are_seen(browser: Any, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", map(str, range(MANY)))
    with person(browser, folder) as somebody:
        page = somebody.page
        expect(page.locator("#images li")).to_have_count(MANY)
        somebody.drag((8, 8), (20, 8), (20, 20))
        somebody.undoable()
        assert page.locator("#images img[src]").count() < SEEN_AT_ONCE
        somebody.press("a")
        expect(page.locator("#count")).to_have_text(f"1 accepted of {MANY}")
        expect(page.locator("[data-state=predicted], [data-state=doubtful]").first).to_be_attached()
        page.locator("#search").fill("999")
        expect(page.locator("#images li")).to_have_count(1)
        expect(page.locator("#images img[src]")).to_have_count(1)
        page.locator("#images li").click()
        expect(page.locator("#images [aria-selected]")).to_contain_text("999.png")
        page.locator("#search").fill("")
        expect(page.locator("#image-999")).to_have_attribute("data-state", "predicted")  # near what is on the screen
        page.locator("#view").focus()
        somebody.drag((8, 8), (20, 8))
        somebody.undoable()
        expect(page.locator("#stage-text")).to_contain_text("Segmented")
    with opened(folder) as annotated:
        assert [each.name for each in annotated.images if each.state == "drawn"] == ["999.png"]


def test_an_image_of_ten_thousand_pixels_a_side_is_drawn_on(
    browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    stripes = (np.arange(LARGE_PX) // 50 % 200).astype(np.uint8)
    Image.fromarray(np.tile(stripes, (LARGE_PX, 1))).save(folder / "a.png", compress_level=1)
    with person(browser, folder) as somebody:
        page = somebody.page
        expect(page.locator("#facts")).to_contain_text(f"{LARGE_PX} × {LARGE_PX} px")
        box = page.locator("#view").bounding_box()
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(*middle)
        page.mouse.wheel(0, -2000)  # nearly to single pixels
        page.mouse.down()
        page.mouse.move(middle[0] + 60, middle[1])
        page.mouse.up()
        somebody.undoable()
        somebody.press("a")
        expect(page.locator("#count")).to_have_text("1 accepted of 1")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # of which it would warn
    with Image.open(folder / "labels" / "a.png") as mask:
        label = np.asarray(mask)
    rows, columns = np.nonzero(label)
    assert label.shape == (LARGE_PX, LARGE_PX)
    assert 16 <= np.ptp(rows) + 1 < np.ptp(columns) + 1 < 400
    assert abs(rows.mean() - LARGE_PX / 2) < 16


def test_kills_in_the_middle_of_strokes_lose_the_one_under_the_pen_at_most(browser: Any, tmp_path: Path) -> None:
    folder, moments, kept = plain_folder(tmp_path / "in", "a"), random.Random(0), 0
    for _ in range(KILLS):
        with person(browser, folder) as somebody:
            expect(somebody.page.locator("#undo")).to_be_enabled(enabled=kept > 0)
            kept = drawn_until_killed(somebody, kept, moments)
        with opened(folder) as annotated:
            drawing = annotated.open(0).drawing
            assert kept <= drawing.undoable <= kept + 1
            kept = drawing.undoable
            rows = np.flatnonzero(drawing.planes[0].any(1))
            assert rows.tolist() == list(range(kept))  # each stroke is a row of pixels
    assert kept >= KILLS


def drawn_until_killed(somebody: Person, kept: int, moments: random.Random) -> int:
    """Draw a row of pixels after the other, kill the server while the pen is down, and count what was answered."""
    page, answered = somebody.page, list[str]()
    page.on("response", lambda each: answered.append(each.url) if each.ok and each.url.endswith("/strokes") else None)
    somebody.press(*["["] * 9)
    for number in range(STROKES):
        row = kept + number + 0.5
        page.mouse.move(*somebody.at(4.5, row))
        page.mouse.down()
        page.mouse.move(*somebody.at(12.5, row))
        if number == STROKES - 1:
            page.wait_for_timeout(moments.uniform(0, 100))
            somebody.server.kill()
        page.mouse.move(*somebody.at(20.5, row))
        page.mouse.up()
    expect(page.locator("#message")).to_be_visible()
    return kept + len(answered)


def test_images_that_cannot_be_read_are_marked_and_passed_by(browser: Any, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "abcd")
    for name in "ac":
        (folder / f"{name}.png").write_bytes(b"")
    with person(browser, folder) as somebody:
        page = somebody.page
        expect(page.locator("#images [aria-selected]")).to_contain_text("b.png")
        expect(page.locator("#images li small", has_text="unreadable")).to_have_count(2)
        expect(page.locator("#message")).to_be_hidden()
        somebody.press("n")
        expect(page.locator("#images [aria-selected]")).to_contain_text("d.png")
        page.locator("#images li", has_text="c.png").click()
        expect(page.locator("#message")).to_contain_text("c.png is unreadable")
        expect(page.locator("#images [aria-selected]")).to_contain_text("d.png")


def test_a_stroke_belongs_to_the_image_that_was_seen(browser: Any, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "ab")
    with person(browser, folder) as somebody:
        page, held = somebody.page, list[Any]()
        page.route("**/images/1/planes/0", lambda route: held.append(route))
        with page.expect_request("**/images/1/planes/0"):
            somebody.press("n")
        somebody.drag((8, 8), (20, 8))
        expect(page.locator("#saved")).to_contain_text("Saved")
        held[0].continue_()
        expect(page.locator("#images [aria-selected]")).to_contain_text("b.png")
    with opened(folder) as annotated:
        assert [each.name for each in annotated.images if each.state == "drawn"] == ["a.png"]
