"""Permutations that are far from each other, the classes of Jigsaw."""

import functools
import itertools
import math
from typing import NamedTuple

import numpy as np

from lens_jax.errors import UserError


class HammingDistances(NamedTuple):
    """The least and the mean Hamming distance (number of places that differ) over all pairs."""

    minimum: int
    mean: float


@functools.cache
def spread_permutations(count: int, seed: int = 0, items: int = 9) -> np.ndarray:
    """A greedy choice of `count` permutations that lie far from each other, int64 [count, items].

    All permutations are shuffled by the seed and the first is taken. Then, again and again, the one
    is taken whose least Hamming distance to those taken is largest; of several the one whose mean
    distance is largest, and of these the first in the shuffled order. Noroozi & Favaro (2016, arXiv
    1603.09246) choose their 100 permutations in a similar way; their file is not needed, nor is it
    reproduced.

    Of the 100 permutations of 9 items at seed 0, no two agree in more than three places, and no 100
    permutations have a larger mean (`python -m doctest -v lens_jax/tasks/permutations.py` measures
    both):

    >>> hamming_distances(spread_permutations(100))
    HammingDistances(minimum=6, mean=8.08)

    Args:
      count: 1 to the factorial of `items`; each takes some milliseconds, for 9 items.
      seed: of the shuffled order.
      items: 1 to 9 of them are permuted; beyond that there are too many permutations to try all.

    Returns:
      The permutations in the order in which they were taken, read-only.

    Raises:
      UserError: there are not that many permutations.

    """
    most = math.factorial(items)
    if not 1 <= count <= most:
        raise UserError(f"{items} items have {most} permutations, not {count}")
    candidates = _shuffled(items, seed)
    taken = [0]
    distances = _distances(candidates, 0)
    least = distances
    total = distances

    # The mean decides only between equal minima: no total reaches this weight of the minimum.
    weight = items * count + 1
    while len(taken) < count:
        values = weight * least + total
        best = int(np.argmax(values))  # the first of equals
        taken.append(best)
        distances = _distances(candidates, best)
        least = np.minimum(least, distances)
        total = total + distances

    chosen = candidates[:, taken].T
    chosen = chosen.astype(np.int64)
    chosen.flags.writeable = False
    return chosen


def hamming_distances(permutations: np.ndarray) -> HammingDistances:
    """The distances over all pairs of two or more permutations [count, items]."""
    first, second = np.triu_indices(len(permutations), k=1)
    different = permutations[first] != permutations[second]
    distances = np.count_nonzero(different, axis=1)
    return HammingDistances(
        minimum=int(distances.min()),
        mean=float(distances.mean()),
    )


def _shuffled(items: int, seed: int) -> np.ndarray:
    """All permutations, one a column: uint8 [items, items!]."""
    count = math.factorial(items)
    orders = itertools.permutations(range(items))
    flat = itertools.chain.from_iterable(orders)
    every = np.fromiter(flat, np.uint8, items * count)
    every = every.reshape(count, items)

    # Unlike that of newer generators, RandomState's stream is frozen (NEP 19): a run that is
    # resumed or evaluated under another version of NumPy keeps its labels.
    shuffled = np.random.RandomState(seed).permutation(count)
    columns = every[shuffled].T
    return np.ascontiguousarray(columns)


def _distances(candidates: np.ndarray, index: int) -> np.ndarray:
    """The Hamming distances of all columns [items, n] to that at `index`, int64 [n]."""
    different = candidates != candidates[:, index, None]
    return np.sum(different, axis=0)
