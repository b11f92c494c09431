import colorsys

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageOps

from lens_jax.ops import color
from lens_jax.ops.color import hsv_to_rgb, rgb_to_hsv, to_unit


def some_colors() -> np.ndarray:
    """Random ones, the corners and edges of the cube, and grays, [n, 3]."""
    levels = [0, 0.5, 1]
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    grays = np.repeat(np.linspace(0, 1, 6)[:, None], 3, axis=1)
    return np.concatenate([np.random.default_rng(0).uniform(size=(200, 3)), grid, grays])


def random_images(count: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (count, 4, 5, 3)).astype(np.float32)


def random_bytes(count: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (count, 6, 5, 3), dtype=np.uint8)


def with_hue_shifted(rgb: np.ndarray, turns: float) -> np.ndarray:
    """Colors in [0, 1], [..., 3], one by one through colorsys."""
    shifted = np.empty_like(rgb)
    for position in np.ndindex(rgb.shape[:-1]):
        hue, saturation, value = colorsys.rgb_to_hsv(*rgb[position])
        shifted[position] = colorsys.hsv_to_rgb((hue + turns) % 1, saturation, value)
    return shifted


def assert_levels(found: np.ndarray, pixels: np.ndarray, most: float) -> None:
    """Colors in [0, 1] are those of bytes, up to `most` of 255 levels."""
    np.testing.assert_allclose(255 * np.asarray(found), pixels, rtol=0, atol=most)


def test_black_and_white_bytes_are_the_ends_of_the_unit_range():
    pixels = to_unit(jnp.array([0, 51, 127, 255], jnp.uint8))
    assert pixels.dtype == jnp.float32
    np.testing.assert_allclose(pixels, [-1, -0.6, -1 / 255, 1], rtol=0, atol=1e-7)


def test_the_luma_is_that_of_pillow():
    pixels = random_bytes(3)
    found = color.luma(pixels / 255)
    for image, gray in zip(pixels, found, strict=True):
        expected = np.asarray(ImageOps.grayscale(Image.fromarray(image)))
        assert_levels(gray[..., 0], expected, 1)


def test_the_mean_of_colors_counts_all_of_them_alike():
    images = random_images(3)
    expected = mean_of_colors(images)[..., :1]
    np.testing.assert_allclose(color.mean_of_colors(images), expected, rtol=0, atol=1e-6)


def test_only_what_is_brighter_than_the_middle_is_inverted():
    pixels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=-1)
    expected = np.asarray(ImageOps.solarize(Image.fromarray(pixels[0]), threshold=128))
    found = np.asarray(color.solarize(to_unit(pixels)))
    assert_levels(found[0] / 2 + 0.5, expected, 1e-3)


def test_a_blend_goes_from_the_base_through_the_image_and_beyond(x64):
    rgb, base = np.full((4, 1, 1, 3), 0.5), 0.4
    found = color.blend(rgb, base, jnp.array([0.0, 1.0, 2.0, 9.0]))
    expected = np.array([0.4, 0.5, 0.6, 1.0])
    np.testing.assert_allclose(found[:, 0, 0, 0], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("turns", [-0.4, 0.1, 0.5])
def test_a_shift_of_hue_is_that_of_colorsys(x64, turns: float):
    rgb = some_colors()[None, None]
    found = color.shift_hue(rgb, jnp.array([turns]))
    np.testing.assert_allclose(found, with_hue_shifted(rgb, turns), rtol=0, atol=1e-12)


def mean_of_colors(images: np.ndarray) -> np.ndarray:
    gray = np.empty_like(images)
    for position in np.ndindex(images.shape[:3]):
        red, green, blue = images[position].astype(float)
        gray[position] = (red + green + blue) / 3
    return gray


def test_hue_saturation_and_value_are_those_of_colorsys(x64):
    rgb = some_colors()
    found = np.stack(rgb_to_hsv(jnp.asarray(rgb)), axis=-1)
    np.testing.assert_allclose(
        found, [colorsys.rgb_to_hsv(*color) for color in rgb], rtol=0, atol=1e-12
    )


def test_red_green_and_blue_are_those_of_colorsys(x64):
    hsv = some_colors()
    found = hsv_to_rgb(*jnp.moveaxis(jnp.asarray(hsv), -1, 0))
    np.testing.assert_allclose(
        found, [colorsys.hsv_to_rgb(*color) for color in hsv], rtol=0, atol=1e-12
    )


def test_a_color_comes_back_from_hue_saturation_and_value():
    rgb = some_colors().astype(np.float32)
    np.testing.assert_allclose(hsv_to_rgb(*rgb_to_hsv(jnp.asarray(rgb))), rgb, rtol=0, atol=1e-6)
