"""What a machine lacks may be skipped at a desk, but not where CI is set."""

import os
import re
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


ALLOWED = ("needs a CUDA device", "no /home/me/shared: the real data and the reference outputs are not here")
REASONS = (*ALLOWED, "needs Chromium or Chrome on the PATH")


@pytest.fixture(scope="module")
def said(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[bool, tuple[int, str]]:
    """Exit code and output of a run of tests that are skipped, by whether CI is set."""
    folder = tmp_path_factory.mktemp("skipped")
    for number, reason in enumerate(REASONS):
        (folder / f"test_{number}.py").write_text(TESTS.format(reason=reason))
    (folder / "test_all.py").write_text(WHOLE_FILE)
    options = ("-v", "-p", "tests.skips", "-p", "no:cacheprovider", "--continue-on-collection-errors", "-rs")
    known = {name: value for name, value in os.environ.items() if name != "CI"}
    known |= {"PYTHONPATH": str(repository), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "COLUMNS": "200"}
    found = {}
    for ci in (False, True):
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, "-c", os.devnull, folder],
            cwd=folder,
            env={**known, "CI": "true"} if ci else known,
            capture_output=True,
            text=True,
            check=False,
        )
        found[ci] = done.returncode, done.stdout
    return found


def outcomes(text: str, name: str) -> list[str]:
    """What became of the tests of a file."""
    return re.findall(rf"\b{name}::\w+ (\w+)", text)


@pytest.mark.parametrize("reason", REASONS)
def test_only_stated_reasons_excuse_a_test(reason: str, said: dict[bool, tuple[int, str]]) -> None:
    name = f"test_{REASONS.index(reason)}.py"
    assert outcomes(said[False][1], name) == ["SKIPPED", "SKIPPED", "XFAIL"]
    skipped = "SKIPPED" if reason in ALLOWED else "ERROR"
    assert outcomes(said[True][1], name) == [skipped, skipped, "XFAIL"], said[True][1]


def test_a_file_that_is_skipped_as_a_whole_counts(said: dict[bool, tuple[int, str]]) -> None:
    (code, at_a_desk), (status, text) = said[False], said[True]
    assert (code, status) == (0, 1)
    assert re.search(r"^SKIPPED \[1\] .*test_all\.py", at_a_desk, re.MULTILINE)
    assert re.search(r"ERROR collecting .*test_all\.py.*\n.*a test did not run: expected all that it needs", text)
