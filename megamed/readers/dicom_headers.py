"""Tell DICOM files from others, and parse each once: everything but its pixels."""

import re
import struct
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from megamed.readers.faults import needs, one_error
from megamed.readers.memory import BYTES_PER_VALUE, free_bytes
from megamed.readers.packed import unpacked
from megamed.unchanged import while_unchanged

SUFFIXES = (".dicom", ".dcm", ".ima")
"""Endings of DICOM files that have one."""
PREAMBLE_BYTES, MARK = 128, b"DICM"
"""Length of the preamble and the four letters after it, by which a DICOM file is recognised."""
FIRST_GROUPS = b"\x02\x00", b"\x08\x00"
"""The groups of tags that a file without preamble begins with, as old archives hold them."""
MOST_FIRST_BYTES = 256
"""The length that the first element of such a file cannot reach; it is a length, a character set or a UID."""
LABEL_MODALITIES = frozenset({"SEG", "RTSTRUCT"})
LABEL_CLASSES = frozenset(f"1.2.840.10008.5.1.4.1.1.{end}".encode() for end in ("66.4", "66.7", "481.3"))
"""UIDs of the objects that hold labels: two kinds of DICOM-SEG, and RTSTRUCT."""
IMAGELESS_CLASSES = tuple(
    f"1.2.840.10008.5.1.4.1.1.{start}".encode() for start in ("88.", "11.", "481.", "66.", "104.", "9.1.", "9.2.")
)
"""Beginnings of the UIDs of objects that are derived from images or accompany them: reports, presentations, plans and
doses, registrations, documents, curves."""
DECIMALS = (
    *("PixelSpacing", "ImagerPixelSpacing", "ImagePositionPatient", "ImageOrientationPatient", "SliceThickness"),
    *("RescaleSlope", "RescaleIntercept", "EstimatedRadiographicMagnificationFactor"),
)
"""Tags of numbers that some machines write as people do in their country, `0,5`."""
OBJECT_CLASS, META_BYTES = re.compile(rb"\x02\x00\x02\x00UI..([0-9.]+)", re.DOTALL), 1024
"""The element of a file's meta information that states its class, and the bytes among which it stands."""
DEFLATED = re.compile(rb"\x02\x00\x10\x00UI\x16\x001\.2\.840\.10008\.1\.2\.1\.99")
"""The element that states that the data set is deflated."""
LENGTH = slice(140, 144)
"""Place of the length of the meta information."""
DEFERRED_BYTES = 4096
"""Elements larger than this, pixels above all, are read from the file only when they are asked for."""
MOST_HEADERS = 2048
"""Number of headers that are remembered: some tens of megabytes."""

_READING = threading.RLock()


@contextmanager
def readable(path: Path) -> Iterator[Any]:
    """Import pydicom and raise what it raises as one error.

    One thread reads at a time: pydicom changes a data set, which is shared here, while it decodes pixels or parses what
    it had deferred, and puts it back as it was.
    """
    with needs("pydicom", "DICOM"):
        import pydicom
        from pydicom.errors import BytesLengthException, InvalidDicomError
    errors = (OSError, EOFError, ValueError, AttributeError, KeyError, IndexError, TypeError, NotImplementedError)
    others = (RuntimeError, struct.error, zlib.error, InvalidDicomError, BytesLengthException)
    with _READING, one_error(path, *errors, *others):
        yield pydicom


def header_of(path: Path) -> Any:
    """Parse a file, but for its pixels; the data set is shared and must not be changed.

    Raises:
        ValueError: If it is no DICOM file.
        ImportError: If pydicom is not installed.
    """
    with readable(path) as pydicom:
        return _parsed(path, pydicom)


def has_mark(path: Path) -> bool:
    """Whether a file begins as DICOM does, with or without preamble; a DICOMDIR, which holds no pixels, is none."""
    if path.name == "DICOMDIR" or path.name.startswith("."):
        return False
    start = _start(path)
    return _is_marked(start) or _begins_with_data(start)


def states_label(path: Path) -> bool:
    """Whether a DICOM file states in its first bytes that it is a DICOM-SEG or RTSTRUCT; nothing is parsed."""
    return _object_class(path) in LABEL_CLASSES


def states_no_image(path: Path) -> bool:
    """Whether a DICOM file states in its first bytes that it is a report, a dose or the like, but no label."""
    found = _object_class(path)
    return found.startswith(IMAGELESS_CLASSES) and found not in LABEL_CLASSES


def _object_class(path: Path) -> bytes:
    """Find the UID of an object's class in the first bytes of a file; empty if it is not stated there."""
    found = OBJECT_CLASS.search(_start(path))
    return found[1] if found else b""


def _start(path: Path) -> bytes:
    """Return the first bytes of a file, which are read once; none of what is no file."""
    if not path.is_file():
        return b""
    return _started(path)


@while_unchanged(most=MOST_HEADERS)
def _started(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(META_BYTES)


def _is_marked(start: bytes) -> bool:
    return start[PREAMBLE_BYTES : PREAMBLE_BYTES + len(MARK)] == MARK


def _begins_with_data(start: bytes) -> bool:
    """Whether a file begins with an element of the meta information or what identifies objects, in either encoding."""
    if len(start) < PREAMBLE_BYTES or start[:2] not in FIRST_GROUPS or start[3]:
        return False
    is_explicit = start[4:6].isalpha() and start[4:6].isupper()
    return int.from_bytes(start[6:8] if is_explicit else start[4:8], "little") < MOST_FIRST_BYTES


@while_unchanged(most=MOST_HEADERS)
def _parsed(path: Path, pydicom: Any) -> Any:
    start = _started(path)
    if DEFLATED.search(start):
        with path.open("rb") as file:
            # pydicom inflates all at once what follows the group of meta information, whose length the group states
            file.seek(LENGTH.stop + int.from_bytes(start[LENGTH], "little"))
            for _ in unpacked(file, "deflate", int(free_bytes() / BYTES_PER_VALUE)):
                pass
    header = pydicom.dcmread(path, defer_size=DEFERRED_BYTES, force=not _is_marked(start))
    if "SOPClassUID" not in header:
        msg = "expected a DICOM file, got neither its mark nor the class of an object"
        raise ValueError(msg)
    if "TransferSyntaxUID" not in header.file_meta:
        implicit, _ = header.original_encoding
        uid = pydicom.uid
        header.file_meta.TransferSyntaxUID = uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian
    _write_points(header)
    return header


def _write_points(header: Any) -> None:
    """Write decimal commas as points, before numbers are made of the text."""
    for name in DECIMALS:
        raw = header.get_item(name)
        if raw is not None and isinstance(raw.value, bytes) and b"," in raw.value:
            header[name] = raw._replace(value=raw.value.replace(b",", b"."))
