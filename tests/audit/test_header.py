import io

import numpy as np
import pytest
from PIL import Image

from lens_jax.audit.header import read_header

NOISE = np.random.default_rng(0).integers(0, 256, (16, 40, 3), np.uint8)


def encoded(form: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(NOISE).save(file, format=form, **options)
    return file.getvalue()


@pytest.mark.parametrize("quality", [5, 30, 60, 75, 90, 95, 100])
def test_the_quality_of_a_jpeg_is_the_one_that_it_was_written_with(quality):
    assert read_header(encoded("JPEG", quality=quality)).quality == quality


def test_other_formats_have_no_quality():
    for form in ("PNG", "WEBP", "BMP", "TIFF"):
        header = read_header(encoded(form))
        assert (header.format, header.quality, header.coding) == (form, 0, "")
        assert (header.height, header.width, header.mode) == (16, 40, "RGB")


def test_the_coding_of_a_jpeg_is_told():
    assert read_header(encoded("JPEG", subsampling=0)).coding == "baseline 1x1,1x1,1x1"
    header = read_header(encoded("JPEG", subsampling=2, progressive=True))
    assert header.coding == "progressive 2x2,1x1,1x1"


def test_camera_and_orientation_are_read_and_the_sides_are_those_upright():
    exif = Image.Exif()
    exif[0x010F], exif[0x0110], exif[0x0131], exif[0x0112] = "Acme", "X\0", "Paint", 6
    header = read_header(encoded("JPEG", exif=exif))
    assert (header.camera, header.software, header.orientation) == ("Acme X", "Paint", 6)
    assert (header.height, header.width) == (40, 16)


@pytest.mark.parametrize("form", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_what_is_broken_is_refused_and_never_crashes(form):
    data = encoded(form)
    for end in range(0, len(data), 97):
        try:
            read_header(data[:end])
        except ValueError:
            continue
    with pytest.raises(ValueError, match="image"):
        read_header(b"no image")
