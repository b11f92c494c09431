"""Noise-contrastive estimation: each query tells its key from negatives, one by one."""

import math

import jax
import jax.numpy as jnp

from lens_jax.losses.contrastive import Contrast, compare


def nce(
    queries: jax.Array,
    keys: jax.Array,
    negatives: jax.Array,
    temperature: float,
    log_mean: jax.Array,
    excluded: jax.Array | None = None,
) -> Contrast:
    """The loss of N queries, each with a key of its own and K negatives that all share.

    All rows are of length 1: [N, f], [N, f] and [K, f]. A row r, one of M in a memory, is given the
    probability P_r = exp(q r / t) / Z, and noise draws it with the probability 1 / M. The loss of
    query q with key k is

        -log( P_k / (P_k + K / M) ) - sum over negatives n of log( (K / M) / (P_n + K / M) )

    as in Wu et al. (2018, arXiv 1805.01978) and PIRL (Misra & van der Maaten, 2019, arXiv
    1912.01991), and the value is its mean over the queries. Their Z is M times a mean of exp(q r /
    t) that is measured once. M cancels out, and each term is a logistic loss of the logit
    q r / t - log(K mean).

    Args:
      queries: [N, f].
      keys: [N, f].
      negatives: [K, f].
      temperature: t.
      log_mean: the logarithm of that mean, see `log_mean_exp`.
      excluded: bool [N, K], which negatives do not count for which query.

    """
    similarities = compare(queries, keys, negatives, excluded)
    logits = similarities / temperature - log_mean - math.log(len(negatives))
    positive, negative = logits[:, :1], logits[:, 1:]

    is_key = jax.nn.log_sigmoid(positive)
    is_noise = jax.nn.log_sigmoid(-negative)
    losses = -is_key[:, 0] - jnp.sum(is_noise, axis=1)
    hits = jnp.all(positive > negative, axis=1)
    return Contrast(jnp.mean(losses), hits)


def log_mean_exp(
    queries: jax.Array,
    keys: jax.Array,
    negatives: jax.Array,
    temperature: float,
    excluded: jax.Array | None = None,
) -> jax.Array:
    """The logarithm of the mean of exp(q r / t), over all queries q with their keys and negatives.

    The arguments are those of `nce`; the result is a scalar.
    """
    similarities = compare(queries, keys, negatives, excluded)
    count = jnp.sum(similarities > -jnp.inf)
    return jax.nn.logsumexp(similarities / temperature) - jnp.log(count)
