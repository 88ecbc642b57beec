"""An estimator with labelled examples, which reads images by them and judges them, by a network that may be tuned."""

import copy
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Self

from incontext.images.channels import Channel
from incontext.images.examples import SAMPLED_CASES, Example, Examples, Labels, Pictures
from incontext.images.prompts import names_of
from incontext.inference.choice import Choice
from incontext.inference.growth import without_examples
from incontext.inference.image_source import ImageSource
from incontext.inference.leave_one_out import check_features
from incontext.inference.loaded_network import LoadedNetwork
from incontext.inference.network_estimator import NetworkEstimator
from incontext.inference.planes import Classes
from incontext.inference.presence import Judgement, check_absent
from incontext.inference.reader import Engine, Reader
from incontext.inference.support_pool import Fitted, Preparation, fit_examples
from incontext.inference.task_network import TaskNetwork, Tuning, groups_of
from incontext.networks.copies import FEW, MIRRORED
from incontext.networks.protocols import Backend
from incontext.networks.weights_delta import Tuned
from megamed.label_values import LabelRules, Unknown


class TaskEstimator(NetworkEstimator):
    """An estimator whose network is tuned on its examples if that is asked for, and anew only if anything has changed.

    Attributes:
        show_progress: Whether tuning and choosing show how far they are and how long they will take, where stderr is a
            terminal.
        track_tuning: Function that passes the numbers of the steps of tuning on one by one, to show progress elsewhere;
            what it raises ends the tuning, and nothing has changed then.
    """

    support: str
    support_size: int | None
    ensemble: int
    flips: bool | str
    overlap: bool
    scaling: str
    tiling: str | int
    size_px: int
    memory_gb: float | None
    backend: str
    absent: str
    channel: Channel
    level: int
    colours: Mapping[str, int] | None
    unknown: Unknown
    instance_divisor: int | None
    tune: str | int
    seed: int
    show_progress: bool = True
    track_tuning: Callable[[Sequence[int]], Iterable[int]] | None = None
    _fitted: Fitted | None = None
    _tuned: tuple[Any, TaskNetwork] | None = None
    _reading: tuple[Any, Judgement] | None = None
    _credited: tuple[Fitted, tuple[ImageSource, ...]] | None = None

    @property
    def fitted(self) -> Fitted:
        """State of the last `fit`: support pool, class names and preparation.

        Raises:
            ValueError: If nothing was fitted yet.
        """
        if self._fitted is None:
            message = (
                "Segmenter knows no examples: expected labelled images, got none. "
                "Call fit(images, labels) first, or pass support_images and support_labels."
            )
            raise ValueError(message)
        return self._fitted

    def fitted_images(self, work: str) -> Fitted:
        """State of the last `fit` for work that takes the labelled images themselves.

        Args:
            work: What is to be done, for messages.

        Raises:
            ValueError: If nothing was fitted, or what was is a task without images.
        """
        if self.fitted.codes:
            message = (
                f"task cannot {work}: expected labelled images, got their code alone. Ask whoever published it for the "
                "task with its images, or fit your own."
            )
            raise ValueError(message)
        return self.fitted

    def without_images(self) -> Fitted:
        """State of the last `fit` with codes of its support in the place of the labelled images.

        Raises:
            ValueError: If nothing was fitted, or each image is segmented by a support of its own.
        """
        fitted = self.fitted
        if fitted.codes:
            return fitted
        with self._task_network().network.evaluating():
            codes = self.judgement.reader.shared_codes()
        empty, told = without_examples(fitted.names, fitted.preparation, []), self.judgement.kept
        return replace(empty, has_objects=fitted.has_objects, unknown=fitted.unknown, codes=codes, left_out=told)

    def credit(self, *sources: ImageSource) -> None:
        """Name the datasets that the examples of the last `fit` come from, for those who receive the task."""
        self._credited = self.fitted, sources

    @property
    def image_sources(self) -> tuple[ImageSource, ...]:
        """Datasets that the examples come from, and one without a name if others joined; empty if none is known."""
        return self._credited[1] if self._credited and self._credited[0] is self._fitted else ()

    @property
    def rules(self) -> LabelRules:
        """Rules of the user on the values of labels."""
        return LabelRules.of(self.unknown, self.colours, self.instance_divisor)

    def fit(
        self,
        images: Pictures,
        labels: Labels,
        classes: Mapping[int, str] | None = None,
        subjects: Sequence[Hashable] | None = None,
    ) -> Self:
        """Take over labelled examples: scale them, put them on the network's grid and keep them.

        Args:
            images: The labelled examples: one or a list of arrays, tensors, PIL images or paths.
            labels: One label map per image, on its grid; 0 is background, and an image may lack a class. Or by the name
                of each class its masks, which may overlap; None where an image was not annotated for it. Planes of a
                stack or volume that show nothing are left out, as if nobody had annotated them: where they teach that
                nothing is there, pass them as images.
            classes: Names of label values.
            subjects: Name of the subject of each image, such as a patient. Where they are given, what examples tell of
                each other is told by those of other subjects: see `expected_`. So is what tuning gains, if four
                subjects or more show something.

        Raises:
            ValueError: If an argument does not fit; the message names it and the fix.
            OSError: If a file cannot be read.
        """
        self._choice, self._tuning  # noqa: B018 - a mistake in them is told before anything is read
        check_absent(self.absent)
        named = names_of(classes)
        examples = Examples(images, labels, self.rules, self.channel, named, self.level)
        if subjects is not None and len(subjects) != len(examples):
            msg = (
                f"subjects do not fit: expected one for each of {len(examples)} images, got {len(subjects)}. A stack "
                "or volume counts as one."
            )
            raise ValueError(msg)
        sample = examples.sample(SAMPLED_CASES)
        fitted = fit_examples(examples, sample, self._prepare(sample), named)
        if subjects is not None:
            fitted = replace(fitted, pool=fitted.pool.of_subjects(subjects))
        learner = copy.copy(self).go_back_to(fitted)
        if self.tune:
            learner._task_network()  # what ends it leaves the estimator as it was
        self._fitted, self._loaded, self._tuned = fitted, learner._loaded, learner._tuned
        return self

    def go_back_to(self, fitted: Fitted) -> Self:
        """Know the examples of an earlier `fit` alone, such as those of a saved task before others joined."""
        self._fitted = fitted
        return self

    @property
    def tuned(self) -> Tuned | None:
        """Outcome of tuning on the examples of `fit`; None if it was not asked for."""
        return self._task_network().tuned

    def keep_tuned(self, tuned: Tuned) -> Self:
        """Take over what tuning has come to before, or elsewhere, instead of tuning on the present examples.

        Raises:
            ValueError: If another network was tuned.
        """
        self._tuned = self._tuning_key, TaskNetwork.of(self._load(), tuned)
        return self

    @property
    def judgement(self) -> Judgement:
        """Judgement of the examples on each other, made anew only if anything has changed."""
        if self._reading is None or self._reading[0] != self._reading_key:
            loaded = self._task_network().network
            before = None if loaded is self._load() else partial(self._judgement_by, self._load())
            self._reading = self._reading_key, self._judgement_by(loaded, before)
        return self._reading[1]

    @property
    def _reading_key(self) -> tuple[Any, ...]:
        """All that the reading of examples depends on."""
        loaded = self._task_network().network
        return self.fitted, self._choice, self.overlap, loaded, loaded.version, self.backend, self.memory_gb

    def _judgement_by(self, network: LoadedNetwork, before: Callable[[], Judgement] | None = None) -> Judgement:
        fitted = self.fitted
        classes = Classes(fitted.names, self.overlap, fitted.colours)
        engine = Engine.of(network.module, fitted.pool, self.backend, self.memory_gb, self._torch_device)
        reader = Reader(fitted.pool, self._choice, engine, classes, self.temperature)
        if fitted.codes:
            reader.read(fitted.codes)
        known = None
        if fitted.left_out:
            known = fitted.left_out[0 if before else -1]
            check_features(known, reader)
        return Judgement(reader, network, self.quality, before, known)

    @property
    def _choice(self) -> Choice:
        if self.flips not in (True, False, "auto"):
            message = f"flips is unknown: expected True, False or 'auto', got {self.flips!r}. Choose one."
            raise ValueError(message)
        flips = self.flips != "auto" and bool(self.flips)
        return Choice(self.support, self.support_size, self.ensemble, flips, self._copies, self.seed)

    @property
    def _copies(self) -> bool:
        """Whether labelled squares are so few that changed copies of them join the support."""
        fitted = self._fitted
        if self.flips != "auto" or self.support != "all" or fitted is None:
            return False
        if fitted.codes:
            return fitted.codes.keys() == {(), MIRRORED}
        return 0 < len(fitted.pool.origins) <= FEW and isinstance(self._load().module, Backend)

    def _prepare(self, sample: Sequence[Example]) -> Preparation:
        return Preparation.chosen(sample, self.scaling, self.tiling, self.size_px)

    @property
    def _tuning(self) -> Tuning:
        return Tuning(self.tune, self.seed, self.show_progress, self.track_tuning)

    @property
    def _tuning_key(self) -> tuple[Any, ...]:
        """All that the outcome of tuning depends on."""
        wish = None if self._fitted is not None and self._fitted.codes else self._tuning
        return self._fitted, self._load(), self._load().version, wish

    def _task_network(self) -> TaskNetwork:
        """Return the network that reads the examples, tuned anew only if anything has changed.

        Codes are read by the network that made them, whatever tuning is asked for: without images there is no other.
        """
        loaded = self._load()
        if self._fitted is not None and self._fitted.codes:
            return self._tuned[1] if self._tuned and self._tuned[0] == self._tuning_key else TaskNetwork(loaded)
        if not self.tune or self._fitted is None or self._fitted.pool.is_empty:
            return TaskNetwork(loaded)
        if self._tuned is None or self._tuned[0] != self._tuning_key:
            pool = self._fitted.pool
            self._tuned = self._tuning_key, TaskNetwork.tuned_on(loaded, self._tuning, pool, groups_of(pool))
        return self._tuned[1]
