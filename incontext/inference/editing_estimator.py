"""An estimator whose masks are corrected by prompts, and whose examples grow one by one."""

import warnings
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, NamedTuple, Self, cast

from torch import Tensor, nn

from incontext.images.arrays import Picture, stack_axis
from incontext.images.examples import Example, Examples, Labels, as_source_image, called, thinned
from incontext.images.prompts import MOST_LABEL, Prompts, check_prompts, class_value, names_of, sought
from incontext.images.source_image import Axis, SourceImage
from incontext.inference.case_predictions import predict_cases
from incontext.inference.editing import Editing
from incontext.inference.editor import Editor
from incontext.inference.growth import grown, without_examples
from incontext.inference.image_source import ImageSource
from incontext.inference.labelled_volume import in_whole
from incontext.inference.planes import CasePrediction, Classes
from incontext.inference.presence import check_absent, judge_presence
from incontext.inference.segmentation import Presence
from incontext.inference.support_pool import Fitted
from incontext.inference.task_estimator import TaskEstimator
from incontext.networks.prompted import PromptedNet
from incontext.networks.prompted_weights import load_prompted

ONE_CLASS = "1"
"""Name of the class that is sought where nothing else is said."""


class Answer(NamedTuple):
    """Predictions for images, presence of classes in them, all classes, and the examples with their preparation."""

    found: list[CasePrediction]
    presence: Presence | None
    classes: Classes
    fitted: Fitted


