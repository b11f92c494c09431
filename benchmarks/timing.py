"""Times computations in turn, and turns seconds into speeds."""

import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

WARM_UP = 2


class Speed(NamedTuple):
    """Images (or operations) a second: the median of the rounds, the least and the most."""

    median: float
    least: float
    most: float


def interleave(runs: Mapping[str, Iterator[Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds that `next` takes on each of the runs, in each of the rounds.

    In a round every run is timed once, one after the other: what slows the machine down for a while
    slows all of them. `WARM_UP` rounds go before, and are not counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(WARM_UP + rounds):
        for name, run in runs.items():
            began = time.perf_counter()
            next(run)
            seconds[name].append(time.perf_counter() - began)
    return {name: times[WARM_UP:] for name, times in seconds.items()}


def speed(amount: float, seconds: Sequence[float]) -> Speed:
    """The speed at which `amount` was done in so many seconds, each of them of one round."""
    return Speed(
        median=amount / statistics.median(seconds),
        least=amount / max(seconds),
        most=amount / min(seconds),
    )
