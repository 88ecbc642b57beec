"""Text in cells of CSV that no spreadsheet takes for a formula, with control characters made visible."""

import re
from collections.abc import Iterable

FORMULA = re.compile(r"'*[=+@-]")
"""Beginning of a cell that a spreadsheet would compute, or that was already kept from being computed."""
PICTURES = {code: 0x2400 + code for code in range(32)} | {127: 0x2421}
"""Control characters with their pictures, as ␊ for a newline."""
PICTURED = {picture: code for code, picture in PICTURES.items()}
"""Control characters by their pictures."""


def safe(text: str) -> str:
    r"""Text of a cell that is shown as it is: an apostrophe goes before a formula, a picture for a control character.

    >>> safe("=1+1"), safe("a\nb"), safe("heart")
    ("'=1+1", 'a␊b', 'heart')
    """
    shown = text.translate(PICTURES)
    return f"'{shown}" if FORMULA.match(shown) else shown


def original(cell: str) -> str:
    r"""Text that `safe` made a cell of.

    >>> original(safe("'=1\n"))
    "'=1\n"
    """
    text = cell[1:] if cell.startswith("'") and FORMULA.match(cell) else cell
    return text if text.isascii() else text.translate(PICTURED)


def safe_line(cells: Iterable[object]) -> list[object]:
    """Cells of a line, of which those of text are made safe and numbers stay as they are."""
    return [safe(cell) if isinstance(cell, str) and not NUMBER.fullmatch(cell) else cell for cell in cells]


NUMBER = re.compile(r"[+-]?(\d+(\.\d+)?(e[+-]?\d+)?|inf|nan)")
"""Number as the tables write it, which may begin with a minus."""
