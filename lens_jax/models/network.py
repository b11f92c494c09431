"""The feature extractor with a task's head on top: what the pretext loss trains."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class Network(nn.Module):
    """Extractor and head.

    Attributes:
        extractor: images -> taps by name, "pre_logits" last.
        head: (features, context, train) -> outputs.
        standardize: give the extractor every input with mean 0 and deviation 1, see `standardized`.

    """

    extractor: nn.Module
    head: nn.Module
    standardize: bool = False

    def __call__(self, images: jax.Array, context: Any, train: bool) -> jax.Array:
        """Images [N, h, w, 3] in [-1, 1] and the task's context -> the head's outputs."""
        return self.head(self.taps(images, train)["pre_logits"], context, train)

    def target(self, images: jax.Array, context: Any, train: bool) -> jax.Array:
        """The outputs of the head's method `target`."""
        return self.head.target(self.taps(images, train)["pre_logits"], context, train)

    def taps(self, images: jax.Array, train: bool) -> dict[str, jax.Array]:
        """Images [N, h, w, 3] in [-1, 1] -> the extractor's taps by name."""
        return self.extractor(standardized(images) if self.standardize else images, train)


def standardized(images: jax.Array) -> jax.Array:
    """(x - mean) / max(deviation, 1 / sqrt(n)) over the n numbers of each image, [N, h, w, C].

    The bound, which keeps flat images finite, is that of `tf.image.per_image_standardization`,
    which revisiting-self-supervised uses; here it is for pixels in [-1, 1], there for 0 to 255.
    """
    axes = (1, 2, 3)
    centerd = images - jnp.mean(images, axes, keepdims=True)
    least = (images.shape[1] * images.shape[2] * images.shape[3]) ** -0.5
    # The root is taken of what cannot be 0, as its slope there is infinite.
    return centerd * jax.lax.rsqrt(jnp.maximum(jnp.mean(centerd**2, axes, keepdims=True), least**2))
