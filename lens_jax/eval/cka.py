"""Linear CKA: how similar two representations of the same images are, up to rotation and scale.

Kornblith et al. (2019, arXiv 1905.00414), with the unbiased estimator of HSIC (Song et al., 2012,
JMLR 13, equation 5) in place of the biased one. The latter tends to 1 for any two representations
of fewer images than features (Murphy et al., 2024, arXiv 2405.01012), as stages of a network are on
a few thousand test images. With far more images than features both are the same.
"""

import math
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
import numpy as np

# The unbiased estimator divides by n - 3.
LEAST_IMAGES = 4
# Numbers in a chunk of features: 64 MiB of float32.
_CHUNK = 2**24

_PRECISION = jax.lax.Precision.HIGHEST


def cka_matrix(
    first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray]
) -> dict[tuple[str, str], float]:
    """The CKA of each of the first representations with each of the second.

        CKA(X, Y) = HSIC(X, Y) / sqrt(HSIC(X, X) HSIC(Y, Y))

    1 where one is the other but for rotation, scale and shift, and 0 in the mean, a little more or
    less, where they have nothing in common; 0 where one of them is the same for all images.

    Args:
      first: features [n, d] by name, in memory or mapped into it.
      second: features [n, d'] of the same images, in the same order.

    """
    own = {}
    for side, taps in enumerate((first, second)):
        for name, features in taps.items():
            own[side, name] = hsic(features, features)

    matrix = {}
    for row, features in first.items():
        for column, others in second.items():
            scale = own[0, row], own[1, column]
            # Without bias, the estimate of what does not vary is 0 or less.
            if min(scale) <= 0:
                matrix[row, column] = 0.0
                continue
            joint = hsic(features, others)
            matrix[row, column] = joint / math.sqrt(scale[0] * scale[1])
    return matrix


def hsic(first: np.ndarray, second: np.ndarray) -> float:
    """HSIC of linear kernels, times n (n - 3): the unbiased estimate of n >= 4 images.

    With centered rows x_i and y_i, and p_i = |x_i|^2, q_i = |y_i|^2, the estimator of Song et al.
    is, without a matrix [n, n],

        |X^T Y|^2 - n / (n - 2) sum p_i q_i + sum p_i sum q_i / ((n - 1) (n - 2)).

    Memory is that of X^T Y, [d, d'], and of a chunk of rows.
    """
    count, size = first.shape
    other_size = second.shape[1]
    first_mean = _mean(first)
    second_mean = _mean(second)

    # X^T Y, the p_i, and the q_i.
    product = np.zeros((size, other_size))
    first_squares = np.zeros(count)
    second_squares = np.zeros(count)
    for rows in _chunks(first, second):
        x = first[rows] - first_mean
        y = second[rows] - second_mean
        product += np.asarray(_product(x, y))
        first_squares[rows] = _squared_lengths(x)
        second_squares[rows] = _squared_lengths(y)

    biased = np.sum(product**2)
    with_itself = first_squares @ second_squares
    by_chance = np.sum(first_squares) * np.sum(second_squares)
    unbiased = biased - with_itself * count / (count - 2) + by_chance / ((count - 1) * (count - 2))
    return float(unbiased)


@jax.jit
def _product(x: jax.Array, y: jax.Array) -> jax.Array:
    """[m, d] and [m, d'] -> [d, d']."""
    return jnp.matmul(x.T, y, precision=_PRECISION)


def _squared_lengths(rows: np.ndarray) -> np.ndarray:
    """[m, d] -> [m], float64."""
    squares = rows**2
    return np.sum(squares, axis=1, dtype=np.float64)


def _mean(features: np.ndarray) -> np.ndarray:
    """The mean of all rows, float32 [d]."""
    count, size = features.shape
    total = np.zeros(size)
    for rows in _chunks(features, features):
        total += np.sum(features[rows], axis=0, dtype=np.float64)
    mean = total / count
    return mean.astype(np.float32)


def _chunks(first: np.ndarray, second: np.ndarray) -> Iterator[slice]:
    """Slices of all rows, none larger than a chunk in either."""
    count, size = first.shape
    other_size = second.shape[1]
    widest = max(size, other_size)
    rows = max(1, _CHUNK // widest)
    for start in range(0, count, rows):
        end = min(start + rows, count)
        yield slice(start, end)
