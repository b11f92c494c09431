import io
import math

import cv2
import numpy as np
import pytest
from PIL import Image

from lens_jax.data import decode


def noise(*shape: int, dtype: type = np.uint8) -> np.ndarray:
    """Random values over the whole range of an integer type."""
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape, dtype)


SMOOTH = cv2.resize(noise(4, 4, 3), (400, 300), interpolation=cv2.INTER_LINEAR)


def encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def png(image: np.ndarray) -> bytes:
    return encode(Image.fromarray(image), "PNG")


def reference(image: np.ndarray, box: decode.Box, size: int) -> np.ndarray:
    """The box of an image, resized by averaging."""
    edges = (box.left, box.top, box.right, box.bottom)
    resized = Image.fromarray(image).resize((size, size), Image.Resampling.BOX, box=edges)
    return np.asarray(resized)


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return np.abs(one.astype(float) - other).mean()


@pytest.mark.parametrize("mode", ["RGB", "L", "LA", "RGBA", "P", "1"])
def test_png_of_any_mode_is_read_without_loss(mode):
    image = Image.fromarray(SMOOTH).convert(mode)
    decoded = decode.decode(encode(image, "PNG"))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("shape", [(300, 400, 3), (300, 400)])
def test_png_of_16_bits_is_brought_to_8(shape):
    small = noise(*shape)
    _, data = cv2.imencode(".png", 257 * small.astype(np.uint16))
    is_gray = len(shape) == 2
    expected = np.stack([small] * 3, axis=-1) if is_gray else small[..., ::-1]
    np.testing.assert_array_equal(decode.decode(data.tobytes()), expected)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_jpeg_of_any_mode(mode):
    image = Image.fromarray(SMOOTH).convert(mode)
    data = encode(image, "JPEG", quality=95)
    expected = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    decoded = decode.decode(data)
    assert decoded.shape == SMOOTH.shape
    assert difference(decoded, expected) < 1.5


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("fraction", [0.02, 0.5, 0.95])
def test_truncated_files_do_not_decode(kind, fraction):
    data = encode(Image.fromarray(SMOOTH), kind)
    truncated = data[: int(fraction * len(data))]
    with pytest.raises(ValueError, match="not a complete image"):
        decode.decode(truncated)
    with pytest.raises(ValueError, match="not a complete image"):
        decode.random_crop_resize(truncated, 16, np.random.default_rng(0))


@pytest.mark.parametrize("data", [b"", b"\xff\xd8", b"not an image"])
def test_what_is_no_image_does_not_decode(data):
    with pytest.raises(ValueError, match="not a complete image"):
        decode.decode(data)


def test_stray_bytes_in_a_jpeg_are_forgiven():
    data = encode(Image.fromarray(SMOOTH), "JPEG")
    stray = data[:-2] + b"\x00\x01\x02\x03" + data[-2:]
    np.testing.assert_array_equal(decode.decode(stray), decode.decode(data))


def test_resize_leaves_an_image_of_the_right_size_alone():
    image = noise(32, 32, 3)
    np.testing.assert_array_equal(decode.resize(png(image), 32), image)


def test_resize_down_averages():
    image = noise(64, 64, 3)
    expected = image.reshape(32, 2, 32, 2, 3).mean((1, 3))
    resized = decode.resize(png(image), 32)
    assert np.abs(resized - expected).max() <= 0.5


@pytest.mark.parametrize("side", [21, 32, 39, 40, 61])
def test_resize_down_passes_over_no_pixel(side):
    for column in range(side):
        image = np.zeros((side, side, 3), np.uint8)
        image[:, column] = 255
        assert decode.resize(png(image), 20).max() > 0


def test_resize_up_interpolates():
    image = np.zeros((2, 2, 3), np.uint8)
    image[:, 1] = 100
    resized = decode.resize(png(image), 4)
    expected = np.tile([0, 25, 75, 100], (4, 1))
    np.testing.assert_array_equal(resized[..., 0], expected)


