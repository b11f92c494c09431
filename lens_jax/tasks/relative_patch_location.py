"""Relative patch location: which neighbor is it? (Doersch et al., 2015, arXiv 1505.05192)."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lens_jax.models.heads import PatchHead, check_head
from lens_jax.ops import patches
from lens_jax.tasks.base import Augment, Batch, Loss, Views, classification_loss
from lens_jax.tasks.patch_views import patch_views

NEIGHBORS = np.delete(np.arange(patches.PLACES), patches.CENTER)
PAIRS = np.stack([np.full_like(NEIGHBORS, patches.CENTER), NEIGHBORS], axis=-1)


@dataclasses.dataclass(frozen=True)
class RelativePatchLocation:
    """The relative patch location task: the patch in the center beside each of its eight
    neighbors.

    Attributes:
        cell: side of the grid's cells, in pixels; the images are at least three cells wide and
          high.
        patch: side of the patches, in pixels.
        jitter: in training, draw the crop's and the patches' places instead of taking the central
          ones.
        embedding: width of a patch's embedding in the head.
        hidden: width of the head's hidden layer.
        dropout: share of the hidden units that training leaves out.

    """

    cell: int = 85
    patch: int = 64
    jitter: bool = True
    embedding: int = 1000
    hidden: int = 4096
    dropout: float = 0.5
    has_classes = True

    def __post_init__(self) -> None:
        patches.check_patch(self.cell, self.patch)
        check_head(self.embedding, self.hidden, self.dropout)

    def views(self, key: jax.Array, batch: Batch, augment: Augment | None) -> Views:
        """[B, h, w, 3] -> nine patches an image, all its pairs (center, neighbor), labels 0..7
        each.

        The neighbors are numbered row by row. The arrangement is the pairs' places, int [B, 8, 2].
        """
        return patch_views(
            key,
            augment(batch["image"]) if augment else batch["image"],
            jnp.asarray(PAIRS),
            jnp.arange(len(PAIRS)),
            cell=self.cell,
            patch=self.patch,
            jitter=self.jitter and augment is not None,
        )

    def crops(self, images: jax.Array) -> jax.Array:
        """The nine adjacent patches of the images' central square of 3 * patch px, [9B, p, p, 3]."""
        return patches.central_patches(images, self.patch, self.patch)

    def head(self, dtype: Any) -> nn.Module:
        """The patch head, to eight logits."""
        return PatchHead(len(PAIRS), self.embedding, self.hidden, self.dropout, dtype)

    def loss(self, outputs: jax.Array, targets: jax.Array, memory: Any) -> Loss:
        """Softmax cross-entropy over the eight neighbors, for every pair."""
        return classification_loss(outputs, targets, memory)

    def logits(self, outputs: jax.Array) -> jax.Array:
        """The outputs themselves, [8B, 8]."""
        return outputs
