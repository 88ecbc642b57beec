"""The public face: labelled examples and images in, masks on the images' own grids out."""

import copy
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from jaxtyping import Float32
from torch import nn

from incontext.images.arrays import Picture
from incontext.images.channels import Channel
from incontext.images.examples import (
    SAMPLED_CASES,
    Example,
    Examples,
    Labels,
    Pictures,
    as_list,
    as_source_images,
    spread,
    thinned,
)
from incontext.images.frames import Frames
from incontext.images.input_checks import Expectations
from incontext.images.prompts import Prompts, names_of
from incontext.images.source_image import Axis, SourceImage
from incontext.inference.backends import backend_of
from incontext.inference.case_predictions import predict_cases
from incontext.inference.chosen_settings import Choices, choose_settings, on_terminal
from incontext.inference.editing_estimator import prompts_of
from incontext.inference.expected import Expected
from incontext.inference.labelled_volume import (
    Labelled,
    PlaneLabels,
    Propagator,
    classes_to_seek,
    read_labelled,
)
from incontext.inference.loaded_network import LoadedNetwork
from incontext.inference.presence import check_absent
from incontext.inference.propagation import Propagation
from incontext.inference.reader import Doubt
from incontext.inference.saved_estimator import SavedEstimator
from incontext.inference.segmentation import Report, Segmentation, finished, mean_dice
from incontext.inference.support_pool import Preparation, build_pool
from incontext.inference.task_network import TaskNetwork
from incontext.networks.weights_delta import Tuned
from megamed.label_values import Unknown

if TYPE_CHECKING:
    from incontext.inference.named_task import ComparedTask
    from megamed.collection import Collection


