"""EquiMod: what an augmentation does to an embedding is predicted (Devillers & Lefort, 2211.01244).

Of N images with V augmented views each: the embeddings of the views, and their predictions from
the embedding of the image as it is and the parameters of the augmentation, are rows [V * N, f],
those of an image side by side.
"""

import jax
import jax.numpy as jnp

from lens_jax.losses.contrastive import Contrast, normalize, nt_xent

# The least distance 1 - cos that is divided by; the cosines are as exact as this.
_LEAST_DISTANCE = 1e-6


def equivariance_loss(
    views: jax.Array,
    predictions: jax.Array,
    temperature: float,
    *,
    per_image: int,
    siblings: bool,
) -> Contrast:
    """NT-Xent between the embeddings of views and their predictions, [V * N, f] each.

    Every row has to find its partner among all 2 * V * N rows. With `siblings` the other views of
    the same image and their predictions are among its negatives, as in the authors' code; without,
    they are left out, as in equation 4 of the paper.
    """
    excluded = None if siblings else sibling_rows(len(views), per_image)
    return nt_xent(views, predictions, temperature, excluded)


def sibling_rows(count: int, per_image: int) -> jax.Array:
    """Which of 2 * count rows show other views of one image, bool [2 * count, 2 * count].

    The rows are those of the views and then those of their predictions.
    """
    view = jnp.arange(count)
    view = jnp.concatenate([view, view])
    image = view // per_image
    same_image = image[:, None] == image
    same_view = view[:, None] == view
    return same_image & ~same_view


def absolute_equivariance(
    whole: jax.Array,
    views: jax.Array,
    predictions: jax.Array,
) -> jax.Array:
    """How much nearer a prediction is to its view than the image itself: rows [M, f] -> [M].

    cos(view, prediction) - cos(view, image), equation 5 of the paper, in [-2, 2]. Above 0, the
    predictor moves the embedding towards that of the view.
    """
    return _cosines(views, predictions) - _cosines(views, whole)


def relative_equivariance(
    whole: jax.Array,
    views: jax.Array,
    predictions: jax.Array,
) -> jax.Array:
    """How many times nearer a prediction is to its view than the image itself: rows [M, f] -> [M].

    (1 - cos(view, image)) / (1 - cos(view, prediction)), equation 6 of the paper, at least 0.
    Above 1, the predictor moves the embedding towards that of the view.
    """
    distance = 1 - _cosines(views, whole)
    left = 1 - _cosines(views, predictions)
    return jnp.maximum(distance, 0) / jnp.maximum(left, _LEAST_DISTANCE)


def _cosines(rows: jax.Array, others: jax.Array) -> jax.Array:
    """The cosine of each row with its partner, [M, f] each -> [M], in at least float32."""
    at_least_float32 = jnp.promote_types(rows.dtype, jnp.float32)
    rows = normalize(rows.astype(at_least_float32))
    others = normalize(others.astype(at_least_float32))
    return jnp.sum(rows * others, axis=-1)
