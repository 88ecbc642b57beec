"""The page in a real browser: what a person does with mouse and keys, and what lies on the disk afterwards."""

import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("playwright")
pytest.importorskip("axe_playwright_python")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from incontext import read_label_image, read_source_image
from incontext.page.store import opened
from tests.incontext.page.person import person
from tests.incontext.page.test_api import EVIL
from tests.incontext.page.test_store import plain_folder
from tests.killed_runs import drawn, write_stack
from tests.slide_files import UM, write_pyramid


def mask_of(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def test_a_first_image_is_drawn_and_the_others_follow(browser: Any, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in")
    with person(browser, folder) as somebody:
        page = somebody.page
        expect(page.locator("#hint")).to_contain_text("Draw the structure on this image")
        stage = page.locator("#stage").bounding_box()
        somebody.drag((8, 8), (20, 8), (20, 20))
        somebody.undoable()
        expect(page.locator("#hint")).to_contain_text("Accept it when the structure is right")
        assert page.locator("#stage").bounding_box() == stage  # nothing moves under the pen
        expect(page.locator("#saved")).to_contain_text("Saved")
        somebody.press("z")
        somebody.undoable(False)
        somebody.press("Shift+Z")
        somebody.undoable()
        somebody.press("a")
        expect(page.locator("#count")).to_have_text("1 accepted of 3")
        expect(page.locator("[data-state=predicted], [data-state=doubtful]")).to_have_count(2)
        expect(page.locator("#images [aria-selected]")).to_contain_text("b.png")
        page.reload()
        expect(page.locator("#count")).to_have_text("1 accepted of 3")
        expect(page.locator("#message")).to_be_hidden()
    mask = mask_of(folder / "labels" / "a.png")
    assert set(np.unique(mask)) == {0, 1}
    assert mask[8, 8] == mask[8, 20] == mask[20, 20] == 1


def test_outlines_are_filled_erased_and_closed_as_polygons(browser: Any, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "a")
    with person(browser, folder) as somebody:
        page = somebody.page
        somebody.press("p")
        for place in ((4, 4), (28, 4), (28, 28), (16, 16)):
            page.mouse.click(*somebody.at(*place))
        somebody.press("Backspace")  # the last corner
        for place in ((4, 28), (4, 4)):
            page.mouse.click(*somebody.at(*place))
        somebody.undoable()
        somebody.press("e", "[", "[", "[")
        somebody.drag((10, 10), (22, 10), (22, 22), (10, 22), (10, 10))
        somebody.press("b")
        page.keyboard.down("Shift")  # with which the brush erases
        somebody.drag((16, 26), (20, 26))
        page.keyboard.up("Shift")
        somebody.press("f")
        page.mouse.click(*somebody.at(2, 2))
        expect(page.locator("#message")).to_contain_text("Nothing encloses this place")
        somebody.press("a")
        expect(page.locator("#count")).to_have_text("1 accepted of 1")
    mask = mask_of(folder / "labels" / "a.png")
    assert mask[5, 5] == 1
    assert mask[2, 2] == mask[10, 16] == mask[22, 16] == mask[26, 18] == 0
    assert mask[27, 8] == 1  # which the corner that was taken off would have left out
    assert mask[4:28, 4:28].sum() == mask.sum()


def test_all_is_done_by_keyboard_in_several_classes(browser: Any, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "ab")
    with person(browser, folder, "--classes", "1=disc,2=rim") as somebody:
        page = somebody.page
        expect(page.locator("#view")).to_be_focused()
        somebody.press("[", "[", "[", "[", "[", "[", "Enter", "Shift+ArrowLeft", "Enter")
        somebody.undoable()
        somebody.press("2", "Shift+ArrowDown", "Enter", "ArrowRight", "ArrowRight", "Enter")
        somebody.press("n")
        expect(page.locator("#images [aria-selected]")).to_contain_text("b.png")
        somebody.press("Shift+N")
        expect(page.locator("#images [aria-selected]")).to_contain_text("a.png")
        somebody.press("?")
        expect(page.locator("#help")).to_be_visible()
        somebody.press("Escape", "h", "h", "o", "t", "0", "a")
        expect(page.locator("#count")).to_have_text("1 accepted of 2")
    with opened(folder) as annotated:
        planes = annotated.open(0).drawing.planes[0]
        assert {value: each.name for value, each in annotated.classes.items()} == {1: "disc", 2: "rim"}
    assert planes[16, 6] == planes[16, 16] == 1
    assert planes[26, 6] == planes[26, 8] == 2


def test_numbers_in_names_count_and_a_class_is_named_as_it_is_added(browser: Any, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "Müller in", ("Größe 10", "Größe 9"))
    with person(browser, folder) as somebody:
        page = somebody.page
        expect(page.locator("#images li b")).to_have_text(["Größe 9.png", "Größe 10.png"])
        expect(page.locator("#images [aria-selected]")).to_contain_text("Größe 9.png")
        page.locator("#classes textarea").fill("graue Substanz")
        page.get_by_role("button", name="Add a class").click()  # which sends the name, too
        expect(page.locator("#classes .active textarea")).to_be_focused()
        page.keyboard.type("weiße Substanz")
        somebody.press("Enter")
        expect(page.locator("#view")).to_be_focused()
        expect(page.locator("#classes .active textarea")).to_have_value("weiße Substanz")
        somebody.drag((8, 8), (20, 8))
        somebody.undoable()
        page.reload()
        expect(page.locator("#saved")).to_have_text("All that was drawn is saved")
        expect(page.get_by_role("radio", name="Draw graue Substanz")).to_be_visible()
        expect(page.get_by_role("radio", name="Draw weiße Substanz")).to_be_visible()


def test_polygons_boxes_scribbles_and_names_need_no_mouse(browser: Any, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "a")
    with person(browser, folder) as somebody:
        page = somebody.page
        expect(page.locator("[data-tool=box]")).to_be_visible()
        somebody.press("p", "Enter", "Shift+ArrowRight", "Enter", "Shift+ArrowDown", "Enter", "Enter")
        somebody.undoable()
        page.locator("#classes textarea").fill("lesion")
        somebody.press("Enter")
        expect(page.locator("#view")).to_be_focused()
        somebody.press("a")
        expect(page.locator("#count")).to_have_text("1 accepted of 1")
        mask = mask_of(folder / "labels" / "a.png")
        somebody.press("x", "Enter", "Shift+ArrowLeft", "ArrowUp", "ArrowUp")
        expect(page.locator("#prompts li")).to_have_count(0)
        somebody.press("Enter")
        expect(page.locator("#prompts li")).to_contain_text("box")
        somebody.press("s", "Shift+ArrowRight", "Shift+Enter", "ArrowDown", "ArrowDown")
        expect(page.locator("#prompts li")).to_have_count(1)
        somebody.press("Enter")
        expect(page.locator("#prompts li").last).to_contain_text("scribble 1: outside")
        somebody.press("Shift+ArrowLeft", "Enter", "ArrowUp", "Shift+ArrowLeft", "Enter")
        expect(page.locator("#prompts li").last).to_contain_text("scribble 2: inside")
        somebody.press("Enter", "ArrowUp", "Escape", "?")
        expect(page.locator("#help")).to_contain_text("scribble")
        expect(page.locator("#prompts li")).to_have_count(3)
    with opened(folder) as annotated:
        outside, inside = [said["points"] for _, said in annotated.open(0).drawing.prompts.values()][1:]
    assert outside == [[24, 26], [25, 26], [26, 26]]
    assert inside == [[26, 16], [25, 16], [25, 6]]
    assert mask[18, 24] == 1
    assert not mask[:16].any()
    assert not mask[20:, :20].any()


def test_clicks_scribbles_and_boxes_are_answered_and_undone(browser: Any, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "a")
    with person(browser, folder) as somebody:
        page = somebody.page
        expect(page.locator("[data-tool=click]")).to_be_visible()
        somebody.press("c")
        page.mouse.click(*somebody.at(10.5, 5.5))
        expect(page.locator("#spoken")).to_have_text("Mask changed")
        expect(page.locator("#position")).to_have_text(re.compile(r"row 5, column 10 · \d+"))
        page.mouse.click(*somebody.at(20.5, 9.5), button="right")
        somebody.drag((4.5, 20.5), (12.5, 20.5))
        somebody.press("x")
        somebody.drag((2.5, 2.5), (30.5, 30.5))
        somebody.press("c")
        page.mouse.click(*somebody.at(25.5, 25.5))
        somebody.press("a")
        expect(page.locator("#count")).to_have_text("1 accepted of 1")
        mask = mask_of(folder / "labels" / "a.png")
        told = page.locator("#prompts li")
        expect(told.first).to_contain_text("click 1: inside")
        expect(told.last).to_have_text(re.compile("click [23]: inside"))
        count = told.count()
        page.get_by_role("button", name=re.compile("Take back: click .: inside")).last.click()
        expect(told).to_have_count(count - 1)
        page.locator("#view").focus()
        somebody.press("z")
        expect(told).to_have_count(count)
    assert mask[5, 10] == mask[25, 25] == 1
    assert mask[20, 4:13].all()
    assert mask[9, 20] == 0


def test_slices_of_a_volume_are_drawn_one_by_one(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_stack(tmp_path / "in" / "a.tif", drawn(0, 5)[0])
    with person(browser, tmp_path / "in") as somebody:
        page = somebody.page
        expect(page.locator("#slice-number")).to_have_text("3 / 5")
        somebody.drag((8, 8), (20, 8))
        somebody.undoable()
        somebody.press(".")
        expect(page.locator("#slice-number")).to_have_text("4 / 5")
        somebody.drag((8, 20), (20, 20))
        expect(page.locator("#ticks i")).to_have_count(2)
        somebody.press(",", ",")
        expect(page.locator("#slice-number")).to_have_text("2 / 5")
        somebody.press("z")  # what is undone is shown
        expect(page.locator("#slice-number")).to_have_text("4 / 5")
        somebody.press("Shift+Z")
        expect(page.locator("#across")).to_be_visible()
        page.mouse.move(*somebody.at(10.5, 12.5))
        somebody.press("v")
        expect(page.locator("#position")).to_contain_text("row 12, column 10 · file [3, 12, 10]")
        somebody.press("g")
        expect(page.locator("#spoken")).to_have_text("Propagated")
        expect(page.locator("#ticks i.drawn")).to_have_count(2)
        expect(page.locator("#ticks i:not(.drawn)")).not_to_have_count(0)
        page.locator("#facts").get_by_role("button", name=re.compile("slice [1-5]")).click()
        expect(page.locator("#slice-number")).to_have_text(re.compile("[1-5] / 5"))
        page.locator("#view").focus()
        somebody.press("z")
        expect(page.locator("#spoken")).to_have_text("Undone")
        expect(page.locator("#ticks i")).to_have_count(2)
        row = page.locator("#across-row").bounding_box()
        page.mouse.click(row["x"] + row["width"] / 2, row["y"] + row["height"] / 10)
        expect(page.locator("#slice-number")).to_have_text("1 / 5")
        somebody.press("a")
        expect(page.locator("#count")).to_have_text("1 accepted of 1")
    with opened(tmp_path / "in") as annotated:
        planes = annotated.open(0).drawing.planes
    assert planes.any(axis=(1, 2)).tolist() == [False, False, True, True, False]
    assert planes[2, 8, 14] == planes[3, 20, 14] == 1


def test_a_slide_is_shown_by_tiles_drawn_on_and_predicted_at_a_level(browser: Any, tmp_path: Path) -> None:
    folder, full = tmp_path / "in", (640, 768)
    folder.mkdir()
    for seed, name in enumerate("ab"):
        squares = np.random.default_rng(seed).integers(0, 255, (20, 24, 3), np.uint8).repeat(32, 0).repeat(32, 1)
        write_pyramid(folder / f"{name}.tif", squares, 4)
    with person(browser, folder, "--level", "2") as somebody:
        page, asked = somebody.page, list[str]()
        page.on("request", lambda request: asked.append(request.url))
        page.reload()
        expect(page.locator("#facts")).to_contain_text(f"Full size{full[1]} × {full[0]} px")
        expect(page.locator("#facts")).to_contain_text("level 2")
        expect(page.locator("#notes")).to_contain_text("--level 2")
        box = page.locator("#view").bounding_box()
        middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
        page.mouse.move(*middle)
        for _ in range(10):
            page.mouse.wheel(0, -300)
        expect(page.locator("#position")).to_have_text(re.compile(r"row \d+, column \d+ · \d+ \d+ \d+"))
        assert any("/tiles/-2/" in each for each in asked)  # the full resolution
        assert not any(each.endswith("/planes/0") for each in asked)
        somebody.press("0", "[", "[", "[", "[", "[", "[")
        page.mouse.down()
        page.mouse.move(middle[0] + 60, middle[1])
        page.mouse.up()
        somebody.undoable()
        somebody.press("a")
        expect(page.locator("[data-state=predicted], [data-state=doubtful]")).to_have_count(1)
    case = read_source_image(folder / "a.tif", "image", level=2)
    label = read_label_image(folder / "labels" / "a.tif", "label", case).planes[0]
    assert label.shape == (full[0] // 4, full[1] // 4)
    assert label[80, 96] == 1
    with tifffile.TiffFile(folder / "labels" / "a.tif") as file:
        assert file.pages[0].tags.valueof(282)[0] / file.pages[0].tags.valueof(282)[1] == pytest.approx(1e4 / (4 * UM))


def test_what_a_killed_server_was_told_is_there_again(browser: Any, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "a")
    with person(browser, folder) as somebody:
        somebody.drag((8, 8), (20, 8))
        somebody.undoable()
        somebody.server.kill()
        expect(somebody.page.locator("#message")).to_contain_text("All that you drew is kept")
    with person(browser, folder) as somebody:
        somebody.undoable()
        expect(somebody.page.locator("#images [aria-selected]")).to_contain_text("drawn, not accepted")


def test_only_what_can_be_written_is_offered_and_taken_away(browser: Any, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "a")
    with person(browser, folder) as somebody:
        page = somebody.page
        somebody.press("d")
        expect(page.locator("#export-told")).to_have_text("There is no mask yet: draw one first.")
        expect(page.locator("#exports button:not([aria-disabled])")).to_have_count(0)
        somebody.press("Escape")
        somebody.drag((8, 8), (20, 8))
        somebody.undoable()
        somebody.press("d")
        expect(page.locator("#export-told")).to_contain_text("1 drawn")
        expect(page.locator("#exports li", has_text="3D Slicer")).to_contain_text(
            "takes a volume, and a.png is a picture"
        )
        expect(page.get_by_role("button", name="3D Slicer")).to_be_disabled()
        found = Axe().run(page).response["violations"]
        assert [each for each in found if each["impact"] in ("serious", "critical")] == []
        with page.expect_download() as download:
            page.get_by_role("button", name="COCO").press("Enter")
        with zipfile.ZipFile(download.value.path()) as archive:
            assert sorted(archive.namelist()) == ["coco.json", "images.csv", "report.html"]
        expect(page.locator("#export")).to_be_hidden()


def test_a_second_tab_is_told_so_and_names_are_no_markup(browser: Any, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "a")
    shutil.copy(folder / "a.png", folder / EVIL)
    with person(browser, folder, "--classes", "1=<b>x</b>") as somebody:
        expect(somebody.page.locator("#images b").first).to_have_text(EVIL)
        expect(somebody.page.locator("#classes textarea")).to_have_value("<b>x</b>")
        other = browser.new_page()
        other.goto(somebody.server.address)
        expect(other.locator("#message")).to_contain_text("open in another tab")
        other.close()
        somebody.drag((8, 8), (20, 8))
        somebody.undoable()


def test_at_twice_the_size_the_image_stays_in_sight_and_all_is_in_reach(browser: Any, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "a")
    with person(browser, folder) as somebody:
        page = somebody.page
        page.set_viewport_size({"width": 600, "height": 380})
        expect(page.locator("#add-class")).not_to_be_in_viewport()
        box = page.locator("#view").bounding_box()
        assert box["height"] > 190
        assert page.evaluate("document.documentElement.scrollWidth") <= 600
        somebody.press("[", "[", "[", "[")
        somebody.drag((8.5, 8.5), (20.5, 8.5))
        somebody.undoable()
        page.locator("#add-class").scroll_into_view_if_needed()
        expect(page.locator("#add-class")).to_be_in_viewport()
        expect(page.locator("#saved")).to_be_in_viewport()
        somebody.press("a")
        expect(page.locator("#count")).to_have_text("1 accepted of 1")
    mask = mask_of(folder / "labels" / "a.png")
    assert mask[8, 8] == mask[8, 20] == 1
    assert not mask[16:].any()


def test_everything_that_can_be_operated_has_a_name_and_nothing_keeps_people_out(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_stack(tmp_path / "in" / "a.tif", drawn(0, 3)[0])
    with person(browser, tmp_path / "in") as somebody:
        page = somebody.page
        operated = page.locator("button:visible, input:visible, select:visible, canvas[tabindex], [role=option]")
        assert operated.count() > 20
        for index in range(operated.count()):
            expect(operated.nth(index)).to_have_accessible_name(re.compile(r"\S"))
        for _ in range(2):  # light and dark
            found = Axe().run(page).response["violations"]
            assert [each for each in found if each["impact"] in ("serious", "critical")] == []
            somebody.press("t")
