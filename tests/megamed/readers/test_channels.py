"""Channels by index, colour and name."""

import pytest

from megamed.readers.channels import COLOURS, chosen, index_of, listed

NAMES = ["DAPI", "", "488"]


@pytest.mark.parametrize(
    ("channel", "count", "names", "index"),
    [
        ("1", 3, NAMES, 1),
        ("488", 3, NAMES, 2),
        ("488", 3, [], None),
        ("dapi ", 3, NAMES, 0),
        ("red", 3, NAMES, None),
        ("blue", 3, [], 2),
        ("blue", 2, [], None),
        ("GFP", 2, ["GFP", "GFP"], None),
        ("1", 2, ["1", "0"], 1),
    ],
)
def test_what_a_person_writes(channel: str, count: int, names: list[str], index: int | None) -> None:
    assert index_of(channel, count, names) == index


def test_every_listed_channel_can_be_chosen() -> None:
    for index, name in enumerate(NAMES):
        assert index_of(str(index), 3, NAMES) == index
        assert name in listed(3, NAMES)
    assert [index_of(colour, 3) for colour in COLOURS] == [0, 1, 2]


def test_a_name_that_several_channels_have_asks_for_a_number() -> None:
    names = ["DAPI", "GFP", "gfp "]
    with pytest.raises(ValueError, match=r"several channels called 'GFP'.* Choose by number: 1"):
        chosen("GFP", 3, names)
    assert chosen("1", 3, names) == 1
    with pytest.raises(ValueError, match=r"in the shell --channel 0$"):
        chosen("", 2, ["GFP", "GFP"])
