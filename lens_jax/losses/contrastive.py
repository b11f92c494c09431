"""Contrastive losses: each row of embeddings has to find its partner among others."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

# The default of TPUs and GPUs rounds the factors to 8 or 11 bits; similarities are divided by
# temperatures of 0.1, which enlarges that.
_PRECISION = jax.lax.Precision.HIGHEST
_LEAST_SQUARE = 1e-12


class Contrast(NamedTuple):
    """What a contrastive loss comes to.

    Attributes:
      value: the mean loss.
      hits: bool, whether each row is more similar to its partner than to all others.
      logits: of what each row is compared with, [N, K], -inf where it is not; None where each
        comparison is a choice by itself.

    """

    value: jax.Array
    hits: jax.Array
    logits: jax.Array | None = None


def normalize(x: jax.Array) -> jax.Array:
    """Rows x of [..., f] -> x / |x|; a row of zeros stays what it is, with a finite gradient."""
    squared_length = jnp.sum(x**2, axis=-1, keepdims=True)
    squared_length = jnp.maximum(squared_length, _LEAST_SQUARE)
    return x * jax.lax.rsqrt(squared_length)


def nt_xent(
    first: jax.Array,
    second: jax.Array,
    temperature: float,
    excluded: jax.Array | None = None,
) -> Contrast:
    """NT-Xent of N pairs of rows, [N, f] each (SimCLR, Chen et al., 2020, arXiv 2002.05709).

    With all 2N rows scaled to length 1, the loss of row i with partner j is

        -log( exp(z_i z_j / t) / sum over k != i of exp(z_i z_k / t) )

    and the value is its mean over the 2N rows. It is a product of matrices, [2N, 2N] in memory,
    where `optax.losses.ntxent` broadcasts to [2N, 2N, f].

    `excluded`, bool [2N, 2N], says which rows are no negatives of which, beside themselves.
    """
    rows = jnp.concatenate([first, second])
    rows = normalize(rows)
    count = len(rows)
    similarities = jnp.matmul(rows, rows.T, precision=_PRECISION)
    logits = similarities / temperature

    # No row is compared with itself.
    left_out = jnp.eye(count, dtype=bool)
    if excluded is not None:
        left_out |= excluded
    logits = jnp.where(left_out, -jnp.inf, logits)

    # The partner of row i is N rows further on, in a circle.
    indices = jnp.arange(count)
    partner = jnp.roll(indices, len(first))
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, partner)
    most_similar = jnp.argmax(logits, axis=-1)
    return Contrast(
        value=jnp.mean(losses),
        hits=most_similar == partner,
        logits=logits,
    )


def info_nce(
    queries: jax.Array,
    keys: jax.Array,
    negatives: jax.Array,
    temperature: float,
    excluded: jax.Array | None = None,
    own: jax.Array | None = None,
) -> Contrast:
    """InfoNCE of N queries, each with a key of its own and K negatives that all share.

    All rows are of length 1: [N, f], [N, f] and [K, f]. The loss of query q with key k is

        -log( exp(q k / t) / (exp(q k / t) + sum over negatives n of exp(q n / t)) )

    as in MoCo (He et al., 2020, arXiv 1911.05722), and the value is its mean over the queries.

    `excluded`, bool [N, K], says which negatives do not count for which query. `own`, [N, M], are
    the similarities of each query with further negatives, which are its alone.
    """
    similarities = compare(queries, keys, negatives, excluded)
    if own is not None:
        similarities = jnp.concatenate([similarities, own], axis=1)
    logits = similarities / temperature

    # The key stands first in every row.
    partner = jnp.zeros(len(queries), jnp.int32)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, partner)
    # Not by argmax, which gives the key, the first, also where all are alike or not finite.
    hits = jnp.all(logits[:, :1] > logits[:, 1:], axis=1)
    return Contrast(jnp.mean(losses), hits, logits)


def compare(
    queries: jax.Array,
    keys: jax.Array,
    negatives: jax.Array,
    excluded: jax.Array | None = None,
) -> jax.Array:
    """The similarity of each query with its key, and then with all negatives: [N, 1 + K].

    Of rows [N, f], [N, f] and [K, f]. It is -inf where `excluded`, bool [N, K].
    """
    positive = jnp.sum(queries * keys, axis=-1, keepdims=True)
    negative = jnp.matmul(queries, negatives.T, precision=_PRECISION)
    if excluded is not None:
        negative = jnp.where(excluded, -jnp.inf, negative)
    return jnp.concatenate([positive, negative], axis=1)


def cosines(first: jax.Array, second: jax.Array) -> jax.Array:
    """The cosine of each pair of rows, [N, f] each -> [N], in [-1, 1]."""
    return jnp.sum(normalize(first) * normalize(second), axis=-1)


def soft_excess(values: jax.Array, limits: jax.Array, softness: float) -> jax.Array:
    """By how much values exceed their limits, s log(1 + exp((v - l) / s)): [N], above 0.

    A smooth max(0, v - l), whose slope falls from 1 to 0 within a few s around the limit. It is s
    times `info_nce` at temperature s with one negative: v is its similarity, l that of the key.
    """
    return softness * jax.nn.softplus((values - limits) / softness)


def negative_cosine(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """2 - 2 cos(p, t) of each pair of rows, [N, f] each -> [N], in [0, 4].

    That is the squared distance between the rows scaled to length 1 (BYOL, Grill et al., 2020,
    arXiv 2006.07733).
    """
    return 2 - 2 * cosines(predictions, targets)
