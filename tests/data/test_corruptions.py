import numpy as np
import pytest
from scipy import ndimage
from sklearn.datasets import load_sample_image
from tensorflow_datasets.image_classification import corruptions as published

from lens_jax.data.corruptions import (
    CORRUPTIONS,
    NAMES,
    SEVERITIES,
    blur,
    choose_levels,
    corrupt,
    digital,
    noise,
    weather,
)
from lens_jax.data.corruptions.levels import LEVELS

GRAY = np.full((64, 64, 3), 0.5)


@pytest.fixture(scope="module")
def photograph() -> np.ndarray:
    """A square of 224 px with edges, flat parts and colors."""
    return np.ascontiguousarray(load_sample_image("china.jpg")[60:284, 60:284])


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


# What draws nothing.
DETERMINISTIC = (
    "defocus_blur",
    "zoom_blur",
    "brightness",
    "contrast",
    "jpeg_compression",
    "pixelate",
)


# That of pixelate depends on Pillow's default filter there.
@pytest.mark.parametrize("name", DETERMINISTIC[:-1])
@pytest.mark.parametrize("severity", [1, 3, 5])
def test_it_equals_the_published_corruption(name: str, severity: int, photograph):
    """TensorFlow Datasets has the authors' code, by which it prepares ImageNet-C."""
    expected = getattr(published, name)(photograph, severity).astype(int)
    found = corrupt(photograph, name, severity, seed=3).astype(int)
    # One level of 255 by rounding, and by the table that they take brightness and contrast from.
    assert np.abs(found - expected).max() <= 1


def test_every_severity_changes_the_image_and_a_higher_one_no_less(photograph):
    squares = [photograph[i : i + 32, i : i + 32] for i in range(0, 160, 32)]
    squares = [np.ascontiguousarray(square) for square in squares]
    for name in NAMES:
        changes = []
        for severity in SEVERITIES:
            corrupted = [corrupt(x, name, severity, i) for i, x in enumerate(squares)]
            assert all(
                image.dtype == np.uint8 and image.shape == (32, 32, 3) for image in corrupted
            )
            differences = np.array(corrupted).astype(float) - np.array(squares)
            changes.append(np.mean(differences**2))
        assert changes[0] > 0, name
        # The strength of some is no single number that rises.
        if name not in ("glass_blur", "elastic_transform", "snow", "frost"):
            # Two levels of motion differ only beyond three standard deviations.
            assert (np.diff(changes) > -1e-3 * changes[0]).all(), name
            assert changes[-1] > 1.5 * changes[0], name


def test_what_is_drawn_follows_from_the_seed_alone(photograph):
    image = np.ascontiguousarray(photograph[:64, :64])
    for name in NAMES:
        same = corrupt(image, name, 3, 11)
        np.testing.assert_array_equal(corrupt(image, name, 3, 11), same)
        if name not in DETERMINISTIC:
            assert (corrupt(image, name, 3, 12) != same).any(), name


def test_levels_are_those_of_the_nearest_side():
    assert choose_levels(28) is choose_levels(45) is LEVELS[32]
    assert choose_levels(46) is choose_levels(96) is LEVELS[64]
    assert choose_levels(128) is choose_levels(299) is LEVELS[224]
    for levels in LEVELS.values():
        assert set(levels) == set(CORRUPTIONS)
        assert all(len(each) == len(SEVERITIES) for each in levels.values())


def test_noise_has_its_standard_deviation():
    noisy = noise.gaussian_noise(GRAY, rng(), 0.2)
    # 12,288 values: six standard errors.
    assert abs(noisy.mean() - 0.5) < 6 * 0.2 / np.sqrt(noisy.size)
    assert abs(noisy.std() - 0.2) < 6 * 0.2 / np.sqrt(2 * noisy.size)
    counted = noise.shot_noise(GRAY, rng(), 25)
    assert np.allclose(counted * 25, np.rint(counted * 25))
    assert abs(counted.var() - 0.5 / 25) < 0.1 * 0.5 / 25


