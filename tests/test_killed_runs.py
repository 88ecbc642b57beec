"""Killed at any moment, alone or beside another, a command given again leaves what the undisturbed one leaves."""

import os
import subprocess
from pathlib import Path

import pytest

KILLS = {"segment": 3, "tune": 1, "propagate": 1, "build": 1, "train": 1, "bench": 1}
"""Number of kills of each command; the third time, another process is beside it."""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked here")
@pytest.mark.parametrize("name", KILLS)
def test_a_killed_command_goes_on_to_the_same(name: str, tmp_path: Path, repository: Path, scripts: Path) -> None:
    asked = [scripts / "python", "-c", "from tests.killed_runs import main; main()", name, str(tmp_path / name)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository), "KILLS": str(KILLS[name])}
    result = subprocess.run(asked, cwd=repository, env=environment, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
