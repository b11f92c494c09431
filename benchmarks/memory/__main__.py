"""Watches the memory of a real training, and exits with status 1 if it grows.

    python -m benchmarks.memory --steps=2000

Trains configs/rotation.py:digits with the networks it names, on 16 images a step, and reads the
resident set size of the process at every line of progress; every 20 steps there is one, and a
checkpoint is saved. By 200 steps the step is compiled, the buffers of the reader are full, ten
checkpoints were saved and the oldest of them removed: what is held from then on should stay the
same. A leak of 1 kB a step would be 2 MB in 2,000 steps and stays unseen beside the 1 GiB or so
that the libraries hold, one of 30 kB does not. The size jitters, so that the median of ten samples
after the warm-up is compared with that of the last ten. The exit status is 1 where it grew by 5 %
or more.
"""

import sys
import tempfile

from absl import flags

from benchmarks.memory import growth
from lens_jax import cli

STEPS = flags.DEFINE_integer(
    "steps", 2000, f"How long to train; {growth.WARM_UP} steps warm up.", growth.LEAST_STEPS
)


def main() -> None:
    """Trains and watches, and prints the samples and the growth."""
    with tempfile.TemporaryDirectory(prefix="memory-") as folder:
        samples = list(growth.watch(growth.make_command(folder, STEPS.value)))
    found = growth.find_growth(samples)
    print(growth.describe(samples, found))
    sys.exit(found.percent >= growth.LIMIT)


if __name__ == "__main__":
    cli.run(main)
