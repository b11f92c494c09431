"""Copies of prepared data sets, with limited sides or fewer classes."""

import io
import pathlib

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from lens_jax.data.builders import copies, imagenet100
from lens_jax.data.decode import decode
from lens_jax.data.source import open_source
from lens_jax.errors import UserError

SMOOTH = cv2.resize(np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8), (300, 200))
# Two classes of ImageNet-100 and one that is not among them, in ImageNet's order.
OTHER = "n01440764"


def jpeg(image: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=97)
    return file.getvalue()


def image(index: int) -> bytes:
    if index == 7:
        return b"no image"
    # Every third is smaller than the limit.
    return jpeg(SMOOTH[:50, :60] if index % 3 == 0 else SMOOTH)


class Imagenet2012(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A stand-in under the name of ImageNet."""

    VERSION = tfds.core.Version("5.1.0")

    def _info(self):
        names = [OTHER, *imagenet100.CLASSES]
        features = {
            "image": tfds.features.Image(encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=names),
            "file_name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(10), "validation": self._generate_examples(3)}

    def _generate_examples(self, count):
        for index in range(count):
            example = {"image": image(index), "label": index % 4, "file_name": f"{index}.JPEG"}
            yield index, example


@pytest.fixture
def data(tmp_path) -> pathlib.Path:
    Imagenet2012(data_dir=tmp_path, file_format="array_record").download_and_prepare()
    return tmp_path


def read(name: str, split: str, data: pathlib.Path) -> dict[str, tuple[bytes, str]]:
    source = open_source(name, split, str(data))
    found = {}
    for record in (source[index] for index in range(len(source))):
        class_name = source.class_names[record["label"]]
        found[record["name"].split()[-1]] = (record["image"], class_name)
    return found


def test_the_list_has_100_classes_in_order():
    assert len(set(imagenet100.CLASSES)) == 100
    assert sorted(imagenet100.CLASSES) == list(imagenet100.CLASSES)


def test_shorter_sides_are_limited_and_small_images_stay_as_they_are(data, capsys):
    copies.prepare("imagenet2012", str(data), max_side=64)
    lines = capsys.readouterr().out.splitlines()
    path = data / "imagenet2012_max64" / "1.0.0"
    assert lines[-2] == f"{path} holds 9 in train, 3 in validation"
    assert lines[-1].startswith("left out 1 images that do not decode: imagenet2012/5.1.0 train[")
    assert lines[-1].endswith(" 7.JPEG")

    original = read("imagenet2012", "train", data)
    copied = read("tfds:imagenet2012_max64", "train", data)
    assert copied.keys() == original.keys() - {"7.JPEG"}
    assert read("tfds:imagenet2012_max64", "validation", data).keys() == {
        f"{index}.JPEG" for index in range(3)
    }
    expected = cv2.resize(SMOOTH, (96, 64), interpolation=cv2.INTER_AREA).astype(float)
    for name, (content, label) in copied.items():
        assert label == original[name][1]
        if int(name[0]) % 3 == 0:
            assert content == original[name][0]
        else:
            smaller = decode(content)
            assert smaller.shape == (64, 96, 3)
            assert np.abs(smaller - expected).mean() < 3


def test_imagenet100_holds_its_classes_only(data):
    copies.prepare("imagenet100", str(data), max_side=None)
    source = open_source("imagenet100", "train", str(data))
    assert source.class_names == imagenet100.CLASSES
    original = read("imagenet2012", "train", data)
    expected = {name: each for name, each in original.items() if each[1] != OTHER}
    assert read("imagenet100", "train", data) == expected

    copies.prepare("imagenet100", str(data), max_side=64)
    limited = read("tfds:imagenet100_max64", "validation", data)
    assert limited.keys() == {"1.JPEG", "2.JPEG"}


def test_what_is_not_prepared_or_there_already_is_refused(data):
    with pytest.raises(UserError, match="places205 is not prepared in"):
        copies.prepare("places205", str(data), max_side=64)
    with pytest.raises(UserError, match="unknown data set 'places'"):
        copies.prepare("places", str(data), max_side=64)
    copies.prepare("imagenet2012", str(data), max_side=64)
    with pytest.raises(UserError, match="is there already"):
        copies.prepare("imagenet2012", str(data), max_side=64)


def test_names_of_copies():
    assert copies.copy_name("imagenet2012", 256) == "imagenet2012_max256"
    assert copies.copy_name("tfds:imagenette/320px-v2:1.0.0", 96) == (
        "imagenette_320px_v2_1_0_0_max96"
    )


@pytest.mark.parametrize(("height", "width"), [(200, 300), (300, 200), (64, 900), (65, 65)])
def test_sides_of_a_limited_image(height: int, width: int):
    limited = decode(copies.limit(jpeg(np.zeros((height, width, 3), np.uint8)), 64))
    scale = 64 / min(height, width)
    assert min(limited.shape[:2]) == 64
    assert abs(limited.shape[0] - scale * height) <= 0.5
    assert abs(limited.shape[1] - scale * width) <= 0.5
