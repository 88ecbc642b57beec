"""What a run over a folder has finished, line by line on disk, so that the same run goes on after an interruption."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from incontext import __version__
from incontext.folders.report import ImageReport
from incontext.segmenter import Segmenter
from megamed.files import replacing

LOG = "progress.jsonl"
"""A line that tells which run it is, then one for each image that is done."""

INDIFFERENT = ("weights", "device", "memory_gb")
"""Parameters of a segmenter that change no mask, and the weights, which are told by their values."""


@dataclass(frozen=True)
class Done:
    """An image that was segmented.

    Attributes:
        stamp: Of its files; see `stamp`.
        report: What was found.
        warnings: What looked wrong.
    """

    stamp: str
    report: ImageReport
    warnings: tuple[str, ...]


class RunLog:
    """What a run has finished, in a folder of results.

    Args:
        out: The folder.
        run: What decides on the masks, by what it is; see `identity`.
        overwrite: Forget what was done there.

    Attributes:
        done: By the image's file name; what an earlier run of the same identity did, whose masks are there.

    Raises:
        ValueError: If the folder holds masks of another run.
    """

    def __init__(self, out: Path, run: Mapping[str, str], overwrite: bool = False) -> None:
        self._path = out / LOG
        self.done = {} if overwrite else _read(out, run)
        lines = [json.dumps(dict(run)), *map(_line, self.done.values())]
        with replacing(self._path) as partial:
            partial.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def add(self, done: Done) -> None:
        """Remember an image, once its mask is written."""
        self.done[done.report.file] = done
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{_line(done)}\n")


def identity(segmenter: Segmenter, options: Mapping[str, object]) -> dict[str, str]:
    """What decides on the masks that a fitted segmenter makes, hashed: equal for equal masks."""
    fitted = segmenter.fitted
    params = {name: value for name, value in segmenter.get_params().items() if name not in INDIFFERENT}
    pool = (fitted.pool.images, fitted.pool.labels, fitted.pool.annotated)
    return {
        "version": __version__,
        "weights": _hash(segmenter.network.state_dict().values(), segmenter.temperature),
        "support": _hash(pool, (dict(fitted.names), fitted.preparation)),
        "options": json.dumps({**params, **options}, default=str),
    }


def stamp(*files: Path | None) -> str:
    """Size and time of change of files, and of what is in folders: another one if they were replaced."""
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
    """What a line tells; None if it was cut off when the run was."""
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
