import json

import pytest
from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator
from tensorboard.util.tensor_util import make_ndarray

from lens_jax.errors import UserError
from lens_jax.workdir.files import METRICS_FILE
from lens_jax.workdir.metrics import open_metrics, read_metrics


def test_a_folder_without_metrics_has_no_rows(tmp_path):
    assert read_metrics(str(tmp_path)) == []


def test_rows_are_json_lines_that_read_back_the_same(tmp_path):
    rows = {2: {"loss": 1.25, "accuracy_raw": 1 / 3}, 4: {"loss": 1e-12, "accuracy_raw": 1.0}}
    with open_metrics(str(tmp_path), 0, active=True) as write:
        for step, scalars in rows.items():
            write(step, scalars)
    expected = [{"step": step} | scalars for step, scalars in rows.items()]
    lines = (tmp_path / METRICS_FILE).read_text().splitlines()
    assert [json.loads(line) for line in lines] == expected
    assert read_metrics(str(tmp_path)) == expected
    assert list(tmp_path.glob("events.out.tfevents*"))


def test_rows_can_be_read_while_they_are_written(tmp_path):
    with open_metrics(str(tmp_path), 0, active=True) as write:
        write(1, {"loss": 2.0})
        assert read_metrics(str(tmp_path)) == [{"step": 1, "loss": 2.0}]


def test_a_last_line_that_was_cut_off_is_left_out(tmp_path):
    (tmp_path / METRICS_FILE).write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert read_metrics(str(tmp_path)) == [{"step": 1, "loss": 2.0}]


def test_what_an_interrupted_run_wrote_after_its_checkpoint_is_dropped(tmp_path):
    text = '{"step": 1, "loss": 3.0}\n{"step": 2, "loss": 2.0}\n{"step": 3, "loss": 9.0}\n{"st'
    (tmp_path / METRICS_FILE).write_text(text)
    with open_metrics(str(tmp_path), 2, active=True) as write:
        write(3, {"loss": 1.0})
    losses = {row["step"]: row["loss"] for row in read_metrics(str(tmp_path))}
    assert losses == {1: 3, 2: 2, 3: 1}


def test_tensorboard_shows_each_step_once_after_a_crash(tmp_path):
    with open_metrics(str(tmp_path), 0, active=True) as write:
        for step in (1, 2, 3, 4):
            write(step, {"loss": 9.0})
    # As if the last checkpoint were that of step 2.
    with open_metrics(str(tmp_path), 2, active=True) as write:
        write(3, {"loss": 1.0})
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    found = [
        (event.step, float(make_ndarray(event.tensor_proto))) for event in events.Tensors("loss")
    ]
    assert found == [(1, 9.0), (2, 9.0), (3, 1.0)]


def test_only_the_active_process_writes(tmp_path):
    with open_metrics(str(tmp_path), 0, active=False) as write:
        write(1, {"loss": 2.0})
    assert list(tmp_path.iterdir()) == []


def test_an_error_while_metrics_are_open_is_not_swallowed(tmp_path):
    with pytest.raises(ZeroDivisionError), open_metrics(str(tmp_path), 0, active=True) as write:
        write(1, {"loss": 1 / 0})


def test_a_full_disk_is_reported_in_one_line_and_the_rows_before_are_kept(tmp_path, no_file_above):
    with open_metrics(str(tmp_path), 0, active=True) as write:
        write(1, {"loss": 2.0})
    with (
        no_file_above(8),
        pytest.raises(UserError, match="File too large; make room"),
        open_metrics(str(tmp_path), 1, active=True),
    ):
        pytest.fail("wrote more than the limit")
    assert [row["step"] for row in read_metrics(str(tmp_path))] == [1]
    assert [path.name for path in tmp_path.iterdir() if "unfinished" in path.name] == []
