"""Supervised classification: the reference line that every comparison needs."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax

from lens_jax.models.network import LinearHead
from lens_jax.tasks.base import Batch, Loss, Views, classification_loss


@dataclasses.dataclass(frozen=True)
class Supervised:
    """Classification with the data set's own labels."""

    num_classes: int
    has_classes = True

    def views(self, key: jax.Array, batch: Batch, train: bool) -> Views:
        """The images and labels as they are."""
        del key, train
        return Views(batch["image"], batch["label"])

    def head(self, dtype: Any) -> nn.Module:
        """A linear layer to one logit a class."""
        return LinearHead(self.num_classes, dtype)

    def loss(self, outputs: jax.Array, targets: jax.Array, memory: Any) -> Loss:
        """Softmax cross-entropy over the classes."""
        return classification_loss(outputs, targets, memory)

    def logits(self, outputs: jax.Array) -> jax.Array:
        """The outputs themselves, [N, classes]."""
        return outputs
