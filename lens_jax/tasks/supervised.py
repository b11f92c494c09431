"""Supervised classification: the reference line that every comparison needs."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax

from lens_jax.errors import UserError
from lens_jax.models.heads import LinearHead
from lens_jax.tasks.base import Augment, Batch, Classification, DataFacts, Views


@dataclasses.dataclass(frozen=True)
class Supervised(Classification):
    """Classification with the data set's own labels."""

    num_classes: int

    @classmethod
    def from_options(cls, options: Mapping[str, Any], facts: DataFacts) -> "Supervised":
        """Classification over the classes of the data; raises `UserError` where it has none."""
        if facts.num_classes < 2:
            raise UserError(
                "task 'supervised' needs labels: give the data set at least two classes"
            )
        return cls(facts.num_classes, **options)

    def views(self, key: jax.Array, batch: Batch, augment: Augment | None) -> Views:
        """The images with their own labels."""
        del key
        images = augment(batch["image"]).images if augment else batch["image"]
        return Views(images, batch["label"])

    def head(self, dtype: Any) -> nn.Module:
        """A linear layer to one logit a class."""
        return LinearHead(self.num_classes, dtype)
