"""Watches the memory of a real training, and tells whether it grows.

    python -m benchmarks.memory --steps=2000

Trains configs/rotation.py:digits with the networks it names, on `BATCH_SIZE` images a step, and
reads the resident set size of the process at every line of progress; every `EVERY` steps there is
one, and a checkpoint is saved. By `WARM_UP` steps the step is compiled, the buffers of the reader
are full, ten checkpoints were saved and the oldest of them removed: what is held from then on
should stay the same. A leak of 1 kB a step would be 2 MB in 2,000 steps and stays unseen beside the
1 GiB or so that the libraries hold, one of 30 kB does not. The size jitters, so that the median of
`WINDOW` samples after the warm-up is compared with that of the last ones. The exit status is 1
where it grew by `LIMIT` per cent or more.
"""

import argparse
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import psutil

from lens_jax.errors import UserError

REPOSITORY = Path(__file__).parents[1]
BATCH_SIZE = 16
EVERY, WARM_UP, WINDOW, LIMIT = 20, 200, 10, 5.0
SHOWN = 10
MEBIBYTE = 2**20
# Two windows must not overlap.
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
    """Runs a training and gives a sample at each of its lines of progress; `UserError` where it fails."""
    with subprocess.Popen(words, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        yield from sample(process.stdout, psutil.Process(process.pid))
    if process.returncode:
        raise UserError(
            f"the training ended with status {process.returncode}: see what it said above"
        )


def sample(lines: Iterable[str], process: psutil.Process) -> Iterator[Sample]:
    """The resident memory of `process` at each of the lines that tell a step."""
    for line in lines:
        if match := _STEP_LINE.match(line):
            yield Sample(int(match[1]), process.memory_info().rss)


def find_growth(samples: Sequence[Sample]) -> Growth:
    """Compares the first `WINDOW` samples from step `WARM_UP` on with the last `WINDOW` ones."""
    warm = [each.resident for each in samples if each.step >= WARM_UP]
    return Growth(statistics.median(warm[:WINDOW]), statistics.median(warm[-WINDOW:]))


def describe(samples: Sequence[Sample], growth: Growth) -> str:
    """About `SHOWN` of the samples and the last one, and the growth."""
    rows = [*samples[:: -(-len(samples) // SHOWN)], samples[-1]]
    return "\n".join(
        [
            "    step   resident MiB",
            *(f"{row.step:8,}{row.resident / MEBIBYTE:15.1f}" for row in dict.fromkeys(rows)),
            f"after step {WARM_UP}: {growth.first / MEBIBYTE:.1f} MiB, at the end: "
            f"{growth.last / MEBIBYTE:.1f} MiB, growth {growth.percent:+.2f} % (limit {LIMIT:.0f} %)",
        ]
    )


def check_steps(steps: int) -> None:
    """Raises `UserError` for too few steps to compare."""
    if steps < LEAST_STEPS:
        raise UserError(
            f"--steps is {steps}: give {LEAST_STEPS} or more, of which {WARM_UP} warm up"
        )


def main() -> None:
    """Trains and watches as the command line says, and prints what came of it."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--steps", type=int, default=2000, help="how long to train")
    options = parser.parse_args()
    try:
        check_steps(options.steps)
        with tempfile.TemporaryDirectory(prefix="memory-") as folder:
            samples = list(watch(make_command(folder, options.steps)))
    except UserError as error:
        sys.exit(f"error: {error}")
    growth = find_growth(samples)
    print(describe(samples, growth))
    sys.exit(growth.percent >= LIMIT)


if __name__ == "__main__":
    main()