def test_impulses_are_black_or_white_and_as_many_as_wanted():
    noisy = noise.impulse_noise(GRAY, rng(), 0.1)
    black, white = np.mean(noisy == 0), np.mean(noisy == 1)
    assert np.isin(noisy, (0, 0.5, 1)).all()
    bound = 6 * np.sqrt(0.05 * 0.95 / noisy.size)
    assert abs(black - 0.05) < bound
    assert abs(white - 0.05) < bound


@pytest.mark.parametrize(("radius", "deviation"), [(0.3, 0.4), (3, 0.1), (6, 0.5), (10, 0.5)])
def test_the_disk_sums_to_one_and_ends_at_its_radius(radius: float, deviation: float):
    kernel = blur.disk(radius, deviation)
    # The authors smooth the edge of a large disk beyond the kernel's border.
    assert kernel.sum() == pytest.approx(1, abs=1e-5 if radius <= 8 else 0.02)
    reach = len(kernel) // 2
    distances = np.hypot(*(np.indices(kernel.shape) - reach))
    assert (kernel[distances > radius + 3] == 0).all()
    np.testing.assert_allclose(kernel, kernel.T, atol=1e-8)


def test_every_blur_keeps_what_is_flat():
    for name in ("defocus_blur", "glass_blur", "motion_blur", "zoom_blur"):
        for severity in SEVERITIES:
            parameters = LEVELS[64][name][severity - 1]
            # Glass takes whole levels of 255.
            flat = np.full((64, 64, 3), 127 / 255)
            blurred = CORRUPTIONS[name](flat, rng(), *parameters)
            assert np.abs(blurred - flat).max() < 1.01 / 255, name


@pytest.mark.parametrize("angle", [0.0, 37.0, -120.0])
def test_motion_is_a_sum_along_a_line(angle: float):
    image = rng().random((24, 24))
    weights = np.exp(-(np.arange(9) ** 2) / (2 * 2.5**2))
    weights /= weights.sum()
    expected = np.zeros((24, 24))
    for y in range(24):
        for x in range(24):
            for step, weight in enumerate(weights):
                down = int(np.ceil(step * np.sin(np.radians(angle)) - 0.5))
                right = int(np.ceil(step * np.cos(np.radians(angle)) - 0.5))
                expected[y, x] += (
                    weight * image[np.clip(y + down, 0, 23), np.clip(x + right, 0, 23)]
                )
    np.testing.assert_allclose(blur.blur_along(image, 4, 2.5, angle), expected, atol=1e-12)


def test_glass_copies_pixels_as_the_published_code_does():
    """Its swap of two views of an array is a copy."""
    image = rng().random((16, 16, 3))
    reach, times, deviation = 2, 3, 0.7
    found = blur.glass_blur(image, rng(), deviation, reach, times)
    sigma = (deviation, deviation, 0)
    pixels = np.uint8(ndimage.gaussian_filter(image, sigma, mode="nearest") * 255)
    generator = rng()
    for _ in range(times):
        right, down = generator.integers(-reach, reach, (2, 12, 12))
        for i, h in enumerate(range(16 - reach, reach, -1)):
            for j, w in enumerate(range(16 - reach, reach, -1)):
                y, x = h + down[i, j], w + right[i, j]
                pixels[h, w], pixels[y, x] = pixels[y, x], pixels[h, w]
    expected = ndimage.gaussian_filter(pixels / 255, sigma, mode="nearest")
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("factor", [1, 1.01, 1.13, 2, 4.5])
def test_zoom_is_that_of_the_published_code(factor: float):
    image = rng().random((64, 64, 3))
    expected = published.clipped_zoom(image, factor)
    np.testing.assert_allclose(blur.zoom(image, factor), expected, atol=1e-12)


