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
