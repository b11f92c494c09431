"""Data sets that TFDS prepared as ArrayRecord: their names, and their records in any order."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from etils import epath

from lens_jax.data.records import UNLABELED, Record, Source, choose_split, fingerprint
from lens_jax.errors import UserError

PREFIX = "tfds:"
_FORM = "tfds:NAME, tfds:NAME/CONFIG, tfds:NAME:VERSION or tfds:NAME,image=KEY,label=KEY"
_NAME = re.compile(
    r"tfds:(?P<name>\w+(/\w[\w.+-]*)?)(:(?P<version>\d+\.\d+\.\d+))?"
    r"(,image=(?P<image>[\w-]+))?(,label=(?P<label>[\w-]+))?",
    re.ASCII,
)


class Name(NamedTuple):
    """What a name such as "tfds:imagenette/320px-v2:1.0.0,label=label" says.

    Attributes:
      name: TFDS' name, and after a "/" that of a configuration.
      version: the version, or "" for the newest.
      image: the key of the images' feature, or "" for the only one that there is.
      label: the key of the labels' feature, or "" for the only one that there is.

    """

    name: str
    version: str = ""
    image: str = ""
    label: str = ""


def parse(name: str) -> Name:
    """Reads a name that begins with `PREFIX`.

    Raises:
      UserError: it has another form.

    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise UserError(f"{name!r} names no TFDS data set: expected {_FORM}")
    return Name(**match.groupdict(default=""))


def split_names(path: epath.Path) -> tuple[str, ...]:
    """The splits of the data set in a folder."""
    import tensorflow_datasets as tfds

    builder = tfds.builder_from_directory(path)
    return tuple(builder.info.splits)


def open_records(path: epath.Path, split: str, image: str = "", label: str = "") -> Source:
    """Opens a split of the data set in a folder.

    Args:
      path: the folder of one version, which is prepared as ArrayRecord.
      split: one of its splits; "" is the one to evaluate on, see `records.choose_split`.
      image: the key of the images' feature; "" stands for the only one.
      label: the key of the labels' feature; "" stands for the only one. Where there is none, all
        images are of one class, `UNLABELED`.

    Raises:
      UserError: there is no such split or feature, or more than one that could be meant.

    """
    import tensorflow_datasets as tfds
    from tensorflow_datasets.proto import tf_example_pb2

    builder = tfds.builder_from_directory(path)
    info = builder.info
    split = choose_split(info.full_name, split, info.splits)

    images = _keys_of(info.features, _is_image)
    image = _choose(info.full_name, "image", image, images)
    if not image:
        raise UserError(f"{info.full_name} has no images of 8 or 16 bits: use another data set")
    labels = _keys_of(info.features, _is_label)
    label = _choose(info.full_name, "label", label, labels)
    class_names = tuple(info.features[label].names) if label else (UNLABELED,)

    # TFDS' own parser would first turn every feature into an array, which takes thrice as long.
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    rows = builder.as_data_source(
        split,
        deserialize_method=raw,
        file_format="array_record",
    )
    prefix = f"{info.full_name} {split}"

    def read(index: int) -> Record:
        row = rows[index]
        example = tf_example_pb2.Example.FromString(row)
        features = example.features.feature
        labels = features[label].int64_list.value if label else (0,)
        return {
            "image": features[image].bytes_list.value[0],
            "label": labels[0],
            "name": " ".join([f"{prefix}[{index}]", *_titles(features)]),
        }

    size = len(rows)
    return Source(
        class_names,
        size,
        read,
        dataset=info.full_name,
        folder=str(path),
        split=split,
        fingerprint=fingerprint((info.full_name, split, str(size), *class_names)),
        notes=(f"{prefix} in {path}: {size:,} images, classes: {len(class_names):,}",),
    )


def _keys_of(features: Any, is_wanted: Callable[[Any], bool]) -> tuple[str, ...]:
    found = [key for key, feature in features.items() if is_wanted(feature)]
    # TFDS reads them in no particular order.
    return tuple(sorted(found))


def _is_image(feature: Any) -> bool:
    import tensorflow_datasets as tfds

    # Images of floating point numbers are stored as PNG files of their bytes.
    is_image = isinstance(feature, tfds.features.Image)
    return is_image and feature.np_dtype.name in ("uint8", "uint16")


def _is_label(feature: Any) -> bool:
    import tensorflow_datasets as tfds

    return isinstance(feature, tfds.features.ClassLabel)


def _choose(data_set: str, kind: str, key: str, candidates: tuple[str, ...]) -> str:
    """The key that is asked for, or the usual or only candidate; "" where there is none."""
    legal = ", ".join(candidates) or "none"
    if key and key not in candidates:
        raise UserError(f"{data_set} has no {kind} feature {key!r}: use one of {legal}")
    if key or not candidates:
        return key
    if kind in candidates:
        return kind
    if len(candidates) > 1:
        raise UserError(
            f"{data_set} has {len(candidates)} {kind} features, {legal}: add one to the name, as "
            f"in ,{kind}={candidates[0]}"
        )
    return candidates[0]


def _titles(features: Any) -> list[str]:
    """Where a record comes from: ImageNet and Places have files, CIFAR-10 ids, frames a video."""
    titles = []
    for key in ("file_name", "id"):
        if key in features:
            title = _text(features, key)
            titles.append(title)
    if "video" in features and "frame" in features:
        # Time finds the frame in the video, its number in the data set.
        video_id = _text(features, "video")
        frames = features["frame"].int64_list.value
        seconds = features["seconds"].float_list.value
        titles.append(f"{video_id} frame {frames[0]} at {seconds[0]:.2f} s")
    return [title for title in titles if title]


def _text(features: Any, key: str) -> str:
    """A text, or a number as one."""
    feature = features[key]
    values = [*feature.bytes_list.value, *feature.int64_list.value]
    if not values:
        return ""
    first = values[0]
    return first.decode(errors="replace") if isinstance(first, bytes) else str(first)
