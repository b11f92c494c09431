import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.ops.augment import Augmentation
from lens_jax.ops.crop import Boxes
from lens_jax.ops.draws import PARAMETERS, Parameters
from tests.ops.published import (
    CIFAR,
    CIFAR_DEVIATION,
    CIFAR_MEAN,
    IMAGENET,
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
)

draw = jax.jit(Augmentation.draw, static_argnums=(0, 2, 3, 4))

EVERYTHING = Augmentation(area=(0.2, 1.0), flip=0.5, jitter=0.8, gray=0.2, blur=0.5, solarize=0.2)
SLIM = Augmentation(
    jitter=1.0, jitter_kind="slim", brightness=32 / 255, contrast=0.5, saturation=0.5, hue=0.2
)


def vectors_of(augmentation: Augmentation, count: int, side: int) -> np.ndarray:
    drawn = draw(augmentation, jax.random.key(3), count, side, side)
    return np.asarray(drawn.vector(), np.float64)


@pytest.mark.parametrize(
    ("augmentation", "mean", "std"),
    [
        (CIFAR, CIFAR_MEAN[4:], CIFAR_DEVIATION[4:]),
        (IMAGENET, IMAGENET_MEAN[4:], IMAGENET_DEVIATION[4:]),
    ],
    ids=["cifar", "imagenet"],
)
def test_draws_have_the_published_moments(augmentation, mean, std):
    count = 6000
    found = vectors_of(augmentation, count, 32)[:, 4 : 4 + len(mean)]
    mean_error = np.abs(found.mean(axis=0) - mean)
    assert (mean_error < 4 * np.array(std) / np.sqrt(count)).all()
    np.testing.assert_allclose(found.std(axis=0), std, rtol=0.03)


def test_crops_are_about_as_large_as_published():
    """Loosely: ours are cut to the image where the published ones are drawn anew."""
    crop = vectors_of(CIFAR, 6000, 32)[:, :4]
    np.testing.assert_allclose(crop.mean(axis=0), [4.31, 4.32, 23.37, 23.37], atol=1.2)
    np.testing.assert_allclose(crop.std(axis=0), [3.97, 3.99, 4.95, 4.95], atol=0.5)


def test_draws_have_the_moments_of_their_settings():
    augmentation = Augmentation(
        flip=0.3,
        jitter=1.0,
        brightness=1.5,
        contrast=0.2,
        saturation=0.0,
        hue=0.5,
        gray=0.9,
        blur=1.0,
        sigma=(1.0, 3.0),
        solarize=0.1,
    )
    drawn = draw(augmentation, jax.random.key(0), 6000, 16, 16)
    # A uniform number has a standard deviation of its range over the root of 12.
    for numbers, low, high in [
        (drawn.brightness, 0, 2.5),
        (drawn.contrast, 0.8, 1.2),
        (drawn.hue, -0.5, 0.5),
        (drawn.sigma, 1, 3),
    ]:
        width = high - low
        assert low <= numbers.min() < low + 0.01 * width
        assert high >= numbers.max() > high - 0.01 * width
        assert numbers.mean() == pytest.approx((low + high) / 2, abs=0.02 * width)
        assert numbers.std() == pytest.approx(width / np.sqrt(12), rel=0.03)
    np.testing.assert_allclose(drawn.saturation, 1, rtol=0, atol=1e-6)
    for happens, probability in [(drawn.flip, 0.3), (drawn.gray, 0.9), (drawn.solarize, 0.1)]:
        assert happens.mean() == pytest.approx(probability, abs=0.025)
    assert drawn.jitter.all()
    assert drawn.blur.all()


def test_all_orders_are_drawn_about_as_often():
    drawn = draw(Augmentation(jitter=1.0), jax.random.key(0), 6000, 16, 16)
    orders, counts = np.unique(drawn.order, axis=0, return_counts=True)
    assert len(orders) == 24
    assert (np.sort(orders, axis=1) == np.arange(4)).all()
    # Five standard deviations of a count of 250.
    assert np.abs(counts - 250).max() < 5 * np.sqrt(250)


def test_what_is_drawn_is_independent():
    augmentation = Augmentation((0.1, 0.5), flip=0.5, jitter=1.0, gray=0.5, solarize=0.5)
    vectors = vectors_of(augmentation, 4000, 32)
    # Flip, four numbers of the colors, gray and solarize. No two of them go together.
    chosen = vectors[:, [4, 10, 11, 12, 13, 14, 17]]
    np.testing.assert_allclose(np.corrcoef(chosen.T), np.eye(7), atol=0.07)


def test_slim_draws_a_shift_of_brightness_and_records_its_order():
    drawn = draw(SLIM, jax.random.key(0), 2000, 16, 16)
    assert np.abs(drawn.brightness).max() == pytest.approx(32 / 255, rel=0.01)
    assert drawn.brightness.min() < -0.12
    assert (np.asarray(drawn.order) == [0, 2, 3, 1]).all()

    some = draw(dataclasses.replace(SLIM, jitter=0.5), jax.random.key(0), 50, 16, 16)
    left = ~np.asarray(some.jitter)
    assert 10 < left.sum() < 40
    assert (np.asarray(some.order)[left] == np.arange(4)).all()
    assert (np.asarray(some.brightness)[left] == 0).all()


