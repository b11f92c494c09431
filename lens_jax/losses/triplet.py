"""The triplet loss with semi-hard negatives (FaceNet, Schroff et al., 2015, arXiv 1503.03832)."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

# The default of TPUs and GPUs rounds the factors to 8 or 11 bits, too few to order distances.
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


def squared_distances(x: jax.Array) -> jax.Array:
    """|x_i - x_j|^2 of all rows, [N, f] -> [N, N]; rounding may leave it below 0 for equal rows."""
    lengths = jnp.sum(x**2, axis=1)
    products = jnp.matmul(x, x.T, precision=_PRECISION)
    sums = lengths[:, None] + lengths
    return sums - 2 * products


def triplet_hinges(embeddings: jax.Array, triplets: Triplets, margin: float) -> jax.Array:
    """max(0, margin + |a - p|^2 - |a - n|^2) of every triplet [N, k], 0 where there is none.

    Only these distances are differentiated. They are computed anew, from the differences of the
    embeddings [N, f]: that costs less than to send gradients through the N x N distances, and
    nothing cancels.
    """
    anchors = embeddings[:, None]

    def distances(others: jax.Array) -> jax.Array:
        differences = anchors - embeddings[others]
        return jnp.sum(differences**2, axis=-1)

    to_positives = distances(triplets.positives)
    to_negatives = distances(triplets.negatives)
    excess = margin + to_positives - to_negatives
    hinges = jnp.maximum(excess, 0)
    return jnp.where(triplets.valid, hinges, 0)


def semi_hard_triplets(distances: jax.Array, labels: jax.Array, copies: int) -> Triplets:
    """The triplets of the loss, those of TensorFlow's `triplet_semihard_loss`.

    The negative of a pair (anchor, positive) is the closest one that is farther from the anchor
    than the positive ("semi-hard"), or the farthest one where all are closer. Of equally far ones
    it is the first.

    Time is O(copies N^2), memory O(N^2): each anchor's pairs are gone through one after the other.

    Args:
      distances: [N, N] between the embeddings.
      labels: int [N] in any order, each at most `copies` times, and more than one of them.
      copies: how often a label may occur.

    """
    positives, valid = same_label(labels, copies)
    is_negative = labels[:, None] != labels
    to_negatives = jnp.where(is_negative, distances, -jnp.inf)
    farthest = jnp.argmax(to_negatives, axis=1)

    def choose(positive: jax.Array) -> jax.Array:
        column = positive[:, None]
        to_positive = jnp.take_along_axis(distances, column, axis=1)
        is_semi_hard = is_negative & (distances > to_positive)
        to_semi_hard = jnp.where(is_semi_hard, distances, jnp.inf)
        closest = jnp.argmin(to_semi_hard, axis=1)
        has_semi_hard = jnp.any(is_semi_hard, axis=1)
        return jnp.where(has_semi_hard, closest, farthest)

    # One pair of each anchor at a time.
    negatives = jax.lax.map(choose, positives.T)
    return Triplets(positives, negatives.T, valid)


def same_label(labels: jax.Array, copies: int) -> tuple[jax.Array, jax.Array]:
    """Where else each label occurs: int [N] -> indices [N, copies], and which of them count.

    One of the `copies` places is that of the row itself and does not count; nor do the last ones
    of a label that occurs less often.
    """
    order = jnp.argsort(labels)
    in_order = labels[order]
    start = jnp.searchsorted(in_order, labels, side="left")
    stop = jnp.searchsorted(in_order, labels, side="right")

    # The rows of a label stand side by side in `order`, from `start` to `stop`.
    start = start[:, None]
    stop = stop[:, None]
    places = start + jnp.arange(copies)
    is_same = places < stop
    found = jnp.take(order, places, mode="clip")

    rows = jnp.arange(len(labels))
    is_other = found != rows[:, None]
    return found, is_same & is_other


def nearest_neighbor_hits(distances: jax.Array, labels: jax.Array) -> jax.Array:
    """Whether the nearest other row of each row has its label: [N, N], int [N] -> bool [N]."""
    itself = jnp.eye(len(labels), dtype=bool)
    to_others = jnp.where(itself, jnp.inf, distances)
    nearest = jnp.argmin(to_others, axis=1)
    return labels[nearest] == labels
