import io
import sys

import pytest

from lens_jax.train.progress import describe_progress, report_progress

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


@pytest.mark.parametrize(
    ("wait", "words"),
    [(0.019, ""), (0.02, "  2% waiting for images"), (0.25, "  25% waiting for images")],
)
def test_waiting_for_images_is_shown_where_it_is_worth_a_look(wait: float, words: str):
    assert describe_progress(50, 200, SCALARS | {"input_wait": wait}) == LINE + words


def test_what_a_run_reached_is_shown_where_it_is_measured():
    reached = {"accuracy_raw": 0.5, "accuracy_lensed": 0.25, "lens_reconstruction": 0.0123456}
    found = describe_progress(50, 200, SCALARS | reached | {"lens_penalty": 100.0})
    words = "  accuracy_lensed 0.25  accuracy_raw 0.5  lens_reconstruction 0.01235"
    assert found == LINE + words


@pytest.mark.parametrize(
    ("watched", "words"),
    [
        ({"embedding_std": 0.51239, "uniformity": -2.0}, "  embedding_std 0.5124"),
        ({"embedding_std": 0.5, "probe_accuracy": 0.25}, "  probe_accuracy 0.25"),
    ],
)
def test_of_what_is_watched_one_number_is_shown(watched: dict[str, float], words: str):
    assert describe_progress(50, 200, SCALARS | watched) == LINE + words


@pytest.mark.parametrize(
    ("speed", "words"), [(0.34, "0.3 images/s"), (9.94, "9.9 images/s"), (10.0, "10 images/s")]
)
def test_a_slow_run_is_not_said_to_stand_still(speed: float, words: str):
    assert f"  {words}  " in describe_progress(50, 200, SCALARS | {"images_per_second": speed})


@pytest.mark.parametrize(
    ("step", "seconds", "left"), [(200, 0.5, "0:00"), (199, 59.9, "0:59"), (0, 36.1, "120:20")]
)
def test_the_time_that_is_left_is_in_minutes_and_seconds(step: int, seconds: float, left: str):
    found = describe_progress(step, 200, SCALARS | {"seconds_per_step": seconds})
    assert f"  eta {left}  " in found


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_on_a_terminal_one_line_stays_in_its_place_and_ends_with_the_run(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    report_progress(50, 200, SCALARS)
    assert terminal.getvalue() == f"\r\x1b[K[{'#' * 5}{'.' * 15}] {LINE}"
    report_progress(200, 200, SCALARS)
    assert terminal.getvalue().endswith("\n")
    assert terminal.getvalue().count("\n") == 1
