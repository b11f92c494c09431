"""Marks of known kinds: a detector of each is fitted on copies of the images, and asked of all.

Into copies of the user's own images, marks are planted: a small square, a text, a color fringe, a
low JPEG quality, noise, a blur, each as strong and wherever chance has it. Ridge regression learns
to tell these copies from the images as they are, by their statistics. It is fitted on all classes
but those whose images it is asked about, so that a mark that one class has already is not learnt as
ordinary. What has the mark then scores as its copies do.

Objects may be like a mark: some cloth looks like noise. So a class counts by how much more often it
is flagged than the class that comes next.
"""

from typing import NamedTuple

import cv2
import numpy as np
from scipy import linalg, stats

from lens_jax.audit import plants
from lens_jax.audit.copies import Copy, look_at, plant_all
from lens_jax.audit.maps import CELLS, find_spot
from lens_jax.audit.probes import Sample
from lens_jax.audit.separation import LEVEL, holm
from lens_jax.audit.state import Result

# Copies are made of so many images at most.
MAX_COPIES = 300
MAX_FOLDS = 5
# An image is flagged where it scores higher than a fraction of the copies with the mark. Where
# objects are like a mark only high scores tell, and where none are, low ones find more.
REACHED = (0.2, 0.5, 0.8)
KINDS = tuple(plants.ANY)
LOCAL = ("patch", "text")
_BLOCKS = ("sharpness", "noise", "grid", "blocks", "fringe", "frame", "light")
_RIDGE = 0.1
_OUTLIER = 5.0
_DETAIL_SIDES = (3, 5, 9)  # in pixels of the maps
_BORDER = 5
_PERCENTILES = np.linspace(0, 1, 101)
# The least contrast of a spot with what is around it, in standard errors.
_LEAST_CONTRAST = 5.0


class Detectors(NamedTuple):
    """What tells marks, one set of weights for each fold of the classes.

    Attributes:
      mean: of each feature, [d].
      scale: of each feature, [d]; 0 of those that are the same for all.
      weights: of a constant and the standardized features, [folds, 1 + d, kinds].
      reached: percentiles 0 to 100 of the scores of copies with each mark, [folds, kinds, 101].
      folds: of each class, [classes].

    """

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    reached: np.ndarray
    folds: np.ndarray


def features(small: np.ndarray, statistics: dict[str, np.ndarray]) -> np.ndarray:
    """All statistics of images, and how much small details stand out, [K, d]."""
    rows = [describe_details(image) for image in small]
    blocks = [statistics[name] for name in _BLOCKS]
    return np.hstack([*blocks, rows]).astype(np.float64)


