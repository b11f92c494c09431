"""Contrastive losses: each row of embeddings has to find its partner among others."""

import math
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

    """

    value: jax.Array
    hits: jax.Array


def normalize(x: jax.Array) -> jax.Array:
    """Rows x of [..., f] -> x / |x|; a row of zeros stays what it is, with a finite gradient."""
    squared_length = jnp.sum(x**2, axis=-1, keepdims=True)
    squared_length = jnp.maximum(squared_length, _LEAST_SQUARE)
    return x * jax.lax.rsqrt(squared_length)


def nt_xent(first: jax.Array, second: jax.Array, temperature: float) -> Contrast:
    """NT-Xent of N pairs of rows, [N, f] each (SimCLR, Chen et al., 2020, arXiv 2002.05709).

    With all 2N rows scaled to length 1, the loss of row i with partner j is

        -log( exp(z_i z_j / t) / sum over k != i of exp(z_i z_k / t) )

    and the value is its mean over the 2N rows. It is a product of matrices, [2N, 2N] in memory,
    where `optax.losses.ntxent` broadcasts to [2N, 2N, f].
    """
    rows = jnp.concatenate([first, second])
    rows = normalize(rows)
    count = len(rows)
    similarities = jnp.matmul(rows, rows.T, precision=_PRECISION)
    logits = similarities / temperature

    # No row is compared with itself.
    itself = jnp.eye(count, dtype=bool)
    logits = jnp.where(itself, -jnp.inf, logits)

    # The partner of row i is N rows further on, in a circle.
    indices = jnp.arange(count)
    partner = jnp.roll(indices, len(first))
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, partner)
    most_similar = jnp.argmax(logits, axis=-1)
    return Contrast(
        value=jnp.mean(losses),
        hits=most_similar == partner,
    )


def info_nce(
    queries: jax.Array,
    keys: jax.Array,
    negatives: jax.Array,
    temperature: float,
) -> Contrast:
    """InfoNCE of N queries, each with a key of its own and K negatives that all share.

    All rows are of length 1: [N, f], [N, f] and [K, f]. The loss of query q with key k is

        -log( exp(q k / t) / (exp(q k / t) + sum over negatives n of exp(q n / t)) )

    as in MoCo (He et al., 2020, arXiv 1911.05722), and the value is its mean over the queries.
    """
    positive, negative = _similarities(queries, keys, negatives)
    logits = jnp.concatenate([positive, negative], axis=1) / temperature

    # The key stands first in every row.
    partner = jnp.zeros(len(queries), jnp.int32)
    losses = optax.softmax_cross_entropy_with_integer_labels(logits, partner)
    return Contrast(jnp.mean(losses), _hits(positive, negative))


def nce(
    queries: jax.Array,
    keys: jax.Array,
    negatives: jax.Array,
    temperature: float,
    log_mean: jax.Array,
) -> Contrast:
    """Noise-contrastive estimation: each of N queries tells its key from K negatives, one by one.

    All rows are of length 1: [N, f], [N, f] and [K, f]. A row r that is one of M in a memory is
    given the probability P = exp(q r / t) / Z, and noise draws it with the probability 1 / M. The
    loss of query q with key k is

        -log( P_k / (P_k + K / M) ) - sum over negatives n of log( (K / M) / (P_n + K / M) )

    as in Wu et al. (2018, arXiv 1805.01978) and PIRL (Misra & van der Maaten, 2019, arXiv
    1912.01991), and the value is its mean over the queries. Their Z is M times a mean of exp(q r /
    t) that is measured once. M cancels out, and each term is a logistic loss of q r / t - log(K
    mean).

    Args:
      queries: [N, f].
      keys: [N, f].
      negatives: [K, f].
      temperature: t.
      log_mean: the logarithm of that mean, see `log_mean_exp`.

    """
    positive, negative = _similarities(queries, keys, negatives)
    shift = log_mean + math.log(len(negatives))
    is_key = jax.nn.log_sigmoid(positive / temperature - shift)
    is_noise = jax.nn.log_sigmoid(shift - negative / temperature)
    losses = -is_key[:, 0] - jnp.sum(is_noise, axis=1)
    return Contrast(jnp.mean(losses), _hits(positive, negative))


def log_mean_exp(
    queries: jax.Array,
    keys: jax.Array,
    negatives: jax.Array,
    temperature: float,
) -> jax.Array:
    """The logarithm of the mean of exp(q r / t), over all queries q with their keys and negatives.

    The rows are those of `nce`; the result is a scalar.
    """
    positive, negative = _similarities(queries, keys, negatives)
    logits = jnp.concatenate([positive, negative], axis=1) / temperature
    return jax.nn.logsumexp(logits) - math.log(logits.size)


def _similarities(
    queries: jax.Array,
    keys: jax.Array,
    negatives: jax.Array,
) -> tuple[jax.Array, jax.Array]:
    """Those of N queries with their keys, [N, 1], and with K negatives, [N, K]."""
    positive = jnp.sum(queries * keys, axis=-1, keepdims=True)
    negative = jnp.matmul(queries, negatives.T, precision=_PRECISION)
    return positive, negative


def _hits(positive: jax.Array, negative: jax.Array) -> jax.Array:
    """Which keys are more similar than all negatives, bool [N]."""
    # Not by argmax, which gives the key, the first, also where all are alike or not finite.
    return jnp.all(positive > negative, axis=1)


def negative_cosine(predictions: jax.Array, targets: jax.Array) -> jax.Array:
    """2 - 2 cos(p, t) of each pair of rows, [N, f] each -> [N], in [0, 4].

    That is the squared distance between the rows scaled to length 1 (BYOL, Grill et al., 2020,
    arXiv 2006.07733).
    """
    predictions = normalize(predictions)
    targets = normalize(targets)
    cosines = jnp.sum(predictions * targets, axis=-1)
    return 2 - 2 * cosines
