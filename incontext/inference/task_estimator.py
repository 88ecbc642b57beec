"""An estimator with labelled examples, and with a network that may be tuned on them."""

from typing import Any

from incontext.inference.network_estimator import NetworkEstimator
from incontext.inference.support_pool import Fitted
from incontext.inference.task_network import TaskNetwork, Tuning, groups_of
from incontext.networks.weights_delta import Tuned


class TaskEstimator(NetworkEstimator):
    """An estimator whose network is tuned on its examples if that is asked for, and anew only if anything has changed.

    Attributes:
        show_progress: Whether tuning shows how far it is and how long it will take, where stderr is a terminal.
    """

    tune: str | int
    seed: int
    show_progress: bool = True
    _fitted: Fitted | None = None
    _tuned: tuple[Any, TaskNetwork] | None = None

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

    @property
    def tuned(self) -> Tuned | None:
        """Outcome of tuning on the examples of `fit`; None if it was not asked for."""
        return self._task_network().tuned

    @property
    def _tuning(self) -> Tuning:
        return Tuning(self.tune, self.seed, self.show_progress)

    @property
    def _tuning_key(self) -> tuple[Any, ...]:
        """All that the outcome of tuning depends on."""
        return self._fitted, self._load(), self._load().version, self._tuning

    def _task_network(self) -> TaskNetwork:
        """Return the network that reads the examples, tuned anew only if anything has changed."""
        loaded = self._load()
        if not self.tune or self._fitted is None:
            return TaskNetwork(loaded)
        if self._tuned is None or self._tuned[0] != self._tuning_key:
            pool = self._fitted.pool
            self._tuned = self._tuning_key, TaskNetwork.tuned_on(loaded, self._tuning, pool, groups_of(pool))
        return self._tuned[1]
