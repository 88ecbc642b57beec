"""Chromium for the tests of the page."""

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

PATIENCE_MS = 60_000
"""Time that anything may take on a busy machine."""
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser without a window."""
    if BROWSER is None:
        pytest.skip("needs Chromium or Chrome on the PATH")
    driver = pytest.importorskip("playwright.sync_api")
    driver.expect.set_options(timeout=PATIENCE_MS)
    with driver.sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()
