"""Which tasks of a collection a named suite holds (`suites.toml`): by role, modality, anatomy, number of annotators."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from megamed import Collection, Task
from megamed.schema import ANNOTATOR_MARK
from megamed.vocabulary import Role

_DATA: dict[str, Any] = tomllib.loads((resources.files("benchmarks.plans") / "suites.toml").read_text(encoding="utf-8"))
MODALITIES: dict[str, str] = _DATA["modalities"]
"""Family → pattern searched in a task's modality; the first that is found counts."""
ANATOMIES: dict[str, str] = _DATA["anatomies"]
"""Family → pattern searched in what a card says of the anatomy, in lower case."""
OTHER = "other"
"""What no pattern is found in."""


def family(text: str, patterns: Mapping[str, str]) -> str:
    """The first family whose pattern is found in a text.

    >>> family("mri-cine-short-axis", MODALITIES), family("sonar", MODALITIES)
    ('mr', 'other')
    """
    return next((name for name, pattern in patterns.items() if re.search(pattern, text.lower())), OTHER)


class Suite(BaseModel):
    """Conditions that a task must meet to belong to a suite; those not stated do not matter."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    roles: tuple[Role, ...] = Field(min_length=1)
    """Roles of the dataset that the task may belong to."""
    modality: str = ""
    """A family of `MODALITIES`."""
    anatomy: str = ""
    """A family of `ANATOMIES`."""
    minimum_subjects: int = Field(2, ge=2)
    """Least number of subjects that show the label; a query's support is of other subjects."""
    minimum_annotators: int = 0
    """Who drew the label on the same images. A consensus of so many belongs too."""

    @model_validator(mode="after")
    def _names_families(self) -> Self:
        for what, name, known in (("modality", self.modality, MODALITIES), ("anatomy", self.anatomy, ANATOMIES)):
            if name and name not in known:
                msg = f"Unknown {what}: expected one of {', '.join(known)}, got {name!r}."
                raise ValueError(msg)
        return self

    def __str__(self) -> str:
        conditions = [
            f"datasets of role {' or '.join(self.roles)}",
            f"modality {self.modality}" if self.modality else "",
            f"anatomy {self.anatomy}" if self.anatomy else "",
            f"at least {self.minimum_subjects} subjects" if self.minimum_subjects > 2 else "",
            f"at least {self.minimum_annotators} annotators" if self.minimum_annotators else "",
        ]
        return ", ".join(filter(None, conditions))

    def tasks(self, collection: Collection) -> list[Task]:
        """The tasks of a collection that belong, sorted by id; their subjects are not counted yet."""
        tasks = collection.tasks(roles=self.roles)
        if self.anatomy:
            tasks = [task for task in tasks if family(collection.card(task.dataset).anatomy, ANATOMIES) == self.anatomy]
        if self.modality:
            tasks = [task for task in tasks if family(task.modality, MODALITIES) == self.modality]
        if self.minimum_annotators:
            annotators = count_annotators(tasks)
            tasks = [task for task in tasks if annotators[consensus(task)] >= self.minimum_annotators]
        return tasks


def consensus(task: Task) -> str:
    """Id of the task whose label all annotators of this one's make together."""
    return task.id.partition(ANNOTATOR_MARK)[0]


def count_annotators(tasks: Iterable[Task]) -> Counter[str]:
    """Number of annotators who are told apart, by the id of the consensus."""
    return Counter(consensus(task) for task in tasks if ANNOTATOR_MARK in task.label)


SUITES: dict[str, Suite] = {name: Suite.model_validate(facts) for name, facts in _DATA["suites"].items()}
"""The suites by name."""
