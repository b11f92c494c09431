import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.ops.crop import Boxes, crop_resize, random_boxes, random_resized_crop, resize

random_crops = jax.jit(random_resized_crop, static_argnames=("count", "size", "area", "aspect"))


def random_images(count: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(-1, 1, (count, height, width, 3))


def triangle_weights(pixels: int, start: float, length: float, size: int) -> np.ndarray:
    """Row o: how much each pixel counts in the output that is centerd on start + (o + 1/2) length / size."""
    out = np.zeros((size, pixels))
    reach = max(length / size, 1)
    for o in range(size):
        center = start + (o + 0.5) * length / size
        for pixel in range(pixels):
            out[o, pixel] = max(0, 1 - abs(pixel + 0.5 - center) / reach)
        out[o] /= out[o].sum()
    return out


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
    np.testing.assert_allclose(
        crop_resize(image, Boxes(*map(jnp.float64, box)), size), expected, atol=1e-12
    )


def test_a_box_of_whole_pixels_in_its_own_size_is_the_slice(x64):
    image = random_images(1, 9, 11)[0]
    box = Boxes(*map(jnp.float64, (2, 5, 4, 4)))
    np.testing.assert_allclose(crop_resize(image, box, 4), image[2:6, 5:9], atol=1e-12)


def test_enlarged_images_are_those_of_opencv():
    images = random_images(2, 6, 6).astype(np.float32)
    for image, found in zip(images, resize(images, 15), strict=True):
        expected = cv2.resize(image, (15, 15), interpolation=cv2.INTER_LINEAR)
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("size", [4, 13])
def test_to_resize_is_to_crop_everything(x64, size: int):
    images = random_images(2, 9, 11)
    whole = Boxes(*map(jnp.float64, (0, 0, 9, 11)))
    for image, found in zip(images, resize(images, size), strict=True):
        np.testing.assert_allclose(found, crop_resize(image, whole, size), atol=1e-12)


def test_images_of_the_right_size_stay_as_they_are():
    images = random_images(2, 7, 7).astype(np.float32)
    np.testing.assert_array_equal(resize(images, 7), images)
    crops = random_crops(jax.random.key(0), images, 3, 7, area=(1, 1), aspect=(1, 1))
    np.testing.assert_allclose(crops, np.repeat(images, 3, axis=0), atol=1e-5)


def test_boxes_have_the_areas_and_aspects_asked_for(x64):
    """0.5 x 2 = 1: all of them fit."""
    boxes = random_boxes(jax.random.key(0), (4000,), 20, 20, (0.1, 0.5), (1, 2))
    share = np.asarray(boxes.height * boxes.width / 400)
    np.testing.assert_allclose(
        np.quantile(share, [0, 0.25, 0.5, 1]), [0.1, 0.2, 0.3, 0.5], atol=0.01
    )
    turn = np.log2(boxes.width / boxes.height)
    np.testing.assert_allclose(np.quantile(turn, [0, 0.25, 0.5, 1]), [0, 0.25, 0.5, 1], atol=0.03)


def test_area_aspect_and_place_of_a_box_are_independent(x64):
    boxes = random_boxes(jax.random.key(0), (4000,), 20, 20, (0.1, 0.4), (1, 2))
    places = boxes.top / (20 - boxes.height), boxes.left / (20 - boxes.width)
    draws = jnp.stack([boxes.height * boxes.width, boxes.width / boxes.height, *places])
    np.testing.assert_allclose(jnp.corrcoef(draws), np.eye(4), atol=0.06)


@pytest.mark.parametrize(("height", "width"), [(20, 20), (8, 30)])
def test_boxes_lie_anywhere_inside_the_image(x64, height: int, width: int):
    boxes = random_boxes(jax.random.key(1), (500, 40), height, width, (0.08, 1), (3 / 4, 4 / 3))
    for start, length, full in (
        (boxes.top, boxes.height, height),
        (boxes.left, boxes.width, width),
    ):
        assert start.shape == (500, 40)
        assert jnp.min(start) >= 0
        assert jnp.max(start + length) <= full * (1 + 1e-12)
        room = length < 0.9 * full
        place = np.asarray((start / (full - length))[room])
        np.testing.assert_allclose(np.quantile(place, [0, 0.5, 1]), [0, 0.5, 1], atol=0.05)


def test_a_side_that_does_not_fit_is_cut_to_the_image(x64):
    boxes = random_boxes(jax.random.key(0), (5,), 10, 40, (0.64, 0.64), (1, 1))
    np.testing.assert_allclose(boxes.height, 10)
    np.testing.assert_allclose(boxes.width, 16)
    np.testing.assert_allclose(boxes.top, 0, atol=1e-12)


def test_crops_of_an_image_lie_side_by_side_and_hold_nothing_from_elsewhere():
    """Were there anything from outside of an image in it, a crop of a flat image would not be flat."""
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


def test_a_whole_image_learns_from_all_its_crops(x64):
    """Crops are linear in the image, so the gradient tells the exact change."""
    images, change = random_images(2, 7, 7), random_images(4, 7, 7)[2:]
    weights = np.random.default_rng(1).normal(size=(6, 5, 5, 3))

    def weighed(x: jax.Array) -> jax.Array:
        return jnp.sum(weights * random_crops(jax.random.key(0), x, 3, 5))

    gradient = jax.jit(jax.grad(weighed))(images)
    expected = weighed(images + change) - weighed(images)
    np.testing.assert_allclose(jnp.sum(gradient * change), expected, rtol=1e-10)
