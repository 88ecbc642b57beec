"""What an installation lacks is named with the command that installs it."""

import pytest

from megamed.extras import require


def test_what_is_there_is_taken() -> None:
    require("any", "This", "json", "importlib.util")


def test_what_is_missing_is_named_with_its_extra() -> None:
    with pytest.raises(ModuleNotFoundError) as refused:
        require("some", "This", "json", "not_there", "nor.this")
    assert str(refused.value) == (
        "This needs not_there and nor.this: expected the extra some, got an installation without it. "
        'Run: pip install "incontext-seg[some]"'
    )
