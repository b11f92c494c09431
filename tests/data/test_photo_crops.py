import os
import pathlib

import cv2
import numpy as np
import pytest
from PIL import Image

from lens_jax.data.builders import photo_crops
from lens_jax.data.builders.photo_crops import Corner
from lens_jax.data.decode import decode
from lens_jax.data.source import open_source
from lens_jax.errors import UserError

PHOTOGRAPHS = "PHOTO_CROPS_DIR"
NOISE = np.random.default_rng(0).integers(0, 256, (128, 648, 3), np.uint8)


def write(folder: pathlib.Path) -> pathlib.Path:
    """Two photographs that give squares of 32 px, one that is too small, and what is no image."""
    (folder / "deep").mkdir(parents=True)
    Image.fromarray(NOISE).save(folder / "noise.png")
    half = NOISE // 2
    # Flat but for its lower half.
    half[:64] = 77
    Image.fromarray(half).save(folder / "deep" / "half.png")
    Image.fromarray(NOISE[:, :300]).save(folder / "small.png")
    (folder / "broken.jpg").write_bytes(b"no image")
    (folder / "notes.txt").write_text("any")
    return folder


def test_halving_averages_blocks_of_four_pixels():
    image = NOISE[:7, :9]
    expected = image[:6, :8].reshape(3, 2, 4, 2, 3).mean((1, 3))
    assert np.abs(photo_crops.halve(image) - expected).max() <= 0.5
    assert photo_crops.halve(NOISE[:1]).size == 0


def test_training_and_test_squares_lie_on_two_sides_of_a_gap():
    corners = photo_crops.split_corners(height=70, width=324, size=32)
    # 60 % of 324 are 194 pixels, and the gap ends at 226.
    rows = (0, 32)
    assert corners["train"] == [Corner(top, left) for top in rows for left in range(0, 161, 32)]
    assert corners["test"] == [Corner(top, left) for top in rows for left in (226, 258, 290)]
    assert photo_crops.split_corners(height=31, width=324, size=32) == {"train": [], "test": []}


def test_squares_are_those_of_the_halved_photographs(tmp_path, capsys):
    folder, data = write(tmp_path / "photos"), tmp_path / "data"
    photo_crops.prepare(str(folder), str(data), size=32, gray=False)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == ("left out 2 files without squares for both splits: 'broken.jpg, small.png'")
    path = data / "photo_crops" / "32" / "1.0.0"
    assert lines[-1] == f"{path} holds 18 in train, 9 in test, of 2 photographs"

    halves = {"noise.png": photo_crops.halve(NOISE)}
    for split, count in (("train", 18), ("test", 9)):
        source = open_source("photo_crops/32", split, str(data))
        assert source.class_names == ("deep/half.png", "noise.png")
        assert len(source) == count
        for record in (source[index] for index in range(count)):
            name, _, place = record["name"].split()[-1].partition("@")
            left, top = map(int, place.split(","))
            assert source.class_names[record["label"]] == name
            assert (left >= 226) == (split == "test")
            if name in halves:
                expected = halves[name][top : top + 32, left : left + 32]
                np.testing.assert_array_equal(decode(record["image"]), expected)
            else:
                assert top == 32


def test_gray_squares_have_the_luma_of_the_others(tmp_path):
    folder, data = write(tmp_path / "photos"), tmp_path / "data"
    images = {}
    for gray, name in ((False, "photo_crops/32"), (True, "photo_crops/32-gray")):
        photo_crops.prepare(str(folder), str(data), size=32, gray=gray)
        source = open_source(name, "test", str(data))
        records = [source[index] for index in range(len(source))]
        images[gray] = {each["name"].split()[-1]: decode(each["image"]) for each in records}
    assert images[True].keys() == images[False].keys()
    for key, gray in images[True].items():
        luma = cv2.cvtColor(images[False][key], cv2.COLOR_RGB2GRAY)
        np.testing.assert_array_equal(gray, np.stack([luma] * 3, axis=2))


def test_what_gives_no_data_set_is_refused(tmp_path):
    data = tmp_path / "data"
    (tmp_path / "one").mkdir()
    Image.fromarray(NOISE).save(tmp_path / "one" / "noise.png")
    for folder, size, words in (
        (tmp_path / "nowhere", 64, "no folder of photographs at"),
        (tmp_path / "one", 32, "1 photographs in"),
        (tmp_path / "one", 50, "--size is 50: photo_crops has squares of 32, 64, 96 pixels"),
    ):
        with pytest.raises(UserError, match=words):
            photo_crops.prepare(str(folder), str(data), size, gray=False)
        assert not data.exists()


@pytest.mark.slow
@pytest.mark.skipif(PHOTOGRAPHS not in os.environ, reason=f"{PHOTOGRAPHS} names no photographs")
def test_the_photographs_of_two_debian_packages_give_5_377_squares():
    folder = pathlib.Path(os.environ[PHOTOGRAPHS])
    paths = photo_crops.find_photographs(folder, 64)
    splits = [split for path in paths.values() for split, _, _ in photo_crops.cut(path, 64)]
    assert len(paths) == 27
    assert (splits.count("train"), splits.count("test")) == (3_359, 2_018)
