"""Judgement of licences by the words in which a dataset's source states them."""

import re

CREATIVE_COMMONS = r"(?:cc|creative commons)"
PUBLIC_DOMAIN = r"public domain(?: mark| dedication)?(?: 1\.0)?"
VERSION = r"(?:,? ?\(?(?:v|version )?\d(?:\.\d)*(?:\+| or later)?\)?)?"
OPEN = (
    rf"{CREATIVE_COMMONS} (?:by|attribution)(?: (?:sa|share ?alike))?(?: \(?cc by(?: sa)?\)?)?{VERSION}",
    rf"{CREATIVE_COMMONS} (?:0|zero)|cc0{VERSION}:?(?: universal)?(?: \(cc0 1\.0\))?(?: {PUBLIC_DOMAIN})?",
    PUBLIC_DOMAIN,
    rf"pddl{VERSION}|odc (?:by|odbl){VERSION}|odbl{VERSION}|cdla (?:permissive|sharing){VERSION}",
    rf"mit|apache(?: licen[cs]e)?{VERSION}|(?:[023] clause )?bsd(?: [0234] clause)?",
    rf"(?:gnu )?(?:[al]?gpl|(?:(?:affero|lesser) )?general public licen[cs]e) ?{VERSION}",
)
NAME = f"(?:{'|'.join(OPEN)})(?: (?:generic|unported|international|igo|de))?(?: licen[cs]e)?"
STATED = re.compile(
    r"(?:(?:repo(?:sitory)?|readme|dataset|data)\b:? ?)?(?:released |licen[cs]ed )?(?:under )?(?:(?:a|the) )?"
    rf"{NAME}(?: ?(?:/|,|\b(?:and|or)\b) ?{NAME})*(?=$|\.$| ?[(;,]|\. )"
)
"""A statement that begins with an open licence, and with no more than that before what is added to it."""
LINKED = re.compile(
    r"creativecommons\.org/(?:licenses/(?P<kind>by(?:-nc)?(?:-sa)?)|publicdomain/(?:zero|mark))(?![\w-])[\w./]*"
)
NON_COMMERCIAL = re.compile(rf"\b({CREATIVE_COMMONS} (?:by|attribution)) (?:nc|non ?commercial)\b")
DOUBT = re.compile(
    r"\b(?:nc|nd|no ?deriv\w*|non ?commercial|research|agreement|competition|copyright and|third part\w*)\b"
    r"|\b(?:unstated|unknown|unclear|nothing|not?|none|belongs?|without|except|empty)\b"
    r"|\b(?:own licen[cs]e|its code|for the code)\b"
    r"|\b(?:only|restrict\w*|permission|consent|request|registration|private|confidential|internal|proprietary)\b"
    r"|\b(?:forbid\w*|prohibit\w*|embargo\w*|education\w*|all rights|dua|probably|maybe|assumed)\b"
    r"|\((?:code|software|labels|masks|annotations)\b|\?"
)
"""Words that restrict a licence, or cast doubt on it, wherever they stand."""


def is_open(licence: str | None) -> bool:
    """Whether a licence lets anyone use, change and share the data, for any purpose.

    An open licence must be what the text begins with, with neither a restriction nor a doubt added: what is not sure
    is not open.

    >>> is_open("CC BY 4.0"), is_open("CC BY-NC 4.0"), is_open("MIT (code); images: unstated"), is_open(None)
    (True, False, False, False)
    """
    return licence is not None and _states_open(_plain(licence))


def may_be_passed_on(licence: str | None) -> bool:
    """Whether a licence surely lets anyone pass changed copies on, at least for purposes that are not commercial.

    >>> may_be_passed_on("CC BY-NC 4.0"), may_be_passed_on("CC BY-NC-ND 4.0"), may_be_passed_on("free for research")
    (True, False, False)
    """
    return licence is not None and _states_open(NON_COMMERCIAL.sub(r"\1", _plain(licence)))


def _states_open(text: str) -> bool:
    return STATED.match(text) is not None and not DOUBT.search(text)


def _plain(licence: str) -> str:
    """Return a text in small letters, with licences in the place of their addresses, and blanks in that of hyphens."""
    text = re.sub(r"https?://(?:www\.)?", "", licence.casefold().strip())
    named = LINKED.sub(lambda found: f"cc {found['kind']}" if found["kind"] else "cc0", text)
    return re.sub(r"[\s_‐-―−-]+", " ", named)