def test_what_is_not_applied_is_recorded_as_neutral():
    drawn = draw(EVERYTHING, jax.random.key(0), 200, 16, 16)
    left = ~np.asarray(drawn.jitter)
    expected = np.tile([0, 1, 2, 3, 1, 1, 1, 0], (left.sum(), 1))
    np.testing.assert_array_equal(np.asarray(drawn.vector())[left, 6:14], expected)
    sharp = ~np.asarray(drawn.blur)
    assert (np.asarray(drawn.sigma)[sharp] == 0).all()
    assert (np.asarray(drawn.sigma)[~sharp] >= 0.1).all()
    assert left.any()
    assert sharp.any()


def test_the_key_decides_and_images_draw_on_their_own():
    one = draw(EVERYTHING, jax.random.key(0), 200, 16, 16).vector()
    again = draw(EVERYTHING, jax.random.key(0), 200, 16, 16).vector()
    other = draw(EVERYTHING, jax.random.key(1), 200, 16, 16).vector()
    np.testing.assert_array_equal(one, again)
    # No two images have one crop, within a batch and between batches.
    crops = np.concatenate([one, other])[:, :4]
    assert len(np.unique(crops.round(4), axis=0)) == 400


def test_one_more_operation_changes_no_other_draw():
    without = draw(CIFAR, jax.random.key(0), 200, 16, 16)
    with_blur = draw(EVERYTHING, jax.random.key(0), 200, 16, 16)
    added = {"blur": with_blur.blur, "sigma": with_blur.sigma, "solarize": with_blur.solarize}
    for column, expected in zip(without._replace(**added), with_blur, strict=True):
        np.testing.assert_array_equal(column, expected)


def test_the_vector_by_hand():
    parameters = Parameters(
        crop=Boxes(*jnp.array([[1.5, 0.0], [2.0, 0.0], [10.0, 16.0], [12.5, 16.0]])),
        flip=jnp.array([True, False]),
        jitter=jnp.array([True, False]),
        order=jnp.array([[3, 1, 0, 2], [0, 1, 2, 3]]),
        brightness=jnp.array([0.75, 1.0]),
        contrast=jnp.array([1.25, 1.0]),
        saturation=jnp.array([1.5, 1.0]),
        hue=jnp.array([-0.0625, 0.0]),
        gray=jnp.array([False, True]),
        blur=jnp.array([True, False]),
        sigma=jnp.array([0.5, 0.0]),
        solarize=jnp.array([False, True]),
    )
    vector = parameters.vector()
    assert vector.shape == (2, PARAMETERS)
    assert vector.dtype == jnp.float32
    jittered = [1.5, 2, 10, 12.5, 1, 1, 3, 1, 0, 2, 0.75, 1.25, 1.5, -0.0625, 0, 1, 0.5, 0]
    left = [0, 0, 16, 16, 0, 0, 0, 1, 2, 3, 1, 1, 1, 0, 1, 0, 0, 1]
    assert vector.tolist() == [jittered, left]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({"flip": -0.1}, "augment.flip is -0.1: it must lie between 0 and 1"),
        ({"jitter": 2}, "augment.jitter is 2: it must lie between 0 and 1"),
        ({"gray": 1.5}, "augment.gray is 1.5: it must lie between 0 and 1"),
        ({"blur": float("nan")}, "augment.blur is nan: it must lie between 0 and 1"),
        ({"solarize": 1.01}, "augment.solarize is 1.01: it must lie between 0 and 1"),
        ({"brightness": -1}, "augment.brightness is -1: it must lie between 0 and inf"),
        ({"contrast": -1}, "augment.contrast is -1: it must lie between 0 and inf"),
        ({"saturation": -1}, "augment.saturation is -1: it must lie between 0 and inf"),
        ({"hue": 0.6}, "augment.hue is 0.6: it must lie between 0 and 0.5"),
        (
            {"jitter_kind": "tf"},
            "unknown augment.jitter_kind 'tf': choose one of torchvision, slim",
        ),
        ({"gray_kind": "max"}, "unknown augment.gray_kind 'max': choose one of luma, mean"),
    ],
)
def test_a_setting_out_of_its_range_is_refused(settings: dict, line: str):
    with pytest.raises(UserError) as refused:
        Augmentation(**settings)
    assert str(refused.value) == line


@pytest.mark.parametrize("pair", [(0.0, 0.5), (0.6, 0.5), (0.5, 1.1), (0.5,), (0.1, 0.2, 0.3)])
def test_an_area_is_two_fractions_in_rising_order(pair: tuple[float, ...]):
    with pytest.raises(UserError) as refused:
        Augmentation(area=pair)
    legal = "give two fractions of the image above 0 and up to 1, the smaller one first"
    assert str(refused.value) == f"augment.area is {pair}: {legal}"


@pytest.mark.parametrize("pair", [(0.0, 2.0), (-1.0, 2.0), (2.0, 0.1), (1.0,)])
def test_sigma_is_two_standard_deviations_in_rising_order(pair: tuple[float, ...]):
    with pytest.raises(UserError) as refused:
        Augmentation(sigma=pair)
    legal = "give two standard deviations in pixels above 0, the smaller one first"
    assert str(refused.value) == f"augment.sigma is {pair}: {legal}"