def describe_details(small: np.ndarray) -> np.ndarray:
    """How bright and how dark small details are, in the border and inside of it.

    Details are what a white and a black top-hat leave of the luminance at `CELLS` pixels a side,
    for squares of 3, 5 and 9 pixels: the logarithms of the largest and of the 95th percentile.
    """
    shrunk = cv2.resize(small, (CELLS, CELLS), interpolation=cv2.INTER_AREA)
    gray = cv2.cvtColor(shrunk, cv2.COLOR_RGB2GRAY)
    inside = np.zeros(gray.shape, bool)
    inside[_BORDER:-_BORDER, _BORDER:-_BORDER] = True
    numbers = []
    for operation in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT):
        for side in _DETAIL_SIDES:
            square = np.ones((side, side), np.uint8)
            details = cv2.morphologyEx(gray, operation, square, borderType=cv2.BORDER_REPLICATE)
            for part in (details[~inside], details[inside]):
                ordered = np.sort(part)
                numbers += [ordered[-1], ordered[-len(ordered) // 20]]
    return np.log(np.array(numbers, float) + 2)


def fit(
    sample: Sample, copies: list[Copy], rows: np.ndarray, rng: np.random.Generator
) -> Detectors:
    """Fits the detectors of a sample with the `copies` of the images in some `rows` of it."""
    plain = features(sample.small, sample.statistics)
    mean = plain.mean(axis=0)
    deviation = plain.std(axis=0)
    marked = []
    for kind in KINDS:
        planted = plant_all(copies, plants.ANY[kind].draw, kind in LOCAL, rng)
        marked.append(features(*look_at(planted)))

    # What is the same for all images can still tell a mark: by the copies' own scale.
    together = np.vstack([plain, *marked])
    scale = np.where(deviation > 0, deviation, together.std(axis=0))
    plain = _standardize(plain, mean, scale)
    marked = [_standardize(each, mean, scale) for each in marked]

    count = min(MAX_FOLDS, len(sample.names))
    folds = np.arange(len(sample.names)) % count
    of_rows = folds[sample.labels]
    weights = []
    reached = []
    for fold in range(count):
        is_fitted = of_rows != fold
        is_marked_fitted = is_fitted[rows]
        fitted = [each[is_marked_fitted] for each in marked]
        learnt = _regress(plain[is_fitted], fitted)
        weights.append(learnt)
        scores = []
        for number, each in enumerate(marked):
            held_out = each[~is_marked_fitted] if (~is_marked_fitted).any() else each
            scores.append(
                np.quantile(held_out @ learnt[1:, number] + learnt[0, number], _PERCENTILES)
            )
        reached.append(scores)
    return Detectors(mean, scale, np.array(weights), np.array(reached), folds)


def score(detectors: Detectors, rows: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How many of the copies with each mark score lower than features [K, d], in [0, 1].

    An image is scored for the kind that it is likest to, and has 0 of all others: [K, kinds].
    """
    standardized = _standardize(rows, detectors.mean, detectors.scale)
    of_rows = detectors.folds[labels]
    scores = np.zeros((len(rows), len(KINDS)))
    for fold in range(len(detectors.weights)):
        chosen = of_rows == fold
        learnt = detectors.weights[fold]
        values = standardized[chosen] @ learnt[1:] + learnt[0]
        best = values.argmax(axis=1)
        ranks = np.zeros(values.shape)
        for number in range(len(KINDS)):
            is_best = best == number
            table = detectors.reached[fold, number]
            ranks[is_best, number] = np.interp(values[is_best, number], table, _PERCENTILES)
        scores[chosen] = ranks
    return scores


def compare_classes(scores: np.ndarray, labels: np.ndarray) -> list[Result]:
    """Of each kind, the class that is flagged most often, beside the one that comes next.

    Returns:
      For each kind "kind", "class" (its number), "reached" (that of `REACHED` from which on images
      are flagged, and which gives the lowest p), "rate" (the fraction of its images that are
      flagged), "next" (that of the next class), "least" (by how much the two have to differ, see
      `is_found`) and "p": that of Fisher's exact test of the two, times the number of classes and
      of `REACHED`, and adjusted for the number of kinds (Holm).

    """
    found = []
    for number, kind in enumerate(KINDS):
        tried = [_compare_at(reached, scores[:, number], labels) for reached in REACHED]
        best = min(tried, key=lambda each: (each["p"], -each["rate"]))
        found.append({"kind": kind} | best)
    adjusted = holm([each["p"] for each in found])
    return [each | {"p": p} for each, p in zip(found, adjusted, strict=True)]


def _compare_at(reached: float, scores: np.ndarray, labels: np.ndarray) -> Result:
    """What `compare_classes` returns of a kind, for one threshold."""
    sizes = np.bincount(labels)
    flagged = np.bincount(labels[scores >= reached], minlength=len(sizes))
    rates = flagged / sizes
    *_, second, first = np.argsort(rates, kind="stable").tolist()
    table = []
    for each in (first, second):
        table.append([flagged[each], sizes[each] - flagged[each]])
    p = float(stats.fisher_exact(table, alternative="greater").pvalue)
    return {
        "class": first,
        "reached": reached,
        "rate": float(rates[first]),
        "next": float(rates[second]),
        "least": 0.5 / (len(sizes) - 1),
        "p": min(1.0, p * len(sizes) * len(REACHED)),
    }


def is_found(each: Result) -> bool:
    """Whether a result of `compare_classes` is beyond luck, and beyond what ordinary classes do.

    Of the ordinary, there are as many examples as other classes: of fewer, the class has to stand
    out by more, from half of its images of two classes to 3 % of twenty.
    """
    return each["p"] <= LEVEL and each["rate"] - each["next"] >= each["least"]


def contrast_map(small: np.ndarray, is_flagged: np.ndarray) -> np.ndarray:
    """How flagged images differ from others of their class, in standard errors [CELLS, CELLS]."""
    cells = [cv2.resize(each, (CELLS, CELLS), interpolation=cv2.INTER_AREA) for each in small]
    gray = np.array(cells).mean(axis=-1)
    flagged = gray[is_flagged]
    others = gray[~is_flagged]
    difference = flagged.mean(axis=0) - others.mean(axis=0)
    variance = flagged.var(axis=0) / len(flagged) + others.var(axis=0) / len(others)
    # A gray level more: a pixel that never changes is no certainty.
    error = np.sqrt(variance) + 1
    return np.abs(difference) / error


def locate(small: np.ndarray, is_flagged: np.ndarray) -> dict[str, float] | None:
    """The spot where flagged images differ from others of their class; None without one."""
    if is_flagged.sum() < 2 or (~is_flagged).sum() < 2:
        return None
    contrast = contrast_map(small, is_flagged)
    if contrast.max() < _LEAST_CONTRAST:
        return None
    return find_spot(contrast)._asdict()


def _standardize(rows: np.ndarray, mean: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Features [K, d] with rows of about unit length; 0 where they are the same for all."""
    varies = scale > 0
    safe = np.where(varies, scale, 1)
    scaled = (rows - mean) / safe
    clipped = np.clip(scaled, -_OUTLIER, _OUTLIER)
    return clipped * varies / np.sqrt(len(mean))


def _regress(plain: np.ndarray, marked: list[np.ndarray]) -> np.ndarray:
    """Weights [1 + d, kinds] of how much likelier a kind is than no mark, by ridge regression."""
    rows = np.vstack([plain, *marked])
    targets = np.zeros((len(rows), 1 + len(marked)))
    start = 0
    for number, each in enumerate([plain, *marked]):
        targets[start : start + len(each), number] = 1
        start += len(each)
    center = rows.mean(axis=0)
    level = targets.mean(axis=0)
    centered = rows - center
    gram = centered.T @ centered
    gram[np.diag_indices_from(gram)] += _RIDGE
    weights = linalg.solve(gram, centered.T @ (targets - level), assume_a="pos")
    constant = level - center @ weights
    learnt = np.vstack([constant, weights])
    return learnt[:, 1:] - learnt[:, :1]
