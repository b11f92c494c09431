import numpy as np
import pytest

from lens_jax.report import change


@pytest.fixture
def effect() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Six images in two views each, changed at random, with a mask of its own for each view."""
    rng = np.random.default_rng(0)
    inputs = rng.uniform(-1, 1, (12, 5, 4, 3)).astype(np.float32)
    noise = rng.normal(size=inputs.shape).astype(np.float32)
    mask = rng.random((12, 5, 4)) < 0.03
    return inputs, inputs + noise, mask


def test_fractions_in_the_shortcut_are_those_of_a_loop(effect):
    inputs, lensed, masks = effect
    change_in_mask = change_in_places = total = 0.0
    mask_pixels = places_pixels = 0
    for before, after, mask in zip(inputs, lensed, masks, strict=True):
        for y, x in np.ndindex(mask.shape):
            squared = np.mean((after[y, x].astype(float) - before[y, x]) ** 2)
            total += squared
            if mask[y, x]:
                change_in_mask += squared
                mask_pixels += 1
            if any(other[y, x] for other in masks):
                change_in_places += squared
                places_pixels += 1
    expected = {
        "change_fraction_in_mask": change_in_mask / total,
        "mask_fraction": mask_pixels / (12 * 5 * 4),
        "change_fraction_in_places": change_in_places / total,
        "places_fraction": places_pixels / (12 * 5 * 4),
    }
    assert 0 < expected["places_fraction"] < 1
    statistics = change.compute_statistics(*effect, views_per_image=2)
    assert change.shortcut_fractions(statistics) == pytest.approx(expected)


def test_the_mask_of_each_view_counts_for_that_view_only():
    mask = np.zeros((2, 4, 4), bool)
    mask[0, 0, 0] = True
    mask[1, 3, 3] = True
    inputs = np.zeros((2, 4, 4, 3))
    lensed = inputs.copy()
    lensed[:, 0, 0] = 1
    statistics = change.compute_statistics(inputs, lensed, mask, views_per_image=2)
    assert change.shortcut_fractions(statistics)["change_fraction_in_mask"] == 0.5


def test_no_fractions_without_a_shortcut(effect):
    inputs, lensed, mask = effect
    nowhere = np.zeros_like(mask)
    statistics = change.compute_statistics(inputs, lensed, nowhere, views_per_image=2)
    assert change.shortcut_fractions(statistics) == {}


def test_no_fractions_of_a_change_of_nothing(effect):
    inputs, _, mask = effect
    statistics = change.compute_statistics(inputs, inputs, mask, views_per_image=2)
    assert change.shortcut_fractions(statistics).keys() == {"mask_fraction", "places_fraction"}


def test_image_change_is_the_mean_square_over_all_views(effect):
    inputs, lensed, _ = effect
    statistics = change.compute_statistics(*effect, views_per_image=2)
    for image in range(6):
        views = slice(2 * image, 2 * image + 2)
        expected = np.mean((lensed[views] - inputs[views]) ** 2)
        assert statistics.image_change[image] == pytest.approx(expected)
    np.testing.assert_array_equal(statistics.inputs, inputs[::2])
    np.testing.assert_array_equal(statistics.lensed, lensed[::2])


def test_the_mean_change_has_a_sign(effect):
    inputs, lensed, _ = effect
    signed = change.compute_statistics(*effect, views_per_image=2).signed_change
    np.testing.assert_allclose(signed, np.mean(lensed - inputs, axis=(0, 3)), atol=1e-6)
    assert signed.min() < 0 < signed.max()


def test_batches_of_any_size_come_to_the_same(effect):
    together = change.compute_statistics(*effect, views_per_image=2)
    parts = []
    for rows in (slice(0, 8), slice(8, 12)):
        batch = [array[rows] for array in effect]
        parts.append(change.compute_statistics(*batch, views_per_image=2))
    for merged, expected in zip(change.merge(parts), together, strict=True):
        np.testing.assert_allclose(merged, expected, rtol=1e-5, atol=1e-6)


def test_order_of_images():
    image_change = np.array([0.2, 0.5, 0.1, 0.5, 0.3])
    assert change.most_changed(image_change, 3).tolist() == [1, 3, 4]
    assert change.least_changed(image_change, 3).tolist() == [2, 0, 4]
    assert len(change.most_changed(image_change, 9)) == 5


def test_outline_is_where_the_shortcut_mostly_is():
    mask = np.array([[0.25, 0.2, 0.01], [0, 0, 0]])
    expected = [[True, True, False], [False, False, False]]
    assert change.outline(mask).tolist() == expected
    assert not change.outline(np.zeros((2, 2))).any()
