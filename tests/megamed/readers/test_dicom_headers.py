"""Data sets that are parsed once and shared."""

import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from megamed import formats
from tests.dicom_files import write_series

pytest.importorskip("pydicom")
THREADS, TIMES = 8, 60


@pytest.fixture
def hurried() -> Iterator[None]:
    """Let threads change places all the time."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("hurried")
def test_threads_do_not_disturb_each_other(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(-900, 900, (3, 96, 96))
    write_series(tmp_path / "in", pixels, np.eye(4))
    source = formats.source_at(tmp_path / "in")
    whole = formats.read(source).array
    with ThreadPoolExecutor(THREADS) as threads:
        for found in threads.map(lambda _: formats.read(source).array, range(TIMES)):
            assert np.array_equal(found, whole)
