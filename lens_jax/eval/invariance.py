"""The Top-K Representation Invariance Score, and what it is by chance.

As the code of Purushwalkam and Gupta (2020, arXiv 2007.13916) computes it. Images come in sets that
differ in one factor, such as the viewpoint of one object, and a unit is invariant to that factor
where it fires on all images of a set or on none:

    p      = max(1 / C, 0.05) of C classes: on what fraction of all images a unit may fire
    t      = the value that a fraction p of all images exceeds, of each unit
    G(i)   = the fraction of all images on which unit i is at least t
    n(i,T) = the number of images of a set T on which unit i exceeds t, or those on which it stays
             below the same threshold of the other tail, whichever are more
    L(i,y) = the mean of n(i,T) / |T| over those sets of class y with n(i,T) > 0, and at least three
             images
    score  = 100 p L(i,y) / G(i), the mean of the K units that are best for y, then of all classes

100 is the ceiling. As units and signs are chosen among many, features that mean nothing score 10 to
30: the more units and the smaller the sets, the more. That floor is measured by putting the same
images into sets of the same sizes at random.
"""

import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse

from lens_jax.data.factors import MIN_IMAGES

# Of all images, a unit fires on at least so many percent.
MIN_PERCENT = 5
# Units that are looked at together, for the sake of memory.
UNITS = 128

# The image and the unit of each of m values, int [m] both.
Places = tuple[np.ndarray, np.ndarray]


class Score(NamedTuple):
    """A Top-K Representation Invariance Score, in [0, 100].

    Attributes:
      value: the score.
      chance: its mean over sets that were put together at random.
      chance_error: the standard error of that mean.

    """

    value: float
    chance: float
    chance_error: float


class Firing(NamedTuple):
    """On which images the units of a block fire.

    Attributes:
      above: where values exceed the threshold of their unit.
      below: where they are below its threshold of the other tail.
      rate: G, the fraction of images on which a unit reaches its threshold, [d].

    """

    above: Places
    below: Places
    rate: np.ndarray


class Sets(NamedTuple):
    """Sets of images.

    Attributes:
      of_images: the set of each image, int [n] in [0, S).
      sizes: number of images of each, [S].
      by_class: which of them are of which class, 0 or 1, [C, S].

    """

    of_images: np.ndarray
    sizes: np.ndarray
    by_class: sparse.csr_array


def measure_scores(
    features: np.ndarray,
    sets: np.ndarray,
    classes: np.ndarray,
    top: Sequence[int],
    shuffles: int,
    seed: int = 0,
) -> dict[int, Score]:
    """The Top-K score of features for each K of `top`.

    Args:
      features: [n, d], which may be mapped from a file: a block of units is read at a time.
      sets: which set each image is in, int [n].
      classes: the class of each image, int [n]; that of a set is the class of its first image.
      top: numbers K of units, each in [1, d].
      shuffles: how often images are put into sets at random, at least 2.
      seed: of the shuffling.

    """
    grouped = group(sets, classes)
    draws = [grouped]
    rng = np.random.default_rng(seed)
    for _ in range(shuffles):
        shuffled = rng.permutation(grouped.of_images)
        draws.append(grouped._replace(of_images=shuffled))

    scores = score_units(features, draws)
    found = {}
    for count in top:
        value, *random = top_means(scores, count).tolist()
        chance = statistics.mean(random)
        deviation = statistics.stdev(random)
        found[count] = Score(value, chance, deviation / math.sqrt(shuffles))
    return found


def score_units(features: np.ndarray, draws: Sequence[Sets]) -> np.ndarray:
    """100 p L / G of d units for several ways to put images into sets, [len(draws), C, d]."""
    class_count, _ = draws[0].by_class.shape
    unit_count = features.shape[1]
    percent = firing_percent(class_count)
    scores = np.zeros((len(draws), class_count, unit_count))
    # Thresholds do not depend on the sets: a block of units is looked at once for all draws.
    for start in range(0, unit_count, UNITS):
        block = slice(start, start + UNITS)
        firing = find_firing(features[:, block], percent)
        for draw, sets in enumerate(draws):
            local = local_rates(firing, sets)
            scores[draw, :, block] = percent * local / firing.rate
    return scores


def firing_percent(classes: int) -> float:
    """100 p, the percentage of all images on which a unit may fire."""
    # Rounded as in the authors' code, on which the index of a threshold depends.
    return 100 - min((1.0 - 1.0 / classes) * 100, 100 - MIN_PERCENT)


def group(sets: np.ndarray, classes: np.ndarray) -> Sets:
    """Numbers sets and classes from 0 on, without gaps."""
    _, first, of_images = np.unique(sets, return_index=True, return_inverse=True)
    names, labels = np.unique(classes, return_inverse=True)
    sizes = np.bincount(of_images)

    # A one in the row of each set's class.
    count = len(sizes)
    rows = labels[first]
    columns = np.arange(count)
    ones = np.ones(count)
    by_class = sparse.csr_array((ones, (rows, columns)), shape=(len(names), count))
    return Sets(of_images, sizes, by_class)


def find_firing(features: np.ndarray, percent: float) -> Firing:
    """Where the units of a block, [n, d], fire, by thresholds from all n images."""
    images = len(features)
    index = int(images * (100 - percent) // 100)
    mirrored = images - 1 - index
    # In memory, and the two thresholds at their places in ascending and in descending order.
    values = np.array(features)
    ordered = np.partition(values, (index, mirrored), axis=0)
    high = ordered[index]
    low = ordered[mirrored]

    above = np.nonzero(values > high)
    below = np.nonzero(values < low)
    reaches = values >= high
    return Firing(above, below, np.mean(reaches, axis=0))


def local_rates(firing: Firing, sets: Sets) -> np.ndarray:
    """L of the units of a block, [C, d]; 0 for a unit that never fires on images of a class."""
    units = len(firing.rate)
    above = count_by_set(firing.above, sets, units)
    below = count_by_set(firing.below, sets, units)
    # The better sign of each unit in each set.
    fired = np.maximum(above, below)
    # The images of small ones only count for the thresholds.
    is_small = sets.sizes < MIN_IMAGES
    fired[is_small] = 0

    # Over the sets of a class in which a unit fires at all.
    fractions = fired / sets.sizes[:, None]
    fires = fired > 0
    total = sets.by_class @ fractions
    times = sets.by_class @ fires
    return total / np.maximum(times, 1)


def count_by_set(places: Places, sets: Sets, units: int) -> np.ndarray:
    """On how many images of each set each unit fires, int [S, d]."""
    images, columns = places
    count = len(sets.sizes)
    cells = sets.of_images[images] * units + columns
    counts = np.bincount(cells, minlength=count * units)
    return counts.reshape(count, units)


def top_means(scores: np.ndarray, count: int) -> np.ndarray:
    """The mean of the best `count` units of each class, and of all classes, [..., C, d]."""
    ordered = np.partition(scores, -count, axis=-1)
    best = ordered[..., -count:]
    return np.mean(best, axis=(-2, -1))
