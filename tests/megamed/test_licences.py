"""Open only where it is sure."""

import pytest

from megamed.licences import is_open, may_be_passed_on

OPEN = (
    "CC0",
    "CC BY 4.0 (LICENSE file in repo)",
    "CC-BY-SA 4.0",
    "MIT (repository LICENSE)",
    "Apache License 2.0 (LICENSE file of the repository)",
    "GPL-3.0 (covers the repository including its data)",
)
NOT_OPEN = (
    None,
    "",
    "unstated",
    "CC BY-NC 4.0",
    "CC BY-ND 3.0",
    "free for research",
    "MIT (code); images: unstated",
    "repo: MIT LICENSE (code); free for non-commercial use",
    "unknown (upstream: CC BY 4.0)",
    "data use agreement",
)


@pytest.mark.parametrize("licence", OPEN)
def test_open(licence: str) -> None:
    assert is_open(licence)


@pytest.mark.parametrize("licence", NOT_OPEN)
def test_not_open(licence: str | None) -> None:
    assert not is_open(licence)


@pytest.mark.parametrize("licence", [*OPEN, "CC BY-NC 4.0", "CC-BY-NC-SA 3.0 Unported (README)"])
def test_copies_may_be_passed_on(licence: str) -> None:
    assert may_be_passed_on(licence)


@pytest.mark.parametrize("licence", [each for each in NOT_OPEN if each != "CC BY-NC 4.0"] + ["CC BY-NC-ND 4.0"])
def test_copies_may_not_surely_be_passed_on(licence: str | None) -> None:
    assert not may_be_passed_on(licence)
