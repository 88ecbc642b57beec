"""Tables keep their columns, and rows of steps that are taken again go."""

import importlib.util

import pytest

from incontext.training.log import TrainingLog, keep_rows, mean


def test_rows_are_appended_under_the_columns_of_the_first(tmp_path):
    with TrainingLog(tmp_path, 0) as log:
        log.write("log", 10, {"loss": 0.5, "dice": 0.25})
    with TrainingLog(tmp_path, 10) as log:
        log.write("log", 20, {"dice": 1 / 3, "loss": 0.125})
    assert (tmp_path / "log.csv").read_text() == "step,loss,dice\n10,0.5,0.25\n20,0.125,0.333333\n"


def test_a_column_that_the_table_lacks_is_refused(tmp_path):
    with TrainingLog(tmp_path, 0) as log:
        log.write("dev", 10, {"eyes": 0.5})
        with pytest.raises(ValueError, match="ears"):
            log.write("dev", 20, {"ears": 0.5})


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("step,loss\n10,1\n20,2\n30,3\n", "step,loss\n10,1\n20,2\n"),
        ("step,loss\n10,1\n2", "step,loss\n10,1\n"),
        ("step,lo", ""),
        ("", ""),
    ],
    ids=["later", "unfinished-row", "unfinished-header", "empty"],
)
def test_rows_of_later_steps_and_unfinished_ones_go(text, kept, tmp_path):
    path = tmp_path / "log.csv"
    path.write_text(text)
    keep_rows(path, 20)
    assert path.read_text() == kept


def test_the_bar_shows_the_latest_figures(tmp_path, capsys):
    with TrainingLog(tmp_path, 0) as log:
        log.advance(0.25, 5, {"loss": 0.5})
        log.advance(0.5, 10, {"dev": 0.75})
    shown = " ".join(capsys.readouterr().err.split())
    assert "50%" in shown
    assert "step 10 loss 0.500 dev 0.750" in shown


def test_mean():
    assert mean({"loss": [1.0, 2.0]}) == {"loss": 1.5}


@pytest.mark.skipif(importlib.util.find_spec("tensorboard") is None, reason="needs the extra `train`")
def test_events_are_written(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with TrainingLog(tmp_path, 0) as log:
        log.write("log", 10, {"loss": 0.5})
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [(event.step, event.value) for event in events.Scalars("log/loss")] == [(10, 0.5)]
