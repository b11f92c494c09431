"""Rotation: which of the four quarter turns was the image given? (Gidaris et al., 2018, arXiv 1803.07728)."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lens_jax.models.heads import LinearHead
from lens_jax.ops import rotate
from lens_jax.tasks.base import Augment, Batch, Loss, Views, classification_loss


@dataclasses.dataclass(frozen=True)
class Rotation:
    """The rotation task.

    Attributes:
        all_rotations: give the extractor all four rotations of each image, as the published code
            does, instead of one at random (a quarter of the cost, a noisier gradient).

    """

    all_rotations: bool = True
    has_classes = True

    def views(self, key: jax.Array, batch: Batch, augment: Augment | None) -> Views:
        """[B, h, h, 3] -> [4B, h, h, 3] and labels 0..3 (or B of each; all four in evaluation)."""
        images = augment(batch["image"]) if augment else batch["image"]
        if self.all_rotations or not augment:
            return Views(rotate.all_quarter_turns(images), jnp.tile(jnp.arange(4), len(images)))
        turns = jax.random.randint(key, (len(images),), 0, 4)
        return Views(rotate.quarter_turns(images, turns), turns)

    def crops(self, images: jax.Array) -> jax.Array:
        """The images as they are."""
        return images

    def head(self, dtype: Any) -> nn.Module:
        """A linear layer to four logits."""
        return LinearHead(4, dtype)

    def loss(self, outputs: jax.Array, targets: jax.Array, memory: Any) -> Loss:
        """Softmax cross-entropy over the four rotations."""
        return classification_loss(outputs, targets, memory)

    def logits(self, outputs: jax.Array) -> jax.Array:
        """The outputs themselves, [N, 4]."""
        return outputs
