"""Gaussian blur with a standard deviation of its own for each image."""

import jax
import jax.numpy as jnp
import numpy as np

# The default of TPUs and GPUs rounds the factors to 8 or 11 bits, too few for an image.
_PRECISION = jax.lax.Precision.HIGHEST

# A variance so small that the kernel is 1 in the middle and exactly 0 beside it.
_LEAST_VARIANCE = 1e-3


def gaussian_blur(images: jax.Array, sigma: jax.Array) -> jax.Array:
    """Blurs image i with a Gaussian of standard deviation `sigma[i]`; 0 leaves it as it is.

    The kernel is cut at `blur_radius` of the shorter side and its weights sum to 1. Edges are
    mirrored without repeating the outermost pixel. That is torchvision's `GaussianBlur`.

    A Gaussian is separable, so rows and columns are blurred one after the other, each by a matrix
    product: dense products are fast on every kind of processor, and the images may differ in sigma.

    Args:
      images: [N, h, w, C], in any range.
      sigma: [N], in pixels.

    """
    height, width = images.shape[1:3]
    shorter_side = min(height, width)
    radius = blur_radius(shorter_side)
    down = _blur_matrix(sigma, height, radius)
    across = _blur_matrix(sigma, width, radius)
    images = jnp.einsum("nph,nhwc->npwc", down, images, precision=_PRECISION)
    return jnp.einsum("nqw,npwc->npqc", across, images, precision=_PRECISION)


def blur_radius(side: int) -> int:
    """How many pixels the kernel reaches to each side, in images of `side` px.

    The kernel of 2 * radius + 1 pixels is about a tenth of the side, as in SimCLR: 23 for 224 px.
    It has at least 3 pixels.
    """
    return max(side // 20, 1)


def _blur_matrix(sigma: jax.Array, side: int, radius: int) -> jax.Array:
    """Matrices that blur lines of `side` pixels, [N, side, side].

    Row p holds how much each pixel weighs in pixel p of the result.
    """
    distances = _distances(side)
    variance = jnp.maximum(sigma**2, _LEAST_VARIANCE)
    variance = variance[:, None, None, None]
    gaussian = jnp.exp(-(distances**2) / (2 * variance))
    weights = jnp.where(distances <= radius, gaussian, 0)

    # A pixel counts for itself and for its mirror images.
    weights = jnp.sum(weights, axis=1)
    total = jnp.sum(weights, axis=-1, keepdims=True)
    return weights / total


def _distances(side: int) -> np.ndarray:
    """Distances of pixel p from pixel q and from q's two mirror images, float [3, side, side].

    The mirrors stand in the first and in the last pixel, which are not repeated in their own.
    """
    p, q = np.ogrid[:side, :side]
    last = side - 1
    direct = np.abs(p - q)
    over_first = p + q
    over_last = 2 * last - p - q

    before_first = np.where(q > 0, over_first, np.inf)
    behind_last = np.where(q < last, over_last, np.inf)
    distances = np.stack([direct, before_first, behind_last])
    return distances.astype(np.float32)
