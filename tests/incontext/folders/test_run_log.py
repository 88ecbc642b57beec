"""A run remembers what it has done, and knows itself again."""

from pathlib import Path

import numpy as np
import pytest
import torch

from incontext import Segmenter
from incontext.folders.report import ImageReport
from incontext.folders.run_log import LOG, Done, RunLog, identity, stamp
from incontext.networks.support_once import SupportOnceConfig, SupportOnceNet

RUN = {"version": "1", "weights": "a", "support": "b", "options": "{}"}


def done(file: str) -> Done:
    report = ImageReport(file, file, (4, 4), {1: 3}, {1: 0.75}, None, None, None, None, {1: 0.5})
    return Done("stamp", report, ("looks odd",))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A folder in which two images were done."""
    (tmp_path / "masks").mkdir()
    log = RunLog(tmp_path, RUN)
    for name in ("a.png", "b.png"):
        (tmp_path / "masks" / name).touch()
        log.add(done(name))
    return tmp_path


def test_a_run_remembers_what_it_has_done(out: Path) -> None:
    assert RunLog(out, RUN).done == {"a.png": done("a.png"), "b.png": done("b.png")}


def test_what_has_no_mask_is_not_done(out: Path) -> None:
    (out / "masks" / "a.png").unlink()
    assert list(RunLog(out, RUN).done) == ["b.png"]


@pytest.mark.parametrize("cut", [1, 30, 80])
def test_a_line_that_was_cut_off_is_not_done(out: Path, cut: int) -> None:
    content = (out / LOG).read_bytes()
    (out / LOG).write_bytes(content[:-cut])
    log = RunLog(out, RUN)
    assert list(log.done) == (["a.png", "b.png"] if cut == 1 else ["a.png"])
    log.add(done("b.png"))
    assert (out / LOG).read_bytes().count(b"\n") >= 3
    assert list(RunLog(out, RUN).done) == ["a.png", "b.png"]


def test_another_run_is_refused_unless_told_to_overwrite(out: Path) -> None:
    other = {**RUN, "weights": "c", "options": "{1}"}
    with pytest.raises(ValueError, match=r"got another weights and options\. Write elsewhere, or add --overwrite"):
        RunLog(out, other)
    assert RunLog(out, other, overwrite=True).done == {}
    assert RunLog(out, other).done == {}


def test_masks_of_unknown_origin_are_not_touched(out: Path) -> None:
    (out / LOG).unlink()
    with pytest.raises(ValueError, match="holds masks already"):
        RunLog(out, RUN)


@pytest.mark.parametrize("content", ["", "no json\n", "[1]\n"])
def test_a_log_of_something_else_is_another_run(out: Path, content: str) -> None:
    (out / LOG).write_text(content)
    with pytest.raises(ValueError, match="got another version and weights and support and options"):
        RunLog(out, RUN)


def fitted(seed: int = 0, bright: float = 1.0, **parameters: object) -> Segmenter:
    torch.manual_seed(seed)
    network = SupportOnceNet(SupportOnceConfig(channels=(8, 8, 8), heads=1, head_channels=8))
    image = np.linspace(0, bright, 256).reshape(16, 16) ** 2
    return Segmenter(network, size_px=32, scaling="min-max", **parameters).fit(image**bright, image > 0.5)


@pytest.mark.parametrize(
    ("other", "changed"),
    [
        ({}, set()),
        ({"memory_gb": 0.5}, set()),
        ({"device": "cpu"}, set()),
        ({"seed": 1}, {"weights"}),
        ({"bright": 2.0}, {"support"}),
        ({"flips": True}, {"options"}),
    ],
    ids=["same", "memory", "device", "weights", "support", "flips"],
)
def test_an_identity_tells_what_differs(other: dict, changed: set[str]) -> None:
    first, second = (identity(each, {"mask_format": None}) for each in (fitted(), fitted(**other)))
    assert {name for name in first if first[name] != second[name]} == changed


def test_a_stamp_tells_replaced_files(tmp_path: Path) -> None:
    series = tmp_path / "series"
    series.mkdir()
    for path in (tmp_path / "a.png", series / "1.dcm"):
        path.write_text("one")
    before = stamp(tmp_path / "a.png", None), stamp(series, None)
    assert before == (stamp(tmp_path / "a.png", None), stamp(series, None))
    (tmp_path / "a.png").write_text("other")
    (series / "2.dcm").touch()
    assert stamp(tmp_path / "a.png", None) != before[0]
    assert stamp(series, None) != before[1]
