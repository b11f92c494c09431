"""Drawn and applied: what chance does to the images of a batch."""

import colorsys
from functools import partial

import jax
import numpy as np
import pytest

from lens_jax.ops.augment import Augmentation

SLIM = Augmentation(
    jitter=1.0, jitter_kind="slim", brightness=32 / 255, contrast=0.5, saturation=0.5, hue=0.2
)


@partial(jax.jit, static_argnums=0)
def augment(augmentation: Augmentation, key: jax.Array, images: jax.Array) -> jax.Array:
    parameters = augmentation.draw(key, *images.shape[:3])
    return augmentation.apply(images, parameters)


def random_images(count: int) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (count, 4, 5, 3)).astype(np.float32)


def flat_images(count: int, rgb: tuple[float, float, float]) -> np.ndarray:
    """Images [count, 2, 2, 3] in [-1, 1] of one color, given in [0, 1]."""
    return np.broadcast_to(2 * np.array(rgb, np.float32) - 1, (count, 2, 2, 3))


def mean_of_colors(images: np.ndarray) -> np.ndarray:
    gray = np.empty_like(images)
    for position in np.ndindex(images.shape[:3]):
        red, green, blue = images[position].astype(float)
        gray[position] = (red + green + blue) / 3
    return gray


def test_a_flip_mirrors_left_and_right_and_leaves_about_half_of_the_images():
    images = random_images(200)
    flipped = np.asarray(augment(Augmentation(flip=0.5), jax.random.key(0), images))
    mirrored = np.empty_like(images)
    for column in range(5):
        mirrored[:, :, column] = images[:, :, 4 - column]
    is_mirrored = (flipped == mirrored).all(axis=(1, 2, 3))
    is_same = (flipped == images).all(axis=(1, 2, 3))
    assert (is_mirrored ^ is_same).all()
    assert 70 <= is_mirrored.sum() <= 130


@pytest.mark.parametrize("probability", [0.2, 0.66])
def test_some_images_get_the_mean_of_their_colors_and_the_others_stay(probability: float):
    images = random_images(300)
    augmentation = Augmentation(gray=probability, gray_kind="mean")
    found = np.asarray(augment(augmentation, jax.random.key(0), images))
    is_gray = abs(found - mean_of_colors(images)).max(axis=(1, 2, 3)) < 1e-6
    is_same = (found == images).all(axis=(1, 2, 3))
    assert (is_gray ^ is_same).all()
    # Four standard deviations of the number of gray ones.
    assert abs(is_gray.mean() - probability) < 4 * np.sqrt(probability * (1 - probability) / 300)
    other = np.asarray(augment(augmentation, jax.random.key(1), images))
    assert (other != found).any()


def test_with_probability_one_all_images_are_gray_and_with_zero_none():
    images = random_images(50)
    always = Augmentation(gray=1.0, gray_kind="mean")
    never = Augmentation(gray=0.0, gray_kind="mean")
    gray = augment(always, jax.random.key(0), images)
    np.testing.assert_allclose(gray, mean_of_colors(images), rtol=0, atol=1e-6)
    np.testing.assert_array_equal(augment(never, jax.random.key(0), images), images)


def test_jittered_images_stay_in_range_and_depend_on_the_key_alone():
    images = random_images(50)
    one = np.asarray(augment(SLIM, jax.random.key(0), images))
    again = np.asarray(augment(SLIM, jax.random.key(0), images))
    other = np.asarray(augment(SLIM, jax.random.key(1), images))
    assert one.min() >= -1
    assert one.max() <= 1
    np.testing.assert_array_equal(one, again)
    assert (one != other).any(axis=(1, 2, 3)).all()


def test_equal_images_are_jittered_differently():
    images = flat_images(20, (0.6, 0.4, 0.3))
    jittered = np.asarray(augment(SLIM, jax.random.key(0), images))
    assert len({image.tobytes() for image in jittered}) == 20


def test_the_jitter_does_not_look_at_where_a_pixel_is():
    images = random_images(50)
    jittered = augment(SLIM, jax.random.key(0), images)
    mirrored = augment(SLIM, jax.random.key(0), images[:, ::-1, ::-1])
    np.testing.assert_allclose(mirrored, jittered[:, ::-1, ::-1], rtol=0, atol=1e-6)


def test_brightness_hue_and_saturation_spread_over_their_ranges():
    # Contrast changes nothing in an image of one color, and nothing is cut off.
    rgb = 0.6, 0.5, 0.45
    jittered = augment(SLIM, jax.random.key(0), flat_images(300, rgb))
    jittered = np.asarray(jittered, np.float64) / 2 + 0.5
    hue, _, value = colorsys.rgb_to_hsv(*rgb)
    found = np.array([colorsys.rgb_to_hsv(*image[0, 0]) for image in jittered])
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
    jittered = np.asarray(augment(SLIM, jax.random.key(0), images), np.float64)
    contrast = (jittered[:, 1, 0] - jittered[:, 0, 0]) / 0.4
    np.testing.assert_allclose(jittered, jittered[..., :1].repeat(3, axis=-1), rtol=0, atol=1e-6)
    np.testing.assert_allclose(contrast, contrast[:, :1].repeat(3, axis=1), rtol=0, atol=1e-6)
    assert 0.5 - 1e-5 <= contrast.min() <= 0.55
    assert 1.45 <= contrast.max() <= 1.5 + 1e-5
    assert abs(jittered.mean(axis=(1, 2, 3))).max() <= 2 * 32 / 255 + 1e-6
