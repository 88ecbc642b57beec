"""Log of the images that a run over a folder has finished, by which the same run resumes after an interruption."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from incontext import __version__
from incontext.folders import RUN_LOG
from incontext.folders.report import ImageReport
from incontext.segmenter import Segmenter
from megamed.files import replace_file

LOG = RUN_LOG
"""File name of the log: one line identifies the run, then comes one for each finished image."""

INDIFFERENT = ("weights", "device", "memory_gb")
"""Parameters that do not identify a run: they change no mask, or (`weights`) are identified by their tensors."""


@dataclass(frozen=True)
class Done:
    """Log entry of an image that was segmented.

    Attributes:
        stamp: State of the image's files; see `stamp`.
        report: Report on the image.
        warnings: Warnings that the image gave.
    """

    stamp: str
    report: ImageReport
    warnings: tuple[str, ...]


class RunLog:
    """Log of a run in its folder of results.

    Args:
        out: Folder of results.
        run: Identity of the run; see `identity`.
        overwrite: Whether to forget an earlier run.

    Attributes:
        done: Entries by image file name, at first those of an earlier run of the same identity whose masks exist.

    Raises:
        ValueError: If the folder holds masks of another run.
    """

    def __init__(self, out: Path, run: Mapping[str, str], overwrite: bool = False) -> None:
        self._path = out / LOG
        self.done = {} if overwrite else _read(out, run)
        lines = [json.dumps(dict(run)), *map(_line, self.done.values())]
        replace_file(self._path, "".join(f"{line}\n" for line in lines))

    def add(self, done: Done) -> None:
        """Append an image whose mask has been written."""
        self.done[done.report.file] = done
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{_line(done)}\n")


def identity(segmenter: Segmenter, options: Mapping[str, object]) -> dict[str, str]:
    """Identify a run by version and hashes of weights, support and options: equal ones make equal masks."""
    fitted = segmenter.fitted
    params = {name: value for name, value in segmenter.get_params().items() if name not in INDIFFERENT}
    pool = (fitted.pool.images, fitted.pool.labels, fitted.pool.annotated)
    moved = tuned.delta.tensors().values() if (tuned := segmenter.tuned) and tuned.delta else ()
    return {
        "version": __version__,
        "weights": _hash([*segmenter.state.values(), *moved], segmenter.temperature),
        "support": _hash(pool, (dict(fitted.names), fitted.preparation)),
        "options": json.dumps({**params, **options}, default=str),
    }


def stamp(*files: Path | None) -> str:
    """Hash names, sizes and modification times of files and folders, so that a replaced file is noticed."""
    found = [each for file in files if file for each in ([file] if file.is_file() else sorted(file.rglob("*")))]
    states = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in found]
    return hashlib.sha256(repr(states).encode()).hexdigest()[:16]


def _read(out: Path, run: Mapping[str, str]) -> dict[str, Done]:
    if not (out / LOG).is_file():
        if any((out / "masks").glob("*")):
            message = (
                f"{out} holds masks already: expected a new folder or one that this command wrote, got no {LOG} "
                "in it. Write elsewhere, or add --overwrite."
            )
            raise ValueError(message)
        return {}
    first, *lines = (out / LOG).read_text(encoding="utf-8", errors="replace").splitlines() or [""]
    if changed := _changed(first, run):
        message = (
            f"{out} holds the masks of another run: expected the same version, weights, support and options, "
            f"got another {' and '.join(changed)}. Write elsewhere, or add --overwrite."
        )
        raise ValueError(message)
    found = [done for line in lines if (done := _parsed(line))]
    return {done.report.file: done for done in found if (out / "masks" / done.report.mask).is_file()}


def _changed(line: str, run: Mapping[str, str]) -> list[str]:
    try:
        before = TypeAdapter(dict[str, str]).validate_json(line)
    except ValidationError:
        before = {}
    return [name for name, value in run.items() if before.get(name) != value]


def _parsed(line: str) -> Done | None:
    """Parse an entry; None for one that was cut off by an interruption."""
    try:
        return TypeAdapter(Done).validate_json(line)
    except ValidationError:
        return None


def _line(done: Done) -> str:
    return TypeAdapter(Done).dump_json(done).decode()


def _hash(tensors: Iterable[Tensor], rest: object) -> str:
    digest = hashlib.sha256(repr(rest).encode())
    for tensor in tensors:
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()[:16]
