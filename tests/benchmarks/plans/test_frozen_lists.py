"""What is frozen comes back, and only on a collection that has all of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.plans.frozen_lists import FrozenList, freeze, plan_asked, read_list, write_list
from benchmarks.plans.task_plans import Settings, plan_hash, plan_suite
from megamed import Collection

SETTINGS = Settings(support_size=4, draws=2, queries=6, ensemble=2)
DISC = "cells/drawing/2d/disc"


@pytest.fixture
def frozen(drawings: Collection) -> FrozenList:
    return freeze(drawings, SETTINGS)


def test_a_device_is_no_list() -> None:
    with pytest.raises(ValueError, match="zero cannot be read: expected a file, got a pipe, a socket or a device"):
        read_list(Path("/dev/zero"))


def test_a_list_survives_the_file_and_gives_the_same_plans(
    drawings: Collection, frozen: FrozenList, tmp_path: Path
) -> None:
    write_list(tmp_path / "list.json", frozen)
    assert read_list(tmp_path / "list.json") == frozen
    asked = plan_asked(drawings, read_list(tmp_path / "list.json"))
    assert asked == plan_asked(drawings, SETTINGS) == (SETTINGS, *plan_suite(drawings, SETTINGS))
    assert plan_hash(asked[1]) == frozen.plan_hash


def test_shared_supports_are_frozen_too(drawings: Collection, tmp_path: Path) -> None:
    shared = replace(SETTINGS, query_subjects="test", supports="shared")
    write_list(tmp_path / "list.json", freeze(drawings, shared))
    assert plan_asked(drawings, read_list(tmp_path / "list.json")) == plan_asked(drawings, shared)


def test_a_list_of_before_is_of_supports_per_query(frozen: FrozenList, tmp_path: Path) -> None:
    write_list(tmp_path / "list.json", frozen)
    plain = json.loads((tmp_path / "list.json").read_text())
    del plain["settings"]["supports"]
    (tmp_path / "list.json").write_text(json.dumps(plain))
    assert read_list(tmp_path / "list.json") == frozen


def test_queries_without_the_structure_are_frozen_too(sparse: Collection, tmp_path: Path) -> None:
    asked = replace(SETTINGS, absent=3)
    write_list(tmp_path / "list.json", freeze(sparse, asked))
    assert plan_asked(sparse, read_list(tmp_path / "list.json")) == plan_asked(sparse, asked)


def test_a_list_states_licences_and_one_of_before_keeps_its_hash(frozen: FrozenList, tmp_path: Path) -> None:
    assert frozen.licenses == {"cells": "CC0-1.0"}
    before = frozen.model_copy(update={"licenses": {}})
    assert before.hash != frozen.hash
    write_list(tmp_path / "list.json", before.model_copy(update={"sha256": before.hash}))
    assert "licenses" not in json.loads((tmp_path / "list.json").read_text())
    assert read_list(tmp_path / "list.json").hash == before.hash


def test_a_list_without_them_has_the_hash_that_it_always_had(frozen: FrozenList, tmp_path: Path) -> None:
    write_list(tmp_path / "list.json", frozen)
    assert "absent" not in (tmp_path / "list.json").read_text()
    assert read_list(tmp_path / "list.json").hash == frozen.sha256


def test_a_list_names_cases_and_says_why_tasks_are_missing(frozen: FrozenList) -> None:
    assert list(frozen.tasks) == [DISC]
    assert set(frozen.tasks[DISC].cases) <= {f"s{subject}-{image}" for subject in range(6) for image in range(3)}
    assert frozen.skipped == {"lonely/drawing/2d/disc": "needs 2 labelled subjects, has 1"}


def test_more_cases_and_other_rows_change_nothing(drawings: Collection, frozen: FrozenList) -> None:
    samples = drawings._samples["cells"]
    drawings._samples["cells"] = [
        replace(sample, subject=f"new{sample.subject}", case=f"new{sample.case}") for sample in samples
    ] + [replace(sample, row=sample.row + 1000) for sample in samples]
    (plan,) = frozen.plans(drawings)
    assert plan_hash([plan]) == frozen.plan_hash != plan_hash(plan_suite(drawings, SETTINGS)[0])
    assert all(episode.query.row >= 1000 for episode in plan.episodes)


def test_a_collection_that_lacks_a_case_is_refused(drawings: Collection, frozen: FrozenList) -> None:
    gone = frozen.tasks[DISC].cases[0]
    drawings._samples["cells"] = [sample for sample in drawings._samples["cells"] if sample.case != gone]
    with pytest.raises(ValueError, match=f"lacks cases of task '{DISC}': expected .*, without {gone}. Build it"):
        frozen.plans(drawings)


def test_a_collection_that_lacks_a_task_is_refused(drawings: Collection, frozen: FrozenList) -> None:
    del drawings._samples["cells"]
    with pytest.raises(ValueError, match=f"lacks tasks of the list: expected 1, got 0, without {DISC}"):
        frozen.plans(drawings)


def test_a_list_that_was_changed_is_refused(drawings: Collection, frozen: FrozenList, tmp_path: Path) -> None:
    write_list(tmp_path / "list.json", frozen)
    changed = json.loads((tmp_path / "list.json").read_text())
    changed["tasks"][DISC]["episodes"][0][2].reverse()
    (tmp_path / "list.json").write_text(json.dumps(changed))
    with pytest.raises(ValueError, match=rf"list\.json was changed: expected hash {frozen.sha256[:16]}, got "):
        read_list(tmp_path / "list.json")
    (tmp_path / "list.json").write_text(json.dumps(changed | {"sha256": ""}))
    with pytest.raises(ValueError, match=f"The list was changed: expected plan hash {frozen.plan_hash}, got "):
        read_list(tmp_path / "list.json").plans(drawings)


@pytest.mark.parametrize(
    ("text", "place"), [("", "file"), ("{}", "plan_hash"), ('{"format": "incontext-bench-list-2"}', "format")]
)
def test_what_is_no_list_is_refused(tmp_path: Path, text: str, place: str) -> None:
    (tmp_path / "list.json").write_text(text)
    with pytest.raises(ValueError, match=f"list.json is no frozen list: {place}: .* `incontext-bench freeze`"):
        read_list(tmp_path / "list.json")


def test_an_index_outside_the_cases_is_refused(drawings: Collection, frozen: FrozenList) -> None:
    cases = frozen.tasks[DISC].cases
    changed = frozen.model_dump(mode="json")
    changed["tasks"][DISC]["episodes"] = [[len(cases), 0, [0]]]
    with pytest.raises(ValueError, match="index of a case does not exist: expected 0 to 11, got 12"):
        FrozenList.model_validate(changed)
