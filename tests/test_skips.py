"""What a machine lacks may be skipped at a desk, but not where CI is set."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import pytest

@pytest.mark.skipif(True, reason="{reason}")
def test_marked():
    pass

@pytest.fixture
def needed():
    pytest.skip("{reason}")

def test_with_fixture(needed):
    pass

@pytest.mark.xfail(reason="{reason}")
def test_known_to_fail():
    assert False
"""
WHOLE_FILE = """
import pytest
pytest.importorskip("not_installed")
"""


def outcome(folder: Path, repository: Path, **environment: str) -> tuple[int, str]:
    known = {name: value for name, value in os.environ.items() if name != "CI"}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.skips", "-p", "no:cacheprovider", "-c", os.devnull, folder],
        cwd=folder,
        env={**known, "PYTHONPATH": str(repository), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    ("reason", "allowed"),
    [
        ("needs a CUDA device", True),
        ("no /home/me/shared: the real data and the reference outputs are not here", True),
        ("needs Chromium or Chrome on the PATH", False),
    ],
)
def test_only_stated_reasons_excuse_a_test(reason: str, allowed: bool, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(TESTS.format(reason=reason))
    assert outcome(tmp_path, repository)[0] == 0
    code, text = outcome(tmp_path, repository, CI="true")
    assert (code == 0) == allowed, text
    assert ("2 skipped" in text) == allowed
    assert "1 xfailed" in text


def test_a_file_that_is_skipped_as_a_whole_counts(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "test_all.py").write_text(WHOLE_FILE)
    assert "1 skipped" in outcome(tmp_path, repository)[1]
    code, text = outcome(tmp_path, repository, CI="true")
    assert code not in (0, 5)
    assert "a test did not run: expected all that it needs" in text
