"""Relative patch location: which neighbor is it? (Doersch et al., 2015, arXiv 1505.05192)."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lens_jax.models.heads import PatchHead
from lens_jax.ops import patches
from lens_jax.tasks.base import Augment, Batch, Views
from lens_jax.tasks.patch_views import PatchTask

NEIGHBORS = np.delete(np.arange(patches.PLACES), patches.CENTER)
PAIRS = np.stack([np.full_like(NEIGHBORS, patches.CENTER), NEIGHBORS], axis=-1)


@dataclasses.dataclass(frozen=True)
class RelativePatchLocation(PatchTask):
    """The patch in the center beside each of its eight neighbors, whose place is the class."""

    def views(self, key: jax.Array, batch: Batch, augment: Augment | None) -> Views:
        """[B, h, w, 3] -> nine patches an image, and all its pairs (center, neighbor), labels 0..7.

        The neighbors are numbered row by row. The context is the pairs' places, int [B, 8, 2].
        """
        images = augment(batch["image"]).images if augment else batch["image"]
        labels = jnp.arange(len(PAIRS))
        return self.patch_views(key, images, jnp.asarray(PAIRS), labels, train=augment is not None)

    def head(self, dtype: Any) -> nn.Module:
        """The patch head, to eight logits."""
        return PatchHead(len(PAIRS), self.embedding, self.hidden, self.dropout, dtype)
