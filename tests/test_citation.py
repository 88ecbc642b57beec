"""The citation is of this version and under this licence."""

import re
import tomllib
from pathlib import Path

from incontext import __version__


def test_the_citation_is_of_this_version(repository: Path) -> None:
    cited = dict(
        re.findall(r"^([a-z-]+): (.+)$", (repository / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    )
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert cited["version"] == __version__
    changes = (repository / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\n## [{__version__}] - {cited['date-released']}\n" in changes
    assert cited["license"] == project["license"]
    assert project["name"] in cited["title"]
