"""Names of label values, as a user writes them on the command line or in a file."""

import json
import tomllib
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from megamed import formats


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
        return _from_file(path) if path.suffix.lower() in (".json", ".toml") else _from_pairs(text)
    except (ValidationError, ValueError, AttributeError) as error:
        message = (
            f"classes are not understood: expected label values and names, got {text!r}. "
            "Write 1=liver,2=spleen, or a JSON, TOML or ITK-SNAP file of such pairs."
        )
        raise ValueError(message) from error


def _from_file(path: Path) -> dict[int, str]:
    parse = tomllib.loads if path.suffix.lower() == ".toml" else json.loads
    content = parse(path.read_text("utf-8"))
    return TypeAdapter(dict[int, str]).validate_python(content.get("labels", content))


def _from_pairs(text: str) -> dict[int, str]:
    pairs = [part.split("=") for part in text.split(",")]
    named = {int(value): name.strip() for value, name in pairs}
    if len(named) < len(pairs) or not all(named.values()):
        raise ValueError(text)
    return named
