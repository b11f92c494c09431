"""How concentrated changes are, by hand."""

import numpy as np
import pytest

from lens_jax.audit.lens_view import as_strong, concentration


def test_a_fixed_pixel_is_in_both_a_moving_one_only_in_each_image():
    fixed = np.zeros((100, 10, 10))
    fixed[:, 3, 4] = 2.0
    assert concentration(fixed) == dict.fromkeys(("each_1", "mean_1", "each_5", "mean_5"), 1.0)

    moving = np.zeros((100, 100))
    np.fill_diagonal(moving, 2.0)
    found = concentration(moving.reshape(100, 10, 10))
    assert found["each_1"] == 1
    assert found["mean_1"] == pytest.approx(0.01)
    assert found["mean_5"] == pytest.approx(0.05)


def test_even_change_has_as_much_as_there_are_pixels_and_none_has_none():
    even = concentration(np.ones((3, 10, 10)))
    assert even["each_1"] == even["mean_1"] == pytest.approx(0.01)
    assert even["each_5"] == pytest.approx(0.05)
    assert concentration(np.zeros((3, 10, 10)))["each_1"] == 0


def test_a_change_made_as_strong_as_another_keeps_its_place():
    change = np.random.default_rng(0).normal(size=(4, 5, 5, 3))
    scaled = as_strong(change, 7 * change[::-1])
    assert np.mean(np.square(scaled)) == pytest.approx(49 * np.mean(np.square(change)))
    np.testing.assert_allclose(scaled, 7 * change)
