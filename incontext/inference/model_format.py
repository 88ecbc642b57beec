"""The metadata of an exported model: their format, and what is wrong with those of a stranger; no torch is needed."""

import re
from collections.abc import Mapping
from typing import Any

FORMAT = "incontext-model-1"
"""Name of what a model takes and gives, and of the metadata that it has."""
MOST_CLASSES = 255
"""Largest value of a class: masks have eight bits."""
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


def fault_of(about: Mapping[str, Any]) -> str:
    """Say what metadata should be and are not, as "expected …, got …"; empty if they are those of a model.

    >>> fault_of({"format": FORMAT, "classes": {"1": "disc"}, "colours": {"1": "#ff0000"}, "overlap": False})
    ''
    >>> fault_of({"format": "incontext-model-2"})
    'expected the format incontext-model-1, got incontext-model-2'
    """
    if about.get("format") != FORMAT:
        return f"expected the format {FORMAT}, got {about.get('format', 'none')}"
    classes, colours = about.get("classes"), about.get("colours")
    if not isinstance(classes, dict) or not classes or not all(map(_is_class, classes.items())):
        return f"expected names of classes by values from 1 to {MOST_CLASSES}, got {_short(classes)}"
    if not isinstance(colours, dict) or not all(map(_is_colour, colours.items())):
        return f"expected colours such as #ff0000 by the values of classes, got {_short(colours)}"
    if not isinstance(about.get("overlap"), bool):
        return f"expected to be told whether classes overlap, got {_short(about.get('overlap'))}"
    return ""


def _is_class(told: tuple[str, Any]) -> bool:
    value, name = told
    return _is_value(value) and isinstance(name, str)


def _is_colour(told: tuple[str, Any]) -> bool:
    value, colour = told
    return _is_value(value) and isinstance(colour, str) and bool(_COLOUR.fullmatch(colour))


def _is_value(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 1 <= int(text) <= MOST_CLASSES


def _short(told: Any) -> str:
    return "none" if told is None else f"{told!r:.60}"
