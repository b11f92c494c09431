"""The views of the patch tasks: nine patches an image, and the orders in which the head sees them."""

import jax
import jax.numpy as jnp

from lens_jax.ops.patches import central_patches, random_patches
from lens_jax.tasks.base import Views


def patch_views(
    key: jax.Array,
    images: jax.Array,
    orders: jax.Array,
    labels: jax.Array,
    *,
    cell: int,
    patch: int,
    jitter: bool,
) -> Views:
    """Nine patches of each image [B, h, w, 3], and for each image the same orders and labels.

    Args:
      key: of the patches' places, if there is `jitter`; else they are the central ones.
      images: in [-1, 1].
      orders: int [P, k], the patches, 0 to 8, that lie at each of k places.
      labels: int [P], the class of each order.
      cell: side of the grid's cells, in pixels.
      patch: side of the patches, in pixels.
      jitter: whether to draw the places.

    Returns:
      Inputs [9B, patch, patch, 3], targets [P * B] and arrangement [B, P, k].

    """
    inputs = (
        random_patches(key, images, cell, patch) if jitter else central_patches(images, cell, patch)
    )
    count = len(images)
    return Views(inputs, jnp.tile(labels, count), jnp.broadcast_to(orders, (count, *orders.shape)))
