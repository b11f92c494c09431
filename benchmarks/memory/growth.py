"""Samples of a training's resident memory, and how much it grows."""

import math
import re
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from lens_jax.errors import UserError

REPOSITORY = Path(__file__).parents[2]
BATCH_SIZE = 16
EVERY = 20  # steps between two lines of progress, and between two checkpoints
WARM_UP = 200  # steps after which the memory should not grow
WINDOW = 10  # samples at either end whose medians are compared
LIMIT = 5.0  # per cent
SHOWN = 10
MEBIBYTE = 2**20
# The two windows must not overlap.
LEAST_STEPS = WARM_UP + 2 * WINDOW * EVERY
_STEP_LINE = re.compile(r"step (\d+)/")


class Sample(NamedTuple):
    """The resident memory of a training after a step, in bytes."""

    step: int
    resident: int


class Growth(NamedTuple):
    """Medians of the resident memory after the warm-up and at the end, in bytes."""

    first: float
    last: float

    @property
    def percent(self) -> float:
        """By how much the last is above the first."""
        return 100 * (self.last / self.first - 1)


def make_command(workdir: str, steps: int) -> list[str]:
    """The words that start the training."""
    return [
        *(sys.executable, "-m", "lens_jax.main"),
        "--config=configs/rotation.py:digits",
        f"--workdir={workdir}/run",
        f"--config.data.dir={workdir}/data",
        f"--config.data.batch_size={BATCH_SIZE}",
        f"--config.train.duration={steps} steps",
        f"--config.train.log_every={EVERY} steps",
        f"--config.train.checkpoint_every={EVERY} steps",
    ]


def watch(words: Sequence[str]) -> Iterator[Sample]:
    """Runs a training and yields a sample at each of its lines of progress.

    Raises `UserError` where the training fails.
    """
    with subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        yield from sample(process.stdout, psutil.Process(process.pid))
    if process.returncode:
        raise UserError(
            f"the training ended with status {process.returncode}: see what it printed above"
        )


def sample(lines: Iterable[str], process: psutil.Process) -> Iterator[Sample]:
    """The resident memory of `process` at each of the lines that name a step."""
    for line in lines:
        if match := _STEP_LINE.match(line):
            yield Sample(int(match[1]), process.memory_info().rss)


def find_growth(samples: Sequence[Sample]) -> Growth:
    """Compares the first `WINDOW` samples from step `WARM_UP` on with the last `WINDOW` ones."""
    warm = [each.resident for each in samples if each.step >= WARM_UP]
    first, last = warm[:WINDOW], warm[-WINDOW:]
    return Growth(statistics.median(first), statistics.median(last))


def describe(samples: Sequence[Sample], growth: Growth) -> str:
    """About `SHOWN` of the samples and the last one, and the growth."""
    stride = math.ceil(len(samples) / SHOWN)
    shown = list(samples[::stride])
    if shown[-1] != samples[-1]:
        shown.append(samples[-1])
    lines = ["    step   resident MiB"]
    for each in shown:
        lines.append(f"{each.step:8,}{each.resident / MEBIBYTE:15.1f}")
    lines.append(
        f"after step {WARM_UP}: {growth.first / MEBIBYTE:.1f} MiB, at the end: "
        f"{growth.last / MEBIBYTE:.1f} MiB, growth {growth.percent:+.2f} % (limit {LIMIT:.0f} %)"
    )
    return "\n".join(lines)
