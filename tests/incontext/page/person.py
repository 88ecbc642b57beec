"""Somebody before the page in a real browser, with the mouse and the keys that people have."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import expect

from tests.incontext.page.served import Served, served
from tests.incontext.page.test_store import SIDE


class Person:
    """Somebody before the page.

    Attributes:
        page: The tab, as the driver knows it.
        server: The server behind it.
    """

    def __init__(self, page: Any, server: Served) -> None:
        self.page, self.server = page, server
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("dialog", lambda dialog: self.errors.append(dialog.message))

    def visit(self) -> None:
        """Open the page, and wait for the image."""
        self.page.goto(self.server.address)
        expect(self.page.locator("#facts dt").first).to_be_visible()

    def at(self, column: float, row: float) -> tuple[float, float]:
        """Place on the screen of a place in the image, which is fitted into the middle."""
        box = self.page.locator("#view").bounding_box()
        zoom = max(1, int(min(box["width"] / SIDE, box["height"] / SIDE) * 0.96))
        return box["x"] + box["width"] / 2 + (column - SIDE / 2) * zoom, box["y"] + box["height"] / 2 + (
            row - SIDE / 2
        ) * zoom

    def drag(self, *places: tuple[float, float]) -> None:
        """Draw from place to place in the image."""
        self.page.mouse.move(*self.at(*places[0]))
        self.page.mouse.down()
        for place in places[1:]:
            self.page.mouse.move(*self.at(*place))
        self.page.mouse.up()

    def press(self, *keys: str) -> None:
        """Press keys one after the other."""
        for key in keys:
            self.page.keyboard.press(key)

    def undoable(self, can: bool = True) -> None:
        """Wait until something can be undone, or nothing."""
        expect(self.page.locator("#undo")).to_be_enabled(enabled=can)


@contextmanager
def person(browser: Any, folder: Path, *options: str) -> Iterator[Person]:
    with served(folder, *options) as server:
        page = browser.new_page(viewport={"width": 1200, "height": 760})
        found = Person(page, server)
        try:
            found.visit()
            yield found
            assert not found.errors
        finally:
            page.close()
