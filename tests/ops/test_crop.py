import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.ops.crop import Boxes, crop_resize, random_boxes, random_resized_crop, resize

random_crops = jax.jit(random_resized_crop, static_argnames=("count", "size", "area", "aspect"))


def random_images(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, height, width, 3))


def exact_box(top: float, left: float, height: float, width: float) -> Boxes:
    """In float64, under `x64`."""
    return Boxes(jnp.float64(top), jnp.float64(left), jnp.float64(height), jnp.float64(width))


def triangle_weights(pixels: int, start: float, length: float, size: int) -> np.ndarray:
    """Row o: how much each pixel counts in pixel o of the output, [size, pixels]."""
    weights = np.zeros((size, pixels))
    reach = max(length / size, 1)
    for o in range(size):
        center = start + (o + 0.5) * length / size
        for pixel in range(pixels):
            distance = abs(pixel + 0.5 - center)
            weights[o, pixel] = max(0, 1 - distance / reach)
        weights[o] /= weights[o].sum()
    return weights


@pytest.mark.parametrize("box", [(1.3, 0.2, 3.1, 4.7), (0, 2.5, 9, 3.5), (0.4, 0.1, 8.6, 10.9)])
@pytest.mark.parametrize("size", [3, 8])
def test_a_crop_is_interpolated_linearly_or_by_the_triangles_of_antialiasing(x64, box, size):
    image = random_images(1, 9, 11)[0]
    rows = triangle_weights(9, box[0], box[2], size)
    columns = triangle_weights(11, box[1], box[3], size)
    expected = np.zeros((size, size, 3))
    for row in range(size):
        for column in range(size):
            for channel in range(3):
                expected[row, column, channel] = rows[row] @ image[..., channel] @ columns[column]
    found = crop_resize(image, exact_box(*box), size)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_box_of_whole_pixels_in_its_own_size_is_the_slice(x64):
    image = random_images(1, 9, 11)[0]
    found = crop_resize(image, exact_box(2, 5, 4, 4), 4)
    np.testing.assert_allclose(found, image[2:6, 5:9], atol=1e-12)


def test_enlarged_images_are_those_of_opencv():
    images = random_images(2, 6, 6).astype(np.float32)
    for image, found in zip(images, resize(images, 15), strict=True):
        expected = cv2.resize(image, (15, 15), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("size", [4, 13])
def test_to_resize_is_to_crop_everything(x64, size: int):
    images = random_images(2, 9, 11)
    for image, found in zip(images, resize(images, size), strict=True):
        expected = crop_resize(image, exact_box(0, 0, 9, 11), size)
        np.testing.assert_allclose(found, expected, atol=1e-12)


def test_images_of_the_right_size_stay_as_they_are():
    images = random_images(2, 7, 7).astype(np.float32)
    np.testing.assert_array_equal(resize(images, 7), images)
    crops = random_crops(jax.random.key(0), images, 3, 7, area=(1, 1), aspect=(1, 1))
    np.testing.assert_allclose(crops, np.repeat(images, 3, axis=0), atol=1e-5)


def test_boxes_have_the_given_areas_and_aspects(x64):
    # At the largest area, half of the image, and the widest aspect, 2, a box still fits.
    boxes = random_boxes(jax.random.key(0), (4000,), 20, 20, (0.1, 0.5), (1, 2))
    quantiles = [0, 0.25, 0.5, 1]
    fraction = np.quantile(boxes.height * boxes.width / 400, quantiles)
    np.testing.assert_allclose(fraction, [0.1, 0.2, 0.3, 0.5], atol=0.01)
    log_aspect = np.quantile(np.log2(boxes.width / boxes.height), quantiles)
    np.testing.assert_allclose(log_aspect, [0, 0.25, 0.5, 1], atol=0.03)


def test_area_aspect_and_position_of_a_box_are_independent(x64):
    boxes = random_boxes(jax.random.key(0), (4000,), 20, 20, (0.1, 0.4), (1, 2))
    area = boxes.height * boxes.width
    aspect = boxes.width / boxes.height
    down = boxes.top / (20 - boxes.height)
    across = boxes.left / (20 - boxes.width)
    correlations = jnp.corrcoef(jnp.stack([area, aspect, down, across]))
    np.testing.assert_allclose(correlations, np.eye(4), atol=0.06)


@pytest.mark.parametrize(("height", "width"), [(20, 20), (8, 30)])
def test_boxes_lie_anywhere_inside_the_image(x64, height: int, width: int):
    boxes = random_boxes(jax.random.key(1), (500, 40), height, width, (0.08, 1), (3 / 4, 4 / 3))
    vertical = boxes.top, boxes.height, height
    horizontal = boxes.left, boxes.width, width
    for start, length, full in (vertical, horizontal):
        assert start.shape == (500, 40)
        assert jnp.min(start) >= 0
        assert jnp.max(start + length) <= full * (1 + 1e-12)
        has_room = length < 0.9 * full
        position = np.asarray((start / (full - length))[has_room])
        np.testing.assert_allclose(np.quantile(position, [0, 0.5, 1]), [0, 0.5, 1], atol=0.05)


def test_a_side_that_does_not_fit_is_cut_to_the_image(x64):
    boxes = random_boxes(jax.random.key(0), (5,), 10, 40, (0.64, 0.64), (1, 1))
    np.testing.assert_allclose(boxes.height, 10)
    np.testing.assert_allclose(boxes.width, 16)
    np.testing.assert_allclose(boxes.top, 0, atol=1e-12)


def test_crops_of_an_image_lie_side_by_side_and_hold_nothing_from_elsewhere():
    """Anything from outside of an image would show in the crop of an image of one color."""
    images = jnp.broadcast_to(jnp.arange(1.0, 4.0)[:, None, None, None], (3, 9, 13, 2))
    crops = random_crops(jax.random.key(0), images, 40, 6)
    assert crops.shape == (120, 6, 6, 2)
    for i, crop in enumerate(np.asarray(crops)):
        np.testing.assert_allclose(crop, i // 40 + 1, rtol=1e-5)


def test_all_crops_of_a_batch_are_drawn_independently():
    image = random_images(1, 8, 8).astype(np.float32)
    crops = random_crops(jax.random.key(0), jnp.tile(image, (2, 1, 1, 1)), 3, 8)
    assert len(np.unique(np.asarray(crops).round(5), axis=0)) == 6
    other = random_crops(jax.random.key(1), jnp.asarray(image), 3, 8)
    assert np.abs(crops[:3] - other).max() > 0.1


def test_an_image_receives_the_gradients_of_all_its_crops(x64):
    """Crops are linear in the image, so the gradient predicts the exact change."""
    images, change = random_images(2, 7, 7), random_images(4, 7, 7)[2:]
    weights = np.random.default_rng(1).normal(size=(6, 5, 5, 3))

    def weighted(x: jax.Array) -> jax.Array:
        return jnp.sum(weights * random_crops(jax.random.key(0), x, 3, 5))

    gradient = jax.jit(jax.grad(weighted))(images)
    expected = weighted(images + change) - weighted(images)
    np.testing.assert_allclose(jnp.sum(gradient * change), expected, rtol=1e-10)
