import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess

import numpy as np
import pytest

from lens_jax.train.preemption import EXIT_STATUS
from lens_jax.workdir.checkpoints import saved_steps
from lens_jax.workdir.metrics import read_metrics
from tests.fake_devices import fake_devices

from .commands import REPOSITORY, succeed, train

STEPS = 20
OPTIONS = (
    "--config.train.monitors=True",
    f"--config.train.duration={STEPS} steps",
    "--config.train.checkpoint_every=5 steps",
    "--config.train.keep_checkpoints=9",
    "--config.train.log_every=1 steps",
    # The rows of a batch lie on the devices in another order when processes share it.
    "--config.task.all_rotations=True",
    # Adam takes rounding errors for gradients where those are nearly zero: large steps would part
    # the runs.
    "--config.optimizer.learning_rate=0.01",
    "--config.lens.learning_rate=5e-5",
)
LOSSES = ("loss", "lens_adversarial")
MONITORS = ("embedding_std", "embedding_rank", "uniformity", "feature_std", "rankme", "alpha_req")


def on_devices(number: int, workdir: pathlib.Path, data: pathlib.Path) -> str:
    """Trains in one process with so many fake devices."""
    output = succeed(*train(workdir, data, *OPTIONS), **fake_devices(number))
    assert f"for {number} cpu device(s)" in output
    return output


def start_two_processes(
    workdir: pathlib.Path, data: pathlib.Path, *options: str
) -> list[subprocess.Popen]:
    """Starts a training in two processes of one device each."""
    with socket.create_server(("localhost", 0)) as server:
        address = f"localhost:{server.getsockname()[1]}"
    cluster = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    return [
        subprocess.Popen(
            train(workdir, data, *options),
            cwd=REPOSITORY,
            env=os.environ | cluster | {"JAX_PROCESS_ID": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for number in range(2)
    ]


def in_two_processes(workdir: pathlib.Path, data: pathlib.Path) -> list[str]:
    """Trains in two processes, and gives what each of them printed."""
    processes = start_two_processes(workdir, data, *OPTIONS)
    try:
        outputs = [process.communicate(timeout=400)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert all("for 2 cpu device(s)" in output for output in outputs)
    return outputs


def losses(workdir: pathlib.Path) -> np.ndarray:
    """The losses of all steps, each of which must have been written once."""
    rows = read_metrics(str(workdir))
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    return np.array([[row[name] for name in LOSSES] for row in rows])


def assert_equal_losses(actual: np.ndarray, expected: np.ndarray) -> None:
    assert np.ptp(expected, axis=0).min() > 1e-3  # a hundred times what may differ
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


def monitors(workdir: pathlib.Path) -> np.ndarray:
    """What was watched at the first checkpoint: later ones add what rounding did until then."""
    (row,) = [row for row in read_metrics(str(workdir)) if row["step"] == 5]
    return np.array([row[name] for name in MONITORS])


def cut_short(source: pathlib.Path, target: pathlib.Path, step: int) -> pathlib.Path:
    """A copy of a run as it was just after a checkpoint."""
    shutil.copytree(source, target)
    for later in (later for later in saved_steps(str(target)) if later > step):
        shutil.rmtree(target / "checkpoints" / str(later))
    return target


@pytest.fixture(scope="module")
def alone(tmp_path_factory, data):
    """A run on one device."""
    workdir = tmp_path_factory.mktemp("alone")
    on_devices(1, workdir, data)
    return workdir


@pytest.fixture(scope="module")
def eight(tmp_path_factory, data):
    workdir = tmp_path_factory.mktemp("eight")
    on_devices(8, workdir, data)
    return workdir


@pytest.fixture(scope="module")
def two(tmp_path_factory, data):
    workdir = tmp_path_factory.mktemp("two")
    in_two_processes(workdir, data)
    return workdir


def test_eight_devices_train_as_one(eight, alone):
    assert_equal_losses(losses(eight), losses(alone))


@pytest.mark.parametrize("several", ["eight", pytest.param("two", marks=pytest.mark.slow)])
def test_several_devices_or_processes_watch_the_same_as_one(several: str, alone, request):
    workdir = request.getfixturevalue(several)
    np.testing.assert_allclose(monitors(workdir), monitors(alone), rtol=1e-2)
    (row, expected) = (read_metrics(str(each))[4] for each in (workdir, alone))
    # Rounding may turn a few of the 256 test images.
    for name in ("knn_accuracy", "probe_test_accuracy"):
        assert abs(row[name] - expected[name]) < 0.02, name


def test_two_processes_train_as_one_and_only_the_first_writes_metrics(two, alone):
    assert_equal_losses(losses(two), losses(alone))
    # The process that wrote them is part of their names.
    events = [path.name for path in two.glob("events.out.tfevents.*")]
    writers = {re.search(r"\.(\d+)\.\d+(\.v2)?$", name).group(1) for name in events}
    assert len(writers) == 1


@pytest.mark.slow
def test_what_eight_devices_saved_goes_on_on_four_in_two_processes_and_on_one(
    eight, alone, tmp_path, data
):
    on_four = cut_short(eight, tmp_path / "four", 5)
    assert "going on from checkpoint 5" in on_devices(4, on_four, data)
    in_two = cut_short(on_four, tmp_path / "two", 10)
    assert all("going on from checkpoint 10" in output for output in in_two_processes(in_two, data))
    on_one = cut_short(in_two, tmp_path / "one", 15)
    assert "going on from checkpoint 15" in on_devices(1, on_one, data)
    for workdir in (on_four, in_two, on_one):
        assert_equal_losses(losses(workdir), losses(alone))


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_one_of_two_processes_saves_and_ends_both(number: int, tmp_path, data):
    endless = "--config.train.duration=9999 steps", "--config.train.log_every=5 steps"
    first, second = start_two_processes(tmp_path, data, *endless)
    try:
        next(line for line in first.stdout if line.startswith("step 5/"))
        second.send_signal(number)
        outputs = [process.communicate(timeout=100)[0] for process in (first, second)]
    finally:
        first.kill()
        second.kill()
    statuses = [process.returncode for process in (first, second)]
    assert statuses == [EXIT_STATUS, EXIT_STATUS], outputs
    (step,) = saved_steps(str(tmp_path))
    assert all(f"preempted: saving at step {step}" in output for output in outputs)
