"""Marks that lie at one place in the images of a class: their details do not average out.

Details are what a pixel has more than the mean of its neighborhood. In photographs of anything,
they are as often bright as dark at any place, and their mean over a class is near zero. What lies
at the same place in many of the images stays. Where objects lie at the same place in all of them,
as on photographs of clothes, that is no sign of a mark: then this is not asked.
"""

from typing import NamedTuple

import cv2
import numpy as np
from scipy import stats

from lens_jax.audit.maps import CELLS, Spot
from lens_jax.audit.separation import LEVEL
from lens_jax.audit.state import Result

# The median of |z| is 0.67 where details do not depend on the class: beyond this, objects lie at
# the same places.
MOST_ALIGNED = 1.2
_MEDIAN = stats.norm.ppf(0.75)
_NEIGHBORHOOD = 5  # pixels a side
SHUFFLES = 60


class Fixed(NamedTuple):
    """What details tell of each class.

    Attributes:
      z: by how many standard errors the mean detail of each pixel differs from that of all other
        classes, scaled so that the median of |z| is that of a normal one, [classes, CELLS, CELLS].
      critical: what luck reaches in one of 20 sets.
      is_own: whether it is the class that has details there, rather than the others, [classes].
      is_aligned: whether objects lie at the same places, and nothing can be said.

    """

    z: np.ndarray
    critical: float
    is_own: list[bool]
    is_aligned: bool


def find_details(small: np.ndarray) -> np.ndarray:
    """The details of images [K, SIDE, SIDE, 3], in gray levels, float32 [K, CELLS, CELLS]."""
    details = []
    for image in small:
        shrunk = cv2.resize(image, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
        gray = cv2.cvtColor(shrunk, cv2.COLOR_RGB2GRAY).astype(np.float32)
        details.append(gray - cv2.blur(gray, (_NEIGHBORHOOD, _NEIGHBORHOOD)))
    return np.array(details)


def find_critical(details: np.ndarray, labels: np.ndarray, seed: int) -> float:
    """What the largest |z| of all pixels and classes reaches by luck in one of 20 sets.

    That is what `SHUFFLES` shuffles of the labels reach, or what normal details would where that is
    more: a detail that few images have is far from normal.
    """
    asked = (labels.max() + 1) * CELLS**2
    critical = float(stats.norm.isf(LEVEL / 2 / asked))
    rng = np.random.default_rng([seed, 8])
    highest = []
    for _ in range(SHUFFLES):
        shuffled = _differences(details, rng.permutation(labels))
        highest.append(np.abs(shuffled.z).max())
    return max(critical, float(np.quantile(highest, 1 - LEVEL)))


def compare_details(details: np.ndarray, labels: np.ndarray, critical: float) -> Fixed:
    """Compares the mean details of each class with those of all others; see `find_critical`."""
    found = _differences(details, labels)
    medians = np.median(np.abs(found.z), axis=(1, 2))
    scales = np.minimum(1, _MEDIAN / np.maximum(medians, 1e-9))
    is_own = []
    for number, z in enumerate(found.z):
        most = np.unravel_index(np.abs(z).argmax(), z.shape)
        is_own.append(bool(abs(found.mean[number][most]) > abs(found.mean_of_others[number][most])))
    is_aligned = float(np.median(medians)) > MOST_ALIGNED
    return Fixed(found.z * scales[:, None, None], critical, is_own, is_aligned)


class _Differences(NamedTuple):
    """Means of each class and of all others, and z of their difference: [classes, h, w] each."""

    mean: np.ndarray
    mean_of_others: np.ndarray
    z: np.ndarray


def _differences(details: np.ndarray, labels: np.ndarray) -> _Differences:
    sizes = np.bincount(labels)[:, None]
    rest = len(labels) - sizes
    members = np.zeros((len(sizes), len(labels)), np.float32)
    members[labels, np.arange(len(labels))] = 1
    rows = details.reshape(len(details), -1)
    sums = members @ rows
    squares = members @ np.square(rows)

    mean = sums / sizes
    mean_of_others = (sums.sum(axis=0) - sums) / rest
    variance = squares / sizes - np.square(mean)
    variance_of_others = (squares.sum(axis=0) - squares) / rest - np.square(mean_of_others)
    # A gray level more: a pixel that never changes is no certainty.
    error = np.sqrt((variance + 1) / sizes + (variance_of_others + 1) / rest)
    z = (mean - mean_of_others) / error
    shape = (len(sizes), *details.shape[1:])
    return _Differences(mean.reshape(shape), mean_of_others.reshape(shape), z.reshape(shape))


def find_marked(fixed: Fixed) -> list[int]:
    """The classes with details at one place that all others lack."""
    if fixed.is_aligned:
        return []
    marked = []
    for number, z in enumerate(fixed.z):
        if fixed.is_own[number] and np.abs(z).max() > fixed.critical:
            marked.append(number)
    return marked


def describe_fixed(details: np.ndarray, labels: np.ndarray, critical: float) -> list[Result]:
    """The classes with something at one place that all others lack.

    Returns:
      Of each such class "class" (its number), "z", "critical", "auc" (how well the detail of the
      best pixel tells the class), "box", and "scores": of each flagged image of the class (its
      index), the fraction of the images of other classes that are less like the class's details.

    """
    found = compare_details(details, labels, critical)
    described = []
    for number in find_marked(found):
        z = found.z[number]
        place = np.unravel_index(np.abs(z).argmax(), z.shape)
        is_class = labels == number
        values = details[:, place[0], place[1]]
        auc = stats.mannwhitneyu(values[is_class], values[~is_class]).statistic
        auc /= is_class.sum() * (~is_class).sum()
        each = {
            "class": number,
            "z": float(abs(z[place])),
            "critical": found.critical,
            "auc": float(max(auc, 1 - auc)),
            "box": _bound(np.abs(z) >= max(found.critical, abs(z[place]) / 2)),
            "scores": _score_images(details, is_class, z, found.critical),
        }
        described.append(each)
    return described


def _bound(is_marked: np.ndarray) -> dict[str, float]:
    """The box around all pixels of a mark, edges as fractions of the sides."""
    rows, columns = np.nonzero(is_marked)
    return Spot(
        float(rows.min()) / CELLS,
        float(columns.min()) / CELLS,
        float(rows.max() + 1) / CELLS,
        float(columns.max() + 1) / CELLS,
    )._asdict()


def _score_images(
    details: np.ndarray, is_class: np.ndarray, z: np.ndarray, critical: float
) -> dict[int, float]:
    """Flags the images whose details are more like those of the class than 99 of 100 others."""
    weights = np.where(np.abs(z) >= critical, z, 0)
    likeness = np.tensordot(np.clip(details, -64, 64), weights, axes=2)
    others = np.sort(likeness[~is_class])
    scores = np.searchsorted(others, likeness) / len(others)
    flagged = np.flatnonzero(is_class & (scores >= 0.99))
    return {int(index): round(float(scores[index]), 4) for index in flagged}
