"""The page under hands that are quick or try things out: what is pressed counts, and what is told holds."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("playwright")
pytest.importorskip("axe_playwright_python")

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.incontext.page.person import person
from tests.incontext.page.test_store import plain_folder

KEY_DOWN = "new KeyboardEvent('keydown', { key, bubbles: true })"


def test_each_press_of_a_key_goes_one_image_on_however_quick(browser: Any, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "abcdefgh")
    with person(browser, folder) as somebody:
        page = somebody.page
        page.evaluate(f"for (const key of 'nnnn') document.getElementById('view').dispatchEvent({KEY_DOWN})")
        expect(page.locator("#images [aria-selected]")).to_contain_text("e.png")


def test_what_was_told_goes_as_soon_as_it_holds_no_more(browser: Any, tmp_path: Path) -> None:
    with person(browser, plain_folder(tmp_path / "in", "ab")) as somebody:
        page = somebody.page
        message = page.locator("#message")
        page.evaluate("window.setTimeout = () => 0")  # nothing goes for the time that passes
        somebody.press("f")
        page.mouse.click(*somebody.at(2, 2))
        expect(message).to_contain_text("Nothing encloses this place")
        somebody.press("b")
        expect(message).to_be_hidden()
        somebody.press("a")
        expect(message).to_contain_text("nothing is drawn")
        somebody.drag((8, 8), (20, 8))
        somebody.undoable()
        expect(message).to_be_hidden()


def test_a_class_is_removed_after_asking_and_undo_brings_it_back(browser: Any, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "ab")
    with person(browser, folder, "--classes", "1=disc,2=rim,3=spot") as somebody:
        page, names = somebody.page, somebody.page.locator("#classes textarea")
        somebody.press("2")
        somebody.drag((8, 8), (20, 8))
        somebody.undoable()
        held, rim = list[Any](), page.get_by_role("button", name="Remove rim")
        page.route("**/api/images/0", lambda route: held.append(route), times=1)
        with page.expect_request("**/api/images/0"):
            page.get_by_role("button", name="Remove spot").click()  # of which nothing is drawn
        expect(names).to_have_count(2)
        rim.focus()
        held[0].continue_()
        expect(page.locator("#spoken")).to_have_text("Removed spot")
        expect(rim).to_be_focused()
        rim.press("Enter")
        expect(page.locator("#remove-told")).to_contain_text("rim is drawn in 1 image.")
        for theme in ("light", "dark"):
            page.evaluate("theme => { document.documentElement.dataset.theme = theme; }", theme)
            found = Axe().run(page).response["violations"]
            assert [each for each in found if each["impact"] in ("serious", "critical")] == []
        page.get_by_role("button", name="Keep the class").click()
        expect(names).to_have_count(2)
        page.get_by_role("button", name="Remove rim").click()
        page.locator("#remove-into").select_option("becomes disc")
        page.get_by_role("button", name="Remove it").click()
        expect(names).to_have_count(1)
        assert page.evaluate("document.querySelector('#remove').open") is False
        expect(page.locator("#view")).to_be_focused()
        expect(page.locator("#spoken")).to_have_text("Removed rim")
        somebody.press("z")
        expect(names).to_have_count(2)
        somebody.press("z")
        somebody.undoable(False)
        expect(page.locator("#images [aria-selected]")).to_contain_text("not drawn")


def test_images_that_come_and_go_while_the_page_is_open_are_listed_so(browser: Any, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "ac")
    with person(browser, folder) as somebody:
        page = somebody.page
        (folder / "c.png").rename(folder / "b.png")
        expect(page.locator("#images li b")).to_have_text(["a.png", "b.png", "c.png"])
        expect(page.locator("#images li", has_text="c.png")).to_contain_text("its file is gone")
        somebody.press("n")
        expect(page.locator("#images [aria-selected]")).to_contain_text("b.png")
        somebody.drag((8, 8), (20, 8))
        somebody.press("a")
        expect(page.locator("#count")).to_have_text("1 accepted of 3")
        (folder / "b.png").rename(folder / "c.png")
        expect(page.locator("#images li", has_text="c.png")).not_to_contain_text("gone")


def test_a_name_is_typed_before_its_class_is_there(browser: Any, tmp_path: Path) -> None:
    folder = plain_folder(tmp_path / "in", "a")
    with person(browser, folder) as somebody:
        page, held = somebody.page, list[Any]()
        page.route("**/api/classes", lambda route: route.continue_() if held else held.append(route))
        with page.expect_request("**/api/classes"):
            page.get_by_role("button", name="Add a class").click()
        page.keyboard.type("baas")
        somebody.press("Backspace", "Enter")
        held[0].continue_()
        expect(page.get_by_role("radio", name="Draw baa")).to_be_checked()
        expect(page.locator("#view")).to_be_focused()
