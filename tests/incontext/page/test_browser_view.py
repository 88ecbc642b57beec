"""How the page shows images in a real browser: contrast, colours, zoom, and what is known of masks and examples."""

import re
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

pytest.importorskip("fastapi")
pytest.importorskip("playwright")

from playwright.sync_api import expect

from incontext.page import tuner
from tests.incontext.page.person import Person, person
from tests.incontext.page.test_store import SIDE, plain_folder
from tests.killed_runs import write_images

ORANGE = [230, 159, 0]
"""Colour of the first class."""
BRIGHTNESS = 100
COLOUR_AT = """([x, y]) => {
  const canvas = document.getElementById("view"), box = canvas.getBoundingClientRect();
  return [...canvas.getContext("2d").getImageData(x - box.left, y - box.top, 1, 1).data].slice(0, 3);
}"""
"""Red, green and blue of a place on the screen, beneath the pen."""
SECONDS_A_STEP = 0.05


def colour_at(somebody: Person, column: float, row: float) -> list[int]:
    """Red, green and blue at a place of the image, after what was done is painted."""
    somebody.page.evaluate("() => new Promise(go => requestAnimationFrame(() => requestAnimationFrame(go)))")
    return somebody.page.evaluate(COLOUR_AT, somebody.at(column, row))


def grey_folder(folder: Path) -> Path:
    """Write one grey image, whose darkest and brightest pixels are black and white."""
    folder.mkdir()
    picture = Image.new("L", (SIDE, SIDE), BRIGHTNESS)
    for column, grey in enumerate((0, 255)):
        picture.paste(grey, (column, 0, column + 1, SIDE))
    picture.save(folder / "a.png")
    return folder


def test_contrast_is_dragged_with_w_alone_and_changes_no_label(browser: Any, tmp_path: Path) -> None:
    with person(browser, grey_folder(tmp_path / "in")) as somebody:
        page = somebody.page
        somebody.press("b")
        before = colour_at(somebody, 16.5, 4.5)
        assert before == [BRIGHTNESS] * 3
        page.keyboard.down("w")
        somebody.drag((16, 10), (16, 14), (16, 20))  # downwards raises the level: what is shown gets darker
        page.keyboard.up("w")
        darker = colour_at(somebody, 16.5, 4.5)
        assert darker[0] < BRIGHTNESS
        page.keyboard.down("w")
        somebody.drag((16, 20), (22, 20), (28, 20))  # to the right widens the window: blacks and whites come nearer
        page.keyboard.up("w")
        assert colour_at(somebody, 1.5, 20.5)[0] < 255
        assert colour_at(somebody, 16.5, 4.5) != darker
        expect(page.locator("#undo")).to_be_disabled()
        somebody.press("r")
        assert colour_at(somebody, 16.5, 4.5) == before
        somebody.drag((8, 8), (20, 8))  # without the key it is a stroke
        somebody.undoable()


def test_opacity_outline_and_hiding_change_what_is_shown_and_nothing_else(browser: Any, tmp_path: Path) -> None:
    with person(browser, grey_folder(tmp_path / "in")) as somebody:
        page, inside, edge = somebody.page, (15.5, 15.5), (5.03, 15.5)
        somebody.press("p")
        for place in ((5, 5), (26, 5), (26, 26), (5, 26), (5, 5)):
            page.mouse.click(*somebody.at(*place))
        somebody.undoable()
        page.locator("#opacity").fill("100")
        assert colour_at(somebody, *inside) == ORANGE
        page.locator("#opacity").fill("50")
        half = [round((each + BRIGHTNESS) / 2) for each in ORANGE]
        assert colour_at(somebody, *inside) == pytest.approx(half, abs=1)
        page.locator("#view").focus()
        somebody.press("o")
        assert colour_at(somebody, *inside) == [BRIGHTNESS] * 3
        assert colour_at(somebody, *edge) == pytest.approx(ORANGE, abs=8)
        somebody.press("h")
        assert colour_at(somebody, *edge) == [BRIGHTNESS] * 3
        somebody.press("h", "o")
        page.locator("#classes .eye").click()
        assert colour_at(somebody, *inside) == [BRIGHTNESS] * 3
        page.locator("#classes .eye").click()
        page.locator("#opacity").fill("100")
        page.locator("#classes input[type=color]").fill("#0000ff")
        page.wait_for_function(f"at => String(({COLOUR_AT})(at)) === '0,0,255'", arg=somebody.at(*inside))
        expect(page.locator("#undo")).to_be_enabled()


