"""Names of entries as readers see them, so that no two look alike."""

import re
import unicodedata

UNSEEN = dict.fromkeys((0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10)))
"""Letters and marks that leave no trace though Unicode counts them among the visible: fillers, joiners, selectors."""
LIKE_LATIN = str.maketrans(
    "аеорсухіјѕԁһӏԛԝκμνορτυχαιϲօոսհցɑɡıɩʟɪᴀᴄᴇᴏᴘᴛᴜᴠᴡᴢ01|i", "aeopcyxljsdhlqwkmvoptuxalconuhgagllllaceoptuvwzolll"
)
"""Letters of other alphabets and of phonetic script, and digits, that look as a Latin one; I, l and 1 are one."""


def as_seen(name: str) -> str:
    r"""A name as readers take it: in any case and alphabet, with any spaces, without characters that nobody sees.

    >>> as_seen("Packaged\u200b  NET") == as_seen("packag\u0435d net")
    True
    """
    plain = unicodedata.normalize("NFKC", name).casefold().translate(UNSEEN)
    seen = "".join(letter for letter in plain if unicodedata.category(letter) not in ("Cf", "Cc", "Cn", "Co"))
    return " ".join(unicodedata.normalize("NFKC", seen).translate(LIKE_LATIN).split())


def file_name(name: str) -> str:
    """Name of the file that an entry is written to, in the working directory whatever its name says.

    >>> file_name("Nearest label, 2nd"), file_name("../../etc")
    ('nearest-label-2nd.json', 'etc.json')
    """
    words = re.findall(r"\w+", name.lower())
    return f"{'-'.join(words) or 'entry'}.json"
