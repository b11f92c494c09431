"""The feature extractor with a task's head on top: what the pretext loss trains."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from lens_jax.models.batch_norm import gather, spread
from lens_jax.models.heads import ImageAndPatches
from lens_jax.ops import patches


class Network(nn.Module):
    """Extractor and head.

    Attributes:
        extractor: (images, train) -> taps by name, "pre_logits" last.
        head: (features, context, train) -> outputs.
        standardize: give the extractor every image with mean 0 and standard deviation 1, see
            `standardized`.
        batch_norm_group: that of the extractor; the target network has groups of other rows.

    """

    extractor: nn.Module
    head: nn.Module
    standardize: bool = False
    batch_norm_group: int = 0

    def __call__(self, images: jax.Array, context: Any, train: bool) -> Any:
        """Images [N, h, w, 3] in [-1, 1] and the task's context -> the head's outputs."""
        features = self.taps(images, train)["pre_logits"]
        return self.head(features, context, train)

    def target(self, images: jax.Array, context: Any, train: bool) -> Any:
        """The outputs of the head's `target`, for heads that have one.

        Applied to the averaged parameters, this is the target network of MoCo and BYOL: the same
        extractor, and of the head only what the targets go through.

        Where BatchNorm has groups, the rows are in another order in the extractor. Else a view and
        its target would be normalized among the same images, by nearly the same statistics, and
        could be matched by them alone: MoCo shuffles its keys over the devices against that (He et
        al., 2019, arXiv 1911.05722, section 3.3).
        """
        apart = self.batch_norm_group if train else 0
        if apart:
            images = spread(images, apart)
        features = self.taps(images, train)["pre_logits"]
        if apart:
            features = gather(features, apart)
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


class JigsawNetwork(Network):
    """A network that sees two views of each image: the whole, and nine patches of it laid out.

    The patches fill a square in the corner of their view. They are cut out of it again, so that the
    extractor sees each by itself, as a picture of its own size; BatchNorm sees the patches of a
    batch together, and then the images.

    Attributes:
      patch: side of a patch, in pixels.

    """

    patch: int = 64

    def __call__(self, images: jax.Array, context: Any, train: bool) -> Any:
        """Images [2B, h, w, 3], a whole one beside its patches -> the head's outputs."""
        by_image = images.reshape(-1, 2, *images.shape[1:])
        side = patches.GRID * self.patch
        laid_out = by_image[:, 1, :side, :side]
        pieces = patches.split(laid_out)

        # The images come last, as the running statistics remember the last ones best.
        of_patches = self.taps(pieces, train)["pre_logits"]
        of_images = self.taps(by_image[:, 0], train)["pre_logits"]
        return self.head(ImageAndPatches(of_images, of_patches), context, train)


class NegativesNetwork(Network):
    """A network whose target sees keys, and a negative for each.

    They go through it one after the other, as in the code of Ge et al., 2021 (arXiv 2110.14189):
    negatives look unlike images, and keys that were normalized together with them would not be
    comparable to their queries.

    Attributes:
      keys: number of keys of an image.

    """

    keys: int = 1

    def target(self, images: jax.Array, context: Any, train: bool) -> Any:
        """The outputs for the keys of an image, and then its negatives: [2 * keys * B, h, w, 3]."""
        keys = self._half((images, context), 0)
        negatives = self._half((images, context), 1)

        # The keys come last, as the running statistics remember the last ones best.
        of_negatives = super().target(*negatives, train)
        of_keys = super().target(*keys, train)
        return jax.tree.map(self._join, of_keys, of_negatives)

    def _half(self, tree: Any, half: int) -> Any:
        """The keys, half 0, or the negatives, half 1, of arrays that hold both of each image."""

        def take(rows: jax.Array) -> jax.Array:
            shape = rows.shape[1:]
            by_image = rows.reshape(-1, 2, self.keys, *shape)
            taken = by_image[:, half]
            return taken.reshape(-1, *shape)

        return jax.tree.map(take, tree)

    def _join(self, keys: jax.Array, negatives: jax.Array) -> jax.Array:
        """The inverse of `_half`."""
        shape = keys.shape[1:]
        by_image = (-1, self.keys, *shape)
        keys = keys.reshape(by_image)
        negatives = negatives.reshape(by_image)
        both = jnp.concatenate([keys, negatives], axis=1)
        return both.reshape(-1, *shape)


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
