"""Named suites (`suites.toml`): conditions on the role, modality, anatomy and number of annotators of a task."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from megamed import Collection, Task
from megamed.annotators import person_of
from megamed.schema import ANNOTATOR_MARK
from megamed.vocabulary import Role

_DATA: dict[str, Any] = tomllib.loads((resources.files("benchmarks.plans") / "suites.toml").read_text(encoding="utf-8"))
MODALITIES: dict[str, str] = _DATA["modalities"]
"""Mapping of a family → regular expression searched in a task's modality; the first match decides."""
ANATOMIES: dict[str, str] = _DATA["anatomies"]
"""Mapping of a family → regular expression searched in the anatomy that a card states, in lower case."""
NO_LICENSE = "none stated"
OTHER = "other"
"""Family of a text in which no pattern is found."""


def family(text: str, patterns: Mapping[str, str]) -> str:
    """Name of the first family whose pattern is found in a text, or `OTHER`.

    >>> family("mri-cine-short-axis", MODALITIES), family("sonar", MODALITIES)
    ('mr', 'other')
    """
    return next((name for name, pattern in patterns.items() if re.search(pattern, text.lower())), OTHER)


class Suite(BaseModel):
    """Conditions that a task must meet to belong to a suite; a field at its default is no condition."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    roles: tuple[Role, ...] = Field(min_length=1)
    """Roles of datasets, one of which the task's dataset must have."""
    modality: str = ""
    """Family of the task's modality, a key of `MODALITIES`."""
    anatomy: str = ""
    """Family of the dataset's anatomy, a key of `ANATOMIES`."""
    minimum_subjects: int = Field(2, ge=2)
    """Minimum number of subjects that show the label; two, because a query's support is of other subjects."""
    minimum_annotators: int = 0
    """Minimum number of annotators who drew the label on the same images; their consensus belongs, too."""

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
        """Tasks of a collection that belong to the suite, sorted by id, before `minimum_subjects` is applied."""
        tasks = collection.tasks(roles=self.roles)
        if self.anatomy:
            tasks = [task for task in tasks if family(collection.card(task.dataset).anatomy, ANATOMIES) == self.anatomy]
        if self.modality:
            tasks = [task for task in tasks if family(task.modality, MODALITIES) == self.modality]
        if self.minimum_annotators:
            annotators = count_annotators(tasks)
            tasks = [task for task in tasks if annotators[consensus(task)] >= self.minimum_annotators]
        return tasks


def licenses(collection: Collection, datasets: Iterable[str]) -> dict[str, str]:
    """Licence of each dataset as its card states it, by id, in the order of the ids."""
    return {name: collection.card(name).license or NO_LICENSE for name in sorted({*datasets})}


def consensus(task: Task) -> str:
    """Id of the consensus task that belongs to an annotator's task; the id itself for any other task."""
    return task.id.partition(ANNOTATOR_MARK)[0]


def count_annotators(tasks: Iterable[Task]) -> Counter[str]:
    """Number of people who drew each label, by the id of its consensus task."""
    return Counter(map(consensus, of_distinct_people(task for task in tasks if ANNOTATOR_MARK in task.label)))


def of_distinct_people(tasks: Iterable[Task]) -> tuple[Task, ...]:
    """Keep one task of each person, the first, if somebody drew the same with several tools."""
    first = {person_of(task.id): task for task in reversed(list(tasks))}
    return tuple(first.values())[::-1]


SUITES: dict[str, Suite] = {name: Suite.model_validate(facts) for name, facts in _DATA["suites"].items()}
"""Suites by name, as `suites.toml` defines them."""