def test_central_crop_is_a_resize_of_the_shorter_side_and_a_cut():
    width = round(400 * 128 / 300)
    image = Image.fromarray(SMOOTH).resize((width, 128), Image.Resampling.BOX)
    left = (width - 112) // 2
    expected = np.asarray(image)[8:120, left : left + 112]
    assert difference(decode.central_crop_resize(png(SMOOTH), 112), expected) < 1.0


def test_central_crop_of_the_whole_square_is_the_image():
    image = noise(32, 32, 3)
    np.testing.assert_array_equal(decode.central_crop_resize(png(image), 32, fraction=1.0), image)


# At a fraction of its size, a JPEG's box is out by up to half a pixel of what is decoded.
@pytest.mark.parametrize(("kind", "tolerance"), [("PNG", 1.5), ("JPEG", 4.5)])
@pytest.mark.parametrize("size", [32, 300])
def test_random_crop_is_the_resized_box(kind, tolerance, size):
    data = encode(Image.fromarray(SMOOTH), kind)
    for seed in range(10):
        box = decode.random_box(300, 400, np.random.default_rng(seed))
        crop = decode.random_crop_resize(data, size, np.random.default_rng(seed))
        assert crop.shape == (size, size, 3)
        assert difference(crop, reference(SMOOTH, box, size)) < tolerance


def test_random_boxes_fit_and_cover_the_ranges():
    rng = np.random.default_rng(0)
    boxes = np.array([decode.random_box(300, 400, rng) for _ in range(2_000)])
    top, left, height, width = boxes.T
    assert (boxes[:, :2] >= 0).all()
    assert (top + height <= 300).all()
    assert (left + width <= 400).all()
    area = height * width / 120_000
    aspect = width / height
    assert 0.078 < area.min() < 0.09
    assert area.max() > 0.95
    assert 0.74 < aspect.min() < 0.76
    assert 1.32 < aspect.max() < 1.35
    # Of the largest crops, most upright ones do not fit.
    small = aspect[area < 0.5]
    assert np.log(small).mean() == pytest.approx(0, abs=0.02)


def test_random_box_of_an_image_too_long_for_any_is_its_central_square():
    box = decode.random_box(10, 1_000, np.random.default_rng(0))
    assert box == decode.Box(0, 495, 10, 10)


def test_random_box_of_the_smallest_image():
    assert decode.random_box(1, 1, np.random.default_rng(0)) == decode.Box(0, 0, 1, 1)


def test_large_jpeg_keeps_its_detail_when_decoded_at_a_fraction():
    image = cv2.resize(SMOOTH, (1_600, 1_200))
    image[:, ::8] //= 2
    data = encode(Image.fromarray(image), "JPEG", quality=95)
    box = decode.central_box(1_200, 1_600, decode.CENTRAL_FRACTION)
    side = math.floor(0.875 * 1_200)
    assert box == decode.Box(75, 275, side, side)
    expected = reference(image, box, 131)
    assert difference(decode.central_crop_resize(data, 131), expected) < 2.0


def test_small_crop_of_a_large_jpeg_keeps_its_detail():
    image = np.zeros((800, 800, 3), np.uint8)
    image[:, ::4] = image[:, 1::4] = 200
    data = encode(Image.fromarray(image), "JPEG", quality=95)
    crop = decode.central_crop_resize(data, 200, fraction=0.25)
    assert difference(crop, image[300:500, 300:500]) < 5.0


@pytest.mark.parametrize("fraction", [0.4, 0.6])
def test_a_crop_of_a_jpeg_lies_where_it_does_in_the_whole_image(fraction):
    image = cv2.resize(noise(60, 80, 3), (400, 300))
    data = encode(Image.fromarray(image), "JPEG", quality=95)
    crop = decode.central_crop_resize(data, 100, fraction=fraction)
    expected = reference(decode.decode(data), decode.central_box(300, 400, fraction), 100)
    assert difference(crop, expected) < 4.0
