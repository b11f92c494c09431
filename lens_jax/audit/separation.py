"""How well a label can be told from features: cross-validated AUC, its interval and its null.

The classifier is ridge regression on the one-hot labels, on the features as they are and on those
of a radial basis kernel. It is chosen for its closed form: what a shuffle of the labels changes is
the right side of a linear system, so that hundreds of refits, each on all folds, cost two matrix
products. The null is therefore that of the same classifier on the same folds.
"""

from typing import NamedTuple

import numpy as np
from scipy import linalg
from sklearn.kernel_approximation import Nystroem
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler

from lens_jax.audit.auc import Auc, class_aucs, make_auc, standard_errors

FOLDS = 5
SHUFFLES = 299
LEVEL = 0.05
_RIDGE = 0.1
_LANDMARKS = 128
# Standardized features are cut off here: a single outlier does not decide the direction.
_OUTLIER = 5.0
# Shuffles of the labels at a time: bounds the memory.
_AT_A_TIME = 16
_DECIMALS = 5  # of scores: what differs by rounding alone is a tie


class Separation(NamedTuple):
    """How well features tell the labels.

    Attributes:
      macro: the mean over the classes of the AUC of each against all others.
      classes: the AUC of each class. Its null is that of the best of all classes.
      p: the p-value, see `permutation_p`.

    """

    macro: Auc
    classes: list[Auc]
    p: float


def separate(features: np.ndarray, labels: np.ndarray, seed: int) -> Separation:
    """Measures how well features [n, d] tell labels [n], integers from 0 to the number of classes.

    Every class has to have at least `FOLDS` rows. The features must not depend on the labels.
    """
    folds = assign_folds(labels, seed)
    rows = expand(features, seed)
    prepared = prepare_folds(rows, folds)
    arrangements = shuffle_within(labels, folds, seed)

    aucs = []
    observed = None
    for start in range(0, len(arrangements), _AT_A_TIME):
        some = arrangements[start : start + _AT_A_TIME]
        scores = cross_validate(rows, some, prepared)
        if observed is None:
            observed = scores[0]
        aucs += [class_aucs(*each) for each in zip(scores, some, strict=True)]
    table = np.array(aucs)
    return summarize(table, observed, labels)


