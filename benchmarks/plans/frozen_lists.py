"""Frozen lists: every query and support of a plan by dataset and case, to score the same episodes again anywhere."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from benchmarks.plans.suites import licenses
from benchmarks.plans.task_plans import Episode, Settings, TaskPlan, lacking, plan_hash, plan_suite, stated
from megamed import Collection, Sample, Task
from megamed.files import claimed_file, replace_file, sha256_of
from megamed.manifest import first_fault
from megamed.readers.faults import check_no_stream

EXAMPLES = 3


class FrozenTask(BaseModel):
    """Episodes of one task, with samples named by their cases."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cases: tuple[str, ...]
    """Names of all cases that are a query or in a support, sorted."""
    episodes: tuple[tuple[int, int, tuple[int, ...]], ...]
    """Episodes as (index of the query, draw, indices of the support in order), with indices into `cases`."""

    @model_validator(mode="after")
    def _indices_exist(self) -> Self:
        indices = {index for query, _, support in self.episodes for index in (query, *support)}
        if not indices <= set(range(len(self.cases))):
            msg = f"index of a case does not exist: expected 0 to {len(self.cases) - 1}, got {max(indices)}."
            raise ValueError(msg)
        return self

    @classmethod
    def of(cls, plan: TaskPlan) -> "FrozenTask":
        """Freeze the episodes of a task's plan."""
        cases = sorted({each.case for episode in plan.episodes for each in (episode.query, *episode.support)})
        index_of = {case: index for index, case in enumerate(cases)}
        episodes = (
            (index_of[episode.query.case], episode.draw, tuple(index_of[each.case] for each in episode.support))
            for episode in plan.episodes
        )
        return cls(cases=tuple(cases), episodes=tuple(episodes))

    def plan(self, task: Task, samples: Iterable[Sample], ensemble: int) -> TaskPlan:
        """Rebuild the plan by looking its cases up among the task's samples in a collection.

        Raises:
            ValueError: If the collection lacks a case.
        """
        by_case = {sample.case: sample for sample in samples}
        if missing := sorted(set(self.cases) - by_case.keys()):
            msg = (
                f"The collection lacks cases of task {task.id!r}: expected {len(self.cases)}, got "
                f"{len(self.cases) - len(missing)}, without {', '.join(missing[:EXAMPLES])}. "
                "Build it from the dataset that the list was made of."
            )
            raise ValueError(msg)
        found = [by_case[case] for case in self.cases]
        episodes = tuple(
            Episode(found[query], draw, tuple(found[index] for index in support))
            for query, draw, support in self.episodes
        )
        return TaskPlan(task, episodes, ensemble)


class FrozenList(BaseModel):
    """Frozen plan of a suite, which needs no collection to be read."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal["incontext-bench-list-1"] = "incontext-bench-list-1"
    plan_hash: str
    settings: Settings
    """Settings by which the plan was made."""
    skipped: dict[str, str]
    """Mapping of a skipped task's id → reason."""
    tasks: dict[str, FrozenTask]
    """Frozen episodes of each task, by its id."""
    licenses: dict[str, str] = {}
    """Licence of each dataset, by its id; empty in a list of an earlier version."""
    sha256: str = ""
    """Hash of all other fields, which the plan hash covers in part; empty in a list of an earlier version."""

    @property
    def hash(self) -> str:
        """Hash of all fields but `sha256`, whatever that states."""
        plain = {name: value for name, value in self.plain.items() if name != "sha256"}
        return sha256_of(json.dumps(plain, sort_keys=True).encode())

    @property
    def plain(self) -> dict[str, Any]:
        """All fields as JSON values, without what lists of earlier versions lack, if it is empty."""
        empty = set() if self.licenses else {"licenses"}
        return self.model_dump(exclude=empty) | {"settings": stated(self.settings)}

    def plans(self, collection: Collection) -> list[TaskPlan]:
        """Rebuild the plans by looking their tasks and cases up in a collection, which may hold more.

        Raises:
            ValueError: If the collection lacks a task or a case, or if the list was changed since it was frozen.
        """
        known = {task.id for task in collection.tasks(datasets=self._datasets(collection))}
        if missing := sorted(self.tasks.keys() - known):
            msg = (
                f"The collection lacks tasks of the list: expected {len(self.tasks)}, got "
                f"{len(self.tasks) - len(missing)}, without {', '.join(missing[:EXAMPLES])}. Build them first."
            )
            raise ValueError(msg)
        plans = [
            frozen.plan(task, self._samples(collection, task), self.settings.ensemble)
            for task, frozen in ((Task.from_id(name), frozen) for name, frozen in self.tasks.items())
        ]
        if (found := plan_hash(plans)) != self.plan_hash:
            msg = f"The list was changed: expected plan hash {self.plan_hash}, got {found}. Freeze it anew."
            raise ValueError(msg)
        if self.sha256 not in ("", self.hash):
            msg = f"The list was changed: expected hash {self.sha256}, got {self.hash}. Freeze it anew."
            raise ValueError(msg)
        return plans

    def _samples(self, collection: Collection, task: Task) -> list[Sample]:
        return collection.samples(task) + (lacking(collection, task) if self.settings.absent else [])

    def _datasets(self, collection: Collection) -> list[str]:
        return sorted({Task.from_id(name).dataset for name in self.tasks} & set(collection.datasets))


def freeze(collection: Collection, settings: Settings, datasets: Sequence[str] = ()) -> FrozenList:
    """Plan a suite on a collection, or on some of its datasets, and freeze its episodes."""
    plans, skipped = plan_suite(collection, settings, datasets)
    frozen = FrozenList(
        plan_hash=plan_hash(plans),
        settings=settings,
        skipped=skipped,
        tasks={plan.task.id: FrozenTask.of(plan) for plan in plans},
        licenses=licenses(collection, (plan.task.dataset for plan in plans)),
    )
    return frozen.model_copy(update={"sha256": frozen.hash})


def freeze_to(path: Path, collection: Path, settings: Settings) -> FrozenList:
    """Plan a suite on a collection, and write its frozen list to a file."""
    with claimed_file(path, "freeze"):
        frozen = freeze(Collection(collection), settings)
        write_list(path, frozen)
    return frozen


def write_list(path: Path, frozen: FrozenList) -> None:
    """Write a frozen list to a JSON file."""
    replace_file(path, json.dumps(frozen.plain, ensure_ascii=False, separators=(",", ":")) + "\n")


def read_list(path: Path) -> FrozenList:
    """Read a frozen list from a JSON file.

    Raises:
        ValueError: If the file is no frozen list, or was changed since it was written.
    """
    check_no_stream(path)
    try:
        frozen = FrozenList.model_validate_json(path.read_bytes())
    except ValidationError as error:
        msg = f"{path} is no frozen list: {first_fault(error)}. Make one with `incontext-bench freeze`."
        raise ValueError(msg) from None
    if frozen.sha256 not in ("", frozen.hash):
        msg = f"{path} was changed: expected hash {frozen.sha256[:16]}, got {frozen.hash[:16]}. Freeze it anew."
        raise ValueError(msg)
    return frozen


def plan_asked(collection: Collection, asked: Settings | FrozenList) -> tuple[Settings, list[TaskPlan], dict[str, str]]:
    """Settings, plans, and skipped task ids with the reason, by planning a suite or by reading a frozen list."""
    if isinstance(asked, FrozenList):
        return asked.settings, asked.plans(collection), asked.skipped
    return asked, *plan_suite(collection, asked)
