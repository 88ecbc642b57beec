"""The examples of docs/layouts.md are cards."""

import re
import tomllib
from pathlib import Path
from typing import get_args

from megamed import DatasetCard
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
