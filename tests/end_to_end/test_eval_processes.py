import os
import pathlib
import socket
import subprocess
from typing import Any

import numpy as np
import pytest

from lens_jax.data.builders import png
from lens_jax.eval.evaluate import evaluate, pretext_results
from lens_jax.eval.frozen import load
from lens_jax.eval.options import Options
from lens_jax.workdir.files import RESULTS_FILE
from lens_jax.workdir.results import read_results

from .commands import REPOSITORY, command, succeed, train

FAST = {"JAX_DISABLE_MOST_OPTIMIZATIONS": "1"}
PER_CLASS = 65


def evaluate_in_two(workdir: pathlib.Path, *options: str) -> list[tuple[int, str, str]]:
    """Evaluates in two processes; returns each one's exit status, stdout and stderr."""
    with socket.create_server(("localhost", 0)) as server:
        address = f"localhost:{server.getsockname()[1]}"
    cluster = FAST | {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    processes = [
        subprocess.Popen(
            command("linear_eval", f"--checkpoint={workdir}", *options),
            cwd=REPOSITORY,
            env=os.environ | cluster | {"JAX_PROCESS_ID": str(number)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=400) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [
        (process.returncode, *output) for process, output in zip(processes, outputs, strict=True)
    ]


def without_seconds(results: list[dict]) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in results]


def nearly(value: Any) -> Any:
    """The same with numbers that two images of a class of 36 may change, as rounding decides."""
    if isinstance(value, dict):
        return {key: nearly(each) for key, each in value.items()}
    if isinstance(value, float):
        return pytest.approx(value, rel=1e-3, abs=2.1 / 36)
    return value


@pytest.fixture(scope="module")
def trained(tmp_path_factory, data):
    """A run of two checkpoints."""
    workdir = tmp_path_factory.mktemp("trained")
    options = ("--config.train.duration=2 steps", "--config.train.checkpoint_every=1 steps")
    succeed(*train(workdir, data, *options, "--config.data.max_skipped=0.01"), **FAST)
    return workdir


@pytest.mark.parametrize(
    ("solver", "follow", "steps"),
    [("lbfgs", True, (1, 2)), pytest.param("sgd", False, (2,), marks=pytest.mark.slow)],
)
def test_two_processes_evaluate_as_one_and_only_the_first_prints(
    trained, solver: str, follow: bool, steps: tuple[int, ...]
):
    (trained / RESULTS_FILE).unlink(missing_ok=True)
    flags = ("--examples=64", "--taps=pre_logits", f"--solver={solver}", "--epochs=2")
    flags += ("--representations=concat",)
    first, second = evaluate_in_two(trained, *flags, f"--follow={follow}")
    assert (first[0], second[0]) == (0, 0), first[2] + second[2]
    assert first[1].count("linear accuracy on pre_logits") == len(steps)
    assert [line for line in second[1].splitlines() if not line.startswith("[Gloo]")] == []
    options = Options(
        examples=64, taps=("pre_logits",), representation="concat", solver=solver, epochs=2
    )
    alone = []
    for step in steps:
        frozen = load(str(trained), step)
        alone.append(evaluate(frozen, options, pretext_results(frozen, options)))
    expected = [nearly(result) for result in without_seconds(alone)]
    assert without_seconds(read_results(str(trained))) == expected


def test_two_processes_refuse_alike_what_both_together_cannot_read(trained, tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    for name in ("black", "dark"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for i in range(PER_CLASS):
            (tmp_path / "train" / name / f"{i:02}.png").write_bytes(png.encode(pixels))
    # Nothing is held out of training images where there is a test split.
    (tmp_path / "test").mkdir()
    # One of 130 images may be broken. The second process reads the last two of them: rows 128 and
    # 129.
    broken = [tmp_path / "train" / name for name in ("black/00.png", f"dark/{PER_CLASS - 1}.png")]
    for path in broken:
        path.write_bytes(b"no image")
    options = (
        "--dataset=image_folder",
        f"--data_dir={tmp_path}",
        "--test_split=train",
        "--taps=pre_logits",
    )
    outputs = evaluate_in_two(trained, *options)
    for status, _, stderr in outputs:
        assert status == 1
        line = next(line for line in stderr.splitlines() if line.startswith("error:"))
        assert line.startswith(
            "error: 2 of 130 images did not decode, more than the limit of 1.00%: "
        )
        assert all(str(path) in line for path in broken)
        assert "Traceback" not in stderr
