"""The options by which a user says what segments: network weights, choice of support images, reading of files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from incontext.folders.folder_images import read_folder
from incontext.folders.own_card import read_own_card
from incontext.folders.user_folder import read_sample
from incontext.images.source_image import SourceImage
from incontext.segmenter import Segmenter


def level_of(asked: int | None, folder: Path | None) -> int | None:
    """Return the level of the resolution that a user asks for, else the one of a folder's card; None without either."""
    return asked if asked is not None or folder is None else read_own_card(folder).level or None


@dataclass(frozen=True)
class SegmenterOptions:
    """Options of a segmenter, of which those that are None stay as the segmenter or the saved task has them.

    Attributes:
        task: File of a saved task, which brings examples, weights and parameters.
        weights: `default`, `open` or a checkpoint file.
        device: Device to compute on.
        support: Rule that selects the support; `nearest` if only a size or an ensemble is given.
        support_size: Number of labelled images in a support.
        ensemble: Number of supports whose probabilities are averaged.
        backend: Library that computes the network: `torch` or `onnx`.
        channel: Channel to look at of images that have several: its number, its name in the file, or `red`, `green` or
            `blue`.
        level: Level to look at of the resolution of slides and other pyramids.
        colours: Class values by the colours of labels.
        unknown: Values of pixels of labels that nobody judged.
        tune: Steps, at most, of tuning the network on the labelled images; `auto` for a usual number of them.
        show_progress: Whether tuning and choosing show their progress on a terminal.
        absent: Treatment of classes that an image probably does not show.
        collection: Collection in which `task` is the name of a structure.
        query: Images to segment, by which labelled images of a collection are chosen.
    """

    task: Path | None = None
    weights: str | None = None
    device: str | None = None
    support: str | None = None
    support_size: int | None = None
    ensemble: int | None = None
    backend: str | None = None
    channel: str | None = None
    level: int | None = None
    colours: Mapping[str, int] | None = None
    unknown: Sequence[int] | None = None
    tune: str | None = None
    show_progress: bool = True
    absent: str | None = None
    collection: Path | None = None
    query: Path | None = None

    def open(self) -> Segmenter:
        """Load the saved task or the weights, and set the parameters that are given.

        Raises:
            OSError: If a file is missing or cannot be read.
            ValueError: If a file is not what it should be.
        """
        if self.support == "all" and (self.support_size or (self.ensemble or 1) > 1):
            name, told = ("--support-size", self.support_size) if self.support_size else ("--ensemble", self.ensemble)
            msg = (
                f"{name} does not go with --select all: expected none, since every labelled image is used, got {told}. "
                "Drop it, or choose by --select nearest, diverse or random."
            )
            raise ValueError(msg)
        if self.collection:
            like, weights = self._like(), self.weights or "default"
            given = {"weights": weights, "device": self.device, "channel": self.channel, "level": self.level or 0}
            segmenter = Segmenter.from_collection(self.collection, str(self.task), like, **given)
        elif self.task:
            segmenter = Segmenter.load_task(str(self.task), self.weights, self.device)
        else:
            segmenter = Segmenter.from_pretrained(self.weights or "default", self.device)
        rule = self.support or ("nearest" if self.support_size or self.ensemble else None)
        parameters = {
            "support": rule,
            "support_size": self.support_size,
            "ensemble": self.ensemble,
            "backend": self.backend,
            "channel": self.channel,
            "level": self.level,
            "colours": self.colours or None,
            "unknown": tuple(self.unknown) if self.unknown else None,
            "tune": int(self.tune) if self.tune and self.tune.isdecimal() else self.tune,
            "absent": self.absent,
        }
        segmenter.show_progress = self.show_progress
        return segmenter.set_params(**{name: value for name, value in parameters.items() if value is not None})

    def _like(self) -> list[SourceImage] | None:
        """Read some of the images to segment, thinned; None if none can be read, which is told at their turn."""
        assert self.query is not None
        return read_sample(read_folder(self.query).pairs, self.channel, self.level or 0)[0] or None
