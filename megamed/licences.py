"""Judgement of licences by the words in which a dataset's source states them."""

import re

OPEN = re.compile(
    r"\bCC0|\bCC[ -]BY\b|\bpublic domain\b|\bPDDL\b|\bODC-(BY|ODbL)\b|\bODbL\b|\bCDLA\b"
    r"|\bMIT\b|\bApache\b|\bBSD\b|\b[AL]?GPL\b",
    re.IGNORECASE,
)
NON_COMMERCIAL = re.compile(r"\b(CC[ -]BY)-NC\b", re.IGNORECASE)
DOUBT = re.compile(
    r"\bNC\b|\bND\b|non-?commercial|\bresearch\b|\bagreement\b|\bcompetition\b|third part|\bcopyright and\b"
    r"|unstated|unknown|unclear|not stated|nothing stated|no (explicit|formal|open|clear)"
    r"|\(code|its code|for the code",
    re.IGNORECASE,
)


def is_open(licence: str | None) -> bool:
    """Whether a licence lets anyone use, change and share the data, for any purpose.

    An open licence must be named, with neither a restriction nor a doubt added: what is not sure is not open.

    >>> is_open("CC BY 4.0"), is_open("CC BY-NC 4.0"), is_open("MIT (code); images: unstated"), is_open(None)
    (True, False, False, False)
    """
    return licence is not None and bool(OPEN.search(licence)) and not DOUBT.search(licence)


def may_be_passed_on(licence: str | None) -> bool:
    """Whether a licence surely lets anyone pass changed copies on, at least for purposes that are not commercial.

    >>> may_be_passed_on("CC BY-NC 4.0"), may_be_passed_on("CC BY-NC-ND 4.0"), may_be_passed_on("free for research")
    (True, False, False)
    """
    return licence is not None and is_open(NON_COMMERCIAL.sub(r"\1", licence))
