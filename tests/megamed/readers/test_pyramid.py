"""Which level of an image's resolution is meant, and what is said of the others."""

import pytest

from megamed.readers.pyramid import chosen, too_large

SIZES = [(512, 640), (256, 320), (128, 160)]


def test_a_level_is_one_of_those_that_there_are() -> None:
    assert [chosen(level, SIZES) for level in range(3)] == SIZES
    for level in (-1, 3):
        with pytest.raises(ValueError, match=rf"expected level 0 \(512 × 640\), .* 2 \(128 × 160\), got {level}$"):
            chosen(level, SIZES)


def test_what_is_too_large_names_the_levels_that_are_smaller() -> None:
    refusal = ValueError("too large")
    assert str(too_large(refusal, 1, SIZES)) == "too large, or choose a smaller level: 2 (128 × 160)"
    assert too_large(refusal, 2, SIZES) is refusal
