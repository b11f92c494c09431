"""The feature extractor with a task's head on top: what the pretext loss trains."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp


class Network(nn.Module):
    """Extractor and head.

    Attributes:
        extractor: (images, train) -> taps by name, "pre_logits" last.
        head: (features, context, train) -> outputs.
        standardize: give the extractor every image with mean 0 and standard deviation 1, see
            `standardized`.

    """

    extractor: nn.Module
    head: nn.Module
    standardize: bool = False

    def __call__(self, images: jax.Array, context: Any, train: bool) -> Any:
        """Images [N, h, w, 3] in [-1, 1] and the task's context -> the head's outputs."""
        features = self.taps(images, train)["pre_logits"]
        return self.head(features, context, train)

    def target(self, images: jax.Array, context: Any, train: bool) -> Any:
        """The outputs of the head's `target`, for heads that have one.

        Applied to the averaged parameters, this is the target network of MoCo and BYOL: the same
        extractor, and of the head only what the targets go through.
        """
        features = self.taps(images, train)["pre_logits"]
        return self.head.target(features, context, train)

    def taps(self, images: jax.Array, train: bool) -> dict[str, jax.Array]:
        """Images [N, h, w, 3] in [-1, 1] -> the extractor's taps by name.

        "pre_logits" is also Flax's intermediate "features", for who wants to see what a head reads.
        """
        if self.standardize:
            images = standardized(images)
        taps = self.extractor(images, train)
        self.sow("intermediates", "features", taps["pre_logits"])
        return taps


def standardized(images: jax.Array) -> jax.Array:
    """(x - mean) / max(standard deviation, 1 / sqrt(n)) over the n numbers of each image.

    The lower bound keeps flat images finite. It is that of `tf.image.per_image_standardization`,
    which revisiting-self-supervised uses; here it is for pixels in [-1, 1], there for 0 to 255.

    Args:
      images: [N, h, w, C].

    """
    _, height, width, channels = images.shape
    axes = (1, 2, 3)
    mean = jnp.mean(images, axes, keepdims=True)
    centered = images - mean
    variance = jnp.mean(centered**2, axes, keepdims=True)

    # Bounded before the root is taken: at 0 the gradient of a root is infinite.
    count = height * width * channels
    least_deviation = count**-0.5
    variance = jnp.maximum(variance, least_deviation**2)
    scale = jax.lax.rsqrt(variance)
    return centered * scale
