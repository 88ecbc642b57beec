"""Masks that `segment` wrote, taken for predictions that a person corrects."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from incontext.folders import MASKS
from incontext.folders.mask_files import read_back
from incontext.folders.run_folder import read_summary
from incontext.images.source_image import SourceImage
from incontext.page.prediction import Prediction
from incontext.page.store import AnnotatedFolder
from megamed.failures import Attempt


class SegmentedFolder:
    """The folder that a run of `segment` wrote.

    Args:
        folder: The folder.

    Attributes:
        classes: Names of the classes by label value.
        channel: Channel that was segmented of images that have several.
        level: Level that was segmented of slides and other pyramids.
        reading: Parameters of the segmenter that say how labels are read.

    Raises:
        FileNotFoundError: If it is none.
        ValueError: If its summary is damaged.
    """

    def __init__(self, folder: Path) -> None:
        found = read_summary(folder)
        self.folder, self._masks = folder, folder / MASKS
        self._reports: dict[str, Mapping[str, Any]] = {each["file"]: each for each in found.get("images", ())}
        if "model" in found:  # by an exported model, which tells less of each image
            self._reports = {name: {"mask": mask.removeprefix(f"{MASKS}/")} for name, mask in found["masks"].items()}
        self.classes = {int(value): str(name) for value, name in found.get("model", found)["classes"].items()}
        said = found.get("parameters", {})
        self.channel, self.level = said.get("channel"), said.get("level")
        self.reading = {name: said.get(name) for name in ("unknown", "colours") if said.get(name)}

    def told(self, annotated: AnnotatedFolder) -> str:
        """Tell how many of the images have a mask here."""
        count = sum(image.pair.name in self._reports for image in annotated.images)
        return f"{count} of {len(annotated.images)} images have a mask in {self.folder}, which stays as it is."

    def predictions(self, annotated: AnnotatedFolder) -> Iterator[tuple[int, Prediction]]:
        """Read the masks of images that have no label; what cannot be read is left to be segmented anew.

        If images were accepted on the page before, all others are segmented anew by them.
        """
        round = 0 if any(image.standing.is_accepted for image in annotated.images) else 1
        for index, image in enumerate(annotated.images):
            report = self._reports.get(image.pair.name)
            if report is None or image.state != "bare":
                continue
            with Attempt() as attempt:
                planes = self._planes(report, annotated.look.read(image.pair))
            if attempt.error is None:
                dice = [value for value in (report.get("predicted_dice") or {}).values() if value is not None]
                yield index, Prediction.packing(planes, min(dice, default=None), bool(report.get("look_first")), round)

    def _planes(self, report: Mapping[str, Any], case: SourceImage) -> UInt8[np.ndarray, "N H W"]:
        """Read the mask of an image; of classes that overlap the last one stays."""
        by_class = report.get("masks")
        if not by_class:
            return read_back(self._masks / report["mask"], report["mask"], case, self.classes)
        found = np.zeros(case.planes.shape, np.uint8)
        for value, name in by_class.items():
            found[read_back(self._masks / name, name, case, [int(value)]) > 0] = int(value)
        return found
