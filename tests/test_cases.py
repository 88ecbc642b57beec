"""Situations of users, rebuilt as scripts beside the real data: a fixed third of them, for all take ten minutes.

The third was chosen by what no other test does: whole commands on files of other programs. `../shared/cases/run` runs
all of them.
"""

import os
import subprocess
from pathlib import Path

import pytest

THIRD = (
    *(
        "build05",
        "build15",
        "build16",
        "build20",
        "build25",
        "build28",
        "build34",
        "build38",
        "read05",
        "read07",
        "read10",
    ),
    *("read17", "read18", "read25", "read27", "read28", "read31", "read32", "read37"),
)
SECONDS = 300


@pytest.mark.parametrize("name", THIRD)
def test_a_situation_of_users_ends_well(name: str, shared: Path, repository: Path, scripts: Path) -> None:
    """The script says OK, or what came instead of the right value."""
    found = subprocess.run(
        [scripts / "python", shared / "cases" / "run", name],
        env=os.environ | {"PYTHONPATH": str(repository), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert found.returncode == 0, found.stdout + found.stderr
