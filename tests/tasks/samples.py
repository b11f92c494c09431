"""Batches and augmentations that the tests of tasks share."""

import jax
import jax.numpy as jnp
import numpy as np

from lens_jax.ops import crop
from lens_jax.ops.augment import Augmented
from lens_jax.tasks.base import Batch, join_views, split_views


def unchanged(images: jax.Array, view: int = 0, size: int = 0) -> Augmented:
    """Resizes only; what was drawn is (index of the image, view)."""
    if size:
        images = crop.resize(images, size)
    indices = jnp.arange(len(images), dtype=jnp.float32)
    parameters = jnp.stack([indices, jnp.full_like(indices, view)], axis=-1)
    return Augmented(images, parameters)


def mirrored(images: jax.Array, view: int = 0, size: int = 0) -> Augmented:
    """Mirrors all images left to right."""
    return unchanged(images[:, :, ::-1], view, size)


def located_batch(count: int, height: int = 12, width: int = 12) -> Batch:
    """Images whose pixels hold (row, column, image)."""
    image, row, column = np.meshgrid(range(count), range(height), range(width), indexing="ij")
    pixels = np.stack([row, column, image], axis=-1)
    return {"image": jnp.asarray(pixels, jnp.float32)}


def random_batch(count: int, side: int = 6) -> Batch:
    """Images of noise, and labels 0, 1 and 2 in turn."""
    rng = np.random.default_rng(0)
    images = rng.uniform(-1, 1, (count, side, side, 3)).astype(np.float32)
    indices = jnp.arange(count)
    return {"image": jnp.asarray(images), "label": indices % 3, "index": indices}


def take_views(rows: jax.Array, views: tuple[int, ...] | None, count: int) -> jax.Array:
    """The rows of some of the `count` views of each image; None: of all."""
    if views is None:
        return rows
    by_view = split_views(rows, count)
    return join_views(*[by_view[view] for view in views])
