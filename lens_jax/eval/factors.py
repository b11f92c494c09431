"""How far apart features lie when one factor of an image changes and nothing else.

Sets of images differ in one factor alone, such as the viewpoint of an object. Their distances are
compared with those of sets of the same images put together at random: a representation that is
invariant to the factor has a ratio of 0, one that takes each image for another thing a ratio of 1.
"""

from typing import NamedTuple

import numpy as np

# Rows that are looked at together, for the sake of memory.
ROWS = 4096


class Spread(NamedTuple):
    """Mean cosine distances, 1 - cos, in [0, 2].

    Attributes:
      within: of two images of a set.
      shuffled: of two images of a set, after all images were shuffled: the floor.

    """

    within: float
    shuffled: float

    @property
    def ratio(self) -> float:
        """0 for features that the factor leaves as they are, about 1 for unrelated ones."""
        return self.within / self.shuffled if self.shuffled else float("nan")


def measure_spread(features: np.ndarray, sets: np.ndarray, seed: int = 0) -> Spread:
    """How far apart the features of sets lie, and those of shuffled ones.

    Args:
      features: [n, d], which may be mapped from a file.
      sets: which set each row is in, int [n]; at least one has two rows.
      seed: of the shuffling.

    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(sets))
    shuffled = np.empty_like(sets)
    shuffled[order] = sets
    return Spread(
        within=mean_distance(features, sets),
        shuffled=mean_distance(features, shuffled),
    )


def mean_distance(features: np.ndarray, sets: np.ndarray) -> float:
    """The mean of 1 - cos over all pairs of different rows of each set, and over the sets.

    The sum of all cosines of a set of T rows is the squared length of the sum of its unit vectors;
    T of them are of a row with itself. A row of zeros has the cosine 0 with all others.
    """
    _, of_rows, sizes = np.unique(sets, return_inverse=True, return_counts=True)
    width = features.shape[1]
    total = np.zeros((len(sizes), width))
    own = np.zeros(len(sizes))
    for start in range(0, len(features), ROWS):
        chunk = slice(start, start + ROWS)
        units = _to_units(features[chunk])
        squares = np.sum(units**2, axis=1)
        np.add.at(total, of_rows[chunk], units)
        np.add.at(own, of_rows[chunk], squares)

    # Of each set: all cosines without those of a row with itself.
    lengths = np.sum(total**2, axis=1)
    cosines = lengths - own
    pairs = sizes * (sizes - 1)
    has_pairs = pairs > 0
    means = cosines[has_pairs] / pairs[has_pairs]
    return float(1 - np.mean(means))


def _to_units(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1, or of zeros."""
    rows = rows.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    is_zero = lengths == 0
    return rows / np.where(is_zero, 1, lengths)
