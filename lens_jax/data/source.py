"""Opens data sets by name as random access sources of encoded images with labels.

Nothing is ever downloaded. The project's own data sets are made on the spot. The others have to be
prepared beforehand, and the error message says how.
"""

from typing import Any

from etils import epath
from ml_collections import ConfigDict

from lens_jax.data import preparation, video
from lens_jax.data.folder import open_folder
from lens_jax.data.records import Record, Source, choose_split, fingerprint
from lens_jax.errors import UserError

# The configurations of each data set that this project makes: the first is the default, and "" the
# only one of a data set without.
_OWN = {"glyphs": ("32", "48", "64", "96", "128"), "digits": ("",)}
_PREPARED = ("cifar10", "imagenet2012", "places205", preparation.FRAMES)


def names() -> tuple[str, ...]:
    """The names that `open_source` knows."""
    configured = []
    for name, configs in _OWN.items():
        for config in configs[1:]:
            configured.append(f"{name}/{config}")
    return (*_OWN, *configured, *_PREPARED, "image_folder")


def open_split(data: ConfigDict, split: str) -> Source:
    """Opens a split of the data set of a config's section "data", see `open_source`."""
    return open_source(data.name, split, data.dir, data.classes)


def open_source(name: str, split: str, data_dir: str = "", classes: str = "folder") -> Source:
    """Opens a split of a data set.

    "glyphs" and "digits" are prepared in `data_dir` where they are not yet; other processes that
    want the same wait. "cifar10" and "imagenet2012" are read from where TFDS prepared them,
    "places205" and "youtube8m_frames" from where `lens_jax.prepare` did. Of several preparations of
    the latter, one is named like "youtube8m_frames/1fps-256". "image_folder" is any folder of
    images, see `open_folder`.

    Args:
      name: one of `names()`.
      split: one of the data set's splits, such as "train"; "" is the one to evaluate on, see
        `records.choose_split`.
      data_dir: TFDS' directory, where "" stands for its default; or the image folder.
      classes: what the classes of an image folder are, see `open_folder`.

    Raises:
      UserError: an unknown name or split, or data that is not there or not readable at random.

    """
    if name == "image_folder":
        return open_folder(data_dir, split, classes)

    # Prepared beforehand, by TFDS or by `lens_jax.prepare`.
    if name in _PREPARED or _is_sampling(name):
        folder = preparation.data_folder(data_dir)
        path = preparation.find(name, folder)
        return _open_tfds(path, split)

    # Made here where it is not there yet.
    base, _, config = name.partition("/")
    configs = _OWN.get(base, ())
    if configs and not config:
        config = configs[0]
    if config in configs:
        folder = preparation.data_folder(data_dir)
        path = preparation.make(base, config, folder)
        return _open_tfds(path, split)

    legal = ", ".join(names())
    raise UserError(f"unknown data set {name!r}: use one of {legal}")


def _is_sampling(name: str) -> bool:
    """Whether it is one way of preparing frames, such as "youtube8m_frames/1fps-256"."""
    base, _, config = name.partition("/")
    return base == preparation.FRAMES and video.parse_name(config) is not None


def _open_tfds(path: epath.Path, split: str) -> Source:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.proto import tf_example_pb2

    builder = tfds.builder_from_directory(path)
    info = builder.info
    split = choose_split(info.full_name, split, info.splits)

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
        return _tfds_record(example, f"{prefix}[{index}]")

    labels = info.features["label"]
    class_names = tuple(labels.names)
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


def _tfds_record(example: Any, name: str) -> Record:
    features = example.features.feature
    images = features["image"].bytes_list.value
    labels = features["label"].int64_list.value
    titles = _titles(features)
    return {
        "image": images[0],
        "label": labels[0],
        "name": " ".join([name, *titles]),
    }


def _titles(features: Any) -> list[str]:
    """Where a record comes from: ImageNet and Places have files, CIFAR-10 ids, frames a video."""
    titles = []
    for key in ("file_name", "id"):
        if key in features:
            title = _text(features, key)
            titles.append(title)
    if "video" in features:
        # Time finds the frame in the video, its number in the data set.
        video_id = _text(features, "video")
        frames = features["frame"].int64_list.value
        seconds = features["seconds"].float_list.value
        titles.append(f"{video_id} frame {frames[0]} at {seconds[0]:.2f} s")
    return titles


def _text(features: Any, key: str) -> str:
    values = features[key].bytes_list.value
    return values[0].decode()
