"""A memory with a row for each image of the data set (Wu et al., 2018, arXiv 1805.01978)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lens_jax.losses.contrastive import normalize

# The number of rows is a multiple of this, so that all usual numbers of devices divide it.
ROWS_MULTIPLE = 1024


class Bank(NamedTuple):
    """What is remembered.

    Attributes:
      rows: [M, f] of length 1, row i an average of the embeddings of image i; or of zeros, before
        the image was first seen.
      log_mean: a scalar, the constant of noise-contrastive estimation, see `nce`.
      measured: a bool, whether the constant has been measured yet.

    """

    rows: jax.Array
    log_mean: jax.Array
    measured: jax.Array


def random_bank(key: jax.Array, images: int, embedding: int) -> Bank:
    """Random rows of length 1 for so many images, and up to `ROWS_MULTIPLE` that stay unused."""
    empty = empty_bank(images, embedding)
    rows = jax.random.normal(key, empty.rows.shape)
    return empty._replace(rows=normalize(rows))


def empty_bank(images: int, embedding: int) -> Bank:
    """A bank like `random_bank`'s with rows of zeros, to which no embedding is similar."""
    rows = jnp.zeros((count_rows(images), embedding))
    return Bank(rows, log_mean=jnp.zeros(()), measured=jnp.zeros((), bool))


def count_rows(images: int) -> int:
    """How many rows a bank for so many images has, a multiple of `ROWS_MULTIPLE`."""
    multiples = -(-images // ROWS_MULTIPLE)
    return multiples * ROWS_MULTIPLE


def average_rows(
    rows: jax.Array,
    index: jax.Array,
    embeddings: jax.Array,
    momentum: float,
) -> jax.Array:
    """The rows after a batch: m * row + (1 - m) * embedding at length 1, for the batch's images.

    Where an image occurs more than once in a batch, its mean embedding counts: which of several
    writes to a row comes last would depend on the devices.

    Args:
      rows: [M, f].
      index: int [B], the row of each image of the batch.
      embeddings: [B, f] of length 1; no gradient flows through them.
      momentum: m, in [0, 1].

    """
    embeddings = jax.lax.stop_gradient(embeddings)
    same = index[:, None] == index
    weights = same.astype(embeddings.dtype)
    sums = jnp.matmul(weights, embeddings, precision=jax.lax.Precision.HIGHEST)
    means = sums / jnp.sum(weights, axis=1, keepdims=True)

    averages = momentum * rows[index] + (1 - momentum) * means
    new = normalize(averages)
    return rows.at[index].set(new.astype(rows.dtype))
