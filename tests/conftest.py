"""Shared fixtures, and the run-time check of every shape and type annotation."""

import gc
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests.checked import check_packages
from tests.sharing import pytest_collection_modifyitems, pytest_xdist_make_scheduler  # noqa: F401 - pytest finds them
from tests.skips import pytest_make_collect_report, pytest_runtest_makereport  # noqa: F401 - pytest finds them here
from tests.warm import warm_scripts

check_packages(["incontext", "megamed", "benchmarks"])

# How long an example takes says something about the machine, not about the law.
settings.register_profile("unhurried", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

ROOT = Path(__file__).parents[1]


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, None, None]:
    """Look for garbage afterwards only, and only in what tests make: what is imported stays, and fills seconds."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    import torch  # here, since what only hands tests out does without

    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _no_wait_for_disks() -> Iterator[None]:
    """Nobody cuts the power: what the system was told to write is there, also after a kill."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", os.fstat)  # which fails for the same files
        yield


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the source tree."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data and reference outputs kept beside the source tree."""
    folder = ROOT.parent / "shared"
    if not folder.is_dir():
        pytest.skip(f"no {folder}: the real data and the reference outputs are not here")
    return folder


@pytest.fixture(scope="session")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with `python` and the console scripts of this source tree, which start at once; see `tests.warm`."""
    with warm_scripts(ROOT, tmp_path_factory.mktemp("bin")) as folder:
        yield folder
