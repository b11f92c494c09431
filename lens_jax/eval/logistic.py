"""Multinomial logistic regression on features that need not fit into memory.

A library would hold all of them; here, chunks go through the device, and SciPy's L-BFGS sees sums.
"""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

ITERATIONS = 1000
# Where the gradient of the mean loss is as small as this everywhere, it has converged.
TOLERANCE = 1e-4
# Numbers in a chunk of features: 64 MiB of float32.
_CHUNK = 2**24

_PRECISION = jax.lax.Precision.HIGHEST


class Classifier(NamedTuple):
    """A linear classifier of features that are standardized first.

    Attributes:
      classes: the labels that it knows, int [k], ascending.
      mean: is subtracted from features, [d]; that of those it learned from, or 0.
      deviation: divides features, [d]; their standard deviation, or 1.
      kernel: [d, k].
      bias: [k].

    """

    classes: np.ndarray
    mean: np.ndarray
    deviation: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray


def fit(
    features: np.ndarray, labels: np.ndarray, inverse_l2: float, *, standardize: bool = True
) -> Classifier:
    """Learns the classes of features.

    It minimizes the mean cross-entropy + |kernel|^2 / (2 C n), by L-BFGS from zero on: what
    scikit-learn's LogisticRegression does for three classes and more.

    Args:
      features: [n, d], in memory or mapped into it.
      labels: int [n].
      inverse_l2: C, above 0.
      standardize: scale every feature to mean 0 and standard deviation 1.

    """
    # Imported only now, as all else does without it.
    from scipy.optimize import minimize

    count, size = features.shape
    classes, targets = np.unique(labels, return_inverse=True)
    if standardize:
        mean, deviation = _moments(features)
    else:
        mean, deviation = np.zeros(size, np.float32), np.ones(size, np.float32)
    shape = (size + 1, len(classes))

    def loss_and_gradient(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        weights = numbers.reshape(shape)
        loss = 0.0
        gradient = np.zeros(shape)
        for rows in _chunks(features):
            sums = _sums(weights, features[rows], targets[rows], mean, deviation)
            loss += float(sums[0])
            gradient += np.asarray(sums[1])

        # The bias, the last row, has no penalty.
        kernel = weights[:-1]
        penalty = 1 / (inverse_l2 * count)
        loss = loss / count + penalty * np.sum(kernel**2) / 2
        gradient /= count
        gradient[:-1] += penalty * kernel
        return loss, gradient.ravel()

    options = {"maxiter": ITERATIONS, "gtol": TOLERANCE, "maxls": 50, "ftol": 0.0}
    start = np.zeros(shape).ravel()
    found = minimize(loss_and_gradient, start, method="L-BFGS-B", jac=True, options=options)
    if found.nit >= ITERATIONS:
        logging.warning("L-BFGS stopped after %d iterations without converging", ITERATIONS)
    weights = found.x.reshape(shape)
    return Classifier(classes, mean, deviation, weights[:-1], weights[-1])


def predict(classifier: Classifier, features: np.ndarray) -> np.ndarray:
    """The labels that a classifier gives features [n, d], int [n]."""
    labels = []
    for logits in _logits(classifier, features):
        labels.append(classifier.classes[np.argmax(logits, axis=1)])
    return np.concatenate(labels)


def probabilities(classifier: Classifier, features: np.ndarray) -> np.ndarray:
    """What a classifier of k classes gives each for features [n, d], [n, k]; rows sum up to 1."""
    rows = []
    for logits in _logits(classifier, features):
        likelihoods = np.exp(logits - logits.max(axis=1, keepdims=True))
        rows.append(likelihoods / likelihoods.sum(axis=1, keepdims=True))
    return np.concatenate(rows)


def _logits(classifier: Classifier, features: np.ndarray) -> Iterator[np.ndarray]:
    """The logits of features [n, d], a chunk of rows after another."""
    kernel, bias = fold(classifier)
    for rows in _chunks(features):
        yield features[rows] @ kernel + bias


def fold(classifier: Classifier) -> tuple[np.ndarray, np.ndarray]:
    """The weights of features as they are: kernel [d, k] and bias [k], float32."""
    kernel = classifier.kernel / classifier.deviation[:, None]
    bias = classifier.bias - classifier.mean @ kernel
    return kernel.astype(np.float32), bias.astype(np.float32)


@jax.jit
def _sums(
    weights: jax.Array,
    features: jax.Array,
    targets: jax.Array,
    mean: jax.Array,
    deviation: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """The summed cross-entropy of a chunk, and its gradient with respect to the weights."""
    standardized = (features - mean) / deviation

    def loss(weights: jax.Array) -> jax.Array:
        logits = jnp.matmul(standardized, weights[:-1], precision=_PRECISION) + weights[-1]
        log_probabilities = jax.nn.log_softmax(logits)
        chosen = jnp.take_along_axis(log_probabilities, targets[:, None], axis=1)
        return -jnp.sum(chosen)

    return jax.value_and_grad(loss)(weights.astype(jnp.float32))


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of features, [d] each, float32; a deviation of 0 becomes 1."""
    count, size = features.shape
    mean = np.zeros(size)
    for rows in _chunks(features):
        mean += np.sum(features[rows], axis=0, dtype=np.float64)
    mean /= count

    # In a second pass: differences of large squares would lose small deviations.
    variance = np.zeros(size)
    for rows in _chunks(features):
        variance += np.sum((features[rows] - mean) ** 2, axis=0)
    deviation = np.sqrt(variance / count)
    deviation[deviation == 0] = 1
    return mean.astype(np.float32), deviation.astype(np.float32)


def _chunks(features: np.ndarray) -> Iterator[slice]:
    """Slices of all rows, none larger than a chunk."""
    count, size = features.shape
    rows = max(1, _CHUNK // size)
    for start in range(0, count, rows):
        yield slice(start, min(start + rows, count))