class EditingEstimator(TaskEstimator):
    """An estimator that lets a person correct masks, and learns from what came of it.

    Attributes:
        prompted: Network that corrects masks by prompts; by default the one that belongs to the weights.
    """

    prompted: PromptedNet | None = None
    _prompted: tuple[Any, PromptedNet] | None = None
    _has_told_of_torch: bool = False
    _named: Mapping[int, str] = MappingProxyType({})
    """Names by label value that `edit` was told of: a name means one class, also before an example shows it."""

    def edit(
        self,
        image: Picture | SourceImage,
        label: int | str | None = None,
        *,
        plane: int | None = None,
        axis: Axis = None,
        classes: Mapping[int, str] | None = None,
    ) -> Editor:
        """Begin to correct the mask of an image by clicks, scribbles and boxes.

        The image is read once. Until something is said, the mask is the one that `predict` finds; it needs no examples,
        and is empty then. See `incontext.inference.editor.Editor`.

        Args:
            image: An image, stack or volume, in the forms that `predict` takes.
            label: Label value or name of the class to correct; by default the first. One that no example shows is
                sought by prompts alone.
            plane: Index of the plane of a stack or volume.
            axis: Axis from plane to plane; see `source_image.read_source_image`.
            classes: Names of classes by label value that no example shows, if there are several.

        Raises:
            ValueError: If an argument does not fit, or the weights have no network for prompts.
            OSError: If the file cannot be read.
        """
        axis = axis if plane is None else stack_axis(image, axis)
        case = as_source_image(image, called(image, "image"), axis, self.channel, self.level)
        known = {**_named(classes), **self._known}
        value = _value(label, known, {**self._named, **known})
        new = {} if value in known else {value: label if isinstance(label, str) else str(value)}
        self._named = {**self._named, **(new if isinstance(label, str) else {}), **known}
        return self._editing(case, {**known, **new}).begin(case, value, plane)

    def add(
        self,
        image: Picture | SourceImage,
        label: Any,
        classes: Mapping[int, str] | None = None,
        *,
        plane: int | None = None,
    ) -> Self:
        """Let one more image join the examples; of the others nothing is read again.

        The image is prepared as the first examples were, and a network that was tuned stays as it is; `fit` would
        decide anew. A class that no example had before was not sought in them, so that they say nothing of it. If the
        first were of a named source, `image_sources` gains one without a name.

        Args:
            image: The image, stack or volume.
            label: Label of the image, in the forms that `fit` takes, such as the mask of an editor; of classes that may
                overlap its `masks`.
            classes: Names of label values; by default those that `edit` was told of.
            plane: Index of the plane of a stack or volume that the label is of, and which it judges though it may show
                nothing; None if it is of the whole.

        Raises:
            ValueError: If an argument does not fit; the message names it and the fix.
            OSError: If a file cannot be read.
        """
        if plane is not None:
            image = as_source_image(image, called(image, "image"), stack_axis(image, None), self.channel, self.level)
            by_name = label if isinstance(label, Mapping) else {"": label}
            whole = {name: in_whole(each, image, plane) for name, each in by_name.items()}
            label = whole if isinstance(label, Mapping) else whole[""]
        labels: Labels = {name: [mask] for name, mask in label.items()} if isinstance(label, Mapping) else [label]
        told = self._named.items()
        named = {value: name for value, name in told if not isinstance(label, Mapping) or name in label}
        names = {**named, **self._known, **(classes or {})}
        if self._fitted is None or self._fitted.is_empty:
            return self.fit([image], labels, names)
        fitted = self.fitted_images("learn one more image")
        rules = replace(fitted.rules_for_others(self.rules), instances=fitted.has_objects)
        example = Examples([image], labels, rules, self.channel, names, self.level)
        after = grown(fitted, example, names, plane)
        before = self._reading if self._reading and self._reading[0] == self._reading_key else None
        tuned = self._tuned if self._tuned and self._tuned[0] == self._tuning_key else None
        sources = self.image_sources
        self._fitted = after
        if sources:
            self.credit(*dict.fromkeys((*sources, ImageSource())))
        if tuned:
            self._tuned = self._tuning_key, tuned[1]
        if before:
            self.judgement.reader.go_on_from(before[1].reader)
        return self

    def seek(self, images: Iterable[SourceImage], classes: Mapping[int, str] | None = None) -> Self:
        """Prepare to segment images by prompts alone, as long as there is no example.

        Args:
            images: Some of the images, by which their preparation is chosen.
            classes: Names of the classes by label value; by default there is one.
        """
        self._fitted = self._without_examples([thinned(case) for case in images], classes or {1: ONE_CLASS})
        return self

    @property
    def _known(self) -> Mapping[int, str]:
        """Names of the classes of the examples, of which there may be none."""
        return self._fitted.names if self._fitted else {}

    def _without_examples(self, sample: Sequence[SourceImage], names: Mapping[int, str]) -> Fitted:
        return without_examples(names, self._prepare([Example(case, {}) for case in sample]), sample)

    def _editing(self, case: SourceImage, names: Mapping[int, str]) -> Editing:
        """Return all that an image is edited by.

        Args:
            case: The image, which decides on its preparation if there is no example.
            names: Names of the classes by label value.
        """
        check_absent(self.absent)
        if self.backend == "onnx" and not self._has_told_of_torch:
            self._has_told_of_torch = True
            message = "prompts are computed by torch: backend='onnx' has no graph for them, and computes all else."
            warnings.warn(message, stacklevel=3)
        named = dict(sorted(names.items()))
        fitted = self._fitted or self._without_examples([thinned(case)], named)
        loaded = self._task_network().network
        return Editing(
            fitted=fitted,
            classes=Classes(named, self.overlap, fitted.colours),
            prompted=self._prompted_network(),
            loaded=loaded,
            judgement=None if fitted.is_empty else self.judgement,
            absent=self.absent,
            temperature=self.temperature,
            device=self._torch_device,
        )

    @property
    def prompted_state(self) -> Mapping[str, Tensor]:
        """Parameters and buffers, by name, of the network that corrects masks, for reading alone.

        Raises:
            FileNotFoundError: If the weights have none.
            ValueError: If the network is none that can be corrected.
        """
        return self._prompted_network().state_dict()

    @property
    def has_examples(self) -> bool:
        """Whether anything was learned by `fit` or `add`."""
        return self._fitted is not None and not self._fitted.is_empty

    def _answer(
        self, cases: Iterable[SourceImage], told: Mapping[int, Prompts], prompted: Mapping[int, SourceImage]
    ) -> Answer:
        """Find what examples and prompts tell of images.

        Args:
            cases: The images.
            told: What is said of images, by their index.
            prompted: Images that something is said of, by their index, as soon as all are read.
        """
        if not told:
            return Answer(*self._by_examples(cases), self.judgement.reader.classes, self.fitted)
        presence, found = None, {}
        if self.has_examples:
            by_examples, presence = self._by_examples(cases)
            found = dict(enumerate(by_examples))
        else:
            deque(cases, maxlen=0)  # reads what is prompted
        known = self._known
        names = sought(told.values(), known)
        usual = next(iter(known or names))
        for index, case in prompted.items():
            editing = self._editing(case, names)
            before = found[index] if self.has_examples else editing.nothing(case)
            found[index] = editing.edited(before, case, told[index], usual)
        left = [editing.with_all_classes(found[index]) for index in sorted(found)]
        judged = None if presence is None else presence.after(told, list(known), list(names), usual)
        return Answer(left, judged, editing.classes, editing.fitted)

    def _by_examples(self, cases: Iterable[SourceImage]) -> tuple[list[CasePrediction], Presence | None]:
        """Find what the examples tell of images."""
        with self._task_network().network.evaluating():
            judge = None if self.absent == "keep" else self.judgement.presence
            found = predict_cases(cases, self.fitted.preparation, self.judgement.reader, judge)
        return (found, None) if judge is None else judge_presence(found, judge, self.absent)

    def _prompted_network(self) -> PromptedNet:
        """Return the network that corrects masks, loaded when it is first needed.

        Raises:
            FileNotFoundError: If the weights have none.
            ValueError: If the network is none that can be corrected.
        """
        if self.prompted is not None:
            return self.prompted.to(self._torch_device).eval()
        if isinstance(self.weights, nn.Module):
            message = (
                "weights have no network for prompts: expected a weights file that has one beside it, got a module. "
                "Use weights='default', or set segmenter.prompted to the network that was trained beside yours."
            )
            raise ValueError(message)
        key = self.weights, self.device
        if self._prompted is None or self._prompted[0] != key:
            self._prompted = key, load_prompted(self.weights, self._torch_device)
        return self._prompted[1]


