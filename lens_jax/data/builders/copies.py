"""Copies of prepared data sets: with images of limited size, or with some of the classes only.

Much of the time of reading ImageNet goes into pixels that are averaged away. Photographs of 500 px
that are copied with shorter sides of 256 px take two thirds of the bytes, at quality 95, and are
read 1.6 times as fast.
"""

import itertools
import os
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar, NamedTuple

import cv2
import simplejpeg
import tensorflow_datasets as tfds

from lens_jax.data import headers, pixels, preparation, tfds_records
from lens_jax.data.builders.imagenet100 import CLASSES
from lens_jax.data.records import Record, Source
from lens_jax.data.source import find_prepared, open_source
from lens_jax.errors import UserError

QUALITY = 95
_CHUNK = 256
_NAMED = 3

# Keys and examples of a split.
Examples = Iterator[tuple[int, dict[str, Any]]]


class Original(NamedTuple):
    """What is copied: the splits of a data set, and those of its classes that are kept."""

    splits: dict[str, Source]
    class_names: tuple[str, ...]


def prepare(dataset: str, data_dir: str, max_side: int | None) -> None:
    """Copies a prepared data set, and prints what was prepared.

    Args:
      dataset: its name, see `open_source`; or "imagenet100", of which ImageNet is the original.
      data_dir: the folder of all data sets.
      max_side: the largest legal shorter side of the images in pixels; None keeps them as they are.

    Raises:
      UserError: the data set is not prepared, or the copy is there already.

    """
    is_subset = dataset == "imagenet100"
    original_name = "imagenet2012" if is_subset else dataset
    path = find_prepared(original_name, data_dir)
    splits = {}
    for split in tfds_records.split_names(path):
        splits[split] = open_source(original_name, split, data_dir)

    all_names = next(iter(splits.values())).class_names
    class_names = CLASSES if is_subset else all_names
    missing = set(class_names) - set(all_names)
    if missing:
        first = ", ".join(sorted(missing)[:_NAMED])
        raise UserError(f"{path} lacks {len(missing)} classes of {dataset}, such as {first}")

    builder_class = _named(copy_name(dataset, max_side))
    builder = builder_class(
        original=Original(splits, class_names),
        max_side=max_side,
        data_dir=preparation.data_folder(data_dir),
        file_format="array_record",
    )
    print(preparation.prepare(builder))
    if builder.broken:
        first = ", ".join(builder.broken[:_NAMED])
        print(f"left out {len(builder.broken)} images that do not decode: {first}")


def copy_name(dataset: str, max_side: int | None) -> str:
    """The name of a copy, such as "imagenet2012_max256"; open it as "tfds:imagenet2012_max256"."""
    plain = dataset.removeprefix(tfds_records.PREFIX)
    name = re.sub(r"\W", "_", plain, flags=re.ASCII)
    return f"{name}_max{max_side}" if max_side else name


def limit(data: bytes, max_side: int) -> bytes:
    """An image as JPEG whose shorter side is at most `max_side` pixels.

    One that is no larger is kept as it is, whatever its format. The others are averaged, and their
    aspect is kept up to half a pixel.

    Raises:
      ValueError: it does not decode.

    """
    height, width, _ = headers.read_header(data)
    scale = max_side / min(height, width)
    if scale >= 1:
        return data
    new_height = max(max_side, round(scale * height))
    new_width = max(max_side, round(scale * width))
    image = pixels.read(data, new_height, new_width, depth=16)
    smaller = cv2.resize(image, (new_width, new_height), interpolation=cv2.INTER_AREA)
    return simplejpeg.encode_jpeg(smaller, quality=QUALITY, colorsubsampling="420")


class Copy(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Images of another data set, and their labels."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}

    def __init__(self, *, original: Original, max_side: int | None, **kwargs: Any):
        """The images of `original`, see `prepare`."""
        self._original = original
        self._max_side = max_side
        self.broken: list[str] = []
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=list(self._original.class_names)),
            "file_name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            license="That of the original data set.",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Examples]:
        splits = self._original.splits
        return {name: self._generate_examples(source) for name, source in splits.items()}

    def _generate_examples(self, source: Source) -> Examples:
        indices = iter(range(len(source)))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            # By chunks, as a pool would read on until the memory is full.
            while chunk := list(itertools.islice(indices, _CHUNK)):
                copies = pool.map(lambda index: self._copy(source, index), chunk)
                for index, example in zip(chunk, copies, strict=True):
                    if example is not None:
                        yield index, example

    def _copy(self, source: Source, index: int) -> dict[str, Any] | None:
        """One example; None where its class is not kept or it does not decode."""
        record = source[index]
        class_name = source.class_names[record["label"]]
        if class_name not in self._original.class_names:
            return None
        try:
            image = record["image"]
            if self._max_side is not None:
                image = limit(image, self._max_side)
        except ValueError:
            self.broken.append(record["name"])
            return None
        return {"image": image, "label": class_name, "file_name": _title(record)}


def _title(record: Record) -> str:
    """What follows the split and the index in a record's name, such as a file's name."""
    _, _, title = record["name"].partition("] ")
    return title


def _named(name: str) -> type[Copy]:
    """The builder of a copy; TFDS takes a data set's name from the class."""
    return type(name, (Copy,), {"name": name, "__module__": __name__}, skip_registration=True)
