"""An evaluation job beside a training that is killed again and again, reading what it writes."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.chaos.kill import REPOSITORY, name_status
from benchmarks.chaos.kinds import STEPS
from lens_jax.workdir.results import read_evaluations

# Seconds that it has to evaluate what is left, after the training has ended.
LIMIT = 300.0


@contextlib.contextmanager
def follow(root: Path, workdir: Path) -> Iterator[subprocess.Popen]:
    """Follows the checkpoints of a run from before its start on; what is left is stopped."""
    words = [
        *(sys.executable, "-m", "lens_jax.evaluate"),
        f"--checkpoint={workdir}",
        f"--output={results_folder(workdir)}",
        f"--store={root / 'features' / workdir.name}",
        "--suite=collapse",
        "--follow",
    ]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(root / "compiled")}
    errors = _errors_file(workdir)
    with (
        errors.open("w") as file,
        subprocess.Popen(
            words, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL, stderr=file
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def results_folder(workdir: Path) -> Path:
    """Where the evaluation of a run is: outside of it, as others compare its files."""
    return workdir.with_suffix(".evaluation")


def find_problem(process: subprocess.Popen, workdir: Path, unbroken: Path) -> str:
    """What is wrong with the evaluation of a run that has ended; "" where nothing is.

    It has to end by itself with what it found at the last step, and to have found at each step what
    it found in the unbroken run.
    """
    try:
        status = process.wait(LIMIT)
    except subprocess.TimeoutExpired:
        return f"its evaluation had not ended {LIMIT:.0f} s after the training"
    if status != 0:
        lines = _errors_file(workdir).read_text().splitlines()
        last = lines[-1] if lines else "no message"
        return f"its evaluation ended with {name_status(status)}: {last}"

    found = _numbers_by_step(workdir)
    expected = _numbers_by_step(unbroken)
    if STEPS not in found:
        return "its evaluation lacks the last step"
    for step in sorted(found.keys() & expected.keys()):
        if not np.allclose(found[step], expected[step], rtol=1e-4, atol=1e-6):
            return f"its evaluation of step {step} is not that of the unbroken run"
    return ""


def _numbers_by_step(workdir: Path) -> dict[int, list[float]]:
    results = read_evaluations(str(results_folder(workdir)))
    return {result["step"]: list(result["numbers"].values()) for result in results}


def _errors_file(workdir: Path) -> Path:
    return workdir.with_suffix(".evaluation.stderr")
