"""Flips, gray and color distortion, one random draw an image, on images in [-1, 1]."""

import jax
import jax.numpy as jnp

BRIGHTNESS = 32 / 255
SATURATION = CONTRAST = (0.5, 1.5)
HUE = 0.2


def to_unit(pixels: jax.Array) -> jax.Array:
    """uint8 pixels -> float32 in [-1, 1]."""
    return pixels.astype(jnp.float32) / 127.5 - 1


def random_flip(key: jax.Array, images: jax.Array) -> jax.Array:
    """Mirrors each image [N, h, w, C] left to right with probability one half."""
    flip = jax.random.bernoulli(key, 0.5, (len(images), 1, 1, 1))
    return jnp.where(flip, images[:, :, ::-1], images)


def random_gray(key: jax.Array, images: jax.Array, probability: float) -> jax.Array:
    """Gives each image [N, h, w, 3] the mean of its three colors with a probability.

    The mean, and not the luma, as in revisiting-self-supervised (`preprocess.py`).
    """
    gray = jax.random.bernoulli(key, probability, (len(images), 1, 1, 1))
    return jnp.where(gray, jnp.mean(images, axis=-1, keepdims=True), images)


def distort_color(key: jax.Array, images: jax.Array) -> jax.Array:
    """Random brightness, saturation, hue and contrast of images [N, h, w, 3], in this order.

    The ranges are those of TF-slim's `inception_preprocessing`, the preprocessing that
    revisiting-self-supervised uses for Rotation and Exemplar; of its four orders we keep the first.
    """
    brightness, saturation, hue, contrast = (
        jax.random.uniform(k, (len(images), 1, 1), minval=low, maxval=high)
        for k, (low, high) in zip(
            jax.random.split(key, 4),
            [(-BRIGHTNESS, BRIGHTNESS), SATURATION, (-HUE, HUE), CONTRAST],
            strict=True,
        )
    )
    rgb = images / 2 + 0.5 + brightness[..., None]
    h, s, v = rgb_to_hsv(jnp.clip(rgb, 0, 1))
    rgb = hsv_to_rgb((h + hue) % 1, jnp.clip(s * saturation, 0, 1), v)
    mean = jnp.mean(rgb, axis=(1, 2), keepdims=True)
    return 2 * jnp.clip((rgb - mean) * contrast[..., None] + mean, 0, 1) - 1


def rgb_to_hsv(rgb: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """RGB in [0, 1], [..., 3] -> hue (turns, [0, 1)), saturation and value, each [...]."""
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    value, least = jnp.max(rgb, axis=-1), jnp.min(rgb, axis=-1)
    chroma = value - least
    safe = jnp.where(chroma > 0, chroma, 1)
    sixth = jnp.select(
        [chroma == 0, value == red, value == green],
        [jnp.zeros_like(value), (green - blue) / safe % 6, (blue - red) / safe + 2],
        (red - green) / safe + 4,
    )
    return sixth / 6, chroma / jnp.where(value > 0, value, 1), value


def hsv_to_rgb(hue: jax.Array, saturation: jax.Array, value: jax.Array) -> jax.Array:
    """Hue in turns, saturation and value in [0, 1], each [...] -> RGB in [0, 1], [..., 3]."""
    place = (hue[..., None] * 6 + jnp.array([5.0, 3.0, 1.0])) % 6
    ramp = jnp.clip(jnp.minimum(place, 4 - place), 0, 1)
    return value[..., None] * (1 - saturation[..., None] * ramp)
