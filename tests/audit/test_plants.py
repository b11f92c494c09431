import numpy as np
import pytest

from lens_jax.audit import plants

SIZES = [(8, 8), (32, 32), (40, 24)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", plants.PLANTS)
def test_the_mask_is_what_changed_and_the_original_stays(name, size):
    rng = np.random.default_rng(0)
    image = rng.integers(0, 200, (*size, 3), np.uint8)
    copy = image.copy()
    found = plants.plant(name, image, rng)
    np.testing.assert_array_equal(image, copy)
    assert found.image.shape == image.shape
    assert found.image.dtype == np.uint8
    assert found.mask.any()
    plain = plants.PLANTS[name].base(image)
    np.testing.assert_array_equal(found.image[~found.mask], plain[~found.mask])


@pytest.mark.parametrize("name", plants.ANY)
def test_drawn_marks_fit_into_images_of_any_size(name):
    rng = np.random.default_rng(0)
    for size in [(1, 1), (8, 8), (30, 5)]:
        image = rng.integers(0, 256, (*size, 3), np.uint8)
        assert plants.ANY[name].draw(image, rng).shape == image.shape


def test_a_fixed_patch_lies_at_its_place():
    image = np.zeros((32, 32, 3), np.uint8)
    found = plants.plant("fixed_patch", image, np.random.default_rng(0))
    rows, columns = np.nonzero(found.mask)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (1, 3, 28, 30)
    assert np.all(found.image[found.mask] == 255)


def test_a_moving_patch_stays_in_the_border_and_moves():
    image = np.zeros((32, 32, 3), np.uint8)
    rng = np.random.default_rng(0)
    masks = np.array([plants.plant("moving_patch", image, rng).mask for _ in range(50)])
    assert np.all(masks.sum(axis=(1, 2)) == 9)
    assert not masks[:, 5:-5, 5:-5].any()
    assert len(np.unique(masks.reshape(50, -1), axis=0)) > 30


def test_a_fringe_is_green_a_pixel_to_the_right():
    image = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    found = plants.plant("color_fringe", image, np.random.default_rng(0)).image
    np.testing.assert_array_equal(found[:, 1:, 1], image[:, :-1, 1])
    np.testing.assert_array_equal(found[..., ::2], image[..., ::2])
