import pytest

from lens_jax.errors import UserError
from lens_jax.train.durations import Clock


@pytest.mark.parametrize(
    ("duration", "steps"),
    [
        ("500 steps", 500),
        ("0 steps", 0),
        ("2.5 steps", 3),
        ("1 epochs", 8),  # 1000 / 128 = 7.8
        ("1 epoch", 8),
        ("1 step", 1),
        ("128 example", 1),
        ("8 epochs", 63),  # 62.5
        ("0.5 epochs", 4),  # 3.9
        ("128 epochs", 1000),
        ("1e6 examples", 7813),  # 7812.5
        ("128 examples", 1),
        ("129 examples", 2),
        ("10 percent", 79),  # of 784
        ("25 percent", 196),
        ("100 percent", 784),
    ],
)
def test_a_duration_is_that_many_whole_steps_rounded_up(duration: str, steps: int):
    assert Clock(batch_size=128, epoch_size=1000, total_steps=784).steps(duration) == steps


def test_thirty_five_epochs_of_imagenet():
    assert Clock(batch_size=1024, epoch_size=1_281_167).steps("35 epochs") == 43790  # 43789.9


@pytest.mark.parametrize("percent", range(0, 101, 10))
def test_what_comes_out_whole_is_not_rounded_up_by_an_error_of_the_last_bit(percent: int):
    assert Clock(3, 30, total_steps=10).steps(f"{percent} percent") == percent // 10
    assert Clock(3, 30).steps(f"{percent} epochs") == 10 * percent
    assert Clock(3, 30).steps(f"{3 * percent} examples") == percent


@pytest.mark.parametrize(
    "duration",
    [
        "5",
        "",
        " steps",
        "-1 epochs",
        "nan steps",
        "inf steps",
        "ten steps",
        "5 days",
        "steps 5",
    ],
)
def test_what_is_no_duration_is_refused_with_the_units(duration: str):
    with pytest.raises(UserError, match=f"{duration!r}.*steps, epochs, examples or percent"):
        Clock(128, 1000, 784).steps(duration)


def test_a_share_of_a_training_of_unknown_length_is_refused():
    with pytest.raises(UserError, match="10 percent"):
        Clock(128, 1000).steps("10 percent")
