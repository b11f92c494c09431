import io

import cv2
import numpy as np
import pytest
from PIL import Image

from lens_jax.audit import statistics


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, format="JPEG", quality=quality)
    return np.asarray(Image.open(file))


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (3, 2), (8, 8), (300, 9)])
def test_numbers_are_finite_and_as_many_whatever_the_size(size):
    image = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    found = statistics.describe(image)
    counts = {name: len(values) for name, values in found.items()}
    assert counts == {
        "light": 9,
        "sharpness": 7,
        "noise": 9,
        "grid": 16,
        "blocks": 8,
        "fringe": 12,
        "frame": 24,
        "levels": 720,
    }
    assert all(np.isfinite(values).all() for values in found.values())
    flat = statistics.describe(np.full((*size, 3), 7, np.uint8))
    assert all(np.isfinite(values).all() for values in flat.values())


def test_light_is_in_gray_levels():
    image = np.zeros((10, 10, 3), np.uint8)
    image[:5] = 100
    mean, deviation, *quantiles = statistics.describe_light(image)
    assert (mean, deviation) == (50, 50)
    assert quantiles[0] == 0
    assert quantiles[-1] == 100


def test_blur_lowers_the_energy_of_near_pixels_most(textures):
    (image,) = textures(1, side=64)
    sharp = statistics.describe_sharpness(image)
    blurred = statistics.describe_sharpness(cv2.GaussianBlur(image, (0, 0), 1))
    assert blurred[0] - sharp[0] < blurred[4] - sharp[4] < 0


def test_blocks_of_a_jpeg_stand_out_at_their_phase(textures):
    (image,) = textures(1, side=96)
    before = statistics.describe_grid(cv2.GaussianBlur(image, (0, 0), 2))
    after = statistics.describe_grid(jpeg(cv2.GaussianBlur(image, (0, 0), 2), 10))
    gained = (after - before).reshape(2, 8)
    # Second differences across an edge are centered on the pixels on either side of it.
    assert set(np.argsort(gained[0])[-2:]) == {7, 0}
    assert set(np.argsort(gained[1])[-2:]) == {7, 0}


def test_a_shift_of_red_is_seen_in_its_direction_and_gray_has_none(textures):
    (image,) = textures(1, side=64)
    gray = image[..., :1].repeat(3, axis=-1)
    np.testing.assert_allclose(statistics.describe_fringe(gray), 0, atol=1e-6)
    shifted = gray.copy()
    shifted[:, 1:, 0] = gray[:, :-1, 0]
    red, blue, red_down, _ = statistics.describe_fringe(shifted).reshape(4, 3)
    assert red.argmax() == 0
    assert red[0] > 0.2 > abs(blue).max()
    assert red_down.max() < 0.2


def test_the_frame_is_read_line_by_line():
    image = np.full((9, 9, 3), 50, np.uint8)
    image[1] = 200
    top = statistics.describe_frame(image)[:6]
    np.testing.assert_allclose(top, [50, 0, 200, 0, 50, 0])


def test_of_a_large_image_the_middle_is_measured_on_the_grid_of_blocks():
    image = np.zeros((500, 700, 3), np.uint8)
    image[160:352, 248:440] = 255
    assert statistics.describe(image)["light"][0] > 200