def test_the_image_is_zoomed_and_moved_by_wheel_keys_and_mouse(browser: Any, tmp_path: Path) -> None:
    told = re.compile(r"row (\d+), column (\d+)")

    def under(place: tuple[float, float]) -> tuple[int, int]:
        somebody.page.mouse.move(place[0] + 1, place[1])
        somebody.page.mouse.move(*place)
        found = told.search(somebody.page.locator("#position").inner_text())
        assert found
        return int(found[1]), int(found[2])

    with person(browser, grey_folder(tmp_path / "in")) as somebody:
        page, place = somebody.page, somebody.at(8.5, 8.5)
        assert under(place) == (8, 8)
        far = somebody.at(20.5, 8.5)
        page.mouse.move(*place)
        page.mouse.wheel(0, -400)
        assert under(place) == (8, 8)  # what is under the pointer stays there
        assert under(far)[1] < 20
        somebody.press("0")
        assert under(far) == (8, 20)
        under(place)
        somebody.press("+", "+")
        assert under(place) == (8, 8)
        assert under(far)[1] < 20
        under(place)
        somebody.press("-", "-")
        assert under(far) == (8, 20)
        page.keyboard.down(" ")
        somebody.drag((8.5, 8.5), (12.5, 8.5))
        page.keyboard.up(" ")
        assert under(far) == (8, 16)
        page.mouse.move(*far)
        page.mouse.down(button="middle")
        page.mouse.move(*place)
        page.mouse.up(button="middle")
        assert under(place) == (8, 16)
        expect(page.locator("#undo")).to_be_disabled()


def test_what_examples_tell_stands_at_the_right(browser: Any, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "abcdef")

    def tell(route: Any) -> None:
        """Answer as the server does when four examples have told what to expect."""
        answer = route.fetch()
        told = answer.json()
        for number, image in enumerate(told["images"]):
            is_example = number < 4
            quality = {} if is_example else {"dice": 0.5 + number / 10, "look_first": number == 4}
            image.update(state="accepted" if is_example else "predicted", is_suspect=number == 1, **quality)
        told["expected"] = [{"value": 1, "dice": 0.8, "low": 0.7, "high": 0.9}]
        route.fulfill(response=answer, json=told)

    with person(browser, folder) as somebody:
        page = somebody.page
        page.route("**/api/session", tell)
        page.reload()
        expect(page.locator("#advice")).to_contain_text("a Dice of about 0.80 (0.70 to 0.90)")
        expect(page.locator("#expected")).to_have_text("expected Dice 0.80 ± 0.10")
        expect(page.locator("#to-draw")).to_have_text("1 of 2 masks looks doubtful: draw these next.")
        expect(page.locator("#images li").first).to_contain_text("e.pngDice 0.90")
        page.locator("#suspects button").click()
        expect(page.locator("#images [aria-selected]")).to_contain_text("b.png")
        expect(page.locator("#facts")).to_contain_text("the other examples contradict this one")
        somebody.drag((8, 8), (20, 8))
        somebody.undoable()
        somebody.press("a")
        expect(page.locator("#to-draw")).to_contain_text(re.compile(r"About \d+ min, as long as one takes you \d+ s\."))


