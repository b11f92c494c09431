"""Rotation: by how many quarter turns? (Gidaris et al., 2018, arXiv 1803.07728)."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lens_jax.models.heads import LinearHead
from lens_jax.ops import rotate
from lens_jax.tasks.base import Augment, Batch, Classification, Views


@dataclasses.dataclass(frozen=True)
class Rotation(Classification):
    """The rotation task.

    Attributes:
        all_rotations: show the extractor all four rotations of each image, as the published code
            does, instead of one at random (a quarter of the cost, a noisier gradient).

    """

    all_rotations: bool = True

    def views(self, key: jax.Array, batch: Batch, augment: Augment | None) -> Views:
        """[B, h, h, 3] -> [4B, h, h, 3] and labels 0..3, or B of each; all four in evaluation."""
        images = augment(batch["image"]).images if augment else batch["image"]
        if self.all_rotations or not augment:
            labels = jnp.tile(jnp.arange(4), len(images))
            return Views(rotate.all_quarter_turns(images), labels)

        turns = jax.random.randint(key, (len(images),), 0, 4)
        return Views(rotate.quarter_turns(images, turns), turns)

    def head(self, dtype: Any) -> nn.Module:
        """A linear layer to four logits."""
        return LinearHead(4, dtype)
