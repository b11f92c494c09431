"""Barlow Twins: two views' embeddings correlate number by number, and with no other number."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

# The default of TPUs and GPUs rounds the factors to 8 or 11 bits.
_PRECISION = jax.lax.Precision.HIGHEST
# Added to the variance, as by the authors' BatchNorm.
_EPSILON = 1e-5


class Redundancy(NamedTuple):
    """What the loss comes to.

    Attributes:
      value: the loss.
      invariance: mean of C_ii, at most 1: how alike the views are.
      redundancy: root mean square of C_ij, i != j, in [0, 1]: how alike the numbers are.

    """

    value: jax.Array
    invariance: jax.Array
    redundancy: jax.Array


def standardize(rows: jax.Array) -> jax.Array:
    """(x - mean) / sqrt(variance + 1e-5) of each column over the N rows, [N, f].

    BatchNorm without scale and shift, in training: the variance is divided by N.
    """
    mean = jnp.mean(rows, axis=0)
    centered = rows - mean
    variance = jnp.mean(centered**2, axis=0)
    return centered * jax.lax.rsqrt(variance + _EPSILON)


def cross_correlation(first: jax.Array, second: jax.Array) -> jax.Array:
    """C_ij = sum over rows n of a_ni b_nj / N, of the standardized a and b: [N, f] each -> [f, f].

    Over a batch that is sharded, each device multiplies its own rows, and the products are added
    up: the matrix is all that travels.
    """
    count = len(first)
    products = jnp.matmul(standardize(first).T, standardize(second), precision=_PRECISION)
    return products / count


def barlow_twins(
    first: jax.Array,
    second: jax.Array,
    off_diagonal: float,
    scale: float,
) -> Redundancy:
    """The loss of N pairs of rows, [N, f] each (Zbontar et al., 2021, arXiv 2103.03230).

        s * (sum over i of (1 - C_ii)^2 + lambda * sum over i != j of C_ij^2)

    with their cross-correlation C. The sums grow with f and f^2, not with N.

    Args:
      first: embeddings of one view.
      second: embeddings of the other view, row by row of the same images.
      off_diagonal: lambda.
      scale: s.

    """
    correlations = cross_correlation(first, second)
    diagonal = jnp.diagonal(correlations)
    to_one = jnp.sum((1 - diagonal) ** 2)

    # Those off the diagonal, where nothing is subtracted that is larger than what is left.
    width = len(correlations)
    itself = jnp.eye(width, dtype=bool)
    others = jnp.where(itself, 0, correlations)
    to_zero = jnp.sum(others**2)

    # Their number may be more than an int32 holds.
    pairs = float(max(1, width * (width - 1)))
    return Redundancy(
        value=scale * (to_one + off_diagonal * to_zero),
        invariance=jnp.mean(diagonal),
        redundancy=jnp.sqrt(to_zero / pairs),
    )
