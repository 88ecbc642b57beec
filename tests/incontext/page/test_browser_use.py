"""The page under hands that are quick or try things out: what is pressed counts, and what is told holds."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("playwright")

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
