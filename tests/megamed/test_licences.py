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
    "CC_BY_4.0",
    "CC–BY 4.0",
    "Creative Commons Attribution 4.0 International (CC BY 4.0)",
    "https://creativecommons.org/licenses/by-sa/4.0/deed.en",
    "creativecommons.org/publicdomain/zero/1.0/",
    "CC0 1.0 Universal (CC0 1.0) Public Domain Dedication",
    "CC0: Public Domain",
    "Licensed under the Apache License, Version 2.0",
    "GNU General Public License v3.0",
    "MIT or Apache-2.0",
    "repo: CC BY 4.0; code MIT",
)
NOT_OPEN = (
    None,
    "",
    "unstated",
    "CC BY-ND 3.0",
    "free for research",
    "MIT (code); images: unstated",
    "repo: MIT LICENSE (code); free for non-commercial use",
    "unknown (upstream: CC BY 4.0)",
    "data use agreement",
    "not CC BY",
    "no licence (MIT code)",
    "images of MIT (Massachusetts Institute of Technology)",
    "Apache Hospital, for internal use",
    "annotations CC BY 4.0, images under DUA",
    "CC BY 4.0 for the annotations",
    "CC BY 4.0 (labels only)",
    "CC BY 4.0, do not redistribute",
    "CC BY 4.0 upon registration",
    "CC BY 4.0; images belong to the hospital",
    "repo: CC BY 4.0; each image has its own licence (41 CC BY, 56 empty)",
    "probably CC BY 4.0",
    "CC BY 4.0?",
    "CC BY-NoDerivatives 4.0",
    "https://creativecommons.org/licenses/by-nd/4.0/",
)
NON_COMMERCIAL = (
    "CC BY-NC 4.0",
    "CC-BY-NC-SA 3.0 Unported (README)",
    "Creative Commons Attribution-NonCommercial 4.0",
    "https://creativecommons.org/licenses/by-nc-sa/4.0/",
)
NOT_TO_BE_PASSED_ON = (
    "CC BY-NC-ND 4.0",
    "https://creativecommons.org/licenses/by-nc-nd/4.0/",
    "CC BY-NC 4.0, no redistribution",
    "CC BY-NC 4.0 (education only)",
)


@pytest.mark.parametrize("licence", OPEN)
def test_open(licence: str) -> None:
    assert is_open(licence)


@pytest.mark.parametrize("licence", [*NOT_OPEN, *NON_COMMERCIAL])
def test_not_open(licence: str | None) -> None:
    assert not is_open(licence)


@pytest.mark.parametrize("licence", [*OPEN, *NON_COMMERCIAL])
def test_copies_may_be_passed_on(licence: str) -> None:
    assert may_be_passed_on(licence)


@pytest.mark.parametrize("licence", [*NOT_OPEN, *NOT_TO_BE_PASSED_ON])
def test_copies_may_not_surely_be_passed_on(licence: str | None) -> None:
    assert not may_be_passed_on(licence)
