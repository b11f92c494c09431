"""Kills real trainings at random moments, starts them again, and compares what they end as.

    python -m benchmarks.chaos --points=50 --seed=0

Every kind of training in `kinds.KINDS` is first run without a break, on tiny networks. Then each is
killed by SIGKILL, up to five times in a run, and started again until it ends. The moments are drawn
by the seed, a third of them for each of

    start     at any time before the first step, importing, restoring and compiling being among it
    step      up to a tenth of a second after the line of progress of any step
    save      as long after an unfinished checkpoint is seen, once any save has begun

Beside them, each kind is ended by SIGTERM twice, which must give the status of
`preemption.EXIT_STATUS` within 30 seconds. How many threads read the data is drawn anew for every
start.

After each kill, the newest checkpoint has to load and the metrics have to be readable. At the end,
the state, the position in the data, the count of roll-backs and all losses have to be those of the
unbroken run, bit by bit, and the folder must hold whole checkpoints only. What is not so is listed,
and the exit status is 1 then. With --evaluate, `lens_jax.evaluate --follow` runs beside each
training through all of its kills: it has to end by itself, with the numbers of the unbroken run at
every step that both evaluated. "amid a save" counts the kills that left a new unfinished checkpoint
behind, and "too late" those that came when the run had ended. The figures are of one machine's
processes: a power cut is another matter, as files that were written may be lost then.
"""

import contextlib
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from absl import flags

from lens_jax import cli

POINTS = flags.DEFINE_integer("points", 50, "How many SIGKILLs.", 1)
SEED = flags.DEFINE_integer("seed", 0, "Decides the moments.", 0)
JOBS = flags.DEFINE_integer("jobs", 1, "Runs at a time, each of which uses all devices.", 1)
EVALUATE = flags.DEFINE_bool("evaluate", False, "Follow each run with an evaluation job.")
KEEP = flags.DEFINE_bool("keep", False, "Keep the work directories.")


def main() -> None:
    """Kills and compares, prints the results, and exits with status 1 after any problem."""
    # Imported only now, so that --help and mistyped flags answer at once.
    import jax

    from benchmarks.chaos import table
    from benchmarks.chaos.runs import run_all

    # This process only compares; an accelerator is the trainings' alone.
    jax.config.update("jax_platforms", "cpu")
    began = time.monotonic()
    with open_folder(KEEP.value) as root:
        runs = run_all(root, POINTS.value, SEED.value, JOBS.value, EVALUATE.value)
    print(table.tabulate(runs))
    problems = table.list_problems(runs)
    print("\n".join([f"problems: {len(problems)}", *problems]))
    print(f"took {(time.monotonic() - began) / 60:.1f} min")
    sys.exit(bool(problems))


@contextlib.contextmanager
def open_folder(keep: bool) -> Iterator[Path]:
    """A temporary folder, which is removed in the end unless it is to be kept."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        yield folder
    finally:
        if keep:
            print(f"kept {folder}")
        else:
            shutil.rmtree(folder)


if __name__ == "__main__":
    cli.run(main)
