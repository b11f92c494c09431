import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from lens_jax.data.builders import fashion_mnist
from lens_jax.data.decode import decode
from lens_jax.data.source import open_source
from lens_jax.errors import UserError
from tests.idx import COUNTS, idx, images, write

RELEASE = "FASHION_MNIST_DIR"


def refuse(folder: pathlib.Path, data: pathlib.Path) -> str:
    with pytest.raises(UserError) as caught:
        fashion_mnist.prepare(str(folder), str(data))
    assert "\n" not in str(caught.value)
    assert not data.exists()
    return str(caught.value)


@pytest.mark.parametrize("packed", [True, False])
def test_images_are_those_of_the_release_inside_a_border(packed: bool, tmp_path, capsys):
    folder = write(tmp_path / "release", packed)
    fashion_mnist.prepare(str(folder), str(tmp_path / "data"))
    last = capsys.readouterr().out.splitlines()[-1]
    path = tmp_path / "data" / "fashion_mnist" / "32" / "1.0.0"
    assert last == f"{path} holds 20 in train, 10 in test"
    for split, prefix in (("train", "train"), ("test", "t10k")):
        source = open_source("fashion_mnist", split, str(tmp_path / "data"))
        assert source.class_names[9] == "Ankle boot"
        assert len(source) == COUNTS[prefix]
        for record in (source[index] for index in range(len(source))):
            number = int(record["name"].split()[-1])
            image = decode(record["image"])
            assert image.shape == (32, 32, 3)
            assert record["label"] == number % 10
            for channel in range(3):
                np.testing.assert_array_equal(image[2:30, 2:30, channel], images(prefix)[number])
            assert image.sum() == 3 * images(prefix)[number].sum(dtype=int)


def test_it_lies_beside_the_set_of_tfds_of_the_same_name(tmp_path):
    fashion_mnist.prepare(str(write(tmp_path / "release")), str(tmp_path / "data"))
    other = tmp_path / "data" / "fashion_mnist" / "3.0.1"
    other.mkdir()
    (other / "dataset_info.json").write_text("{}")
    assert len(open_source("fashion_mnist", "test", str(tmp_path / "data"))) == 10


def test_it_may_be_read_beside_all_the_sets_of_tfds():
    # TFDS refuses a second registered data set of one name.
    modules = "tensorflow_datasets.image_classification, lens_jax.data.builders.fashion_mnist"
    subprocess.run([sys.executable, "-c", f"import {modules}"], check=True)


def test_files_that_are_missing_cut_off_or_something_else_are_named(tmp_path):
    folder = write(tmp_path / "release", packed=False)
    data = tmp_path / "data"
    path = folder / "t10k-images-idx3-ubyte"
    whole = path.read_bytes()
    for wrong in (b"", whole[:3], whole[:12], whole[:-1], whole + b"\0", b"\0\0\x09" + whole[3:]):
        path.write_bytes(wrong)
        assert f"{path} is no complete idx file" in refuse(folder, data)
    path.write_bytes(idx(images("t10k")[:9]))
    assert "holds 9 images, and" in refuse(folder, data)
    path.write_bytes(idx(images("t10k")[:, :27]))
    assert "holds images of (27, 28): expected (28, 28)" in refuse(folder, data)
    path.unlink()
    assert "dataset-fashion-mnist" in refuse(folder, data)
    path.with_name(f"{path.name}.gz").write_bytes(b"no gzip")
    assert "cannot be read" in refuse(folder, data)


def test_a_packed_file_cannot_claim_any_amount_of_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(fashion_mnist, "_MAX_BYTES", 1000)
    text = refuse(write(tmp_path / "release"), tmp_path / "data")
    assert "is no complete idx file" in text


@pytest.mark.slow
@pytest.mark.skipif(RELEASE not in os.environ, reason=f"{RELEASE} names no folder of the release")
def test_the_release_has_60_000_and_10_000_images_evenly_over_the_classes():
    folder = pathlib.Path(os.environ[RELEASE])
    for prefix, count in (("train", 6_000), ("t10k", 1_000)):
        split = fashion_mnist.read_split(folder, prefix)
        assert np.bincount(split.labels).tolist() == [count] * 10
        assert len({image.tobytes() for image in split.images}) == 10 * count
