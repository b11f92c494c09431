"""How far apart features lie when one factor of an image changes and nothing else.

Sets of images differ in one factor alone, such as the viewpoint of an object. Their distances are
compared with those of sets of the same images put together at random: a representation that is
invariant to the factor has a ratio of 0, one that takes each image for another thing a ratio of 1.
"""

from typing import NamedTuple

import numpy as np


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


def measure_spread(features: np.ndarray, seed: int = 0) -> Spread:
    """How far apart the features of sets lie, and those of shuffled ones.

    Args:
      features: [S, T, d], of T images in each of S sets, at least 2 of both.
      seed: of the shuffling.

    """
    sets, count, width = features.shape
    rows = features.reshape(sets * count, width)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(rows).reshape(features.shape)
    return Spread(
        within=mean_distance(features),
        shuffled=mean_distance(shuffled),
    )


def mean_distance(features: np.ndarray) -> float:
    """The mean of 1 - cos over all pairs of different rows of each set, [S, T, d].

    The sum of all cosines of a set is the squared length of the sum of its unit vectors; T of them
    are of a row with itself. A row of zeros has the cosine 0 with all others.
    """
    rows = features.astype(np.float64)
    lengths = np.linalg.norm(rows, axis=-1, keepdims=True)
    is_zero = lengths == 0
    units = rows / np.where(is_zero, 1, lengths)

    # Of each set: all cosines, and those of a row with itself.
    total = np.sum(units, axis=1)
    cosines = np.sum(total**2, axis=-1)
    own = np.sum(units**2, axis=(1, 2))
    count = features.shape[1]
    pairs = count * (count - 1)
    return float(1 - np.mean(cosines - own) / pairs)
