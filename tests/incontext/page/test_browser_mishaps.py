"""The page when hands cross or answers are late: what was drawn is kept, and the screen shows what is kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")
pytest.importorskip("playwright")

from playwright.sync_api import expect

from incontext.page.store import opened
from tests.incontext.page.person import Person, person
from tests.incontext.page.test_browser_view import ORANGE, colour_at, grey_folder
from tests.incontext.page.test_store import plain_folder
from tests.killed_runs import drawn, write_stack

FINE = ["["] * 7
"""Keys that make the pen thin."""


def is_coloured(somebody: Person, column: float, row: float) -> bool:
    """Whether a class is shown at a place of a grey image."""
    red, _, blue = colour_at(somebody, column, row)
    return red - blue > (ORANGE[0] - ORANGE[2]) / 4


def becomes_coloured(somebody: Person, column: float, row: float, is_so: bool = True) -> bool:
    """Whether a class is shown at a place within some seconds, or none is, and still is a little later."""
    for _ in range(50):
        if is_coloured(somebody, column, row) == is_so:
            break
        somebody.page.wait_for_timeout(100)
    somebody.page.wait_for_timeout(300)
    return is_coloured(somebody, column, row) == is_so


def label_in(folder: Path) -> np.ndarray:
    with opened(folder) as annotated:
        return annotated.open(0).drawing.planes[0].copy()


def test_a_second_tab_draws_nothing_however_late_the_folder_is_told(browser: Any, tmp_path: Path) -> None:
    with person(browser, plain_folder(tmp_path / "in", "a")) as somebody:
        other = browser.new_page(viewport=somebody.page.viewport_size)
        held = list[Any]()
        other.route("**/api/session", lambda route: held.append(route))
        with other.expect_response("**/api/events*"):
            other.goto(somebody.server.address)
        expect(other.locator("#message")).to_contain_text("open in another tab")
        held[0].continue_()
        expect(other.locator("#facts dt").first).to_be_visible()
        asked = list[str]()
        other.on("request", lambda each: asked.append(each.method))
        Person(other, somebody.server).drag((8, 8), (20, 8))
        other.wait_for_timeout(300)
        expect(other.locator("#message")).to_contain_text("open in another tab")
        assert "POST" not in asked
        other.close()


def test_a_stroke_begun_by_keys_is_kept_whatever_follows(browser: Any, tmp_path: Path) -> None:
    with person(browser, folder := plain_folder(tmp_path / "in", "a")) as somebody:
        page = somebody.page
        somebody.press(*FINE)
        page.mouse.move(*somebody.at(8.5, 4.5))
        somebody.press("Enter", "Shift+ArrowRight")
        somebody.drag((8.5, 20.5), (18.5, 20.5))
        somebody.undoable()
        page.mouse.move(*somebody.at(8.5, 28.5))
        somebody.press("Enter", "Shift+ArrowRight", "a")
        expect(page.locator("#count")).to_have_text("1 accepted of 1")
    label = label_in(folder)
    assert label[4, 8:19].all()
    assert label[20, 8:19].all()
    assert label[28, 8:19].all()


def test_undo_takes_back_what_is_being_drawn_first_and_an_open_polygon_is_not_accepted(
    browser: Any, tmp_path: Path
) -> None:
    with person(browser, folder := plain_folder(tmp_path / "in", "a")) as somebody:
        page = somebody.page
        somebody.press(*FINE)
        somebody.drag((4.5, 4.5), (8.5, 4.5))
        somebody.undoable()
        page.mouse.move(*somebody.at(4.5, 8.5))
        page.mouse.down()
        page.mouse.move(*somebody.at(8.5, 8.5))
        somebody.press("z")
        page.mouse.up()
        somebody.press("p")
        for place in ((12, 12), (28, 12), (28, 28), (2, 30)):
            page.mouse.click(*somebody.at(*place))
        somebody.press("z")  # the last corner
        somebody.press("a")
        expect(page.locator("#message")).to_contain_text("polygon is open")
        page.mouse.click(*somebody.at(12, 12))
        expect(page.locator("#message")).to_be_hidden()
        somebody.press("a")
        expect(page.locator("#count")).to_have_text("1 accepted of 1")
    label = label_in(folder)
    assert label[4, 4:9].all()
    assert not label[8, 4:9].any()
    assert label[13, 26] == 1
    assert not label[29].any()


def test_two_fingers_zoom_and_pan_and_draw_nothing(browser: Any, tmp_path: Path) -> None:
    with person(browser, grey_folder(tmp_path / "in")) as somebody:
        page = somebody.page
        driver = page.context.new_cdp_session(page)

        def touch(kind: str, *places: tuple[float, float]) -> None:
            points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(places)]
            driver.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

        somebody.press(*FINE)
        (x, y), shown = somebody.at(16, 16), colour_at(somebody, 2.5, 4.5)
        touch("touchStart", (x - 20, y))
        touch("touchMove", (x - 10, y))
        touch("touchStart", (x - 10, y), (x + 10, y))
        for far in (20, 40, 80):
            touch("touchMove", (x - far, y), (x + far, y))
        touch("touchEnd")
        assert not is_coloured(somebody, 15.5, 16.5)
        expect(page.locator("#undo")).to_be_disabled()
        assert colour_at(somebody, 2.5, 4.5) == shown  # grey still, eight times as large
        touch("touchStart", (x - 80, y))
        touch("touchMove", (x + 80, y))
        touch("touchEnd")
        somebody.undoable()
    label = label_in(tmp_path / "in")
    rows, columns = np.nonzero(label)
    assert 0 < np.ptp(columns) < 8  # of a wide stroke on the screen, which is near
    assert abs(rows.mean() - 15.5) < 4


def test_nothing_is_said_of_pixels_that_were_not_pointed_at(browser: Any, tmp_path: Path) -> None:
    with person(browser, plain_folder(tmp_path / "in", "a")) as somebody:
        page, told = somebody.page, list[Any]()
        expect(page.locator("[data-tool=click]")).to_be_visible()
        page.on("request", lambda each: told.append(each.post_data_json) if each.url.endswith("/prompts") else None)
        somebody.press("s")
        somebody.drag((-3.5, 4.5), (-2.5, 20.5))
        somebody.press("x")
        somebody.drag((-3.5, 4.5), (-1.5, 20.5))
        assert not told
        somebody.press("s")
        with page.expect_response("**/prompts"):  # each is waited for, lest the next takes this answer for its own
            somebody.drag((30.5, 4.5), (34.5, 4.5), (34.5, 20.5), (30.5, 20.5))
        somebody.press("x")
        with page.expect_response("**/prompts"):
            somebody.drag((-2.5, 4.5), (20.5, 20.5))
    assert [each["points"] for each in told] == [[[4, 30], [20, 30]], [[4, 0], [20, 20]]]


def test_the_screen_shows_what_is_kept_if_answers_come_late(browser: Any, tmp_path: Path) -> None:
    with person(browser, grey_folder(tmp_path / "in")) as somebody:
        page, held = somebody.page, list[Any]()
        somebody.press(*FINE)
        page.route("**/strokes", lambda route: held.append(route), times=1)
        with page.expect_request("**/strokes"):
            somebody.drag((8.5, 8.5), (20.5, 8.5))
        page.mouse.move(*somebody.at(8.5, 20.5))
        page.mouse.down()
        page.mouse.move(*somebody.at(20.5, 20.5))
        with page.expect_response("**/strokes"):  # in the middle of the next stroke
            held[0].fulfill(status=507, json={"detail": "no room on the disk"})
        with page.expect_response("**/label"):
            page.mouse.up()
        somebody.undoable()
        assert becomes_coloured(somebody, 14.5, 20.5)
        assert becomes_coloured(somebody, 14.5, 8.5, is_so=False)
        held.clear()
        page.route("**/undo", lambda route: held.append(route))
        with page.expect_request("**/undo"):
            somebody.press("z")
        somebody.drag((8.5, 20.5), (14.5, 20.5))  # where the stroke lies that is being undone
        held[0].continue_()
        expect(page.locator("#redo")).to_be_disabled()
        somebody.undoable()
        assert becomes_coloured(somebody, 10.5, 20.5)
        assert becomes_coloured(somebody, 18.5, 20.5, is_so=False)
    label = label_in(tmp_path / "in")
    assert label[20, 10] == 1
    assert not label[20, 18:].any()


def test_what_is_not_kept_yet_is_told_and_asked_about(browser: Any, tmp_path: Path) -> None:
    with person(browser, folder := plain_folder(tmp_path / "in", "a")) as somebody:
        page, held = somebody.page, list[Any]()
        somebody.press(*FINE)
        somebody.drag((8.5, 8.5), (20.5, 8.5))
        expect(page.locator("#saved")).to_contain_text("Saved")
        page.route("**/strokes", lambda route: held.append(route))
        with page.expect_request("**/strokes"):
            somebody.drag((8.5, 20.5), (20.5, 20.5))
        expect(page.locator("#saved")).to_have_text("Saving …")
        leaves = "() => window.dispatchEvent(new Event('beforeunload', { cancelable: true }))"
        assert page.evaluate(leaves) is False
        held[0].continue_()
        expect(page.locator("#saved")).to_contain_text("Saved")
        assert page.evaluate(leaves) is True
    assert label_in(folder)[20, 8:21].all()


def test_a_propagation_that_was_taken_back_tells_nothing(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_stack(tmp_path / "in" / "a.tif", drawn(0, 5)[0])
    with person(browser, tmp_path / "in") as somebody:
        facts = somebody.page.locator("#facts")
        somebody.drag((8, 8), (20, 8))
        somebody.undoable()
        somebody.press("g")
        expect(facts).to_contain_text("Draw next")
        somebody.press("z")
        expect(facts).not_to_contain_text("Draw next")
        somebody.press("Shift+Z")
        expect(facts).to_contain_text("Draw next")


def test_a_phone_shows_slices_and_help_from_the_top(browser: Any, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_stack(tmp_path / "in" / "a.tif", drawn(0, 5)[0])
    with person(browser, tmp_path / "in") as somebody:
        page = somebody.page
        page.set_viewport_size({"width": 390, "height": 844})
        assert page.locator("#slice").bounding_box()["width"] > 100
        button = page.locator("#propagate").bounding_box()
        assert button["x"] + button["width"] <= 390
        foot, aside = page.locator("footer").bounding_box(), page.locator("aside").bounding_box()
        assert abs(aside["y"] + aside["height"] - foot["y"]) < 2  # no empty space that the image could take
        page.locator("#help-open").click()
        expect(page.locator("#help-title")).to_be_in_viewport()
        page.keyboard.press("Escape")
        expect(page.locator("#help")).to_be_hidden()
