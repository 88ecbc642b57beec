"""The network that a task is segmented by: the one loaded or, if that is asked for, a copy tuned on its examples."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from numbers import Integral
from typing import Self

from jaxtyping import Int64
from torch import Tensor

from incontext.inference.leave_one_out import LEAST_EXAMPLES
from incontext.inference.loaded_network import LoadedNetwork
from incontext.inference.support_pool import Pool
from incontext.networks.weights_delta import Tuned


@dataclass(frozen=True)
class Tuning:
    """A wish to tune.

    Attributes:
        steps: Largest number of steps, or `auto`; 0 for no tuning.
        seed: Seed of all that is drawn.
        show_progress: Whether a terminal shows how far it is.
        track: Function that passes the numbers of steps on one by one instead; what it raises ends the tuning.

    Raises:
        ValueError: If the number of steps is none.
    """

    steps: str | int = 0
    seed: int = 0
    show_progress: bool = field(default=True, compare=False)
    track: Callable[[Sequence[int]], Iterable[int]] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        is_number = isinstance(self.steps, Integral) and self.steps is not True and self.steps >= 0
        if self.steps != "auto" and not is_number:
            msg = f"tune is unknown: expected 'auto', 0 or a number of steps, got {self.steps!r}. Choose one."
            raise ValueError(msg)


@dataclass(frozen=True, eq=False)
class TaskNetwork:
    """The network that a task is segmented by.

    Attributes:
        network: The network that was loaded, or a copy of it that was moved by what tuning has changed.
        tuned: Outcome of tuning; None if it was not asked for.
    """

    network: LoadedNetwork
    tuned: Tuned | None = None

    @classmethod
    def of(cls, loaded: LoadedNetwork, tuned: Tuned) -> Self:
        """Move a copy of a network by what tuning it has changed.

        Raises:
            ValueError: If another network was tuned.
        """
        return cls(loaded.moved(tuned.delta) if tuned.delta else loaded, tuned)

    @classmethod
    def tuned_on(cls, loaded: LoadedNetwork, wish: Tuning, pool: Pool, groups: Int64[Tensor, " P"]) -> Self:
        """Tune a copy of a network on labelled squares, if that is wished; squares of one group never judge each other.

        A network that cannot leave an image out is not tuned.
        """
        if not wish.steps:
            return cls(loaded)
        # Training augments images with a library that takes long to import.
        from incontext.training.tuning import TunableNetwork, TuningConfig, TuningImages, shown_on_terminal, tune

        if not isinstance(loaded.module, TunableNetwork):
            return cls(loaded, Tuned(None, "not tuned: the network has no method leave_one_out"))
        config = TuningConfig()
        if wish.steps != "auto":
            config = TuningConfig(steps=int(wish.steps), unjudged_steps=int(wish.steps))
        data = TuningImages(pool.images, pool.labels, pool.annotated, groups)
        with loaded.evaluating():
            track = wish.track or (shown_on_terminal if wish.show_progress else iter)
            return cls.of(loaded, tune(loaded.module, data, config, wish.seed, track))


def groups_of(pool: Pool) -> Int64[Tensor, " P"]:
    """Number of the subject of each square, its example or its plane: of the first of which enough show something.

    Where they are few, a plane is judged by its own volume, and a volume by its own subject.
    """
    shows = (pool.labels == 1).flatten(1).any(1)
    numbered = (each for each in (pool.relations, pool.units) if len(each[shows].unique()) >= LEAST_EXAMPLES)
    return next(numbered, pool.origins)