class Segmenter(SavedEstimator):
    """Segmentation of images by labelled examples; nothing is trained.

    One pass per class, in which the class is foreground and all else background. The passes are resolved by
    a softmax over the class logits and a background logit of 0, which for one class is the sigmoid.

    It has scikit-learn's manners (`fit`, `predict`, `score`, `get_params`, `set_params`, clonable), hence its many
    parameters. Those of the support count from the next `predict` on, the others from the next `fit`.

    Args:
        weights: `default`, `open`, a checkpoint file, or a module called as
            `network(query_images, support_images, support_labels) -> logits`. Loaded at first use. A module is moved to
            the device, computes in evaluation mode, and is left in its own; it may be trained on between predictions.
        support: Rule of support selection: `all` labelled images; those `nearest` to each query; a `diverse` or a
            `random` set for all queries.
        support_size: Number of images in a support set; by default 16.
        ensemble: Number of support sets to select by this rule; their probabilities are averaged.
        flips: Views whose probabilities are averaged: True for four, mirrored and upside down, False for images as they
            are. `auto` is False, but where three squares or fewer are labelled, and all are shown: turned and resized
            copies of them are shown, too, and the log-odds of two views averaged, as they are and mirrored.
        overlap: Let a pixel belong to several classes; masks are then one per class.
        scaling: Scaling of grey values to [0, 1]: `auto`, decided by the examples, or a kind of `Normalisation`.
        tiling: Segmentation of large images in tiles: `auto`, `never`, `always`, or the side of a tile in pixels.
        size_px: Side of the square on which the network works.
        device: The device to compute on; by default a GPU if there is one.
        memory_gb: Memory to compute with, by default half of what is free, at most 1. Kept besides are 0.2 MB for
            each labelled image and class; of a result the masks, and 64 kB for each plane and class.
        backend: Library to compute with, `torch` or `onnx`.
        seed: Seed of random choices.
        absent: Treatment of a class in images that probably do not show it, if there are four or more examples: `auto`
            draws nothing there if some examples lack the class, and else only where it is plainly absent, `suppress`
            in any case, `mark` only says so, `keep` does not ask.
        channel: The channel to look at of images that have several: its number, its name in the file, or
            `red`, `green` or `blue`.
        level: The level to look at of the resolution of whole slides and other pyramids: 0 is the full one.
        colours: Values of the classes of labels that are drawn in colours, by colour as `#rrggbb`; black is background.
        unknown: Value or values of pixels of labels that nobody judged; they are neither learnt nor scored. By default
            255, 254 or -1 where it stands apart from classes that are counted through, and then a warning says so.
        instance_divisor: Divisor of labels that number objects by class, such as 1000 of 1001, 1002 and 2001: the class
            is the integer quotient.
        tune: Tuning of a copy of the network on the labelled images, at `fit`: 0 for none, `auto`, or a number of steps
            at most. It takes about a minute on a processor core; `tuned` tells what it has come to. It stays without
            effect where labelled images that were not learned from do not gain. Where fewer than four images show each
            class, `auto` tunes nothing, since nothing would judge it; a number tunes on augmented copies of them.

    Attributes:
        sources: Tasks of a collection that were compared by `from_collection`, the one that was learned from first.
        choices: Settings that `choose` has tried; None if it was not called.
    """

    sources: "tuple[ComparedTask, ...]" = ()
    choices: Choices | None = None

    def __init__(
        self,
        weights: str | Path | nn.Module = "default",
        *,
        support: str = "all",
        support_size: int | None = None,
        ensemble: int = 1,
        flips: bool | str = "auto",
        overlap: bool = False,
        scaling: str = "auto",
        tiling: str | int = "auto",
        size_px: int = 128,
        device: torch.device | str | None = None,
        memory_gb: float | None = None,
        backend: str = "torch",
        seed: int = 0,
        absent: str = "auto",
        channel: Channel = None,
        level: int = 0,
        colours: Mapping[str, int] | None = None,
        unknown: Unknown = None,
        instance_divisor: int | None = None,
        tune: str | int = 0,
    ) -> None:
        self.weights = weights
        self.support = support
        self.support_size = support_size
        self.ensemble = ensemble
        self.flips = flips
        self.overlap = overlap
        self.scaling = scaling
        self.tiling = tiling
        self.size_px = size_px
        self.device = device
        self.memory_gb = memory_gb
        self.backend = backend
        self.seed = seed
        self.absent = absent
        self.channel = channel
        self.level = level
        self.colours = colours
        self.unknown = unknown
        self.instance_divisor = instance_divisor
        self.tune = tune

    @classmethod
    def from_collection(
        cls, collection: "str | Path | Collection", name: str, like: Pictures | None = None, **parameters: Any
    ) -> Self:
        """Learn a structure by its name from labelled images of a collection, instead of examples of one's own.

        Of the tasks of the structure, the one is taken whose images segment each other best and look most like the
        images to segment; `sources` names all that were compared, the one that was taken first. Where it makes them
        more alike, labelled images are shown as close-ups of the structure, or from afar.

        Args:
            collection: Collection, or its folder.
            name: Name of the structure, and if wanted of a modality: "optic disc", "Leber im CT".
            like: Some of the images to segment, which decide on the task, the labelled images and the scaling of grey
                values. Without them, CT is expected in Hounsfield units.
            parameters: Parameters of the segmenter; supports are the nearest labelled images unless `support` says
                otherwise.

        Raises:
            ValueError: If no task is of the structure, and the message has the nearest names; or if a parameter does
                not fit.
            OSError: If a file cannot be read.
        """
        from incontext.inference.named_task import fit_named, opened

        learner = cls(**{"support": "nearest", **parameters})
        with opened(collection) as found:
            learned, sources = fit_named(learner, found, name, like)
        learned.sources = sources
        return learned

    @property
    def expected_(self) -> Expected | None:
        """Expected Dice of new images, and the examples that look wrong, by segmenting each example by the others.

        Where `fit` was told of several subjects, each example is segmented by those of other subjects. Computed at
        first access, in about the time that as many images take, and anew if examples, weights or parameters change.
        None for fewer than four examples, or where none shows a class that others show. A network that was tuned is
        judged as it was before, since it has learned the examples; `tuned` tells what tuning gains on such as it has
        not.

        Raises:
            ValueError: If nothing was fitted yet.
        """
        return self.judgement.expected

    def choose(
        self,
        images: Pictures,
        labels: Labels,
        classes: Mapping[int, str] | None = None,
        subjects: Sequence[Hashable] | None = None,
    ) -> Self:
        """Take over labelled examples as `fit` does, with the settings by which they segment each other best.

        Other sizes of squares, flips, support selection, scaling and tiling are tried on examples that are left out,
        and the parameters changed to those that gain most, if that is more than one standard error; `choices` tells
        what was tried. It takes some twenty times what it takes to fit the examples and segment them once, and longer
        with tiles. Fewer than eight examples choose nothing, and none where one alone, or one subject, shows something.

        Args:
            images: A list of the labelled examples, as for `fit`.
            labels: Labels of the images, as for `fit`.
            classes: Names of label values.
            subjects: The subject of each image, as for `fit`; examples are then judged by those of other subjects.

        Raises:
            ValueError: If an argument does not fit; the message names it and the fix.
            OSError: If a file cannot be read.
        """
        classes = names_of(classes)
        track = on_terminal if self.show_progress else iter
        shown = [{*each.masks} for each in Examples(images, labels, self.rules, self.channel, level=self.level)]
        choices = choose_settings(self, images, labels, subjects, track, shown)
        self.set_params(**choices.changes).fit(images, labels, classes, subjects)
        self.choices = choices
        return self

    def predict(
        self,
        images: Pictures,
        support_images: Pictures | None = None,
        support_labels: Labels | None = None,
        *,
        prompts: Prompts | Sequence[Prompts | None] | None = None,
    ) -> Segmentation:
        """Segment images as the examples show, and as is said of them.

        Args:
            images: Arrays or tensors (H, W), (H, W, 1, 3 or 4) or (N, H, W), PIL images or paths: one or a list.
            support_images: Labelled examples for this call alone; by default those of `fit`.
            support_labels: Labels of the support images, in the forms that `fit` takes.
            prompts: What is said of each image, or None: the mask is then the one that an editor finds; see `edit`.
                Where all images have prompts, no examples are needed.

        Raises:
            ValueError: If an argument does not fit, or there are no examples; the message names the fix.
            OSError: If a file cannot be read.
        """
        if support_images is not None or support_labels is not None:
            if support_images is None or support_labels is None:
                message = "support_images and support_labels go together: expected both, got one. Pass the other too."
                raise ValueError(message)
            self._load()
            return copy.copy(self).fit(support_images, support_labels).predict(images, prompts=prompts)
        check_absent(self.absent)
        start, pictures = time.perf_counter(), as_list(images)
        told = prompts_of(prompts, len(pictures), self.has_examples)
        looked_at, sample, prompted = set(spread(len(pictures), SAMPLED_CASES)), [], {}

        def cases() -> Iterator[SourceImage]:
            for index, case in enumerate(as_source_images(pictures, self.channel, self.level)):
                if index in looked_at:
                    sample.append(thinned(case))
                if index in told:
                    prompted[index] = case
                yield case

        answer = self._answer(cases(), told, prompted)
        fitted, support = answer.fitted, str(self._choice) if self.has_examples else "none: prompts alone"
        competing = [] if self.overlap else fitted.told_of_overlap(self.overlap)
        warned = [*fitted.expectations.warn_about(sample), *fitted.told_of_lost(), *competing]
        report = self._report(fitted.preparation, support, fitted.pool.label_budget, warned, self.tuned)
        report = replace(report, prompts=sum(map(len, told.values())))
        result = Segmentation(answer.found, answer.classes, report, self.quality, answer.presence)
        result.report = finished(report, start)
        return result

    def predict_proba(self, images: Pictures) -> list[Float32[np.ndarray, "*grid"]]:
        """The probabilities of `predict`, and its errors: (*grid) for one class, (classes, *grid) for several."""
        return list(self.predict(images).probabilities)

    def score(self, images: Pictures, labels: Labels) -> float:
        """Mean Dice over the images, and of each over the classes that were looked for; 1 where both are empty.

        Args:
            images: Images, stacks or volumes, in the forms that `predict` takes.
            labels: Labels of the images, in the forms that `fit` takes.

        Raises:
            ValueError: If an argument does not fit; the message names it and the fix.
            OSError: If a file cannot be read.
        """
        rules, names = self.fitted.rules_for_others(self.rules), self.fitted.names
        examples = Examples(images, labels, rules, self.channel, names, self.level)
        result = self.predict(images)
        return float(np.mean([mean_dice(result, i, example) for i, example in enumerate(examples)]))

    def uncertainty(self, images: Pictures, draws: int = 8) -> list[Float32[np.ndarray, "*grid"]]:
        """Uncertainty of each pixel, had other examples been labelled: maps of an entropy in bits, in [0, 1].

        Args:
            images: Images, stacks or volumes, in the forms that `predict` takes.
            draws: Number of support sets that are resampled from the examples, each at the cost of a prediction.

        Returns:
            Maps on the images' own grids, (*grid) for one class, (classes, *grid) for several, each against all else.

        Raises:
            ValueError: If an argument does not fit, or there are no examples; the message names the fix.
            OSError: If a file cannot be read.
        """
        self.fitted_images("tell uncertainty")
        with self._task_network().network.evaluating():
            reader = self.judgement.reader
            cases = as_source_images(images, self.channel, self.level)
            found = predict_cases(cases, self.fitted.preparation, Doubt(reader, draws))
        maps = [each.on_grid(lambda entropy: entropy) for each in found]
        return [each[0] for each in maps] if len(reader.classes.names) == 1 else maps

    def propagate(
        self,
        volume: Picture | SourceImage | Frames,
        labels: PlaneLabels | None = None,
        classes: Mapping[int, str] | None = None,
        axis: Axis = None,
        config: Propagation | None = None,
        told: Callable[[int, int], object] | None = None,
    ) -> Segmentation:
        """Segment a volume or sequence from the labels of a few of its planes, and by the examples of `fit` if any.

        Labels travel outward from plane to plane, and what was found joins the support of the next planes; see
        `incontext.inference.propagation`. Planes that are labelled stay as they were drawn. The parameters that choose
        supports do not count here.

        Args:
            volume: A stack or volume, in the forms that `predict` takes; or a list of frames, each such an image.
            labels: Label maps by the index of their plane, oriented like the source's array, or masks by class name and
                that index; or one label map of the whole volume, of which every plane with a class is labelled. None to
                use the examples of `fit` alone.
            classes: Names of label values.
            axis: Axis from plane to plane; see `source_image.read_source_image`.
            config: Parameters of the propagation; by default shapes are interpolated between the planes of a volume, as
                far as the spacing makes them alike, and not between those of a stack, such as the frames of a film.
            told: Function that is told, meanwhile, how many planes are done, and of how many.

        Raises:
            ValueError: If an argument does not fit, or nothing is labelled; the message names the fix.
            OSError: If a file cannot be read.
        """
        start = time.perf_counter()
        if self._fitted:
            self.fitted_images("propagate")
        rules = self._fitted.rules_for_others(self.rules) if self._fitted else self.rules
        labelled = read_labelled(volume, labels, axis, replace(rules, instances=False), self.channel, self.level)
        if not labelled.values and self._fitted is None:
            message = (
                "labels show nothing: expected at least one labelled plane that shows a class, got none. "
                "Label one, or call fit with labelled planes of other volumes first."
            )
            raise ValueError(message)
        sample = [labelled.example.thinned()] if labelled.values else list(self.fitted.sample)
        by = self._task_network()
        if self.tune and not self._fitted:
            planes, _ = build_pool([labelled.example], self._prepare(sample))
            by = TaskNetwork.tuned_on(by.network, self._tuning, planes, planes.origins)
        propagator = self._propagator(by.network, labelled, sample, names_of(classes), config)
        others = self._fitted.pool.label_budget if self._fitted else 0
        report = self._report(
            propagator.preparation,
            propagator.support_of(labelled),
            len(labelled.labels) + others,
            Expectations.of(sample, propagator.preparation.normalisation).warn_about([thinned(labelled.case)]),
            by.tuned,
        )
        with by.network.evaluating():
            found = replace(propagator, told=told, near=by.tuned is None)(labelled)
        result = Segmentation([found], propagator.classes, report, self.quality)
        result.report = finished(report, start)
        return result

    def export(self, path: str | Path, author: str = "") -> Path:
        """Write what was learned as an ordinary model: an image in, probabilities of the classes out.

        Whoever runs it needs neither the labelled images nor this library. It takes one image (1, 1, H, W) of grey
        values as files hold them, of any size, and gives probabilities (1, classes, H, W), equal to those of `predict`
        to 1e-4; that is checked before the file appears. To trace it takes about a minute.

        Args:
            path: File to write: `.onnx`, `.pt2` for `torch.export.load`, or `.bioimage.zip` for BioImage.IO.
            author: Who made the model; only a BioImage.IO package says it.

        Raises:
            ValueError: If there are no examples, each image has a support of its own (`support="nearest"`), the suffix
                is unknown, or the network is no family of this library.
            ModuleNotFoundError: If the extra for the format, `onnx` or `bioimage`, is not installed.
        """
        from incontext.inference.model_files import ModelFile, writer_of
        from incontext.inference.model_of_task import checks_of, described, one_input

        writer_of(path := Path(path))
        fitted, network = self.fitted, self._task_network().network
        model = one_input(self.judgement, network, fitted.preparation, self.absent)
        report = self._report(fitted.preparation, str(self._choice), fitted.pool.label_budget, (), self.tuned)
        about = described(fitted, report, self.overlap)
        return ModelFile(model, about, checks_of(fitted, self.predict_proba), author).write(path)

    def _propagator(
        self,
        network: LoadedNetwork,
        labelled: Labelled,
        sample: Sequence[Example],
        classes: Mapping[int, str],
        config: Propagation | None,
    ) -> Propagator:
        fitted = self._fitted
        return Propagator(
            backend=backend_of(network.module, self.backend),
            device=self._torch_device,
            preparation=fitted.preparation if fitted else self._prepare(sample),
            classes=classes_to_seek(labelled, fitted, classes, self.overlap),
            temperature=self.temperature,
            fitted=fitted,
            config=config,
        )

    def _report(
        self, preparation: Preparation, support: str, label_budget: int, warned: Iterable[str], tuned: Tuned | None
    ) -> Report:
        return Report(
            normalisation=str(preparation.normalisation),
            support=support,
            label_budget=label_budget,
            tiling=preparation.tiling.reason,
            weights=self._load().sha256,
            tuning=None if tuned is None else tuned.reason,
            warnings=tuple(warned),
        )
