import numpy as np
import pytest

from lens_jax.report import change as changes


@pytest.fixture
def effect() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Six images in two views each, changed at random, with a mask of its own for each view."""
    rng = np.random.default_rng(0)
    inputs = rng.uniform(-1, 1, (12, 5, 4, 3)).astype(np.float32)
    lensed = inputs + rng.normal(size=inputs.shape).astype(np.float32)
    return inputs, lensed, rng.random((12, 5, 4)) < 0.03


def test_patches_are_laid_out_as_they_lie_in_the_image():
    images = np.arange(2 * 6 * 6 * 3).reshape(2, 6, 6, 3)
    patches = [
        image[y : y + 2, x : x + 2] for image in images for y in (0, 2, 4) for x in (0, 2, 4)
    ]
    np.testing.assert_array_equal(changes.lay_out(np.stack(patches)), images)
    np.testing.assert_array_equal(changes.lay_out(np.stack(patches)[..., 0]), images[..., 0])


def test_share_inside_the_mask_is_that_of_a_loop(effect):
    inside = total = covered = somewhere = places = 0.0
    for before, after, mask in zip(*effect, strict=True):
        for y, x in np.ndindex(mask.shape):
            squared = np.mean((after[y, x].astype(float) - before[y, x]) ** 2)
            total += squared
            inside += squared if mask[y, x] else 0
            covered += mask[y, x]
            if any(other[y, x] for other in effect[2]):
                somewhere += squared
                places += 1
    expected = {
        "change_share_in_mask": inside / total,
        "mask_share": covered / (12 * 5 * 4),
        "change_share_in_places": somewhere / total,
        "places_share": places / (12 * 5 * 4),
    }
    assert 0 < expected["places_share"] < 1
    assert changes.shares(changes.measure(*effect, views=2)) == pytest.approx(expected)


def test_the_mask_of_each_view_counts_for_that_view_only():
    mask = np.zeros((2, 4, 4), bool)
    mask[0, 0, 0] = mask[1, 3, 3] = True
    inputs = np.zeros((2, 4, 4, 3))
    lensed = inputs.copy()
    lensed[:, 0, 0] = 1
    assert (
        changes.shares(changes.measure(inputs, lensed, mask, views=2))["change_share_in_mask"]
        == 0.5
    )


def test_shares_leave_out_what_is_not_there(effect):
    inputs, lensed, mask = effect
    assert changes.shares(changes.measure(inputs, lensed, np.zeros_like(mask), views=2)) == {}
    assert changes.shares(changes.measure(inputs, inputs, mask, views=2)).keys() == {
        "mask_share",
        "places_share",
    }


def test_losses_are_the_images_mean_squared_changes(effect):
    inputs, lensed, _ = effect
    change = changes.measure(*effect, views=2)
    for image in range(6):
        rows = slice(2 * image, 2 * image + 2)
        assert change.losses[image] == pytest.approx(np.mean((lensed[rows] - inputs[rows]) ** 2))
    np.testing.assert_array_equal(change.inputs, inputs[::2])
    np.testing.assert_array_equal(change.lensed, lensed[::2])


def test_the_mean_change_has_a_sign(effect):
    inputs, lensed, _ = effect
    change = changes.measure(*effect, views=2)
    np.testing.assert_allclose(change.signed, np.mean(lensed - inputs, axis=(0, 3)), atol=1e-6)
    assert change.signed.min() < 0 < change.signed.max()


def test_batches_of_any_size_come_to_the_same(effect):
    whole = changes.measure(*effect, views=2)
    parts = [[each[rows] for each in effect] for rows in (slice(0, 8), slice(8, 12))]
    joined = changes.join(changes.measure(*part, views=2) for part in parts)
    for one, other in zip(joined, whole, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_order_of_images():
    losses = np.array([0.2, 0.5, 0.1, 0.5, 0.3])
    assert changes.most_changed(losses, 3).tolist() == [1, 3, 4]
    assert changes.least_changed(losses, 3).tolist() == [2, 0, 4]
    assert len(changes.most_changed(losses, 9)) == 5


def test_outline_is_where_the_shortcut_mostly_is():
    mask = np.array([[0.25, 0.2, 0.01], [0, 0, 0]])
    assert changes.outline(mask).tolist() == [[True, True, False], [False, False, False]]
    assert not changes.outline(np.zeros((2, 2))).any()
