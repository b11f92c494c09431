"""Jigsaw: in which known order do the patches lie? (Noroozi & Favaro, 2016, arXiv 1603.09246)."""

import dataclasses
import math
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lens_jax.models.heads import PatchHead
from lens_jax.ops import patches
from lens_jax.tasks.base import Augment, Batch, Views, check_option
from lens_jax.tasks.patch_views import PatchTask
from lens_jax.tasks.permutations import spread_permutations

MOST_PERMUTATIONS = math.factorial(patches.PLACES)


@dataclasses.dataclass(frozen=True)
class Jigsaw(PatchTask):
    """Nine patches, each order of them a class.

    Attributes:
        permutations: number of orders, chosen by `spread_permutations`.
        drawn: how many of them a training step shows, drawn anew for each batch.

    """

    permutations: int = 100
    drawn: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        known = 2 <= self.permutations <= MOST_PERMUTATIONS
        check_option("permutations", self.permutations, known, f"2 to {MOST_PERMUTATIONS}")
        few_enough = 1 <= self.drawn <= self.permutations
        check_option("drawn", self.drawn, few_enough, f"1 to {self.permutations}, the permutations")

    def views(self, key: jax.Array, batch: Batch, augment: Augment | None) -> Views:
        """[B, h, w, 3] -> nine patches an image in P orders, and each order's index as its label.

        Training draws `drawn` orders without replacement, the same for all images, as
        revisiting-self-supervised does; evaluation shows all. The context, int [B, P, 9], holds
        which patch lies at each place.
        """
        position_key, order_key = jax.random.split(key)
        images = augment(batch["image"]).images if augment else batch["image"]
        labels = jnp.arange(self.permutations)
        if augment:
            labels = jax.random.choice(order_key, labels, (self.drawn,), replace=False)
        orders = jnp.asarray(spread_permutations(self.permutations))[labels]
        return self.patch_views(position_key, images, orders, labels, train=augment is not None)

    def head(self, dtype: Any) -> nn.Module:
        """The patch head, to one logit an order."""
        return PatchHead(self.permutations, self.embedding, self.hidden, self.dropout, dtype)
