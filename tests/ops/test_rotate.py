import jax
import jax.numpy as jnp
import numpy as np

from lens_jax.ops.rotate import all_quarter_turns, quarter_turns


def turned_once(image: np.ndarray) -> np.ndarray:
    """Counterclockwise: what was the last column becomes the first row."""
    side = len(image)
    out = np.empty_like(image)
    for row in range(side):
        for column in range(side):
            out[row, column] = image[column, side - 1 - row]
    return out


def turned(image: np.ndarray, turns: int) -> np.ndarray:
    for _ in range(turns):
        image = turned_once(image)
    return image


def random_images(count: int, side: int = 5) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, side, side, 3)).astype(np.float32)


def test_a_quarter_turn_by_hand_is_counterclockwise():
    image = jnp.array([[1, 2], [3, 4]])[None, :, :, None]
    turns = all_quarter_turns(image)[..., 0]
    assert turns.tolist() == [
        [[1, 2], [3, 4]],
        [[2, 4], [1, 3]],
        [[4, 3], [2, 1]],
        [[3, 1], [4, 2]],
    ]


def test_the_four_turns_of_an_image_lie_next_to_each_other():
    images = random_images(3)
    views = np.asarray(all_quarter_turns(images))
    assert views.shape == (12, 5, 5, 3)
    for i, image in enumerate(images):
        for turns in range(4):
            np.testing.assert_array_equal(views[4 * i + turns], turned(image, turns))
            np.testing.assert_array_equal(views[4 * i + turns], np.rot90(image, turns))


def test_each_image_gets_its_own_turn():
    images, turns = random_images(7), np.array([0, 3, 1, 2, 2, 0, 1])
    views = np.asarray(jax.jit(quarter_turns)(images, turns))
    for view, image, count in zip(views, images, turns, strict=True):
        np.testing.assert_array_equal(view, turned(image, count))


def test_four_quarter_turns_are_none():
    images = random_images(4)
    once = jnp.ones(4, jnp.int32)
    views = images
    for _ in range(4):
        views = quarter_turns(views, once)
    np.testing.assert_array_equal(views, images)


def test_a_turn_and_its_complement_cancel():
    images, turns = random_images(4), jnp.arange(4)
    np.testing.assert_array_equal(quarter_turns(quarter_turns(images, turns), -turns % 4), images)


def test_the_order_of_the_batch_carries_through():
    images, order = random_images(5), np.array([3, 0, 4, 1, 2])
    views = all_quarter_turns(images).reshape(5, 4, 5, 5, 3)
    np.testing.assert_array_equal(
        all_quarter_turns(images[order]).reshape(views.shape), views[order]
    )
