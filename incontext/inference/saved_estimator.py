"""An estimator whose task is saved in a file, loaded from one, and passed on by a hub."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

import torch
from torch import nn

from incontext.inference.editing_estimator import EditingEstimator
from incontext.inference.hub import fetch, is_repository
from incontext.inference.publishing import Publication, Terms, check_images
from incontext.inference.task_file import Parameters, SavedTask, Weights, find_weights, read_task, write_task
from incontext.networks.checkpoint import NAMED, locate

TASK = "task.safetensors"
"""Name of the file of a task on a hub."""


class SavedEstimator(EditingEstimator):
    """An estimator that can be saved with its examples, and made of what was saved."""

    def save_task(self, path: str | Path, author: str = "", codes_only: bool = False) -> Path:
        """Write the fitted state into one file, for `load_task` to read here or elsewhere.

        Of the weights it holds what tuning has changed, if it has changed any: up to 2.4 MB for the packaged ones.

        The file holds the labelled images: share it only with those who may see them. Without them it predicts the
        same masks and presence, and tells the same `expected_`, but cannot learn further images or propagate; and the
        code of a support, and numbers of each image that are beside it, still show traces of the images and labels.

        Args:
            path: File to write.
            author: Who made the task, for those who receive it.
            codes_only: Leave the images out, and write what the network has read of them.

        Raises:
            ValueError: If there are no examples, or the weights come from no file, so that nobody could find them; or
                if the images shall be left out, and each image is segmented by a support of its own.
        """
        task = self._task(author)
        if codes_only:
            task = replace(task, fitted=self.without_images())
        return write_task(Path(path), task)

    @classmethod
    def load_task(
        cls,
        path: str | Path,
        weights: str | Path | None = None,
        device: torch.device | str | None = None,
        *,
        revision: str | None = None,
        endpoint: str | None = None,
    ) -> Self:
        """Load a task that `save_task` wrote, ready to predict, from a file or from a hub.

        Args:
            path: File of the saved task, or `owner/name`, which is downloaded once.
            weights: Weights that the task was made with; by default sought among the packaged ones and beside the task.
            device: The device to compute on; by default a GPU if there is one.
            revision: Branch, tag or commit of a repository; by default `main`.
            endpoint: Address of the hub; by default that in HF_ENDPOINT, else https://huggingface.co.

        Raises:
            FileNotFoundError: If there is no such file, or its weights are not at hand; the message names them.
            ValueError: If it is no task, or damaged.
            OSError: If the hub does not give it, or not as it should be; nothing is kept then.
        """
        if is_repository(path, revision):
            path = fetch(str(path), "task", revision, endpoint)
        task = read_task(path := Path(path))
        at_hand: list[str | Path] = [*NAMED, path.parent / task.weights.name] if weights is None else [weights]
        segmenter = cls().set_params(weights=find_weights(task.weights, at_hand), device=device)
        segmenter.set_params(**task.parameters.model_dump())
        segmenter._choice  # noqa: B018 - a mistake in it is told at once
        segmenter.go_back_to(task.fitted).credit(*task.sources)
        if task.tuned:
            segmenter.keep_tuned(task.tuned)
        return segmenter

    def push_to_hub(self, name: str, author: str = "", **terms: Any) -> str:
        """Put the task on a hub or, where nothing was fitted, the weights; with a card that tells of data and licence.

        Args:
            name: Name of the repository, `owner/name`, which is made unless it is there.
            author: Who made the task, for those who receive it.
            terms: Terms of publication, as in `incontext.inference.publishing.Terms`: `licence`, `private`, `endpoint`,
                `codes_only` to leave the images out, `anyway` to pass on images though their licence does not surely
                allow it.

        Returns:
            Address of the repository.

        Raises:
            ValueError: If the licence of the images does not surely allow it, or the weights come from no file.
            OSError: If the hub refuses.
        """
        wish = Terms(**terms)
        if not self.has_examples:
            return Publication.of_weights(self._weights_file, self.metadata).publish(name, wish)
        task = self._task(author)
        codes_only = wish.codes_only or task.fitted.codes is not None
        task = replace(task, sources=wish.stated(task.sources))
        check_images(task.sources, replace(wish, codes_only=codes_only))
        own = None if task.weights.name in NAMED else self._weights_file
        with TemporaryDirectory() as folder:
            file = self.save_task(Path(folder) / TASK, author, wish.codes_only)
            told = Publication.of_task(file, task, self.judgement.expected, own, codes_only)
            return told.publish(name, wish)

    def _task(self, author: str) -> SavedTask:
        """All that was fitted, to be saved.

        Raises:
            ValueError: If there are no examples, or the weights come from no file, so that nobody could find them.
        """
        fitted, weights = self.fitted, Weights.of(self.weights, self._load().sha256)
        parameters = Parameters(**{name: getattr(self, name) for name in Parameters.model_fields})
        return SavedTask(fitted, parameters, weights, self.tuned, author, self.image_sources)

    @property
    def _weights_file(self) -> Path:
        """File of the weights.

        Raises:
            ValueError: If they come from none.
        """
        Weights.of(self.weights, self._load().sha256)
        assert not isinstance(self.weights, nn.Module)
        return locate(self.weights)
