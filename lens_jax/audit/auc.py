"""The area under the ROC curve of each class against all others, and how sure it is."""

from typing import NamedTuple

import numpy as np


class Auc(NamedTuple):
    """An area under the ROC curve with its 95 % interval, and that of shuffled labels.

    The AUC is how often the right one of two images gets the higher score, one of a class and one
    of all others: 0.5 is guessing.

    Attributes:
      value: the AUC, in [0, 1].
      low: the lower end of the interval.
      high: the upper one.
      null: the 95th percentile over the shuffles.
      null_highest: the highest of all shuffles.

    """

    value: float
    low: float
    high: float
    null: float
    null_highest: float


def class_aucs(scores: np.ndarray, labels: np.ndarray) -> list[float]:
    """The AUC of each class against all others, of scores [classes, n]; a tie counts as half."""
    aucs = []
    for number, each in enumerate(scores):
        positive = each[labels == number]
        ordered = np.sort(each)
        # Rank sums, with the mean rank where values are equal.
        below = np.searchsorted(ordered, positive, "left")
        upto = np.searchsorted(ordered, positive, "right")
        rank_sum = (below + upto + 1).sum() / 2
        count = len(positive)
        wins = rank_sum - count * (count + 1) / 2
        aucs.append(wins / (count * (len(each) - count)))
    return aucs


def standard_errors(scores: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """The standard errors of the macro AUC, and of each class's [classes].

    Those of DeLong et al. (1988, Biometrics 44): an image's influence on an AUC is how much more
    often than the mean it wins against the images of the other side, over its side's fraction.
    """
    rows = []
    for number, each in enumerate(scores):
        rows.append(_influence(each, labels == number))
    influences = np.array(rows)
    scale = np.sqrt(scores.shape[1])
    return influences.mean(axis=0).std() / scale, influences.std(axis=1) / scale


def _influence(scores: np.ndarray, is_positive: np.ndarray) -> np.ndarray:
    """The influence of each score [n] on the AUC of the positive ones."""
    positive = np.sort(scores[is_positive])
    negative = np.sort(scores[~is_positive])
    wins = np.where(
        is_positive,
        _mean_place(negative, scores),
        1 - _mean_place(positive, scores),
    )
    fraction = is_positive.mean()
    weights = np.where(is_positive, 1 / fraction, 1 / (1 - fraction))
    return (wins - wins[is_positive].mean()) * weights


def _mean_place(ordered: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The fraction of sorted numbers below each value; equal ones count as half."""
    below = np.searchsorted(ordered, values, "left")
    upto = np.searchsorted(ordered, values, "right")
    return (below + upto) / (2 * len(ordered))


def make_auc(value: float, error: float, null: np.ndarray) -> Auc:
    """An AUC with its 95 % interval and the null of those of shuffled labels."""
    margin = 1.96 * error
    return Auc(
        float(value),
        float(max(0.0, value - margin)),
        float(min(1.0, value + margin)),
        float(np.quantile(null, 0.95)),
        float(null.max()),
    )
