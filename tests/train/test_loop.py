import os
import pathlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.data.batches import Skipped
from lens_jax.devices import mesh
from lens_jax.errors import INTERRUPTED
from lens_jax.train import finite, loop, preemption
from lens_jax.train.compiling import Traced
from lens_jax.train.durations import Clock
from lens_jax.train.finite import NotFiniteError
from lens_jax.train.setup import Setup
from lens_jax.train.watch import Watch
from lens_jax.workdir import checkpoints
from lens_jax.workdir.metrics import read_metrics

TOTAL, SAVE_EVERY, TRAP = 12, 3, 9


@flax.struct.dataclass
class Toy:
    """A train state of two numbers."""

    params: jax.Array
    lens_params: jax.Array


def toy_step(
    trap: float, state: Toy, batch: dict[str, jax.Array]
) -> tuple[Toy, dict[str, jax.Array]]:
    """Depends on every batch and on their order; the trap is a batch of exactly that mean."""
    mean = jnp.mean(batch["image"].astype(jnp.float32))
    params = 0.9 * state.params + jnp.where(mean == trap, jnp.nan, mean)
    return Toy(params, state.lens_params + 1), {"loss": mean}


@pytest.fixture
def train(tiny_config, colorful, tmp_path) -> Callable[..., checkpoints.Restored]:
    """Trains the toy as `loop.train` does, and gives its last checkpoint."""
    source, devices = colorful(10), mesh.make_mesh()

    def run(
        name: str, trap: float = -1, rollbacks: int = 0, stop_at: int = 0
    ) -> checkpoints.Restored:
        config = tiny_config({"train.rollbacks": rollbacks, "data.batch_size": 4})
        init = partial(Toy, jnp.zeros(()), jnp.zeros(()))
        step = jax.jit(finite.watched(partial(toy_step, trap)))
        clock = Clock(4, len(source), TOTAL)
        shapes = jax.eval_shape(init)
        state = mesh.with_sharding(shapes, mesh.state_sharding(devices, shapes))
        setup = Setup(source, clock, 2, SAVE_EVERY, Traced(init, step, state))
        workdir = str(tmp_path / name)
        pathlib.Path(workdir).mkdir(exist_ok=True)
        with checkpoints.open_for_training(workdir, keep=20) as manager:
            skipped = Skipped(source)
            began = time.monotonic()
            watch = Watch(config, setup, devices)
            training = loop.Training(
                config, workdir, "", devices, setup, manager, skipped, began, watch
            )
            progress = loop.start(training)
            while progress.step < TOTAL:
                progress = loop.train_or_roll_back(training, progress, step, stop_at.__eq__)
        return last(tmp_path / name)

    return run


def last(workdir: pathlib.Path) -> checkpoints.Restored:
    with checkpoints.open_for_training(str(workdir), keep=20) as manager:
        restored = checkpoints.restore_newest(manager, Toy(jnp.zeros(()), jnp.zeros(())))
    assert restored is not None
    return restored


def trap_of(workdir: pathlib.Path) -> float:
    """The loss of step 9 alone: 8 was logged and 9 is saved, so that it is a window of its own."""
    (row,) = [row for row in read_metrics(str(workdir)) if row["step"] == TRAP]
    return row["loss"]


def check_equal(one: checkpoints.Restored, other: checkpoints.Restored) -> None:
    np.testing.assert_array_equal(one.state.params, other.state.params)
    np.testing.assert_array_equal(one.state.lens_params, other.state.lens_params)
    for key in ("position", "rollbacks", "config"):
        assert one.run[key] == other.run[key]


def preempt(train: Callable, name: str, **options) -> None:
    with pytest.raises(SystemExit) as ended:
        train(name, **options)
    assert ended.value.code == preemption.EXIT_STATUS == 75


@pytest.mark.parametrize("stop_at", [1, 5, 6])
def test_a_preempted_run_saves_its_step_and_ends_bit_equal_to_an_unbroken_one(
    stop_at, train, tmp_path, capsys
):
    preempt(train, "preempted", stop_at=stop_at)
    assert checkpoints.saved_steps(str(tmp_path / "preempted"))[-1] == stop_at
    assert f"preempted: saving at step {stop_at} " in capsys.readouterr().out
    check_equal(train("preempted"), train("unbroken"))
    assert f"going on from checkpoint {stop_at} " in capsys.readouterr().out


def test_a_run_that_is_told_to_end_at_its_last_step_has_ended(train):
    assert train("last", stop_at=TOTAL).step == TOTAL


def test_a_rollback_leaves_the_batch_that_broke_it_and_is_kept_through_a_preemption(
    train, tmp_path, capsys
):
    train("first")
    trap = trap_of(tmp_path / "first")
    with pytest.raises(NotFiniteError, match="not finite at step 9: training stopped"):
        train("trapped", trap)
    assert last(tmp_path / "trapped").step == 6
    capsys.readouterr()

    saved = train("trapped", trap, rollbacks=1)
    assert "at step 9: rolling back, 1 of 1 times" in capsys.readouterr().out
    assert (saved.step, saved.run["rollbacks"]) == (TOTAL, 1)
    assert np.isfinite(saved.state.params)
    assert [row["step"] for row in read_metrics(str(tmp_path / "trapped"))] == [
        2,
        3,
        4,
        6,
        8,
        9,
        10,
        12,
    ]

    preempt(train, "broken", trap=trap, rollbacks=1, stop_at=10)
    check_equal(train("broken", trap, rollbacks=1), saved)


by_either_signal = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


@by_either_signal
def test_a_signal_is_noticed_and_its_former_meaning_comes_back(number: int):
    before = signal.getsignal(number)
    with preemption.watch() as preempted:
        assert not preempted(1)
        os.kill(os.getpid(), number)
        assert preempted(1)
        assert preempted(2)
    assert signal.getsignal(number) == before


@by_either_signal
def test_a_signal_before_the_first_step_ends_the_run_at_once(number: int):
    with pytest.raises(SystemExit) as ended, preemption.watch():
        signal.raise_signal(number)
    assert ended.value.code == preemption.EXIT_STATUS


def test_a_second_ctrl_c_ends_the_process_at_once_and_waits_for_no_save():
    # A save is what `finally` waits for.
    program = """
import signal, time
from lens_jax.train import preemption
try:
    with preemption.watch() as preempted:
        preempted(1)
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
finally:
    time.sleep(60)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False
    )
    assert ended.returncode == INTERRUPTED
    assert ended.stdout.splitlines() == [
        "interrupted: saving; once more ends at once",
        "interrupted again: ending without a save",
    ]
