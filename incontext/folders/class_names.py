"""Names and colours of label values, as a user writes them on the command line or in a file."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from megamed import formats
from megamed.readers.faults import check_no_stream

FILES = (".json", ".toml")
COLOUR = re.compile("#?[0-9a-fA-F]{6}")


def read_classes(text: str | None) -> dict[int, str]:
    """Parse `1=liver,2=spleen`, or read a file of them: JSON or TOML, maybe under `labels`, or ITK-SNAP's.

    Args:
        text: The pairs, or the file; None names no class.

    Raises:
        ValueError: If the text or the file holds anything else.
        OSError: If the file cannot be read.
    """
    if text is None:
        return {}
    try:
        path = Path(text)
        if path.is_file() and (found := next((each for each in formats.NAME_LISTS if each.has_mark(path)), None)):
            return dict(found.read(path))
        return _from_file(path) if path.suffix.lower() in FILES else _from_pairs(text)
    except (ValidationError, ValueError, AttributeError) as error:
        message = (
            f"classes are not understood: expected label values and names, got {text!r}. "
            "Write 1=liver,2=spleen, or a JSON, TOML or ITK-SNAP file of such pairs."
        )
        raise ValueError(message) from error


def read_colours(text: str | None) -> dict[str, int]:
    """Parse `#ff0000=1,#00ff00=2`, or read a JSON or TOML file of such pairs, which may be under the key `colours`.

    In a card of a dataset they are under `colours` of `files`.

    Args:
        text: The pairs, or the file; None gives no colour a value.

    Raises:
        ValueError: If the text or the file holds anything else.
        OSError: If the file cannot be read.
    """
    if text is None:
        return {}
    try:
        if Path(text).suffix.lower() in FILES:
            content = _content(Path(text))
            found = content.get("files", content)
            pairs = TypeAdapter(dict[str, int]).validate_python(found.get("colours", found))
        else:
            parts = [part.split("=") for part in text.split(",")]
            pairs = {colour.strip(): int(value) for colour, value in parts}
        if not pairs or not all(map(COLOUR.fullmatch, pairs)):
            raise ValueError(text)
    except (ValidationError, ValueError, AttributeError) as error:
        message = (
            f"colours are not understood: expected colours and label values, got {text!r}. "
            "Write '#ff0000=1,#00ff00=2', or a JSON or TOML file of such pairs."
        )
        raise ValueError(message) from error
    return {f"#{colour.lower().removeprefix('#')}": value for colour, value in pairs.items()}


def _content(path: Path) -> dict[str, Any]:
    check_no_stream(path)
    parse = tomllib.loads if path.suffix.lower() == ".toml" else json.loads
    return parse(path.read_text("utf-8"))


def _from_file(path: Path) -> dict[int, str]:
    content = _content(path)
    return TypeAdapter(dict[int, str]).validate_python(content.get("labels", content))


def _from_pairs(text: str) -> dict[int, str]:
    pairs = [part.split("=") for part in text.split(",")]
    named = {int(value): name.strip() for value, name in pairs}
    if len(named) < len(pairs) or not all(named.values()):
        raise ValueError(text)
    return named


def called(value: int, name: str) -> str:
    """Call a class by its name; one without is called label and its value."""
    return f"label {name}" if name == str(value) else name
