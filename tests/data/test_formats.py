"""Formats besides JPEG and PNG, and images of 16 bits."""

import io
import struct

import cv2
import numpy as np
import pytest
from absl import logging
from PIL import Image

from lens_jax.data import decode, headers
from lens_jax.data.decode import Decoding

NOISE = np.random.default_rng(0).integers(0, 256, (24, 32, 3), np.uint8)


def encode(image: Image.Image, kind: str, **options) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


MODES = [
    ("WEBP", "RGB", {"lossless": True}),
    ("WEBP", "RGBA", {"lossless": True, "exact": True}),
    ("BMP", "1", {}),
    ("BMP", "L", {}),
    ("BMP", "P", {}),
    ("BMP", "RGB", {}),
    ("TIFF", "1", {}),
    ("TIFF", "L", {}),
    ("TIFF", "P", {}),
    ("TIFF", "RGBA", {"compression": "tiff_lzw"}),
    ("TIFF", "CMYK", {"compression": "tiff_adobe_deflate"}),
    ("GIF", "L", {}),
    ("GIF", "P", {}),
]


@pytest.mark.parametrize(("kind", "mode", "options"), MODES)
def test_every_format_and_mode_is_read_without_loss(kind: str, mode: str, options: dict):
    image = Image.fromarray(NOISE).convert(mode)
    if mode == "RGBA":
        image.putalpha(Image.fromarray(NOISE[..., 0]))
    decoded = decode.decode(encode(image, kind, **options))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, np.asarray(image.convert("RGB")))


def test_lossy_webp():
    smooth = cv2.resize(NOISE[:4, :4], (96, 64))
    decoded = decode.decode(encode(Image.fromarray(smooth), "WEBP", quality=95))
    assert np.abs(decoded.astype(float) - smooth).mean() < 4


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF"])
def test_of_several_frames_or_pages_the_first_is_read(kind: str):
    first = Image.fromarray(NOISE).convert("L")
    later = [Image.new("L", first.size, value) for value in (0, 255)]
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(first, kind, save_all=True, append_images=later, **options)
    np.testing.assert_array_equal(decode.decode(data)[..., 0], np.asarray(first))


@pytest.mark.parametrize("kind", ["WEBP", "BMP", "TIFF", "GIF"])
@pytest.mark.parametrize("fraction", [0.01, 0.1, 0.5])
def test_truncated_files_do_not_decode(kind: str, fraction: float):
    data = encode(Image.fromarray(NOISE), kind)
    with pytest.raises(ValueError, match=r"not a complete image|image of"):
        decode.decode(data[: int(fraction * len(data))])


def test_values_without_a_range_are_refused():
    for mode in ("F", "I"):
        data = encode(Image.fromarray(NOISE[..., 0]).convert(mode), "TIFF")
        with pytest.raises(ValueError, match=f"a TIFF file whose pixels are of the kind {mode}"):
            decode.decode(data)


def claim(kind: str, height: int, width: int) -> bytes:
    """An image of 32 x 24 pixels that claims other sides."""
    exif = Image.Exif()
    exif[0x0112] = 1
    options = {"exif": exif} if kind == "WEBP" else {}
    data = bytearray(encode(Image.fromarray(NOISE), kind, **options))
    if kind == "WEBP":
        assert data[12:16] == b"VP8X"
        data[24:27] = (width - 1).to_bytes(3, "little")
        data[27:30] = (height - 1).to_bytes(3, "little")
    if kind == "GIF":
        data[6:10] = struct.pack("<HH", width, height)
    if kind == "BMP":
        data[18:26] = struct.pack("<ii", width, height)
    if kind == "TIFF":
        for tag, old, new in ((256, 32, width), (257, 24, height)):
            entry = struct.pack("<HHII", tag, 4, 1, old)
            assert entry in data
            data = data.replace(entry, struct.pack("<HHII", tag, 4, 1, new))
    return bytes(data)


@pytest.mark.parametrize("kind", ["WEBP", "BMP", "TIFF", "GIF"])
def test_illegal_sizes_are_named_before_anything_is_decoded(kind: str):
    assert headers.read_header(claim(kind, 24, 32)) == (24, 32, 1)
    with pytest.raises(ValueError, match=r"60000 x 60000 pixels, where 1 to 134217728 are legal"):
        decode.decode(claim(kind, 60_000, 60_000))


def test_tiles_of_a_tiff_are_no_larger_than_an_image():
    data = encode(Image.fromarray(NOISE), "TIFF")
    # The number of rows in a strip, and another tag that is not needed, become a tile's sides.
    for tag, new in ((278, 322), (284, 323)):
        start = data.index(struct.pack("<H", tag), 8)
        entry = struct.pack("<HHII", new, 4, 1, 60_000)
        data = data[:start] + entry + data[start + 12 :]
    with pytest.raises(ValueError, match=r"60000 x 60000 pixels"):
        decode.decode(data)
    # A text in place of a number.
    wrong = data.replace(
        struct.pack("<HHII", 322, 4, 1, 60_000), struct.pack("<HHI4s", 322, 2, 4, b"abc")
    )
    assert wrong != data
    with pytest.raises(ValueError, match=headers.INVALID):
        decode.decode(wrong)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("shape", [(24, 32), (24, 32, 3)])
def test_the_depth_scales_images_of_16_bits(kind: str, shape: tuple[int, ...]):
    values = np.random.default_rng(1).integers(0, 4096, shape, np.uint16)
    _, data = cv2.imencode(f".{kind.lower()}", values)
    data = data.tobytes()
    rgb = np.stack([values] * 3, axis=-1) if values.ndim == 2 else values[..., ::-1]
    # Of 12 bits in 16, the upper 8 bits hold nearly nothing.
    np.testing.assert_array_equal(decode.decode(data), rgb // 256)
    np.testing.assert_array_equal(decode.decode(data, Decoding(depth=12)), rgb // 16)
    brighter = np.minimum(rgb // 4, 255)
    np.testing.assert_array_equal(decode.decode(data, Decoding(depth=10)), brighter)


def test_images_of_8_bits_have_no_other_depth():
    data = encode(Image.fromarray(NOISE), "PNG")
    np.testing.assert_array_equal(decode.decode(data, Decoding(depth=12)), NOISE)


def test_nearly_black_images_of_16_bits_are_told_once(caplog, monkeypatch):
    monkeypatch.setattr(logging, "_log_counter_per_token", {})
    values = np.full((8, 8), 4000, np.uint16)
    _, data = cv2.imencode(".png", values)
    with caplog.at_level("WARNING", logger="absl"):
        for _ in range(3):
            decode.decode(data.tobytes(), Decoding(depth=12))
        assert caplog.records == []
        for _ in range(3):
            decode.decode(data.tobytes())
    assert len(caplog.records) == 1
    assert "set data.depth" in caplog.text
