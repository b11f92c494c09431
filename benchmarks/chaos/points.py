"""The moments at which runs are ended, drawn by a seed."""

import signal
from typing import NamedTuple

import numpy as np

from benchmarks.chaos.kinds import KINDS, STEPS
from lens_jax.train.preemption import EXIT_STATUS

START, STEP, SAVE, TERM, END = "start", "step", "save", "SIGTERM", "end"
KILLED = (signal.SIGKILL, -signal.SIGKILL)
# How each moment ends a run, and the exit status that it gives.
ENDS = {
    START: KILLED,
    STEP: KILLED,
    SAVE: KILLED,
    TERM: (signal.SIGTERM, EXIT_STATUS),
    END: (None, 0),
}
KILLS_IN_A_RUN, TERMS_OF_A_KIND = 5, 2


class Point(NamedTuple):
    """One start of a run and when to end it.

    Attributes:
      moment: a key of `ENDS`.
      step: the step to wait for; for `START`, its order among the other points of its run.
      fraction: in [0, 1), of the longest wait after the step, or for `START` of the seconds that a
        start takes.
      threads: that read the data.

    """

    moment: str
    step: int
    fraction: float
    threads: int


def draw(points: int, seed: int) -> list[tuple[str, tuple[Point, ...]]]:
    """Runs as pairs of a key of `KINDS` and of their points, the earliest first.

    The points are dealt evenly to the kinds and to the moments of SIGKILL; those of SIGTERM come on
    top.
    """
    rng = np.random.default_rng(seed)
    moments = rng.permutation(np.resize((START, STEP, SAVE), points)).tolist()
    runs = []
    for index, kind in enumerate(KINDS):
        kills = [_draw_point(moment, rng) for moment in moments[index :: len(KINDS)]]
        for first in range(0, len(kills), KILLS_IN_A_RUN):
            runs.append((kind, _sort(kills[first : first + KILLS_IN_A_RUN])))
        terms = [_draw_point(TERM, rng) for _ in range(TERMS_OF_A_KIND)]
        runs.append((kind, _sort(terms)))
    return runs


def _draw_point(moment: str, rng: np.random.Generator) -> Point:
    # A run that gets a SIGTERM near its end may end by itself before.
    last = 3 * STEPS // 4 if moment == TERM else STEPS
    step = int(rng.integers(1, last))
    threads = int(rng.integers(2, 5))
    fraction = float(rng.random())
    return Point(moment, step, fraction, threads)


def _sort(points: list[Point]) -> tuple[Point, ...]:
    return tuple(sorted(points, key=lambda point: point.step))
