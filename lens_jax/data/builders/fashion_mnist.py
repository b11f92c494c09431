"""Fashion-MNIST: 70,000 photographs of products of ten kinds, padded to 32 px, as RGB.

Xiao et al., 2017, Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning Algorithms
(arXiv 1708.07747).

The source is a folder with the four files of the release, as they are or unpacked. Debian ships
them as the package dataset-fashion-mnist.

TFDS has a data set of the same name, of 28 px and gray. That one is "fashion_mnist/VERSION" on
disk and "tfds:fashion_mnist" here, this one is "fashion_mnist/32/VERSION" and "fashion_mnist".
"""

import gzip
import pathlib
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import numpy as np
import tensorflow_datasets as tfds

from lens_jax.data import preparation
from lens_jax.data.builders import png
from lens_jax.errors import UserError, reason

SIZE = 32
CLASSES = (
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
)
PREFIXES = {"train": "train", "test": "t10k"}
IMAGES = "images-idx3-ubyte"
LABELS = "labels-idx1-ubyte"

_STORED_SIZE = 28
_BORDER = (SIZE - _STORED_SIZE) // 2
# More than any file of this form has: what a packed file may claim is bounded.
_MAX_BYTES = 2**28
_UNSIGNED_BYTES = 8

# Keys and examples of a split.
Examples = Iterator[tuple[int, dict[str, Any]]]


class Split(NamedTuple):
    """Images, uint8 [n, 28, 28], and their labels, uint8 [n] in [0, 10)."""

    images: np.ndarray
    labels: np.ndarray


def prepare(source: str, data_dir: str) -> None:
    """Prepares the four files in the folder `source`, and prints what was prepared.

    Raises:
      UserError: a file is missing or of another form, or the data is there already.

    """
    folder = pathlib.Path(source).expanduser()
    splits = {split: read_split(folder, prefix) for split, prefix in PREFIXES.items()}
    builder = FashionMnist(
        splits=splits,
        config=str(SIZE),
        data_dir=preparation.data_folder(data_dir),
        file_format="array_record",
    )
    print(preparation.prepare(builder))


def read_split(folder: pathlib.Path, prefix: str) -> Split:
    """Reads the images and labels whose files begin with `prefix`.

    Raises:
      UserError: a file is missing or of another form, or the two do not fit each other.

    """
    images_path = _find(folder, f"{prefix}-{IMAGES}")
    labels_path = _find(folder, f"{prefix}-{LABELS}")
    images = read_idx(images_path, dimensions=3)
    labels = read_idx(labels_path, dimensions=1)

    side = (_STORED_SIZE, _STORED_SIZE)
    if images.shape[1:] != side:
        raise UserError(f"{images_path} holds images of {images.shape[1:]}: expected {side}")
    if len(images) != len(labels):
        raise UserError(
            f"{images_path} holds {len(images)} images, and {labels_path} {len(labels)} labels: "
            "use files of the same release"
        )
    if not len(labels) or labels.max() >= len(CLASSES):
        raise UserError(f"{labels_path} holds no labels from 0 to {len(CLASSES) - 1}")
    return Split(images, labels)


def read_idx(path: pathlib.Path, dimensions: int) -> np.ndarray:
    """Reads an array of bytes in the idx format of MNIST, packed by gzip or not.

    Raises:
      UserError: the file cannot be read, or holds something else.

    """
    opens = gzip.open if path.suffix == ".gz" else open
    try:
        with opens(path, "rb") as file:
            content = file.read(_MAX_BYTES)
    except (OSError, EOFError) as error:
        raise UserError(f"{path} cannot be read: {reason(error)}; get it anew") from error

    # Two zero bytes, the type, the number of dimensions, and each of them in 4 bytes.
    start = 4 + 4 * dimensions
    header = np.frombuffer(content[4:start], ">u4") if len(content) >= start else np.zeros(1)
    shape = tuple(int(side) for side in header)
    is_idx = content[:4] == bytes([0, 0, _UNSIGNED_BYTES, dimensions])
    if not is_idx or len(content) - start != np.prod(shape, dtype=object):
        raise UserError(f"{path} is no complete idx file of {dimensions} dimensions: get it anew")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def pad(image: np.ndarray) -> np.ndarray:
    """Pads a gray image, uint8 [28, 28], with its background, 0, to RGB, uint8 [32, 32, 3]."""
    padded = np.pad(image, _BORDER)
    return np.stack([padded] * 3, axis=2)


class FashionMnist(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Photographs of products; the pixels are those of the release, inside a border."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}
    BUILDER_CONFIGS: ClassVar = [
        tfds.core.BuilderConfig(name=str(SIZE), description="RGB images of 32x32 pixels.")
    ]

    def __init__(self, *, splits: dict[str, Split], **kwargs: Any):
        """Images and labels of each split."""
        self._splits = splits
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(SIZE, SIZE, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=list(CLASSES)),
            "id": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            homepage="https://github.com/zalandoresearch/fashion-mnist",
            license="MIT",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Examples]:
        return {name: self._generate_examples(split) for name, split in self._splits.items()}

    def _generate_examples(self, split: Split) -> Examples:
        for index, image in enumerate(split.images):
            example = {
                "image": png.encode(pad(image)),
                "label": int(split.labels[index]),
                "id": str(index),
            }
            yield index, example


def _find(folder: pathlib.Path, name: str) -> pathlib.Path:
    for path in (folder / f"{name}.gz", folder / name):
        if path.is_file():
            return path
    raise UserError(
        f"no {name}.gz in {str(folder)!r}: set --source to the folder of the four files, which "
        "Debian's package dataset-fashion-mnist has in usr/share/datasets/fashion-mnist"
    )
