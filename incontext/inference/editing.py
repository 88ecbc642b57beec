"""Beginnings of an edit: an image is cut into squares, and read by the examples, if there are any."""

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from incontext.images.case_planes import emptied, plane_of
from incontext.images.normalisation import of_plane
from incontext.images.prompts import Prompts, whole_number
from incontext.images.source_image import SourceImage
from incontext.inference.case_predictions import predict_cases
from incontext.inference.corrections import PlaneCorrector, PromptedReader
from incontext.inference.editor import Editor
from incontext.inference.loaded_network import LoadedNetwork
from incontext.inference.planes import CasePrediction, Classes, DrawnPlane, Plane
from incontext.inference.presence import Judgement, judge_presence
from incontext.inference.support_pool import Fitted, Preparation
from incontext.networks.prompted import PromptedNet
from incontext.networks.support_code import SupportCode
from incontext.networks.support_once import SupportOnceNet


@dataclass(frozen=True, eq=False)
class Editing:
    """All that images are edited by.

    Attributes:
        fitted: The examples, of which there may be none, and the preparation of images.
        classes: The classes of masks: those of the examples, and maybe others that none shows.
        prompted: The network that corrects masks by prompts.
        loaded: The network that reads images.
        judgement: Reader of the examples and their judgement on each other; None if there are none.
        absent: Treatment of a class where it is improbable: one of `presence.ABSENT`.
        temperature: The number that logits are divided by.
        device: The device to compute on.
    """

    fitted: Fitted
    classes: Classes
    prompted: PromptedNet
    loaded: LoadedNetwork
    judgement: Judgement | None = field(repr=False)
    absent: str
    temperature: float
    device: torch.device

    def begin(self, case: SourceImage, label: int, plane: int | None = None) -> Editor:
        """Read an image, or a plane of a stack or volume, and begin to edit it.

        Raises:
            ValueError: If it is not clear which plane is meant.
        """
        index = _checked(case, plane)
        preparation = replace(
            self.fitted.preparation, normalisation=of_plane(case, self.fitted.preparation.normalisation, index)
        )
        image = case if case.kind == "image" else plane_of(case, index)
        squares = torch.from_numpy(np.stack(list(preparation.squares(image))))[:, None]
        found, shown = (self._plane(each) for each in self._predicted(image, preparation))
        corrector = PlaneCorrector(self._reader(), squares, found, shown, self.classes.overlap)
        return Editor(image, corrector, self.classes, label, self.loaded, None if case.kind == "image" else index)

    def edited(self, found: CasePrediction, case: SourceImage, prompts: Prompts, label: int) -> CasePrediction:
        """Correct what is found in an image by prompts, as an editor does.

        Args:
            found: Logits of its planes without prompts.
            case: The image, stack or volume.
            prompts: What was said of it.
            label: Label value of the class that prompts are about that name none.

        Raises:
            ValueError: If a prompt does not fit the image or the classes.
        """
        planes, editors = list(found.planes), dict[int, Editor]()
        for stroke in prompts.strokes:
            index = _checked(case, stroke.plane)
            if index not in editors:
                editors[index] = self.begin(case, label, index)
            editors[index].say(stroke)
        for index, editor in editors.items():
            planes[index] = replace(editor.predicted_plane, presence=None)
        return replace(found, planes=planes)

    def nothing(self, case: SourceImage) -> CasePrediction:
        """Return the prediction for an image where there are no examples: log-odds of 0."""
        boxes, size_px = self.fitted.preparation.boxes(case), self.fitted.preparation.size_px
        logits = torch.zeros(len(boxes), len(self.classes.names), size_px, size_px)
        return CasePrediction(emptied(case), [Plane(case.planes.shape[1:], boxes, logits) for _ in case.planes])

    def with_all_classes(self, found: CasePrediction) -> CasePrediction:
        """Add log-odds of 0 for the classes that no example shows to what is found in an image."""
        if list(self.fitted.names) == list(self.classes.names):
            return found
        return replace(found, planes=[self._with_all_classes(plane) for plane in found.planes])

    def _with_all_classes(self, plane: Plane | DrawnPlane) -> Plane | DrawnPlane:
        if isinstance(plane, DrawnPlane) or plane.logits.shape[1] == len(self.classes.names):
            return plane
        nothing, values = torch.zeros_like(plane.logits[:, 0]), list(self.fitted.names)
        layers = [plane.logits[:, values.index(each)] if each in values else nothing for each in self.classes.names]
        return replace(plane, logits=torch.stack(layers, dim=1))

    def _plane(self, found: CasePrediction) -> Plane:
        (plane,) = self.with_all_classes(found).planes
        assert isinstance(plane, Plane)
        return replace(plane, presence=None)

    def _predicted(self, image: SourceImage, preparation: Preparation) -> tuple[CasePrediction, CasePrediction]:
        """Find what an image shows, and what is left of it where classes are improbable."""
        if self.judgement is None:
            return self.nothing(image), self.nothing(image)
        with self.loaded.evaluating():
            judge = self.judgement.remover(self.absent)
            found = predict_cases([image], preparation, self.judgement.reader, judge)
        left = found if judge is None else judge_presence(found, judge, self.absent)[0]
        return found[0], left[0]

    def _reader(self) -> PromptedReader:
        judgement, known = self.judgement, list(self.fitted.names)
        values = list(self.classes.names)

        def support(images: Tensor, class_index: int) -> SupportCode | None:
            value = values[class_index]
            if judgement is None or value not in known:
                return None
            return judgement.reader.support_code(images, known.index(value))

        network = self.loaded.module
        if not isinstance(network, SupportOnceNet):
            message = (
                "weights cannot be prompted: expected those of a support-once network, got "
                f"{type(network).__name__}. Use weights='default'."
            )
            raise ValueError(message)
        return PromptedReader(network, self.prompted, support, self.temperature, self.device)


def _checked(case: SourceImage, plane: int | None) -> int:
    """Index of the plane that is meant."""
    count, index = len(case.planes), whole_number(plane)
    if plane is None and (case.kind == "image" or count == 1):
        return 0
    if index is None or not 0 <= index < count:
        told, fix = ("none", "Name one, as plane.") if plane is None else (plane, "Choose one of these.")
        msg = f"plane is not clear: expected an index from 0 to {count - 1} of this {case.kind}, got {told}. {fix}"
        raise ValueError(msg)
    return index
