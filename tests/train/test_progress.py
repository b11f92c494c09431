import sys

import pytest

from lens_jax.train.progress import report_progress

SCALARS = {
    "loss": 1.23456,
    "epoch": 2.5,
    "images_per_second": 640.0,
    "seconds_per_step": 0.5,
    "input_wait": 0.001,
}
LINE = "step 50/200  epoch 2.5  640 images/s  eta 1:15  loss 1.235"


def test_progress_is_a_line_with_the_time_that_is_left(capsys):
    report_progress(50, 200, SCALARS)
    assert capsys.readouterr().out == f"{LINE}\n"


def test_waiting_for_images_is_shown_where_it_counts(capsys):
    report_progress(50, 200, SCALARS | {"input_wait": 0.25})
    assert capsys.readouterr().out == f"{LINE}  25% waiting for images\n"


def test_what_is_known_of_the_lens_is_shown(capsys):
    lens = {"accuracy_lensed": 0.5, "accuracy_raw": 0.75, "lens_reconstruction": 0.012346}
    report_progress(50, 200, SCALARS | lens)
    shown = "accuracy_lensed 0.5  accuracy_raw 0.75  lens_reconstruction 0.01235"
    assert capsys.readouterr().out == f"{LINE}  {shown}\n"


@pytest.mark.parametrize(
    ("step", "bar", "end"), [(50, "#####...............", ""), (200, "#" * 20, "\n")]
)
def test_on_a_terminal_the_line_is_redrawn_behind_a_bar(step, bar, end, capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    report_progress(step, 200, SCALARS)
    out = capsys.readouterr().out
    assert out.startswith(f"\r\x1b[K[{bar}] step {step}/200  ")
    assert out.endswith(f"loss 1.235{end}")
