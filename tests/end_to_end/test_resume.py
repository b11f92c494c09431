import functools
import pathlib
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
import pytest

from lens_jax.eval.frozen import Frozen, load
from lens_jax.workdir.checkpoints import saved_steps

from .commands import REPOSITORY, run, succeed, train

OPTIONS = (
    "--config.train.duration=24 steps",
    "--config.train.checkpoint_every=9 steps",
    "--config.train.keep_checkpoints=9",
)
# The steps fill this queue of keys more than once.
SMALL_HEADS = ("--config.task.hidden=16", "--config.task.embedding=8")
MOCO = (*SMALL_HEADS, "--config.task.queue=128")


class Preempted(NamedTuple):
    """A run that another one met in its work directory, and that was then told to end."""

    workdir: pathlib.Path
    status: int
    seconds: float
    last_line: str
    second: subprocess.CompletedProcess
    touched: bool


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, data) -> Callable[..., pathlib.Path]:
    """Finds the work directory of an unbroken run, which is trained when it is first needed."""

    @functools.cache
    def find(config: str, *options: str) -> pathlib.Path:
        workdir = tmp_path_factory.mktemp(config)
        succeed(*train(workdir, data, *OPTIONS, *options, config=config))
        return workdir

    return find


@pytest.fixture(scope="module")
def preempted(tmp_path_factory, data) -> Preempted:
    workdir = tmp_path_factory.mktemp("preempted")
    words = train(workdir, data, *OPTIONS)
    with subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        lines = iter(process.stdout)
        next(line for line in lines if line.startswith("step 2/"))
        # It stands still while the second one tries, so that what changes is the second one's
        # doing.
        process.send_signal(signal.SIGSTOP)
        before = snapshot(workdir)
        second = run(*words)
        touched = snapshot(workdir) != before
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        began = time.monotonic()
        *_, last = lines
        status = process.wait()
    return Preempted(workdir, status, time.monotonic() - began, last, second, touched)


def snapshot(folder: pathlib.Path) -> dict[str, tuple[int, int]]:
    files = [path for path in folder.rglob("*") if "compilation_cache" not in path.parts]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in files}


def check_equal(one: Frozen, other: Frozen) -> None:
    assert (one.step, one.run["position"]) == (other.step, other.run["position"])
    leaves = zip(
        jax.tree_util.tree_leaves_with_path(one.state), jax.tree.leaves(other.state), strict=True
    )
    for (path, a), b in leaves:
        np.testing.assert_array_equal(a, b, err_msg=jax.tree_util.keystr(path))


@pytest.mark.parametrize(
    ("config", "options"),
    [
        ("rotation", ()),
        ("moco", MOCO),
        pytest.param(
            "moco", (*MOCO, "--config.task.symmetric=True"), marks=pytest.mark.slow, id="symmetric"
        ),
        pytest.param(
            "moco", (*MOCO, "--config.task.non_semantic=patch"), marks=pytest.mark.slow, id="patch"
        ),
        pytest.param("barlow_twins", SMALL_HEADS, marks=pytest.mark.slow, id="barlow_twins"),
        pytest.param(
            "pirl",
            (*SMALL_HEADS, "--config.lens.kind=network"),
            marks=pytest.mark.slow,
            id="pirl",
        ),
        pytest.param(
            "equimod",
            (*SMALL_HEADS, "--config.task.base.hidden=16", "--config.lens.kind=network"),
            marks=pytest.mark.slow,
            id="equimod",
        ),
    ],
)
def test_a_killed_run_goes_on_and_ends_bit_equal_to_an_unbroken_one(
    config: str, options: tuple[str, ...], unbroken, tmp_path, data
):
    words = train(tmp_path, data, *OPTIONS, *options, config=config)
    with subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        # The save at step 18 waited for the one at 9 to end, so that there is one.
        next(line for line in process.stdout if line.startswith("step 20/"))
        process.kill()
    assert "going on from checkpoint" in succeed(*words, fresh=True)
    check_equal(load(str(tmp_path)), load(str(unbroken(config, *options))))


def test_a_second_run_in_the_same_work_directory_is_refused_in_one_line_and_touches_nothing(
    preempted,
):
    assert preempted.second.returncode == 1
    (line,) = [line for line in preempted.second.stderr.splitlines() if line.startswith("error: ")]
    assert f"another run is training in {preempted.workdir}" in line
    assert "Traceback" not in preempted.second.stderr
    assert not preempted.touched


def test_on_sigterm_it_saves_within_30_seconds_and_ends_with_its_own_status(preempted):
    assert preempted.status == 75
    assert preempted.seconds < 30
    step = max(step for step in saved_steps(str(preempted.workdir)) if step)
    assert f"preempted: saving at step {step} and ending" in preempted.last_line
    assert 2 < step < 24


def test_started_again_it_ends_bit_equal_to_an_unbroken_run(preempted, unbroken, tmp_path, data):
    workdir = shutil.copytree(preempted.workdir, tmp_path / "again")
    step = saved_steps(str(workdir))[-1]
    assert f"going on from checkpoint {step} " in succeed(*train(workdir, data, *OPTIONS))
    check_equal(load(str(workdir)), load(str(unbroken("rotation"))))


def test_from_a_damaged_checkpoint_it_goes_back_one_and_ends_bit_equal_to_an_unbroken_run(
    unbroken, tmp_path, data
):
    workdir = shutil.copytree(unbroken("rotation"), tmp_path / "damaged")
    files = [path for path in (workdir / "checkpoints" / "24").rglob("*") if path.is_file()]
    array = max(files, key=lambda path: path.stat().st_size)
    content = bytearray(array.read_bytes())
    content[len(content) // 2] ^= 16
    array.write_bytes(content)
    output = succeed(*train(workdir, data, *OPTIONS))
    assert f"checkpoint 24 in {workdir / 'checkpoints'} is damaged" in output
    assert "going on from checkpoint 18 " in output
    assert (workdir / "checkpoints_damaged" / "24").is_dir()
    check_equal(load(str(workdir)), load(str(unbroken("rotation"))))