def summarize(aucs: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> Separation:
    """The intervals and nulls of AUCs [1 + shuffles, classes], of which the first are observed."""
    macro = aucs.mean(axis=1)
    macro_error, class_errors = standard_errors(scores, labels)
    best_null = aucs[1:].max(axis=1)
    classes = []
    for value, error in zip(aucs[0], class_errors, strict=True):
        classes.append(make_auc(value, error, best_null))
    p = permutation_p(np.column_stack([macro, aucs]))
    return Separation(make_auc(macro[0], macro_error, macro[1:]), classes, p)


def assign_folds(labels: np.ndarray, seed: int) -> np.ndarray:
    """The fold of each row, in [0, FOLDS), with about as many of each class in each."""
    folds = np.zeros(len(labels), int)
    splitter = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for number, (_, held_out) in enumerate(splitter.split(labels, labels)):
        folds[held_out] = number
    return folds


def expand(features: np.ndarray, seed: int) -> np.ndarray:
    """Standardized features beside those of a radial basis kernel, float32 [n, D].

    Either block has rows of about unit length. The kernel's width is the median distance between
    two rows; `Nystroem` approximates it by its values at some of them.
    """
    varying = features[:, features.std(axis=0) > 0]
    if not varying.shape[1]:
        return np.zeros((len(features), 1), np.float32)
    scaled = StandardScaler().fit_transform(varying.astype(np.float64))
    scaled = np.clip(scaled, -_OUTLIER, _OUTLIER)

    rng = np.random.default_rng(seed)
    one, other = rng.integers(len(scaled), size=(2, 1000))
    distances = np.square(scaled[one] - scaled[other]).sum(axis=1)
    typical = np.median(distances[distances > 0]) if np.any(distances > 0) else 1.0
    landmarks = min(_LANDMARKS, len(scaled))
    kernel = Nystroem(gamma=1 / typical, n_components=landmarks, random_state=seed)
    radial = kernel.fit_transform(scaled)
    linear = scaled / np.sqrt(scaled.shape[1])
    return np.hstack([linear, radial]).astype(np.float32)


def shuffle_within(labels: np.ndarray, folds: np.ndarray, seed: int) -> np.ndarray:
    """The labels, and `SHUFFLES` shuffles of them: [1 + SHUFFLES, n].

    Labels are shuffled within each fold, so that every arrangement has as many of each class in
    each fold as the observed one: without a relation, all are equally likely.
    """
    rng = np.random.default_rng([seed, 1])
    arrangements = np.tile(labels, (1 + SHUFFLES, 1))
    for fold in range(FOLDS):
        rows = np.flatnonzero(folds == fold)
        shuffled = rng.permuted(arrangements[1:, rows], axis=1)
        arrangements[1:, rows] = shuffled
    return arrangements


class Fold(NamedTuple):
    """What ridge regression needs of a fold, whatever the labels are.

    Attributes:
      held_out: which rows are not fitted, bool [n].
      center: the mean of the others, [D].
      factor: of the system of normal equations of the others, as `scipy.linalg.cho_factor` has it.

    """

    held_out: np.ndarray
    center: np.ndarray
    factor: tuple[np.ndarray, bool]


def prepare_folds(rows: np.ndarray, folds: np.ndarray) -> list[Fold]:
    """Factors the normal equations of features [n, D] without each of the folds [n] in turn."""
    prepared = []
    for number in range(FOLDS):
        held_out = folds == number
        fitted = rows[~held_out]
        center = fitted.mean(axis=0)
        fitted = fitted - center
        gram = fitted.T @ fitted
        gram[np.diag_indices_from(gram)] += _RIDGE
        prepared.append(Fold(held_out, center, linalg.cho_factor(gram)))
    return prepared


def cross_validate(rows: np.ndarray, arrangements: np.ndarray, folds: list[Fold]) -> np.ndarray:
    """Scores of ridge regression on the one-hot labels, on rows held out from the fit.

    Args:
      rows: features, float32 [n, D].
      arrangements: labels [A, n], integers; each arrangement has the same classes.
      folds: see `prepare_folds`.

    Returns:
      float32 [A, classes, n].

    """
    count = len(arrangements)
    classes = 1 + arrangements.max()
    targets = np.zeros((len(rows), count, classes), np.float32)
    np.put_along_axis(targets, arrangements.T[..., None], 1, axis=2)
    targets = targets.reshape(len(rows), count * classes)

    # Products of features and targets in each fold, as a fit leaves out one of them.
    products = [rows[fold.held_out].T @ targets[fold.held_out] for fold in folds]
    sums = [targets[fold.held_out].sum(axis=0) for fold in folds]
    scores = np.empty_like(targets)
    for number, fold in enumerate(folds):
        of_fitted = sum(products) - products[number]
        frequencies = sum(sums) - sums[number]
        right_side = of_fitted - np.outer(fold.center, frequencies)
        weights = linalg.cho_solve(fold.factor, right_side)
        predicted = (rows[fold.held_out] - fold.center) @ weights
        # Nothing but the order within a fold counts: folds are put on a common level.
        scores[fold.held_out] = predicted - predicted.mean(axis=0)
    scores = np.round(scores, _DECIMALS)
    scores = scores.reshape(len(rows), count, classes)
    return np.ascontiguousarray(scores.transpose(1, 2, 0))


def permutation_p(statistics: np.ndarray) -> float:
    """The p-value of the first row of statistics [1 + shuffles, S], over all of its columns.

    Each column is standardized over all rows. A row counts by its largest column, so that asking
    about many classes is accounted for (Westfall & Young, 1993). The p-value is the fraction of
    rows, the observed one among them, that reach as far: at least 1 / (1 + shuffles).
    """
    deviation = statistics.std(axis=0)
    varying = deviation > 0
    if not varying.any():
        return 1.0
    standardized = (statistics - statistics.mean(axis=0))[:, varying] / deviation[varying]
    reached = standardized.max(axis=1)
    # What rounding alone parts is a tie.
    return float(np.mean(reached >= reached[0] - 1e-9))


def holm(p_values: list[float]) -> list[float]:
    """The p-values, adjusted for how many there are (Holm, 1979, Scand. J. Statist. 6).

    In ascending order, the k-th of m is multiplied by m - k + 1, and no less than one before it.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    order = np.argsort(p_values, kind="stable")
    for place, index in enumerate(order):
        factor = len(p_values) - place
        highest = max(highest, min(1.0, factor * p_values[index]))
        adjusted[index] = highest
    return adjusted
