"""Classification by the nearest neighbors among features whose labels are known."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lens_jax.losses.contrastive import normalize

NEIGHBORS = 20
TEMPERATURE = 0.07

_PRECISION = jax.lax.Precision.HIGHEST


class Nearest(NamedTuple):
    """The k rows of a bank that are the most similar to each of M queries.

    Attributes:
      similarities: cosines, [M, k], largest first; -inf for rows without a class.
      labels: classes of these rows, int [M, k].

    """

    similarities: jax.Array
    labels: jax.Array


def weighted_neighbors(
    bank: jax.Array,
    bank_labels: jax.Array,
    queries: jax.Array,
    *,
    classes: int,
    neighbors: int = NEIGHBORS,
    temperature: float = TEMPERATURE,
) -> jax.Array:
    """The weight of each class among the nearest neighbors of each query, [M, classes].

    Of the k rows of the bank that are most similar to a query by the cosine s, each gives its class
    the weight exp(s / t); the largest sum wins. Wu et al. (2018, arXiv 1805.01978) take k = 200 and
    t = 0.07, DINO (Caron et al., 2021, arXiv 2104.14294) k = 20 at the same t.

    Args:
      bank: features [N, f].
      bank_labels: their classes, int [N]; rows with a label below 0 have none and are left out.
      queries: features [M, f].
      classes: how many classes there are.
      neighbors: k; all of the bank where it has fewer rows.
      temperature: t, above 0.

    """
    nearest = find_nearest(bank, bank_labels, queries, neighbors)
    return count_votes(*nearest, classes=classes, temperature=temperature)


def find_nearest(
    bank: jax.Array, bank_labels: jax.Array, queries: jax.Array, neighbors: int
) -> Nearest:
    """The `neighbors` rows of a bank that are most similar to each query, as above."""
    bank = normalize(bank)
    queries = normalize(queries)
    similarities = jnp.matmul(queries, bank.T, precision=_PRECISION)
    similarities = jnp.where(bank_labels >= 0, similarities, -jnp.inf)
    nearest, rows = jax.lax.top_k(similarities, min(neighbors, len(bank)))
    return Nearest(nearest, bank_labels[rows])


def count_votes(
    similarities: jax.Array, labels: jax.Array, *, classes: int, temperature: float
) -> jax.Array:
    """The weight of each class among neighbors, see `Nearest`: [M, classes]."""
    # exp((s - 1) / t) is the same but for a factor, and is never too large.
    weights = jnp.exp((similarities - 1) / temperature)
    totals = jnp.zeros((len(labels), classes), weights.dtype)
    query = jnp.arange(len(labels))[:, None]
    return totals.at[query, labels].add(weights)
