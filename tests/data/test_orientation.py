"""Images turned as EXIF says, against Pillow's own turning."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from lens_jax.data import decode, headers, orientation
from lens_jax.data.batches import Skipped, eval_batches
from lens_jax.data.decode import AS_STORED, Decoding
from lens_jax.data.records import Source
from lens_jax.data.source import open_source

UPRIGHT = Decoding(upright=True)
ORIENTATION = 0x0112
# Wider than high, and the same in no two orientations.
SCENE = cv2.resize(np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8), (350, 240))


def encode(kind: str, value: int, scene: np.ndarray = SCENE) -> bytes:
    exif = Image.Exif()
    exif[0x010F] = "any maker"
    exif[ORIENTATION] = value
    options = {"lossless": True} if kind == "WEBP" else {}
    if kind == "JPEG":
        options["quality"] = 97
    file = io.BytesIO()
    Image.fromarray(scene).save(file, kind, exif=exif, **options)
    return file.getvalue()


def turned_by_pillow(data: bytes) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB"))


def as_png(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


def difference(one: np.ndarray, other: np.ndarray) -> float:
    return np.abs(one.astype(float) - other).mean()


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_whole_images_are_turned_as_pillow_turns_them(kind: str, value: int):
    data = encode(kind, value)
    image = decode.decode(data, UPRIGHT)
    expected = turned_by_pillow(data)
    assert image.shape == expected.shape == ((350, 240, 3) if value > 4 else (240, 350, 3))
    assert difference(image, expected) < (1.0 if kind == "JPEG" else 1e-9)


@pytest.mark.parametrize("value", range(1, 9))
@pytest.mark.parametrize("size", [24, 100])
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_crops_are_those_of_the_upright_image(kind: str, size: int, value: int):
    # At 24 px, a JPEG is decoded at a fraction of its size.
    data = encode(kind, value)
    upright = as_png(turned_by_pillow(data))
    tolerance = 5.0 if kind == "JPEG" else 0.6
    for crop in (
        lambda data, decoding: decode.resize(data, size, decoding),
        lambda data, decoding: decode.central_crop_resize(data, size, decoding=decoding),
        lambda data, decoding: decode.random_crop_resize(
            data, size, np.random.default_rng(3), decoding
        ),
    ):
        turned = crop(data, UPRIGHT)
        assert turned.flags.c_contiguous
        assert difference(turned, crop(upright, AS_STORED)) < tolerance


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_pixels_stay_as_they_are_stored_unless_asked(kind: str):
    assert difference(decode.decode(encode(kind, 6)), SCENE) < 2.0
    expected = decode.resize(encode(kind, 1), 32)
    np.testing.assert_array_equal(decode.resize(encode(kind, 6), 32), expected)


def test_exif_in_either_byte_order_and_damaged():
    little = b"II*\0\x08\0\0\0" + b"\x01\0" + b"\x12\x01\x03\0\x01\0\0\0\x06\0\0\0"
    big = b"MM\0*\0\0\0\x08" + b"\0\x01" + b"\x01\x12\0\x03\0\0\0\x01\0\x08\0\0"
    assert orientation.read(little) == 6
    assert orientation.read(orientation.PREFIX + big) == 8
    for damaged in (b"", b"II*\0", little[:12], little.replace(b"\x06", b"\x09"), little[2:]):
        assert orientation.read(damaged) == 1
    # A directory that claims to be longer than the block.
    assert orientation.read(b"II*\0\x08\0\0\0\xff\xff" + b"\0" * 24) == 1
    assert orientation.read(b"II*\0\xff\xff\xff\xff\xff\xff") == 1


def test_other_segments_in_front_of_exif_are_passed_over():
    data = encode("JPEG", 6)
    xmp = b"http://ns.adobe.com/xap/1.0/\0any"
    segment = b"\xff\xe1" + (len(xmp) + 2).to_bytes(2) + xmp
    assert headers.read_header(data[:2] + segment + data[2:]) == (240, 350, 6)


def read_one(source: Source, decoding: Decoding | None = None) -> np.ndarray:
    options = {} if decoding is None else {"decoding": decoding}
    batches = eval_batches(
        source, Skipped(source), batch_size=1, image_size=32, crop="none", threads=1, **options
    )
    return next(batches)["image"][0]


def test_image_folders_are_turned_and_prepared_data_sets_are_not(tmp_path):
    data = encode("JPEG", 3)
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "phone.jpg").write_bytes(data)
    stored, upright = decode.resize(data, 32), decode.resize(data, 32, UPRIGHT)
    assert difference(stored, upright) > 10

    folder = open_source("image_folder", "train", str(tmp_path))
    prepared = Source(("any",), 1, lambda index: {"image": data, "label": 0, "name": "any"})
    np.testing.assert_array_equal(read_one(folder), upright)
    np.testing.assert_array_equal(read_one(folder.subsample(1)), upright)
    np.testing.assert_array_equal(read_one(prepared), stored)
    np.testing.assert_array_equal(read_one(folder, AS_STORED), stored)
    np.testing.assert_array_equal(read_one(prepared, UPRIGHT), upright)
