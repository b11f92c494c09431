"""Where the pixels of a class are: its mean image, and how much each single pixel tells.

A mark that is always at the same place stands out in both. One that moves does not.
"""

from typing import NamedTuple

import cv2
import numpy as np
from scipy import ndimage

from lens_jax.audit.separation import LEVEL, SHUFFLES, permutation_p

# The side of the maps, in pixels.
CELLS = 32
_NEIGHBORHOOD = 9  # what has room for a square of so many pixels a side is no spot
_AT_A_TIME = 16


class Spot(NamedTuple):
    """The place that tells most, compared with what is around it: edges as fractions of the sides.

    Attributes:
      top: the upper edge, in [0, 1].
      left: the left one.
      bottom: the lower one.
      right: the right one.

    """

    top: float
    left: float
    bottom: float
    right: float


class Information(NamedTuple):
    """What single pixels tell of each class.

    Attributes:
      maps: float32 [classes, CELLS, CELLS], 0 where a pixel tells nothing, 1 where it tells the
        class from all others without an error: 2 |AUC - 1/2|, the largest of the color channels,
        and of the value and its distance from the median.
      null_highest: what the best pixel of all reached, of the best class, in all shuffles.
      fractions: of the pixels that tell each class, those that stand out from the best pixels of
        the shuffles at `LEVEL`. Where it is small and not 0, a mark is likelier than an object.
      spots: the spot of each class.
      p: the p-value over all pixels and classes.

    """

    maps: np.ndarray
    null_highest: float
    fractions: list[float]
    spots: list[Spot]
    p: float


def mean_images(images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean of the images [K, SIDE, SIDE, 3] of each label, uint8."""
    means = []
    for label in range(1 + labels.max()):
        chosen = images[labels == label]
        means.append(chosen.mean(axis=0))
    return np.round(means).astype(np.uint8)


def measure_information(images: np.ndarray, labels: np.ndarray, seed: int) -> Information:
    """Measures what each pixel of images [K, SIDE, SIDE, 3] tells of labels [K]."""
    ranks = rank_pixels(images)
    scales = ranks.std(axis=0)
    standardized = ranks / np.maximum(scales, 1e-12)
    arrangements = np.tile(labels, (1 + SHUFFLES, 1))
    arrangements[1:] = np.random.default_rng([seed, 2]).permuted(arrangements[1:], axis=1)

    # Of each arrangement and class, the most that any pixel reaches.
    surprises = []
    strengths = []
    observed = None
    sizes = np.bincount(labels)
    pairs = sizes * (len(labels) - sizes)
    deviations = np.sqrt(pairs / (len(labels) - 1))[:, None]
    to_strength = 2 * deviations * scales / pairs[:, None]
    for start in range(0, len(arrangements), _AT_A_TIME):
        some = arrangements[start : start + _AT_A_TIME]
        sums = _class_sums(standardized, some, len(sizes))
        for each in sums:
            z = np.abs(each) / deviations
            surprises.append(z.max(axis=1))
            strengths.append((z * to_strength).max())
            if observed is None:
                observed = z

    table = np.array(surprises)
    threshold = np.quantile(table[1:].max(axis=1), 1 - LEVEL)
    maps = _largest(observed * to_strength)
    surprise = _largest(observed)
    spots = [find_spot(each) for each in surprise]
    fractions = [float(np.mean(each > threshold)) for each in surprise]
    highest = float(max(strengths[1:]))
    return Information(maps, highest, fractions, spots, permutation_p(table))


def rank_pixels(images: np.ndarray) -> np.ndarray:
    """Ranks over the images of every pixel's value, and of its distance from its median.

    The distance finds what a class has at one place in one middling tone. Of gray images, one
    channel is ranked.

    Returns:
      Mean ranks less their mean, float32 [K, 2 * channels * CELLS * CELLS].

    """
    small = np.stack(
        [cv2.resize(each, (CELLS, CELLS), interpolation=cv2.INTER_AREA) for each in images]
    )
    if np.array_equal(small[..., 0], small[..., 1]) and np.array_equal(
        small[..., 1], small[..., 2]
    ):
        small = small[..., :1]
    values = np.moveaxis(small, -1, 1).reshape(len(small), -1)
    median = np.median(values, axis=0)
    distances = np.abs(values - median).astype(np.uint8)
    columns = np.hstack([values, distances])

    ranks = np.empty(columns.shape, np.float32)
    for column in range(columns.shape[1]):
        each = columns[:, column]
        counts = np.bincount(each, minlength=256)
        below = np.cumsum(counts) - counts
        mean_ranks = below + (counts - 1) / 2
        ranks[:, column] = mean_ranks[each] - (len(each) - 1) / 2
    return ranks


def find_spot(values: np.ndarray) -> Spot:
    """The small spot of [CELLS, CELLS] that stands out most from what is around it.

    Spots are what a white top-hat leaves: all that has no room for a square of `_NEIGHBORHOOD`
    pixels a side. Of the one with the highest value, it is the connected pixels of at least half of
    that value.
    """
    contrast = ndimage.white_tophat(values, size=_NEIGHBORHOOD, mode="nearest")
    peak = np.unravel_index(contrast.argmax(), contrast.shape)
    regions, _ = ndimage.label(contrast >= contrast[peak] / 2)
    rows, columns = np.nonzero(regions == regions[peak])
    side = len(values)
    return Spot(
        float(rows.min()) / side,
        float(columns.min()) / side,
        float(rows.max() + 1) / side,
        float(columns.max() + 1) / side,
    )


def _class_sums(rows: np.ndarray, arrangements: np.ndarray, classes: int) -> np.ndarray:
    """Sums of rows [K, D] over each class of arrangements [A, K], [A, classes, D]."""
    members = np.zeros((*arrangements.shape, classes), np.float32)
    np.put_along_axis(members, arrangements[..., None], 1, axis=2)
    flat = members.transpose(0, 2, 1).reshape(-1, len(rows))
    return (flat @ rows).reshape(len(arrangements), classes, -1)


def _largest(values: np.ndarray) -> np.ndarray:
    """The largest of all values of each pixel, [classes, CELLS, CELLS]."""
    return values.reshape(len(values), -1, CELLS, CELLS).max(axis=1)
