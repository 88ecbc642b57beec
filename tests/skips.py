"""A test that was meant to run is not skipped: where CI is set, a skip for any other reason than these is a failure."""

import os
import re
from collections.abc import Generator

import pytest

Report = pytest.TestReport | pytest.CollectReport

ALLOWED = re.compile(r"needs a CUDA device|no .*: the real data and the reference outputs are not here")
"""Reasons to skip what no machine can have installed."""


def refuse(report: Report) -> Report:
    """Turn the report of a skip that is not allowed into one of a failure."""
    if os.environ.get("CI") and report.skipped and isinstance(report.longrepr, tuple):
        path, line, reason = report.longrepr
        if not ALLOWED.search(reason):
            report.outcome = "failed"
            said = reason.removeprefix("Skipped: ")
            report.longrepr = f"{path}:{line}: a test did not run: expected all that it needs, got: {said}. Install it."
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Called by pytest for each phase of a test."""
    return refuse((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Called by pytest for each file: one may be skipped as a whole."""
    return refuse((yield))