def _named(classes: Mapping[int, str] | None) -> dict[int, str]:
    """Names of classes by label value, as a user passes them.

    Raises:
        ValueError: If they are something else, or two have one name.
    """
    named = {class_value(value): name for value, name in names_of(classes).items()}
    if wrong := [name for name in named.values() if [*named.values()].count(name) > 1]:
        message = (
            f"classes are not clear: expected a name of its own for each, got {wrong[0]!r} in {named}. Correct it."
        )
        raise ValueError(message)
    return named


def _value(label: int | str | None, known: Mapping[int, str], named: Mapping[int, str]) -> int:
    """Label value of the class that is meant; a free one for a name that is new.

    Args:
        label: What a user passes.
        known: Names of the classes of the editor by label value.
        named: Names that were ever told.
    """
    if label is None:
        return next(iter(known), 1)
    if not isinstance(label, str):
        return class_value(label)
    if label in named.values():
        return next(value for value, name in named.items() if name == label)
    above = range(max(named, default=0) + 1, MOST_LABEL + 1)
    free = next((value for value in (*above, *range(1, MOST_LABEL)) if value not in named), None)
    if free is None:
        message = f"label has no value: expected one of {MOST_LABEL} names, got {label!r} besides. Name fewer classes."
        raise ValueError(message)
    return free


def prompts_of(
    prompts: Prompts | Sequence[Prompts | None] | None, images: int, has_examples: bool
) -> dict[int, Prompts]:
    """Return the prompts about images by the index of the image, without those of which nothing is said.

    Args:
        prompts: What a user passes: for the only image, or for each image.
        images: Number of images.
        has_examples: Whether there are examples, by which images are segmented of which nothing is said.

    Raises:
        ValueError: If they are not as many as the images, or nothing at all tells what to segment in one.
    """
    is_list = isinstance(prompts, Iterable) and not isinstance(prompts, Mapping)
    given: list[Any] = [*cast(Iterable[Any], prompts)] if is_list else [prompts] if prompts is not None else []
    check_prompts(given)
    if given and len(given) != images:
        message = f"prompts do not match images: expected {images}, got {len(given)}. Pass one for each image, or None."
        raise ValueError(message)
    told = {index: each for index, each in enumerate(given) if each}
    if told and not has_examples and (bare := [index for index in range(images) if index not in told]):
        message = (
            f"images[{bare[0]}] has no prompts: expected some, as there are no examples, got none. "
            "Add a click, leave the image out, or call fit with labelled images first."
        )
        raise ValueError(message)
    return told
