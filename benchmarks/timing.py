"""How steps are timed beside each other, and what is said of the times."""

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

WARM_UP = 2


class Speed(NamedTuple):
    """Images (or operations) a second: the median over the rounds, the least and the most."""

    median: float
    least: float
    most: float


def interleave(runs: Mapping[str, Iterator[Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds that `next` takes on each of the runs, in each of the rounds.

    In a round every run is timed once, one after the other: what slows the machine down for a while
    slows all of them. `WARM_UP` rounds go before, and are not counted.
    """
    times = [{name: _seconds(run) for name, run in runs.items()} for _ in range(WARM_UP + rounds)]
    return {name: [each[name] for each in times[WARM_UP:]] for name in runs}


def _seconds(run: Iterator[Any]) -> float:
    began = time.perf_counter()
    next(run)
    return time.perf_counter() - began


def speed(amount: float, seconds: Sequence[float]) -> Speed:
    """The speed at which `amount` was done in so many seconds, each of them of one round."""
    return Speed(amount / statistics.median(seconds), amount / max(seconds), amount / min(seconds))
