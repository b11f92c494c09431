"""Moments of what augmentations draw: against formulas, and against those of EquiMod's authors."""

import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.ops.augment import Augmentation
from lens_jax.ops.draws import PARAMETERS
from lens_jax.ops.moments import DRAWS, Moments, measure_moments, standardize
from tests.ops.published import (
    CIFAR,
    CIFAR_DEVIATION,
    CIFAR_MEAN,
    IMAGENET,
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
)

BYOL = (
    Augmentation(area=(0.2, 1.0), flip=0.5, jitter=0.8, gray=0.2, blur=1.0),
    Augmentation(area=(0.2, 1.0), flip=0.5, jitter=0.8, gray=0.2, blur=0.1, solarize=0.2),
)
# How far a mean of draws is from that of the distribution, in standard deviations.
ERROR = 4 / np.sqrt(DRAWS)


def check(found: Moments, columns: list[int], mean: list[float], deviation: list[float]) -> None:
    assert list(found.columns) == columns
    difference = np.abs(np.array(found.mean) - mean)
    assert (difference < ERROR * np.array(deviation)).all()
    np.testing.assert_allclose(found.deviation, deviation, rtol=0.015)


@pytest.mark.parametrize(
    ("augmentation", "side", "mean", "deviation"),
    [
        (CIFAR, 32, CIFAR_MEAN, CIFAR_DEVIATION),
        (IMAGENET, 256, IMAGENET_MEAN, IMAGENET_DEVIATION),
    ],
    ids=["cifar", "imagenet"],
)
def test_all_but_the_crop_has_the_published_moments(augmentation, side: int, mean, deviation):
    found = measure_moments([augmentation], side)
    assert found.columns == tuple(range(len(mean)))
    of_colors = Moments(found.columns[4:], found.mean[4:], found.deviation[4:])
    # The published ones are measured too.
    mean_difference = np.abs(np.array(of_colors.mean) - mean[4:])
    assert (mean_difference < 2 * ERROR * np.array(deviation[4:])).all()
    np.testing.assert_allclose(of_colors.deviation, deviation[4:], rtol=0.02)


def test_crops_of_cifar_are_larger_than_the_published_ones_by_a_fifth_of_a_deviation():
    """Ours are cut to the image where theirs are drawn anew, which leaves out large ones."""
    found = measure_moments([CIFAR], 32)
    apart = (np.array(found.mean[:4]) - CIFAR_MEAN[:4]) / CIFAR_DEVIATION[:4]
    np.testing.assert_allclose(apart, [-0.11, -0.11, 0.17, 0.17], atol=0.03)
    ratio = np.array(found.deviation[:4]) / CIFAR_DEVIATION[:4]
    np.testing.assert_allclose(ratio, [0.94, 0.94, 1.05, 1.05], atol=0.03)


def test_crops_of_imagenet_are_a_larger_part_of_the_image_than_the_published_ones():
    """Theirs are in pixels of files of all sizes, on average 406 by 473; ours of 256 by 256.

    Also, most photographs are wide: an upright crop of them is a small part of their width.
    """
    top, left, height, width = IMAGENET_MEAN[:4]
    average_height, average_width = height + 2 * top, width + 2 * left
    assert (average_height, average_width) == pytest.approx((405.65, 472.97), abs=0.01)
    published = height / average_height, width / average_width
    assert published == pytest.approx((0.664, 0.581), abs=0.001)
    _, _, own_height, own_width, *_ = measure_moments([IMAGENET], 256).mean
    assert (own_height / 256, own_width / 256) == pytest.approx((0.707, 0.707), abs=0.005)


def test_two_views_are_drawn_half_the_time_each():
    """Blur by chance (1 + 0.1) / 2, solarization by 0.2 / 2, where published are 0.27 and 0.05."""
    found = measure_moments(BYOL, 32)
    assert found.columns == tuple(range(PARAMETERS))
    chance = np.array([0.55, 0.1])
    np.testing.assert_allclose([found.mean[15], found.mean[17]], chance, atol=0.01)
    deviation = np.sqrt(chance * (1 - chance))
    np.testing.assert_allclose([found.deviation[15], found.deviation[17]], deviation, rtol=0.02)


def test_moments_are_those_of_their_formulas():
    augmentation = Augmentation(jitter=1.0, brightness=0.3, saturation=0.0, hue=0.5, solarize=0.3)
    found = measure_moments([augmentation], 8)
    # Each place holds each operation as often; jitter itself happens always, so it is left out.
    order = np.sqrt(np.mean(np.arange(4) ** 2) - 1.5**2)
    spread = np.array([0.6, 0.8, 1.0]) / np.sqrt(12)
    check(
        found,
        [6, 7, 8, 9, 10, 11, 13, 17],
        [1.5, 1.5, 1.5, 1.5, 1, 1, 0, 0.3],
        [*[order] * 4, *spread, np.sqrt(0.3 * 0.7)],
    )


def test_without_augmentations_nothing_varies():
    assert measure_moments([Augmentation()], 8) == Moments((), (), ())
    assert measure_moments([Augmentation(gray=1.0)], 8).columns == ()


def test_what_is_drawn_is_the_same_each_time():
    augmentation = Augmentation(flip=0.5, area=(0.5, 1.0))
    assert measure_moments([augmentation], 8) == measure_moments([augmentation], 8)


def test_parameters_are_standardized_by_hand():
    moments = Moments(columns=(1, 4), mean=(2.0, 0.5), deviation=(4.0, 0.5))
    vectors = jnp.arange(36, dtype=jnp.float32).reshape(2, 18)
    found = standardize(vectors, moments)
    assert found.tolist() == [[(1 - 2) / 4, (4 - 0.5) / 0.5], [(19 - 2) / 4, (22 - 0.5) / 0.5]]