def test_a_landscape_is_made_of_means_and_ever_less_noise():
    side = 64
    smooth, rough = weather.plasma(side, 4, rng()), weather.plasma(side, 1.2, rng())
    for heights in (smooth, rough):
        assert heights.shape == (side, side)
        assert (heights.min(), heights.max()) == (0, 1)
    steps = [np.abs(np.diff(heights, axis=0)).mean() for heights in (smooth, rough)]
    assert steps[0] < steps[1] / 4
    # With hardly any noise after the first, a pixel is the mean of the four around it.
    heights = weather.plasma(side, 100, rng())
    up, down = np.roll(heights, 1, axis=0), np.roll(heights, -1, axis=0)
    left, right = np.roll(heights, 1, axis=1), np.roll(heights, -1, axis=1)
    between = (np.indices((side, side)).sum(axis=0) % 2).astype(bool)
    means = (up + down + left + right) / 4
    np.testing.assert_allclose(heights[between], means[between], atol=1e-6)
    # Cut out of the next power of two.
    np.testing.assert_array_equal(weather.plasma(48, 2, rng()).shape, (48, 48))


def test_fog_takes_contrast_and_never_exceeds_the_lightest_value(photograph):
    image = photograph / 255
    foggy = weather.fog(image, rng(), 1.5, 2)
    assert foggy.max() <= image.max() + 1e-12
    assert foggy.std() < image.std()


def test_snow_and_ice_only_add_light_to_what_is_kept(photograph):
    image = photograph / 255
    for parameters in LEVELS[224]["snow"]:
        assert (weather.snow(image, rng(), *parameters) >= image - 1e-9).all()
    for kept, added in LEVELS[224]["frost"]:
        frozen = weather.frost(image, rng(), kept, added)
        np.testing.assert_allclose(
            (frozen - kept * image) / added, weather.draw_ice(224, rng()), atol=1e-9
        )


@pytest.mark.parametrize("side", [32, 64, 224])
def test_ice_is_as_light_as_the_photographs_of_the_authors(side: int):
    """Their six have a mean luma of 0.37 to 0.81, and standard deviations of 0.06 to 0.14."""
    luma = [weather.draw_ice(side, np.random.default_rng(i)).mean(axis=2) for i in range(5)]
    assert 0.4 < np.mean(luma) < 0.75
    assert 0.04 < np.std(luma, axis=(1, 2)).mean() < 0.2


def test_elastic_shifts_do_not_leave_the_image_and_none_are_the_identity():
    image = rng().random((32, 32, 3))
    still = digital.elastic_transform(image, rng(), 0, 0, 0)
    np.testing.assert_allclose(still, image, atol=1e-6)
    moved = digital.elastic_transform(image, rng(), 3.2, 0.96, 0.96)
    assert image.min() - 1e-9 <= moved.min()
    assert moved.max() <= image.max() + 1e-9
    assert abs(moved.mean() - image.mean()) < 0.05


def test_contrast_keeps_the_mean_of_each_channel_and_scales_around_it(photograph):
    image = photograph / 255
    found = digital.contrast(image, rng(), 0.3)
    np.testing.assert_allclose(found.mean(axis=(0, 1)), image.mean(axis=(0, 1)))
    np.testing.assert_allclose(found.std(axis=(0, 1)), 0.3 * image.std(axis=(0, 1)))


def test_brightness_raises_the_value_and_turns_black_into_gray():
    image = np.array([[[0.2, 0.4, 0.1], [0, 0, 0], [0.9, 0.45, 0]]])
    found = weather.brightness(image, rng(), 0.4)
    np.testing.assert_allclose(found, [[[0.4, 0.8, 0.2], [0.4] * 3, [1, 0.5, 0]]])


def test_a_pixelated_image_has_as_many_boxes_as_wanted():
    image = rng().random((32, 32, 3))
    found = digital.pixelate(image, rng(), 0.5)
    assert found.shape == image.shape
    blocks = found.reshape(16, 2, 16, 2, 3)
    assert (blocks == blocks[:, :1, :, :1]).all()
    expected = image.reshape(16, 2, 16, 2, 3).mean(axis=(1, 3))
    # Pillow rounds the image, its rows and its columns.
    assert np.abs(blocks[:, 0, :, 0] - expected).max() < 2.01 / 255
