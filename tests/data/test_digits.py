import numpy as np
from sklearn.datasets import load_digits

from lens_jax.data.builders.digits import Digits, upscale


def test_stored_images_are_the_scans_up_to_upscaling(data_dir):
    scans = load_digits()
    builder = Digits(data_dir=data_dir, file_format="array_record")
    rows = [*builder.as_data_source("train"), *builder.as_data_source("test")]
    for row in rows:
        index = int(row["index"])
        assert row["label"] == scans.target[index]
        blocks = row["image"].reshape(8, 4, 8, 4, 3)
        assert (blocks == blocks[:, :1, :, :1, :1]).all()
        points = np.rint(blocks[:, 0, :, 0, 0] / 255 * 16)
        np.testing.assert_array_equal(points, scans.images[index])
    assert sorted(int(row["index"]) for row in rows) == list(range(1_797))


def test_split_sizes_and_classes(data_dir):
    builder = Digits(data_dir=data_dir, file_format="array_record")
    train = [row["label"] for row in builder.as_data_source("train")]
    test = [row["label"] for row in builder.as_data_source("test")]
    assert (len(train), len(test)) == (1_437, 360)
    np.testing.assert_allclose(4 * np.bincount(test), np.bincount(train), atol=5)


def test_upscale_uses_the_whole_range():
    scan = np.zeros((8, 8))
    scan[0, 0] = 16
    image = upscale(scan)
    assert image.dtype == np.uint8
    assert image[:4, :4].min() == 255
    assert image.sum() == 4 * 4 * 3 * 255
