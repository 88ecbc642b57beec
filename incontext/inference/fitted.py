"""What a segmenter knows of its labelled examples, and what a file of a task keeps of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from incontext.images.examples import Example
from incontext.images.input_checks import Expectations
from incontext.inference.support_pool import Pool, Preparation


@dataclass(frozen=True, eq=False)
class Fitted:
    """What `Segmenter.fit` learns: nothing but what the examples are."""

    pool: Pool = field(repr=False)
    names: Mapping[int, str]
    preparation: Preparation
    sample: Sequence[Example] = field(repr=False)

    @cached_property
    def expectations(self) -> Expectations:
        """What the examples make one expect of images."""
        return Expectations.of(self.sample, self.preparation.normalisation)