def test_tuning_is_watched_and_stopped(browser: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slowly(*_: float) -> float:
        time.sleep(SECONDS_A_STEP)
        return 30.0

    monkeypatch.setattr(tuner, "seconds_left", slowly)  # asked at each step, in the fork that serves
    with person(browser, write_images(tmp_path / "in", "abcde")) as somebody:
        page = somebody.page
        page.locator("#tune").click()
        expect(page.locator("#tuning")).to_have_text(re.compile(r"Step \d+ of \d+ · 30 s left"))
        page.get_by_role("button", name="Stop tuning").click()
        expect(page.locator("#tuning")).to_have_text("stopped: nothing has changed")
        expect(page.locator("#tune")).to_have_text("Tune on the examples")


def test_a_long_name_of_a_class_is_read_whole(browser: Any, tmp_path: Path) -> None:
    long = "territory of the left posterior cerebral artery"
    with person(browser, plain_folder(tmp_path / "in", "a"), "--classes", f"1={long},2=b") as somebody:
        first, second = somebody.page.locator("#classes textarea").all()
        expect(first).to_have_value(long)
        assert first.evaluate("each => each.scrollHeight <= each.clientHeight && each.scrollWidth <= each.clientWidth")
        assert first.bounding_box()["height"] > second.bounding_box()["height"]  # it takes several lines


def test_what_is_typed_before_a_new_class_is_there_is_no_command(browser: Any, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "ab")
    with person(browser, folder) as somebody:
        page, held = somebody.page, list[Any]()
        somebody.drag((8, 8), (20, 8))
        somebody.undoable()
        page.route("**/api/classes", lambda route: route.continue_() if held else held.append(route))
        with page.expect_request("**/api/classes"):
            page.get_by_role("button", name="Add a class").click()
        somebody.press("a", "Space", "z")
        held[0].continue_()
        expect(page.locator("#classes .active textarea")).to_be_focused()
        page.keyboard.type('-"rim"')
        somebody.press("Enter")
        expect(page.get_by_role("radio", name="Draw a z-'rim'")).to_be_visible()
        expect(page.locator("#classes textarea")).to_have_count(2)
        somebody.undoable()
        expect(page.locator("#count")).to_have_text("0 accepted of 2")


def test_a_key_that_is_held_accepts_one_image(browser: Any, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "abc")
    with person(browser, folder) as somebody:
        page = somebody.page
        somebody.drag((8, 8), (20, 8))
        somebody.undoable()
        page.keyboard.down("a")
        expect(page.locator("#images [aria-selected]")).to_contain_text("b.png")
        expect(page.locator("[data-state=predicted], [data-state=doubtful]")).to_have_count(2)
        page.keyboard.down("a")  # which is a repeated one
        page.keyboard.up("a")
        somebody.press("[")
        somebody.drag((8, 8), (20, 8))  # and is answered before this is kept
        somebody.undoable()
        expect(page.locator("#count")).to_have_text("1 accepted of 3")
        expect(page.locator("#images [aria-selected]")).to_contain_text("b.png")
        somebody.press("a")
        expect(page.locator("#count")).to_have_text("2 accepted of 3")


def test_a_stroke_that_the_disk_does_not_take_is_told_and_taken_off(browser: Any, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "a")
    with person(browser, folder) as somebody:
        page = somebody.page
        somebody.press(*["["] * 7)
        somebody.drag((8, 8), (20, 8))
        expect(page.locator("#saved")).to_contain_text("Saved")
        page.route("**/strokes", lambda route: route.fulfill(status=507, json={"detail": "no room on the disk"}))
        somebody.drag((8, 20), (20, 20))
        expect(page.locator("#saved")).to_have_text("The last change is not saved")
        expect(page.locator("#message")).to_have_text("no room on the disk")
        page.unroute("**/strokes")
        somebody.drag((8, 24), (20, 24))
        expect(page.locator("#saved")).to_contain_text("Saved")
        somebody.press("a")
        expect(page.locator("#count")).to_have_text("1 accepted of 1")
    mask = Image.open(folder / "labels" / "a.png")
    assert mask.getpixel((14, 8)) == mask.getpixel((14, 24)) == 1
    assert mask.getpixel((14, 20)) == 0


def test_a_long_image_is_high_enough_to_be_drawn_on(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    Image.new("L", (2000, 3), BRIGHTNESS).save(tmp_path / "in" / "a.png")
    with person(browser, tmp_path / "in") as somebody:
        box = somebody.page.locator("#view").bounding_box()
        for row in range(3):
            somebody.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2 + 8 * (row - 1))
            expect(somebody.page.locator("#position")).to_contain_text(f"row {row}, column 1000")
