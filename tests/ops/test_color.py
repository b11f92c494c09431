import colorsys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageOps

from lens_jax.ops import color
from lens_jax.ops.color import (
    distort_color,
    hsv_to_rgb,
    random_flip,
    random_gray,
    rgb_to_hsv,
    to_unit,
)

distort = jax.jit(distort_color)


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


def flat_images(count: int, rgb: tuple[float, float, float]) -> np.ndarray:
    """Images [count, 2, 2, 3] in [-1, 1] of one color, given in [0, 1]."""
    return np.broadcast_to(2 * np.array(rgb, np.float32) - 1, (count, 2, 2, 3))


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


def test_a_flip_mirrors_left_and_right_and_leaves_about_half_of_the_images():
    images = random_images(200)
    flipped = np.asarray(random_flip(jax.random.key(0), images))
    mirrored = np.empty_like(images)
    for column in range(5):
        mirrored[:, :, column] = images[:, :, 4 - column]
    is_mirrored = (flipped == mirrored).all(axis=(1, 2, 3))
    is_same = (flipped == images).all(axis=(1, 2, 3))
    assert (is_mirrored ^ is_same).all()
    assert 70 <= is_mirrored.sum() <= 130


def mean_of_colors(images: np.ndarray) -> np.ndarray:
    gray = np.empty_like(images)
    for position in np.ndindex(images.shape[:3]):
        red, green, blue = images[position].astype(float)
        gray[position] = (red + green + blue) / 3
    return gray


@pytest.mark.parametrize("probability", [0.2, 0.66])
def test_some_images_get_the_mean_of_their_colors_and_the_others_stay(probability: float):
    images = random_images(300)
    found = np.asarray(random_gray(jax.random.key(0), images, probability))
    is_gray = abs(found - mean_of_colors(images)).max(axis=(1, 2, 3)) < 1e-6
    is_same = (found == images).all(axis=(1, 2, 3))
    assert (is_gray ^ is_same).all()
    # Four standard deviations of the number of gray ones.
    assert abs(is_gray.mean() - probability) < 4 * np.sqrt(probability * (1 - probability) / 300)
    other = np.asarray(random_gray(jax.random.key(1), images, probability))
    assert (other != found).any()


def test_with_probability_one_all_images_are_gray_and_with_zero_none():
    images = random_images(50)
    np.testing.assert_allclose(
        random_gray(jax.random.key(0), images, 1.0), mean_of_colors(images), rtol=0, atol=1e-6
    )
    np.testing.assert_array_equal(random_gray(jax.random.key(0), images, 0.0), images)


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


def test_distorted_images_stay_in_range_and_depend_on_the_key_alone():
    images = random_images(50)
    one, again = (np.asarray(distort(jax.random.key(0), images)) for _ in range(2))
    other = np.asarray(distort(jax.random.key(1), images))
    assert one.min() >= -1
    assert one.max() <= 1
    np.testing.assert_array_equal(one, again)
    assert (one != other).any(axis=(1, 2, 3)).all()


def test_equal_images_are_distorted_differently():
    distorted = np.asarray(distort(jax.random.key(0), flat_images(20, (0.6, 0.4, 0.3))))
    assert len({image.tobytes() for image in distorted}) == 20


def test_distortion_does_not_look_at_where_a_pixel_is():
    images = random_images(50)
    distorted = distort(jax.random.key(0), images)
    mirrored = distort(jax.random.key(0), images[:, ::-1, ::-1])
    np.testing.assert_allclose(mirrored, distorted[:, ::-1, ::-1], rtol=0, atol=1e-6)


def test_brightness_hue_and_saturation_spread_over_their_ranges():
    rgb = (
        0.6,
        0.5,
        0.45,
    )  # contrast changes nothing in an image of one color, and nothing is cut off
    distorted = np.asarray(distort(jax.random.key(0), flat_images(300, rgb)), np.float64) / 2 + 0.5
    hue, _, value = colorsys.rgb_to_hsv(*rgb)
    found = np.array([colorsys.rgb_to_hsv(*image[0, 0]) for image in distorted])
    brightness = found[:, 2] - value
    turns = (found[:, 0] - hue + 0.5) % 1 - 0.5
    saturation = found[:, 1] / (0.15 / found[:, 2])
    for drawn, low, high in [
        (brightness, -32 / 255, 32 / 255),
        (turns, -0.2, 0.2),
        (saturation, 0.5, 1.5),
    ]:
        assert low - 1e-4 <= drawn.min() <= low + 0.05 * (high - low)
        assert high + 1e-4 >= drawn.max() >= high - 0.05 * (high - low)
        assert drawn.mean() == pytest.approx((low + high) / 2, abs=0.1 * (high - low))


def test_contrast_stretches_around_the_mean():
    images = flat_images(300, (0.5, 0.5, 0.5)).copy()
    images[:, 0], images[:, 1] = -0.2, 0.2
    distorted = np.asarray(distort(jax.random.key(0), images), np.float64)
    contrast = (distorted[:, 1, 0] - distorted[:, 0, 0]) / 0.4
    np.testing.assert_allclose(distorted, distorted[..., :1].repeat(3, axis=-1), rtol=0, atol=1e-6)
    np.testing.assert_allclose(contrast, contrast[:, :1].repeat(3, axis=1), rtol=0, atol=1e-6)
    assert 0.5 - 1e-5 <= contrast.min() <= 0.55
    assert 1.45 <= contrast.max() <= 1.5 + 1e-5
    assert abs(distorted.mean(axis=(1, 2, 3))).max() <= 2 * 32 / 255 + 1e-6
