"""The examples of docs/layouts.md are cards, and docs/annotation-tools.md names functions that there are."""

import importlib
import re
import tomllib
from pathlib import Path
from typing import get_args

from megamed import DatasetCard
from megamed.annotation_tools.tools import RECOGNISERS
from megamed.annotation_tools.writers import WRITERS, path_in
from megamed.schema import FileRules
from megamed.vocabulary import Layout

FACTS = {"id": "a", "modality": "MRI", "license": "CC0", "labels": {1: "disc", 2: "cup"}}


def test_examples_are_cards(repository: Path) -> None:
    examples = re.findall(r"```toml\n(.*?)```", (repository / "docs" / "layouts.md").read_text(), re.S)
    assert len(examples) >= 6
    for example in examples:
        DatasetCard.model_validate(FACTS | tomllib.loads(example))


def test_every_layout_and_rule_is_told(repository: Path) -> None:
    text = (repository / "docs" / "layouts.md").read_text()
    for name in (*get_args(Layout), *FileRules.model_fields):
        assert name in text, name


def test_every_annotation_tool_is_told_in_five_lines(repository: Path) -> None:
    text = (repository / "docs" / "annotation-tools.md").read_text()
    sections = dict(re.findall(r"^## (.*)\n([^#]*)", text, re.M))
    assert len(sections) == len(RECOGNISERS)
    for title in RECOGNISERS:
        (body,) = (body for heading, body in sections.items() if heading.startswith(title))
        assert [line.split()[1] for line in body.splitlines() if line.startswith("* ")] == [
            *("Export:", "Command:", "Written:", "Back:", "Convention:")
        ]


def test_functions_of_annotation_tools_exist(repository: Path) -> None:
    text = (repository / "docs" / "annotation-tools.md").read_text()
    called = re.findall(r"`([a-z_]+)\.([a-z_]+)\(", text)
    assert called
    for module, function in called:
        assert hasattr(importlib.import_module(f"megamed.annotation_tools.{module}"), function)


def test_every_tool_has_the_command_that_writes_its_files(repository: Path) -> None:
    text = (repository / "docs" / "annotation-tools.md").read_text()
    sections = dict(re.findall(r"^## (.*)\n([^#]*)", text, re.M))
    for tool, writer in WRITERS.items():
        (body,) = (body for heading, body in sections.items() if heading.startswith(writer.title))
        assert f"--write {tool}`" in body
        place = path_in(Path(), tool, "b.nii.gz" if "volume" in writer.holds else "2.png")
        assert f"* Written: `{place.as_posix()}`" in body
