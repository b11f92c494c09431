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
    if not 1 <= count <= math.factorial(items):
        raise UserError(f"{items} items have {math.factorial(items)} permutations, not {count}")
    candidates = _shuffled(items, seed)
    taken = [0]
    least = total = _distances(candidates, 0)
    while len(taken) < count:
        # The mean decides only between equal minima; argmax gives the first of equals.
        taken.append(int(np.argmax(least * (items * count + 1) + total)))
        distances = _distances(candidates, taken[-1])
        least, total = np.minimum(least, distances), total + distances
    chosen = candidates[:, taken].T.astype(np.int64)
    chosen.flags.writeable = False
    return chosen


def hamming_distances(permutations: np.ndarray) -> HammingDistances:
    """The distances over all pairs of two or more permutations [count, items]."""
    first, second = np.triu_indices(len(permutations), k=1)
    distances = np.count_nonzero(permutations[first] != permutations[second], axis=1)
    return HammingDistances(int(distances.min()), float(distances.mean()))


def _shuffled(items: int, seed: int) -> np.ndarray:
    """All permutations, one a column: uint8 [items, items!]."""
    flat = itertools.chain.from_iterable(itertools.permutations(range(items)))
    every = np.fromiter(flat, np.uint8, items * math.factorial(items)).reshape(-1, items)
    # Unlike that of newer generators, RandomState's stream is frozen (NEP 19): a run that is
    # resumed or evaluated under another version of NumPy keeps its labels.
    order = np.random.RandomState(seed).permutation(len(every))
    return np.ascontiguousarray(every[order].T)


def _distances(candidates: np.ndarray, index: int) -> np.ndarray:
    """The Hamming distances of all columns [items, n] to that at `index`, int64 [n]."""
    return (candidates != candidates[:, index, None]).sum(axis=0)
