"""The triplet loss with semi-hard negatives (FaceNet, Schroff et al., 2015, arXiv 1503.03832)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

# The default of TPUs and GPUs rounds the factors to 8 or 11 bits, too few to put distances in
# order.
_PRECISION = jax.lax.Precision.HIGHEST


class Triplets(NamedTuple):
    """Indices that complete each of N anchors to k triplets.

    Attributes:
      positives: int [N, k], embeddings of the anchor's label.
      negatives: int [N, k], embeddings of other labels.
      valid: bool [N, k], whether there is such a triplet.

    """

    positives: jax.Array
    negatives: jax.Array
    valid: jax.Array


def unit_rows(x: jax.Array) -> jax.Array:
    """Rows x of [N, f] -> x / |x|; a row of zeros stays what it is, with a finite gradient."""
    return x * jax.lax.rsqrt(jnp.maximum(jnp.sum(x**2, axis=1, keepdims=True), 1e-12))


def squared_distances(x: jax.Array) -> jax.Array:
    """|x_i - x_j|^2 of all rows, [N, f] -> [N, N]; rounding may leave it below 0 where they are alike."""
    lengths = jnp.sum(x**2, axis=1)
    return lengths[:, None] + lengths - 2 * jnp.matmul(x, x.T, precision=_PRECISION)


def triplet_hinges(embeddings: jax.Array, triplets: Triplets, margin: float) -> jax.Array:
    """max(0, margin + |a - p|^2 - |a - n|^2) of every triplet [N, k], 0 where there is none.

    Only these distances are differentiated. They are taken anew, from the differences of the
    embeddings [N, f], which costs less than to send the gradients through the N x N distances, and
    cancels nothing.
    """

    def distances(others: jax.Array) -> jax.Array:
        return jnp.sum((embeddings[:, None] - embeddings[others]) ** 2, axis=-1)

    excess = margin + distances(triplets.positives) - distances(triplets.negatives)
    return jnp.where(triplets.valid, jnp.maximum(excess, 0), 0)


def semi_hard_triplets(distances: jax.Array, labels: jax.Array, copies: int) -> Triplets:
    """The triplets of the loss, as `triplet_semihard_loss` of TensorFlow's metric_learning chooses
    them.

    The negative of a pair of one label is the closest that is farther from the anchor than the
    positive is ("semi-hard"), or where all are closer the farthest. Of equally far ones it is the
    first.

    Time is O(copies N^2), memory O(N^2): each anchor's pairs are gone through one after the other.

    Args:
      distances: [N, N] between the embeddings.
      labels: int [N] in any order, each at most `copies` times, and more than one of them.
      copies: how often a label may occur.

    """
    positives, valid = mates(labels, copies)
    negative = labels[:, None] != labels
    farthest = jnp.argmax(jnp.where(negative, distances, -jnp.inf), axis=1)

    def choose(positive: jax.Array) -> jax.Array:
        farther = negative & (distances > jnp.take_along_axis(distances, positive[:, None], axis=1))
        closest = jnp.argmin(jnp.where(farther, distances, jnp.inf), axis=1)
        return jnp.where(jnp.any(farther, axis=1), closest, farthest)

    return Triplets(positives, jax.lax.map(choose, positives.T).T, valid)


def mates(labels: jax.Array, copies: int) -> tuple[jax.Array, jax.Array]:
    """Where else each label occurs: int [N] -> indices [N, copies], and whether each of them
    counts.

    One of the `copies` places is that of the row itself, and does not count; nor do the last ones
    of a label that occurs less often.
    """
    order = jnp.argsort(labels)
    start, stop = (jnp.searchsorted(labels[order], labels, side=side) for side in ("left", "right"))
    places = start[:, None] + jnp.arange(copies)
    found = jnp.take(order, places, mode="clip")
    return found, (places < stop[:, None]) & (found != jnp.arange(len(labels))[:, None])


def nearest_neighbor_accuracy(distances: jax.Array, labels: jax.Array) -> jax.Array:
    """The share of rows whose nearest other row, by `distances` [N, N], has their label."""
    apart = jnp.where(jnp.eye(len(labels), dtype=bool), jnp.inf, distances)
    return jnp.mean(labels[jnp.argmin(apart, axis=1)] == labels, dtype=distances.dtype)
