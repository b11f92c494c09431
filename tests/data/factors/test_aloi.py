import pathlib

import numpy as np
import pytest

from lens_jax.data.builders import png
from lens_jax.data.factors import open_factors
from lens_jax.data.factors.aloi import open_aloi
from lens_jax.errors import UserError
from tests.data.factors.files import names, striped, write


@pytest.fixture
def aloi(tmp_path) -> pathlib.Path:
    """Objects 1, 2 and 10, with four viewpoints, three directions of light, and three colors."""
    root = tmp_path / "png2"
    for number in (1, 2, 10):
        for ending in ("r0", "r5", "r10", "r355", "l1c1", "l8c3", "l2c2", "i110", "i250", "i120"):
            write(root / str(number) / f"{number}_{ending}.png", png.encode(striped(number)))
    write(root / "1" / "Thumbs.db", "")
    write(root / "readme.txt", "")
    return root


def test_each_object_of_aloi_is_a_set_and_a_class(aloi):
    found = open_aloi(str(aloi))
    assert {factor: len(images.sets) for factor, images in found.items()} == {
        "viewpoint": 12,
        "illumination_direction": 9,
        "illumination_color": 9,
    }
    color = found["illumination_color"]
    assert names(color)[:4] == ["1/1_i110.png", "1/1_i120.png", "1/1_i250.png", "2/2_i110.png"]
    np.testing.assert_array_equal(color.sets, [1] * 3 + [2] * 3 + [10] * 3)
    classes = [color.source.class_names[color.source[i]["label"]] for i in range(9)]
    assert classes == ["1"] * 3 + ["2"] * 3 + ["10"] * 3
    assert color.source[0]["image"] == png.encode(striped(1))
    assert len({images.source.fingerprint for images in found.values()}) == 3


def test_one_archive_of_aloi_is_one_factor(aloi):
    for path in aloi.glob("*/*_[il]*.png"):
        path.unlink()
    assert list(open_aloi(str(aloi))) == ["viewpoint"]
    for path in aloi.glob("*/*.png"):
        path.unlink()
    with pytest.raises(UserError, match=r"no images of ALOI in .*: expected the folder png2"):
        open_aloi(str(aloi))


def test_sets_of_two_images_are_refused(aloi):
    for path in (*aloi.glob("*/*_l1c1.png"), *aloi.glob("*/*_r*.png"), *aloi.glob("*/*_i*.png")):
        path.unlink()
    with pytest.raises(UserError, match="no set of 3 images for illumination_direction"):
        open_factors("aloi", str(aloi), 32)
