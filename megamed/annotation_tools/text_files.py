"""Read the text, JSON and XML that annotation tools write, with one kind of error and with bounds on what is read."""

import json
import os
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from megamed.files import replacing
from megamed.unchanged import while_unchanged

MAX_BYTES = 2**30
PEEK_BYTES = 2**16
"""Read from each end of a file to find out which tool wrote it."""
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")


def peek(path: Path, *suffixes: str) -> str:
    """Return the beginning and the end of a file, or nothing if it has none of the suffixes or cannot be read."""
    if not path.name.lower().endswith(suffixes) or not path.is_file():
        return ""
    try:
        return _ends(path)
    except OSError:
        return ""


@while_unchanged(most=1)
def _ends(path: Path) -> str:
    """Return the ends of a file, which one tool after another is asked to recognise."""
    with path.open("rb") as file:
        ends = file.read(PEEK_BYTES)
        size_bytes = file.seek(0, os.SEEK_END)
        file.seek(max(PEEK_BYTES, size_bytes - PEEK_BYTES))
        ends += file.read(PEEK_BYTES)
    return ends.decode("utf-16" if ends.startswith(UTF16_MARKS) else "utf-8-sig", errors="replace")


def has_keys(text: str, *keys: str) -> bool:
    """Whether JSON text mentions all of some keys."""
    return all(re.search(rf'"{key}"\s*:', text) for key in keys)


def read_text(path: Path) -> str:
    """Read a text, with or without a byte order mark.

    Raises:
        ValueError: If it is larger than `MAX_BYTES` or is no Unicode text.
    """
    if (size := path.stat().st_size) > MAX_BYTES:
        msg = f"{path.name} is too large: expected at most {MAX_BYTES} bytes, got {size}. Export it in parts."
        raise ValueError(msg)
    content = path.read_bytes()
    try:
        return content.decode("utf-16" if content.startswith(UTF16_MARKS) else "utf-8-sig")
    except UnicodeDecodeError as error:
        msg = f"{path.name} is no text: expected UTF-8, got other bytes at {error.start}. Save it as UTF-8."
        raise ValueError(msg) from error


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        ValueError: If it is too large, is no text or is no JSON.
    """
    try:
        return json.loads(read_text(path))
    except (json.JSONDecodeError, RecursionError) as error:
        msg = f"{path.name} is no JSON: expected a whole document, got {error}. Export it again."
        raise ValueError(msg) from error


def read_xml(path: Path) -> ElementTree.Element:
    """Read an XML file; one that defines entities of its own is refused.

    Raises:
        ValueError: If it is too large, is no text or is no XML.
    """
    text = read_text(path)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        msg = f"{path.name} defines entities: expected XML without a document type, got one. Remove it."
        raise ValueError(msg)
    try:
        # a declared encoding is that of the bytes, which are decoded already
        return ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text, count=1))
    except ElementTree.ParseError as error:
        msg = f"{path.name} is no XML: expected a whole document, got {error}. Export it again."
        raise ValueError(msg) from error


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, at once or not at all."""
    write_text(path, json.dumps(content, ensure_ascii=False) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text file, at once or not at all."""
    with replacing(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        file.write(text)


def list_of(content: Any, key: str, path: Path) -> list[Any]:
    """Return a list that a document holds; one that is missing or null is empty.

    Raises:
        ValueError: If the document is no object, or what stands there is no list.
    """
    found = content.get(key) if isinstance(content, dict) else content
    if not isinstance(content, dict) or not isinstance(found or [], list):
        msg = f"{path.name} is malformed: expected an object with a list of {key}, got {str(found)[:40]!r}."
        raise ValueError(msg)
    return found or []


def mapping(content: Any) -> dict[str, Any]:
    """Return a part of a document that is an object, or an empty one for anything else."""
    return content if isinstance(content, dict) else {}


def objects(content: Any) -> list[dict[str, Any]]:
    """Return the objects in a part of a document that is a list of them; anything else is passed over."""
    return [each for each in content if isinstance(each, dict)] if isinstance(content, list) else []


def size_of(height: Any, width: Any) -> tuple[int, int] | None:
    """Return height and width that a file states, or None if they are missing or no positive numbers."""
    try:
        size = (round(float(height)), round(float(width)))
    except (TypeError, ValueError, OverflowError):
        return None
    return size if min(size) > 0 else None
