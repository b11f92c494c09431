"""Digits: the 1,797 scans of handwritten digits that ship with scikit-learn, as RGB images."""

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np
import tensorflow_datasets as tfds

from lens_jax.data.builders import png

SIZE = 32
_TEST_EVERY = 5
# The largest value of a scan.
_INK = 16

# Keys and examples of a split.
Examples = Iterator[tuple[int, dict[str, Any]]]


def upscale(scan: np.ndarray) -> np.ndarray:
    """Makes an RGB image, uint8 [32, 32, 3], of a scan, float [8, 8] in [0, 16].

    Each point of the scan becomes 4 x 4 pixels.
    """
    light = scan * (255 / _INK)
    gray = np.rint(light).astype(np.uint8)
    factor = SIZE // len(scan)
    tall = gray.repeat(factor, axis=0)
    large = tall.repeat(factor, axis=1)
    return np.stack([large, large, large], axis=2)


def splits(labels: np.ndarray) -> dict[str, np.ndarray]:
    """Indices of the scans of the splits "train" and "test", given all scans' labels, int [n].

    The scans are sorted by label, then every fifth is a test image: a fifth of each class.
    """
    order = np.argsort(labels, kind="stable")
    test = order[::_TEST_EVERY]
    train = np.setdiff1d(order, test)
    return {"train": train, "test": np.sort(test)}


class Digits(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """The test part of the UCI optical recognition of handwritten digits data set, split anew."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(SIZE, SIZE, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(num_classes=10),
            "index": tfds.features.Scalar(np.int64),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            homepage="https://archive.ics.uci.edu/dataset/80",
            license="CC BY 4.0",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Examples]:
        return {
            "train": self._generate_examples("train"),
            "test": self._generate_examples("test"),
        }

    def _generate_examples(self, split: str) -> Examples:
        # Imported here as only preparing needs it, and it is slow to import.
        from sklearn import datasets

        scans = datasets.load_digits()
        indices = splits(scans.target)[split]
        for index in indices.tolist():
            image = upscale(scans.images[index])
            label = scans.target[index]
            example = {
                "image": png.encode(image),
                "label": int(label),
                "index": index,
            }
            yield index, example
