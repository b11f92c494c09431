"""Jigsaw: in which of some known orders are the patches shown? (Noroozi & Favaro, 2016, arXiv 1603.09246)."""

import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lens_jax.errors import UserError
from lens_jax.models.heads import PatchHead, check_head
from lens_jax.ops import patches
from lens_jax.tasks.base import Augment, Batch, Loss, Views, classification_loss
from lens_jax.tasks.patch_views import patch_views
from lens_jax.tasks.permutations import spread_permutations


@dataclasses.dataclass(frozen=True)
class Jigsaw:
    """The jigsaw task: nine patches, each order of them a class.

    Attributes:
        cell: side of the grid's cells, in pixels; the images are at least three cells wide and
          high.
        patch: side of the patches, in pixels.
        jitter: in training, draw the crop's and the patches' places instead of taking the central
          ones.
        embedding: width of a patch's embedding in the head.
        hidden: width of the head's hidden layer.
        dropout: share of the hidden units that training leaves out.
        permutations: number of orders, chosen by `spread_permutations`.
        drawn: how many of them a training step shows, drawn anew for each batch.

    """

    cell: int = 85
    patch: int = 64
    jitter: bool = True
    embedding: int = 1000
    hidden: int = 4096
    dropout: float = 0.5
    permutations: int = 100
    drawn: int = 8
    has_classes = True

    def __post_init__(self) -> None:
        patches.check_patch(self.cell, self.patch)
        check_head(self.embedding, self.hidden, self.dropout)
        most = math.factorial(patches.PLACES)
        if not 2 <= self.permutations <= most:
            raise UserError(
                f"jigsaw has {self.permutations} permutations as classes: use 2 to {most}"
            )
        if not 1 <= self.drawn <= self.permutations:
            legal = f"use 1 to {self.permutations}"
            raise UserError(
                f"jigsaw draws {self.drawn} of {self.permutations} permutations: {legal}"
            )

    def views(self, key: jax.Array, batch: Batch, augment: Augment | None) -> Views:
        """[B, h, w, 3] -> nine patches an image, shown in P orders, each order's index as its
        label.

        Training draws `drawn` orders without replacement, the same for all images, as
        revisiting-self-supervised does; evaluation asks for all. The arrangement, int [B, P, 9],
        says which patch lies at each place.
        """
        place_key, order_key = jax.random.split(key)
        labels = jnp.arange(self.permutations)
        if augment:
            labels = jax.random.choice(order_key, labels, (self.drawn,), replace=False)
        return patch_views(
            place_key,
            augment(batch["image"]) if augment else batch["image"],
            jnp.asarray(spread_permutations(self.permutations))[labels],
            labels,
            cell=self.cell,
            patch=self.patch,
            jitter=self.jitter and augment is not None,
        )

    def crops(self, images: jax.Array) -> jax.Array:
        """The nine adjacent patches of the images' central square of 3 * patch px, [9B, p, p, 3]."""
        return patches.central_patches(images, self.patch, self.patch)

    def head(self, dtype: Any) -> nn.Module:
        """The patch head, to one logit an order."""
        return PatchHead(self.permutations, self.embedding, self.hidden, self.dropout, dtype)

    def loss(self, outputs: jax.Array, targets: jax.Array, memory: Any) -> Loss:
        """Softmax cross-entropy over all orders, for every order shown."""
        return classification_loss(outputs, targets, memory)

    def logits(self, outputs: jax.Array) -> jax.Array:
        """The outputs themselves, [P * B, permutations]."""
        return outputs
