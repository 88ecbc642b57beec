"""Masks that `segment` wrote, taken for predictions that a person corrects."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from incontext.images.source_image import read_label_image
from incontext.page.prediction import Prediction
from incontext.page.store import AnnotatedFolder
from megamed.failures import Attempt
from megamed.files import read_json

SUMMARY, MASKS = "summary.json", "masks"


class SegmentedFolder:
    """The folder that a run of `segment` wrote.

    Args:
        folder: The folder.

    Attributes:
        classes: Names of the classes by label value.

    Raises:
        FileNotFoundError: If it is none.
        ValueError: If its summary is damaged.
    """

    def __init__(self, folder: Path) -> None:
        summary = folder / SUMMARY
        if not summary.is_file():
            msg = f"{folder} holds no results: expected the folder that `segment --out` wrote, got no {SUMMARY} in it."
            raise FileNotFoundError(msg)
        found = read_json(summary, "Give the same `segment` command again.")
        self._masks = folder / MASKS
        self._reports: dict[str, Mapping[str, Any]] = {each["file"]: each for each in found["images"]}
        self.classes = {int(value): str(name) for value, name in found["classes"].items()}

    def predictions(self, annotated: AnnotatedFolder) -> Iterator[tuple[int, Prediction]]:
        """Read the masks of images that have no label; what cannot be read is left to be segmented anew."""
        for index, image in enumerate(annotated.images):
            report = self._reports.get(image.pair.name)
            if report is None or image.state != "bare":
                continue
            with Attempt() as attempt:
                case = annotated.look.read(image.pair)
                path = self._masks / report["mask"]
                planes = read_label_image(path, str(path), case).planes
            if attempt.error is None:
                dice = [value for value in (report.get("predicted_dice") or {}).values() if value is not None]
                yield index, Prediction.packing(planes, min(dice, default=None), bool(report.get("look_first")), 1)
