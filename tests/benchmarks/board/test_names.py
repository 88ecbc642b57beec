"""Names are the same to readers whatever letters and signs they are written with."""

import pytest

from benchmarks.board.names import as_seen, file_name


@pytest.mark.parametrize(
    "name",
    [
        "packaged net",
        " PACKAGED  Net",
        "p\N{CYRILLIC SMALL LETTER A}ck\N{CYRILLIC CAPITAL LETTER A}ged n\N{CYRILLIC SMALL LETTER IE}t",
        "packaged\N{NO-BREAK SPACE}net\N{HANGUL FILLER}",
        "pack\N{SOFT HYPHEN}aged net\N{BRAILLE PATTERN BLANK}",
        "packaged\N{VARIATION SELECTOR-16} net\N{COMBINING GRAPHEME JOINER}",
        "\N{FULLWIDTH LATIN SMALL LETTER P}ackaged net",
        "\N{RIGHT-TO-LEFT OVERRIDE}packaged net",
        "p\N{LATIN SMALL LETTER ALPHA}cka\N{LATIN SMALL LETTER SCRIPT G}ed \N{ARMENIAN SMALL LETTER VO}et",
    ],
)
def test_one_name_in_many_writings(name: str) -> None:
    assert as_seen(name) == "packaged net"


def test_capital_i_small_l_and_one_are_one_letter() -> None:
    assert (
        len(
            {
                as_seen(name)
                for name in ("alpnet", "aIpnet", "a1pnet", "AIPNET", "a\N{LATIN SMALL LETTER DOTLESS I}pnet")
            }
        )
        == 1
    )


def test_other_names_stay_others() -> None:
    names = ["net", "net 2", "nets", "n\N{LATIN SMALL LETTER E WITH ACUTE}t", "\N{GREEK SMALL LETTER BETA}-net"]
    assert len({as_seen(name) for name in names}) == len(names)
    assert as_seen("\N{HANGUL FILLER}\N{ZERO WIDTH SPACE}") == ""


@pytest.mark.parametrize("name", ["../../etc/passwd", "/a/b", "C:\\a", "..", "a\0b"])
def test_no_name_is_a_path(name: str) -> None:
    assert not set(file_name(name)) & set("/\\:\0")
    assert not file_name(name).startswith(".")
