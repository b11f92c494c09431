"""Counts of all kills, by kind and by moment."""

import collections
import itertools
from collections.abc import Callable, Sequence

import numpy as np

from benchmarks.chaos.kill import Kill
from benchmarks.chaos.points import END
from benchmarks.chaos.runs import Run

HEADER = ("kills", "resumed", "bit-equal", "amid a save", "too late")


def tabulate(runs: Sequence[Run]) -> str:
    """The counts by kind, and below them by moment."""
    by_kind = _count(runs, lambda kill: kill.kind)
    by_moment = _count(runs, lambda kill: kill.point.moment)
    lines = []
    for counts in (by_kind, by_moment):
        lines.append(_format_row("", HEADER))
        for name, numbers in counts.items():
            lines.append(_format_row(name, numbers.tolist()))
    return "\n".join(lines)


def _format_row(name: str, cells: Sequence[str | int]) -> str:
    row = f"{name:12}"
    for cell in cells:
        row += f"{cell:>13}"
    return row


def _count(runs: Sequence[Run], key: Callable[[Kill], str]) -> dict[str, np.ndarray]:
    """By each kill's key, the numbers that `HEADER` names."""
    counts = collections.defaultdict(lambda: np.zeros(len(HEADER), int))
    for run in runs:
        for kill, following in itertools.pairwise((*run.kills, None)):
            if kill.point.moment == END:
                continue
            # A run that came to its end was resumed as well, if too soon for the next kill.
            went_on = following is not None and (following.landed or following.late)
            resumed = kill.landed and went_on
            equal = kill.landed and not run.problem
            counts[key(kill)] += [kill.landed, resumed, equal, kill.torn, kill.late]
    return counts


def list_problems(runs: Sequence[Run]) -> list[str]:
    """A line for each run that has a problem."""
    return [f"{run.kills[-1].kind}: {run.problem}" for run in runs if run.problem]
