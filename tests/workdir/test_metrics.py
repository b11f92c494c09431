import contextlib
import json
import resource
from collections.abc import Iterator

import pytest

from lens_jax.errors import UserError
from lens_jax.train.progress import report_progress
from lens_jax.workdir.files import METRICS_FILE
from lens_jax.workdir.metrics import open_metrics, read_metrics


@contextlib.contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """The operating system refuses larger files, as it refuses all on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_folder_without_metrics_has_no_rows(tmp_path):
    assert read_metrics(str(tmp_path)) == []


def test_rows_are_json_lines_that_read_back_the_same(tmp_path):
    rows = {2: {"loss": 1.25, "accuracy_raw": 1 / 3}, 4: {"loss": 1e-12, "accuracy_raw": 1.0}}
    with open_metrics(str(tmp_path), 0, active=True) as write:
        for step, scalars in rows.items():
            write(step, scalars)
    lines = (tmp_path / METRICS_FILE).read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"step": s} | scalars for s, scalars in rows.items()
    ]
    assert read_metrics(str(tmp_path)) == [{"step": s} | scalars for s, scalars in rows.items()]
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
    assert [(row["step"], row["loss"]) for row in read_metrics(str(tmp_path))] == [
        (1, 3),
        (2, 2),
        (3, 1),
    ]


def test_only_the_active_process_writes(tmp_path):
    with open_metrics(str(tmp_path), 0, active=False) as write:
        write(1, {"loss": 2.0})
    assert list(tmp_path.iterdir()) == []


def test_an_error_inside_the_log_is_not_swallowed(tmp_path):
    with pytest.raises(ZeroDivisionError), open_metrics(str(tmp_path), 0, active=True) as write:
        write(1, {"loss": 1 / 0})


def test_progress_is_a_line_with_the_time_that_is_left(capsys):
    scalars = {"loss": 1.23456, "epoch": 2.5, "images_per_second": 640.0, "seconds_per_step": 0.5}
    report_progress(50, 200, scalars | {"input_wait": 0.001})
    line = "step 50/200  epoch 2.5  640 images/s  eta 1:15  loss 1.235"
    assert capsys.readouterr().out == f"{line}\n"
    report_progress(50, 200, scalars | {"input_wait": 0.25})
    assert capsys.readouterr().out == f"{line}  25% waiting for images\n"


def test_a_full_disk_is_told_in_one_line_and_the_rows_before_are_kept(tmp_path):
    with open_metrics(str(tmp_path), 0, active=True) as write:
        write(1, {"loss": 2.0})
    with files_of_at_most(8), pytest.raises(UserError, match="File too large; make room"):
        with open_metrics(str(tmp_path), 1, True):
            pytest.fail("wrote more than the limit")
    assert [row["step"] for row in read_metrics(str(tmp_path))] == [1]
    assert [path.name for path in tmp_path.iterdir() if "unfinished" in path.name] == []
