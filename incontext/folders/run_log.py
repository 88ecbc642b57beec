"""Log of the images that a run over a folder has finished, by which the same run resumes after an interruption."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from incontext import __version__
from incontext.folders import RUN_LOG
from incontext.folders.mask_files import EDITED, hash_of
from incontext.folders.report import ImageReport
from incontext.inference.task_codes import tensors_of
from incontext.segmenter import Segmenter
from megamed import formats
from megamed.failures import Attempt
from megamed.files import Ledger, append, replace_file, sha256_of
from megamed.pairing import ImagePair
from megamed.readers.nifti_pair import other_of

LOG = RUN_LOG
"""File name of the log: one line identifies the run, then comes one for each finished image."""

DIGITS = 16
"""Number of hexadecimal digits of the hashes in the log."""

HEADERS = (".mhd", ".mha", ".nhdr", ".nrrd")
"""Endings of files that may name another file with the pixels."""
MOST_HEADER_BYTES = 2**12
DATA_FILE = re.compile(rb"^(?:ElementDataFile[ \t]*=|data ?file:)([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
"""Line of a header that names the file."""

IDENTITY = {"version", "weights", "support", "options"}
"""Parts of the identity of a run; see `identity`."""

INDIFFERENT = ("weights", "device", "memory_gb")
"""Parameters that do not identify a run: they change no mask, or (`weights`) are identified by their tensors."""


@dataclass(frozen=True)
class Done:
    """Log entry of an image that was segmented.

    Attributes:
        stamp: Hash of the image's files; see `stamp`.
        sha256: Hash of the mask's file, or of those of all classes; see `mask_files.hash_of`.
        report: Report on the image.
        warnings: Warnings that the image gave.
    """

    stamp: str
    sha256: str
    report: ImageReport
    warnings: tuple[str, ...]


class RunLog:
    """Log of a run in its folder of results.

    Args:
        out: Folder of results, which the caller has claimed.
        run: Identity of the run; see `identity`.
        overwrite: Whether to forget an earlier run.

    Attributes:
        done: Entries by image file name, at first those of an earlier run of the same identity whose masks exist.

    Raises:
        ValueError: If the folder holds masks of another run.
    """

    def __init__(self, out: Path, run: Mapping[str, str], overwrite: bool = False) -> None:
        self._path, self._masks = out / LOG, out / "masks"
        self.done = {} if overwrite else _read(out, run)
        lines = [json.dumps(dict(run)), *map(_line, self.done.values())]
        replace_file(self._path, "".join(f"{line}\n" for line in lines))

    def add(self, done: Done) -> None:
        """Append an image whose mask has been written."""
        append(self._path, f"{_line(done)}\n")
        self.done[done.report.file] = done

    def is_done(self, pair: ImagePair, corrected: str = "") -> bool:
        """Whether an image has the mask that it was given, and is the image that this was made of, corrected alike."""
        done = self.done.get(pair.name)
        if done is None or done.stamp != stamp(pair, corrected):
            return False
        return hash_of(self._masks / name for name in done.report.mask_files) == done.sha256


def adopt_former(out: Path, ledger: Ledger, files: Iterable[str]) -> None:
    """Enter into an empty ledger what a run of a former version, which kept none, left in a folder of results.

    The first line of its log says that the folder is ours; masks are entered as far as they are as the log tells, since
    somebody may have edited the others.

    Args:
        out: Folder of results.
        ledger: Ledger of the folder.
        files: Names of the files that a run writes beside the masks.
    """
    if not ledger.is_new or not (out / LOG).is_file():
        return
    first, *lines = _lines_of(out / LOG)
    if _parts_of(first).keys() != IDENTITY:
        return
    ledger.adopt(*(out / name for name in files))
    for done in filter(None, map(_parsed, lines)):
        mask = out / "masks" / done.report.mask
        if EDITED not in done.warnings and hash_of([mask]) == done.sha256:
            ledger.adopt(mask)


def identity(segmenter: Segmenter, options: Mapping[str, object]) -> dict[str, str]:
    """Identify a run by version and hashes of weights, support and options: equal ones make equal masks."""
    params = {name: value for name, value in segmenter.get_params().items() if name not in INDIFFERENT}
    moved = tuned.delta.tensors().values() if (tuned := segmenter.tuned) and tuned.delta else ()
    return {
        "version": f"{__version__}+{_code()}",
        "weights": _hash([*segmenter.state.values(), *moved], segmenter.temperature),
        "support": _support(segmenter),
        "options": json.dumps({**params, **options}, default=str),
    }


def _support(segmenter: Segmenter) -> str:
    """Hash of what was learned; empty if nothing was, as before a volume is segmented by its own planes alone."""
    try:
        fitted = segmenter.fitted
    except ValueError:
        return ""
    pool = (fitted.pool.images, fitted.pool.labels, fitted.pool.annotated)
    learned = tensors_of(fitted.codes, fitted.left_out).values() if fitted.codes else pool
    return _hash(learned, (dict(fitted.names), dict(fitted.colours), fitted.preparation))


@cache
def _code() -> str:
    """Hash of the modules that any mask may depend on, and of the versions of the libraries that compute it."""
    digest = hashlib.sha256(f"{torch.__version__} {np.__version__}".encode())
    for package in (Path(__file__).parents[1], Path(formats.__file__).parent):
        for path in sorted(package.rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:DIGITS]


def answering_network(segmenter: Segmenter) -> str:
    """Hash of the network that answers what is said of images.

    Raises:
        FileNotFoundError: If the weights have none.
        ValueError: If it cannot be used.
    """
    return _hash(segmenter.prompted_state.values(), "")


def stamp(pair: ImagePair, corrected: str = "") -> str:
    """Hash names and content of the files of an image and of its label, and its correction, by which changes show.

    Sizes and times would not do: archives set all times alike, and a corrected label has the size of the former one.
    """
    files = {"": [pair.image]} | {f"label {name}": [*paths] for name, paths in sorted(pair.labels.items())}
    states = [(name, path.name, _content(path)) for name, each in files.items() for path in _all_files(each)]
    return sha256_of(repr((states, corrected) if corrected else states).encode())[:DIGITS]


def _all_files(paths: Iterable[Path]) -> Iterator[Path]:
    """List files, those in folders among them, and those beside headers that hold the pixels."""
    for path in paths:
        if path.is_dir():
            yield from (each for each in sorted(path.rglob("*")) if each.is_file())
        elif formats.is_part(path):
            with Attempt():
                yield from formats.source_at(path).files
        else:
            yield path
            yield from _detached(path)


def _detached(path: Path) -> Iterator[Path]:
    """List the files that hold the pixels of a header of NIfTI, MetaImage or NRRD."""
    if pixels := other_of(path):
        yield pixels
    if path.suffix.lower() not in HEADERS or not path.is_file():
        return
    with path.open("rb") as file:
        header = file.read(MOST_HEADER_BYTES)
    for name in DATA_FILE.findall(header):
        found = path.parent / Path(name.decode(errors="replace").strip()).name
        with suppress(OSError):  # no name of a file
            if found.is_file() and found != path:
                yield found


def _content(path: Path) -> str:
    """Hash of a file; of one that cannot be read, none."""
    try:
        return sha256_of(path) if path.is_file() else ""
    except OSError:
        return ""


def _read(out: Path, run: Mapping[str, str]) -> dict[str, Done]:
    if not (out / LOG).is_file():
        if any((out / "masks").glob("*")):
            message = (
                f"{out} holds masks already: expected a new folder or one that this command wrote, got no {LOG} "
                "in it. Write elsewhere, or add --overwrite."
            )
            raise ValueError(message)
        return {}
    first, *lines = _lines_of(out / LOG)
    if changed := _changed(first, run):
        message = (
            f"{out} holds the masks of another run: expected the same version, weights, support and options, "
            f"got another {' and '.join(changed)}. Write elsewhere, or add --overwrite."
        )
        raise ValueError(message)
    found = [done for line in lines if (done := _parsed(line))]
    return {
        done.report.file: done
        for done in found
        if all((out / "masks" / name).is_file() for name in done.report.mask_files)
    }


def _changed(line: str, run: Mapping[str, str]) -> list[str]:
    before = _parts_of(line)
    return [name for name, value in run.items() if before.get(name) != value]


def _lines_of(path: Path) -> list[str]:
    """Read the lines of a log, of which there is at least an empty one."""
    return path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]


ENTRIES = TypeAdapter(Done)
"""Reader and writer of entries in JSON, made once since that takes milliseconds."""


def _parts_of(line: str) -> dict[str, str]:
    """Parse the identity of a run; an empty one of any other line."""
    try:
        return TypeAdapter(dict[str, str]).validate_json(line)
    except ValidationError:
        return {}


def _parsed(line: str) -> Done | None:
    """Parse an entry; None for one that was cut off by an interruption."""
    try:
        return ENTRIES.validate_json(line)
    except ValidationError:
        return None


def _line(done: Done) -> str:
    return ENTRIES.dump_json(done).decode()


def _hash(tensors: Iterable[Tensor], rest: object) -> str:
    digest = hashlib.sha256(repr(rest).encode())
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:DIGITS]


def recipe_of(segmenter: Segmenter, given: Iterable[ImagePair], options: Mapping[str, object]) -> str:
    """Hash all that masks are made of: weights, code and options, and the content of files."""
    return sha256_of(json.dumps([identity(segmenter, options), *map(stamp, given)]).encode())
