"""Supervised classification: the reference line that every comparison needs."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax

from lens_jax.models.heads import LinearHead
from lens_jax.tasks.base import Augment, Batch, Loss, Views, classification_loss


@dataclasses.dataclass(frozen=True)
class Supervised:
    """Classification with the data set's own labels."""

    num_classes: int
    has_classes = True

    def views(self, key: jax.Array, batch: Batch, augment: Augment | None) -> Views:
        """The images with their own labels."""
        del key
        return Views(augment(batch["image"]) if augment else batch["image"], batch["label"])

    def crops(self, images: jax.Array) -> jax.Array:
        """The images as they are."""
        return images

    def head(self, dtype: Any) -> nn.Module:
        """A linear layer to one logit a class."""
        return LinearHead(self.num_classes, dtype)

    def loss(self, outputs: jax.Array, targets: jax.Array, memory: Any) -> Loss:
        """Softmax cross-entropy over the classes."""
        return classification_loss(outputs, targets, memory)

    def logits(self, outputs: jax.Array) -> jax.Array:
        """The outputs themselves, [N, classes]."""
        return outputs
