"""How embeddings are spread: numbers that need no labels, and tell a collapse.

All take rows of [N, f], one an image, and compute in their type, at least float32.
"""

import jax
import jax.numpy as jnp

from lens_jax.losses.contrastive import normalize

_PRECISION = jax.lax.Precision.HIGHEST
# Added to each part of a spectrum, as published for RankMe.
_RANKME_EPSILON = 1e-7
# The ranks of the spectrum that alpha-ReQ's authors fit, from 1 on.
_FIRST_RANK, _LAST_RANK = 4, 100
# Eigenvalues below this part of the largest are rounding errors of float32.
_LEAST_EIGENVALUE = 1e-12


def standard_deviation(rows: jax.Array) -> jax.Array:
    """sqrt(f) times the mean over columns of the standard deviation of rows of length 1.

    In [0, 1]: 0 where all rows have the same direction, and near 1 where they have all directions
    alike. SimSiam (Chen and He, 2020, arXiv 2011.10566) compares the mean itself with 1 / sqrt(f).
    """
    units = _units(rows)
    size = units.shape[1]
    deviations = jnp.std(units, axis=0)
    return jnp.sqrt(size) * jnp.mean(deviations)


def alignment(first: jax.Array, second: jax.Array) -> jax.Array:
    """The mean squared distance of rows to their partners, all of length 1; in [0, 4].

    mean of |x_i - y_i|^2, with alpha = 2, of Wang and Isola (2020, arXiv 2005.10242). 0 where the
    two views of an image are the same; near 2 where they have nothing in common.
    """
    first = _units(first)
    second = _units(second)
    differences = first - second
    squared_distances = jnp.sum(differences**2, axis=-1)
    return jnp.mean(squared_distances)


def uniformity(rows: jax.Array) -> jax.Array:
    """Log of the mean over pairs i != j of exp(-2 |x_i - x_j|^2), rows of length 1; in [-8, 0].

    With t = 2, of Wang and Isola (2020, arXiv 2005.10242). 0 where all rows are alike; many rows
    in all directions come to -4 and a little more. [N, N] in memory; 0 for one row.
    """
    count = len(rows)
    if count < 2:
        return jnp.zeros((), rows.dtype)
    # Of rows of length 1.
    cosines = _cosines(rows)
    squared_distances = 2 - 2 * cosines
    potentials = jnp.exp(-2 * squared_distances)

    # No row is compared with itself.
    itself = jnp.eye(count, dtype=bool)
    potentials = jnp.where(itself, 0, potentials)
    total = jnp.sum(potentials)
    pairs = count * (count - 1)
    return jnp.log(total / pairs)


def participation_rank(rows: jax.Array) -> jax.Array:
    """1 / (mean over all pairs of the squared cosine): how many directions rows of length 1 take.

    In [1, min(N, f)]. It is the participation ratio (sum of s)^2 / sum of s^2 of the squared
    singular values s of these rows, an effective rank which takes one product of matrices, where
    that of `rankme` takes their decomposition. It counts large directions more, and is never above
    `rankme` of the same rows.
    """
    units = _units(rows)
    count, size = units.shape

    # The smaller one of the two products has the same squares in all.
    if size < count:
        units = units.T
    product = _products(units)
    total = jnp.sum(product**2)
    mean_square = total / count**2

    # Rows of zeros, which have no direction, count as one.
    has_direction = mean_square > 0
    mean_square = jnp.where(has_direction, mean_square, 1)
    return 1 / mean_square


def rankme(rows: jax.Array) -> jax.Array:
    """RankMe, the effective rank of the rows; in [1, min(N, f)] (Garrido et al., 2023, 2210.02885).

    exp(-sum of p_k log(p_k)) with p_k = s_k / (sum of s) + 1e-7, of the singular values s of the
    rows as they are, not centered. 1 where all are multiples of one row.
    """
    singular = jnp.linalg.svd(rows, compute_uv=False)

    # Each one's part of their sum; rows of zeros have none.
    total = jnp.sum(singular)
    total = jnp.maximum(total, _tiny(rows))
    parts = singular / total + _RANKME_EPSILON

    logarithms = jnp.log(parts)
    entropy = -jnp.sum(parts * logarithms)
    return jnp.exp(entropy)


def alpha_req(rows: jax.Array) -> jax.Array:
    """alpha-ReQ, how fast the spectrum of the rows decays (Agrawal et al., 2022, NeurIPS).

    The eigenvalues of their covariance fall like rank^-alpha. alpha is the slope of the line
    through (log rank, -log eigenvalue) at the ranks 4 to 100, each weighed by 1 / rank, as in the
    authors' code. Near 1 for features that classify well; larger for ones that have few
    directions, smaller for noise. 0 where all rows are alike.
    """
    eigenvalues = _covariance_spectrum(rows)

    # A narrow spectrum is fitted from its first rank on.
    last = min(_LAST_RANK, len(eigenvalues))
    first = 1
    if last > _FIRST_RANK:
        first = _FIRST_RANK
    ranks = jnp.arange(first, last + 1, dtype=rows.dtype)
    fitted = eigenvalues[first - 1 : last]

    x = jnp.log(ranks)
    y = -jnp.log(fitted)
    return _weighted_slope(x, y, weights=1 / ranks)


def _covariance_spectrum(rows: jax.Array) -> jax.Array:
    """The eigenvalues of N covariances of rows, largest first, none below rounding errors."""
    mean = jnp.mean(rows, axis=0)
    centered = rows - mean
    singular = jnp.linalg.svd(centered, compute_uv=False)
    eigenvalues = singular**2

    least = _LEAST_EIGENVALUE * eigenvalues[0]
    least = jnp.maximum(least, _tiny(rows))
    return jnp.maximum(eigenvalues, least)


def _weighted_slope(x: jax.Array, y: jax.Array, weights: jax.Array) -> jax.Array:
    """The slope of the line through the points (x, y) with the least weighted squared error."""
    total = jnp.sum(weights)
    weights = weights / total

    def mean(values: jax.Array) -> jax.Array:
        return jnp.sum(weights * values)

    x = x - mean(x)
    y = y - mean(y)
    covariance = mean(x * y)
    variance = mean(x**2)
    variance = jnp.maximum(variance, _tiny(x))
    return covariance / variance


def _units(rows: jax.Array) -> jax.Array:
    """The rows scaled to length 1, in at least float32."""
    at_least_float32 = jnp.promote_types(rows.dtype, jnp.float32)
    return normalize(rows.astype(at_least_float32))


def _cosines(rows: jax.Array) -> jax.Array:
    """The cosines of all pairs of rows, [N, N]."""
    units = _units(rows)
    return _products(units)


def _products(rows: jax.Array) -> jax.Array:
    """The products of all pairs of rows, [N, f] -> [N, N]."""
    return jnp.matmul(rows, rows.T, precision=_PRECISION)


def _tiny(rows: jax.Array) -> float:
    """The least positive number that keeps its precision."""
    info = jnp.finfo(rows.dtype)
    return float(info.tiny)
