"""The examples of docs/layouts.md are cards, and docs/annotation-tools.md names functions that there are."""

import importlib
import re
import tomllib
from pathlib import Path
from typing import get_args

from megamed import DatasetCard
from megamed.annotation_tools.tools import RECOGNISERS
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
            *("Export:", "Read:", "Convention:", "Back:", "Then")
        ]


def test_functions_of_annotation_tools_exist(repository: Path) -> None:
    text = (repository / "docs" / "annotation-tools.md").read_text()
    called = re.findall(r"`([a-z_]+)\.([a-z_]+)\(", text)
    assert len(called) > 20
    for module, function in called:
        if module != "image":
            assert hasattr(importlib.import_module(f"megamed.annotation_tools.{module}"), function)
