"""The feature extractor with a task's head on top: what the pretext loss trains."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class LinearHead(nn.Module):
    """One dense layer on the pooled features, with outputs in at least float32."""

    outputs: int
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, features: jax.Array, train: bool) -> jax.Array:
        """[N, features] -> [N, outputs]."""
        del train
        return nn.Dense(self.outputs, dtype=jnp.promote_types(self.dtype, jnp.float32))(features)


class Network(nn.Module):
    """Extractor and head."""

    extractor: nn.Module
    head: nn.Module

    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        """Images [N, h, w, 3] in [-1, 1] -> the head's outputs [N, ...]."""
        return self.head(self.taps(images, train)["pre_logits"], train)

    def taps(self, images: jax.Array, train: bool) -> dict[str, jax.Array]:
        """Images [N, h, w, 3] in [-1, 1] -> the extractor's taps by name."""
        return self.extractor(images, train)
