"""What the patch tasks share: nine patches an image, the orders in which the head sees them."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp

from lens_jax.models.heads import check_head
from lens_jax.ops import patches
from lens_jax.tasks.base import Classification, Views


@dataclasses.dataclass(frozen=True)
class PatchTask(Classification):
    """A task on nine patches of each image.

    Attributes:
        cell: side of the grid's cells, in pixels; the images are at least three cells on a side.
        patch: side of the patches, in pixels.
        jitter: in training, draw the crop's and the patches' positions; else take the central ones.
        embedding: width of a patch's embedding in the head.
        hidden: width of the head's hidden layer.
        dropout: fraction of the hidden units that training leaves out.

    """

    cell: int = 85
    patch: int = 64
    jitter: bool = True
    embedding: int = 1000
    hidden: int = 4096
    dropout: float = 0.5

    def __post_init__(self) -> None:
        patches.check_patch(self.cell, self.patch)
        check_head(self.embedding, self.hidden, self.dropout)

    def patch_views(
        self,
        key: jax.Array,
        images: jax.Array,
        orders: jax.Array,
        labels: jax.Array,
        train: bool,
    ) -> Views:
        """Nine patches of each image [B, h, w, 3], and for each image the same orders and labels.

        Args:
          key: of the patches' positions.
          images: in [-1, 1].
          orders: int [P, k], the patches, 0 to 8, that lie at each of k places.
          labels: int [P], the class of each order.
          train: whether positions may be drawn at random.

        Returns:
          Inputs [9B, patch, patch, 3], labels [P * B] and context [B, P, k].

        """
        if train and self.jitter:
            inputs = patches.random_patches(key, images, self.cell, self.patch)
        else:
            inputs = patches.central_patches(images, self.cell, self.patch)
        count = len(images)
        context = jnp.broadcast_to(orders, (count, *orders.shape))
        return Views(inputs, jnp.tile(labels, count), context)

    def crops(self, images: jax.Array) -> jax.Array:
        """Nine adjacent patches of the images' central square of 3 * patch px, [9B, p, p, 3]."""
        return patches.central_patches(images, self.patch, self.patch)

    def tile(self, views: Any) -> Any:
        """Nine patches of each image, row by row [9B, p, p, ...] -> [B, 3p, 3p, ...]."""
        return patches.join(views)
