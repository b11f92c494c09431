import colorsys
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from lens_jax.ops import color
from lens_jax.ops.color import to_unit

torchvision_jitter = jax.jit(color.torchvision_jitter)
FACTORS = np.array([0.0, 0.3, 0.8, 1.0, 1.4, 1.8], np.float32)
SHIFTS = np.array([-0.5, -0.2, 0.0, 0.05, 0.3, 0.5], np.float32)


def random_bytes(count: int) -> np.ndarray:
    return np.random.default_rng(2).integers(0, 256, (count, 6, 5, 3), dtype=np.uint8)


def with_hue_shifted(rgb: np.ndarray, turns: float) -> np.ndarray:
    """Colors in [0, 1], [..., 3], one by one through colorsys."""
    shifted = np.empty_like(rgb)
    for position in np.ndindex(rgb.shape[:-1]):
        hue, saturation, value = colorsys.rgb_to_hsv(*rgb[position])
        shifted[position] = colorsys.hsv_to_rgb((hue + turns) % 1, saturation, value)
    return shifted


def changed_by_pillow(pixels: np.ndarray, operation: int, number: float) -> np.ndarray:
    """One operation of a color jitter on an image of bytes."""
    if operation == color.HUE:
        shifted = with_hue_shifted(pixels / 255, number)
        return np.round(255 * shifted).astype(np.uint8)
    enhancers = {
        color.BRIGHTNESS: ImageEnhance.Brightness,
        color.CONTRAST: ImageEnhance.Contrast,
        color.SATURATION: ImageEnhance.Color,
    }
    enhance = enhancers[operation](Image.fromarray(pixels)).enhance
    return np.asarray(enhance(number))


def assert_levels(found: np.ndarray, pixels: np.ndarray, most: float) -> None:
    """Colors in [0, 1] are those of bytes, up to `most` of 255 levels."""
    np.testing.assert_allclose(255 * np.asarray(found), pixels, rtol=0, atol=most)


@pytest.mark.parametrize("operation", range(4))
@pytest.mark.parametrize("slot", range(4))
def test_an_operation_of_the_jitter_is_pillows_in_each_slot(operation: int, slot: int):
    numbers = SHIFTS if operation == color.HUE else FACTORS
    pixels = random_bytes(len(numbers))
    others = np.delete(np.arange(4), operation)
    order = np.tile(np.insert(others, slot, operation), (len(numbers), 1))
    neutral = [np.full(len(numbers), value, np.float32) for value in (1, 1, 1, 0)]
    neutral[operation] = numbers
    found = torchvision_jitter(to_unit(pixels) / 2 + 0.5, order, *neutral)
    for image, number, changed in zip(pixels, numbers, found, strict=True):
        # Pillow cuts fractions of a level off, and rounds what it blends with.
        assert_levels(changed, changed_by_pillow(image, operation, float(number)), 2)


def all_orders() -> tuple[np.ndarray, np.ndarray]:
    """The 24 orders, [24, 4], and random numbers for each operation, [4, 24]."""
    orders = np.array(list(itertools.permutations(range(4))))
    numbers = np.random.default_rng(0).uniform(0.6, 1.4, (4, len(orders)))
    numbers[color.HUE] -= 1
    return orders, numbers


def test_each_image_has_its_own_order_of_all_four_operations_of_pillow():
    orders, numbers = all_orders()
    pixels = random_bytes(len(orders))
    found = torchvision_jitter(to_unit(pixels) / 2 + 0.5, orders, *np.float32(numbers))
    for i, changed in enumerate(pixels):
        for operation in orders[i]:
            changed = changed_by_pillow(changed, operation, numbers[operation, i])
        # Each operation of Pillow's cuts fractions of a level off.
        assert_levels(found[i], changed, 5)


def changed_exactly(rgb: np.ndarray, operation: int, number: float) -> np.ndarray:
    """One operation of a color jitter on an image in [0, 1], without rounding."""
    if operation == color.HUE:
        return with_hue_shifted(rgb, number)
    gray = rgb @ np.array([0.299, 0.587, 0.114])
    bases = {
        color.BRIGHTNESS: 0,
        color.CONTRAST: gray.mean(),
        color.SATURATION: gray[..., None],
    }
    return np.clip(number * rgb + (1 - number) * bases[operation], 0, 1)


def test_each_order_is_followed_exactly(x64):
    orders, numbers = all_orders()
    rgb = np.random.default_rng(4).uniform(size=(len(orders), 4, 5, 3))
    found = torchvision_jitter(rgb, orders, *numbers)
    for i, changed in enumerate(rgb):
        for operation in orders[i]:
            changed = changed_exactly(changed, operation, numbers[operation, i])
        np.testing.assert_allclose(found[i], changed, rtol=0, atol=1e-12)


def changed_as_slim(rgb: np.ndarray, shift: float, contrast: float, saturation: float, hue: float):
    """The first order of TF-slim, pixel by pixel: an image in [0, 1]."""
    rgb = np.clip(rgb + shift, 0, 1)
    for position in np.ndindex(rgb.shape[:-1]):
        h, s, v = colorsys.rgb_to_hsv(*rgb[position])
        rgb[position] = colorsys.hsv_to_rgb((h + hue) % 1, min(s * saturation, 1), v)
    for channel in range(3):
        mean = rgb[..., channel].mean()
        rgb[..., channel] = np.clip((rgb[..., channel] - mean) * contrast + mean, 0, 1)
    return rgb


def test_the_jitter_of_slim_is_computed_pixel_by_pixel(x64):
    rng = np.random.default_rng(3)
    rgb = rng.uniform(size=(8, 4, 5, 3))
    shift = rng.uniform(-32 / 255, 32 / 255, 8)
    contrast, saturation = rng.uniform(0.5, 1.5, (2, 8))
    hue = rng.uniform(-0.2, 0.2, 8)
    numbers = np.stack([shift, contrast, saturation, hue])
    found = jax.jit(color.slim_jitter)(rgb, *numbers)
    for image, drawn, changed in zip(rgb, numbers.T, found, strict=True):
        np.testing.assert_allclose(changed, changed_as_slim(image, *drawn), rtol=0, atol=1e-12)


def test_no_gradient_is_lost_on_gray_and_almost_gray_colors():
    colors = []
    for level in (0, 1e-30, 1e-7, 0.5, 1):
        for difference in (0, 1e-30, 1e-7):
            colors.extend(level - difference * np.eye(3))
    rgb = np.clip(np.array(colors, np.float32), 0, 1)[:, None, None]
    numbers = [np.full(len(rgb), value, np.float32) for value in (0.7, 1.3, 1.2, 0.2)]

    def changed(rgb: jax.Array, order: jax.Array) -> jax.Array:
        jittered = color.torchvision_jitter(rgb, order, *numbers)
        return jnp.sum(jittered**2) + jnp.sum(color.slim_jitter(rgb, *numbers) ** 2)

    gradient = jax.jit(jax.grad(changed))
    for order in [(0, 1, 2, 3), (3, 0, 1, 2), (1, 3, 0, 2)]:
        assert np.isfinite(gradient(rgb, np.tile(order, (len(rgb), 1)))).all()
