import pathlib
from collections.abc import Callable, Collection, Iterator

import numpy as np
import pytest
import tensorflow_datasets as tfds

from lens_jax.data.builders import png
from lens_jax.data.records import Record, Source
from lens_jax.data.source import open_source


class Cifar10(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Twelve images in the form of CIFAR-10."""

    VERSION = tfds.core.Version("3.0.2")

    def _info(self):
        features = {
            "id": tfds.features.Text(),
            "image": tfds.features.Image(shape=(32, 32, 3)),
            "label": tfds.features.ClassLabel(names=["plane", "car", "bird"]),
        }
        return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(12), "test": self._generate_examples(3)}

    def _generate_examples(self, count: int) -> Iterator[tuple[int, dict]]:
        for index in range(count):
            image = np.full((32, 32, 3), index, np.uint8)
            yield index, {"id": f"id_{index}", "image": png.encode(image), "label": index % 3}


def prepare_cifar10(data_dir: pathlib.Path, file_format: str) -> None:
    Cifar10(data_dir=data_dir, file_format=file_format).download_and_prepare()


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory) -> str:
    """A TFDS directory with glyphs, digits and a small stand-in for CIFAR-10."""
    folder = tmp_path_factory.mktemp("tfds")
    open_source("glyphs", "train", str(folder))
    open_source("digits", "train", str(folder))
    prepare_cifar10(folder, "array_record")
    return str(folder)


@pytest.fixture(scope="session")
def tfrecord_dir(tmp_path_factory) -> str:
    """A TFDS directory with the same stand-in as TFRecord."""
    folder = tmp_path_factory.mktemp("tfrecord")
    prepare_cifar10(folder, "tfrecord")
    return str(folder)


@pytest.fixture
def numbered() -> Callable[..., Source]:
    """Makes a source whose image i is red i and fades in green and blue; `broken` are cut short."""

    def make(size: int, broken: Collection[int] = ()) -> Source:
        fade = np.zeros((32, 32, 3), np.uint8)
        fade[..., 1:] = np.moveaxis(7 * np.indices((32, 32)), 0, -1)
        images = []
        for index in range(size):
            data = png.encode(fade + np.array([index, 0, 0], np.uint8))
            end = len(data) // 2 if index in broken else len(data)
            images.append(data[:end])

        def read(index: int) -> Record:
            return {"image": images[index], "label": index % 2, "name": f"image {index}"}

        return Source(("even", "odd"), size, read)

    return make
