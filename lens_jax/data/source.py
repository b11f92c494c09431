"""Opens data sets by name as random access sources of encoded images with labels.

Nothing is ever downloaded. The project's own data sets are made on the spot, the others have to be
prepared beforehand, and the error says how.
"""

import dataclasses
import pathlib
from collections.abc import Callable
from typing import Any, TypedDict

from etils import epath

from lens_jax.data import preparation, video
from lens_jax.errors import UserError

# The configurations of each data set that this project makes; the first is the default.
_OWN = {"glyphs": ("32", "48", "64", "96", "128"), "digits": ()}
_PREPARED = ("cifar10", "imagenet2012", "places205", preparation.FRAMES)
_SUFFIXES = (".jpg", ".jpeg", ".png")


class Record(TypedDict):
    """One example: an encoded image, the index of its class, and what to call it in messages."""

    image: bytes
    label: int
    name: str


@dataclasses.dataclass(frozen=True)
class Source:
    """One split of a data set: `len(source)` records, `source[i]` a `Record` that any thread may
    read.

    Attributes:
      class_names: what the labels stand for, in order.
      size: number of records.
      read: gives the record at an index in [0, size).

    """

    class_names: tuple[str, ...]
    size: int
    read: Callable[[int], Record]

    @property
    def num_classes(self) -> int:
        """Number of classes; labels are in [0, num_classes)."""
        return len(self.class_names)

    def thinned(self, size: int) -> "Source":
        """The source with `size` of its records, evenly spaced (all of them where it has no more)."""
        size = min(size, self.size)
        return Source(self.class_names, size, lambda i: self.read(i * self.size // size))

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < self.size:
            raise IndexError(f"record {index} of {self.size}")
        return self.read(index)


def names() -> tuple[str, ...]:
    """The names that `open_source` knows."""
    configs = (f"{name}/{config}" for name, configs in _OWN.items() for config in configs[1:])
    return (*_OWN, *configs, *_PREPARED, "image_folder")


def open_source(name: str, split: str, data_dir: str = "") -> Source:
    """Opens a split of a data set.

    "glyphs" and "digits" are prepared in `data_dir` where they are not yet; other processes that
    want the same wait. "cifar10" and "imagenet2012" are read from where TFDS prepared them,
    "places205" and "youtube8m_frames" from where `lens_jax.prepare` did;
    "youtube8m_frames/1fps-256" tells one way of preparing the latter from others. "image_folder" is
    any folder of JPEG and PNG files, see `open_folder`.

    Args:
      name: one of `names()`.
      split: one of the data set's splits, such as "train".
      data_dir: TFDS' directory, where "" stands for its default; or the image folder.

    Raises:
      UserError: an unknown name or split, or data that is not there or not readable at random.

    """
    if name == "image_folder":
        return open_folder(data_dir, split)
    base, _, config = name.partition("/")
    if name in _PREPARED or (base == preparation.FRAMES and video.parse_name(config)):
        return _open_tfds(preparation.find(name, preparation.data_folder(data_dir)), split)
    if base in _OWN and (not config or config in _OWN[base]):
        config, folder = config or "".join(_OWN[base][:1]), preparation.data_folder(data_dir)
        return _open_tfds(preparation.make(base, config, folder), split)
    raise UserError(f"unknown data set {name!r}: use one of {', '.join(names())}")


def open_folder(folder: str, split: str) -> Source:
    """Opens the JPEG and PNG files in `folder/split/class/`, or right in `folder/split/`, in sorted
    order.

    The classes are those of all splits, sorted; files outside of a class make up one of their own,
    "unlabeled". The folder is read here rather than by `tfds.folder_dataset.ImageFolder`, which
    offers no random access (its `as_data_source` looks for records that were never written) and
    needs classes.

    Raises:
      UserError: there is no such folder or split, or no image in it.

    """
    layout = f"expected {split}/CLASS/*.jpg, .jpeg or .png in it, or the same without CLASS"
    root = pathlib.Path(folder).expanduser()
    if not folder or not root.is_dir():
        raise UserError(f"no image folder at {folder!r}: {layout}; set data.dir")
    files = {name: _images(root / name) for name in sorted(_subfolders(root))}
    if split not in files:
        legal = ", ".join(files) or "none"
        raise UserError(
            f"unknown split {split!r} of image folder {root}, which has {legal}: {layout}"
        )
    if not files[split]:
        raise UserError(f"no images in {root / split} of image folder {root}: {layout}")
    classes = sorted(
        {_class_of(path, root / name) for name, paths in files.items() for path in paths}
    )
    labels = [classes.index(_class_of(path, root / split)) for path in files[split]]
    return Source(tuple(classes), len(labels), lambda i: _file_record(files[split][i], labels[i]))


def _subfolders(folder: pathlib.Path) -> list[str]:
    return [
        path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")
    ]


def _images(folder: pathlib.Path) -> list[pathlib.Path]:
    """The image files in a split's folder and in the folders of its classes, sorted."""
    nested = (path for name in _subfolders(folder) for path in (folder / name).iterdir())
    return sorted(path for path in (*folder.iterdir(), *nested) if _is_image(path))


def _is_image(path: pathlib.Path) -> bool:
    return path.suffix.lower() in _SUFFIXES and not path.name.startswith(".") and path.is_file()


def _class_of(path: pathlib.Path, folder: pathlib.Path) -> str:
    return "unlabeled" if path.parent == folder else path.parent.name


def _file_record(path: pathlib.Path, label: int) -> Record:
    """The content of a file; one that cannot be read counts as an image that does not decode."""
    try:
        content = path.read_bytes()
    except OSError:
        content = b""
    return {"image": content, "label": label, "name": str(path)}


def _open_tfds(path: epath.Path, split: str) -> Source:
    import tensorflow_datasets as tfds
    from tensorflow_datasets.proto import tf_example_pb2

    builder = tfds.builder_from_directory(path)
    if split not in builder.info.splits:
        legal = ", ".join(builder.info.splits)
        raise UserError(f"unknown split {split!r} of {builder.info.full_name}: use one of {legal}")
    # Parsed here as TFDS' own parser turns every feature into an array first, which takes thrice as
    # long.
    raw = tfds.decode.DeserializeMethod.RAW_BYTES
    rows = builder.as_data_source(split, deserialize_method=raw, file_format="array_record")
    parse = tf_example_pb2.Example.FromString
    classes = tuple(builder.info.features["label"].names)
    prefix = f"{builder.info.full_name} {split}"
    return Source(classes, len(rows), lambda i: _tfds_record(parse(rows[i]), f"{prefix}[{i}]"))


def _tfds_record(example: Any, name: str) -> Record:
    features = example.features.feature
    image, label = features["image"].bytes_list.value[0], features["label"].int64_list.value[0]
    return {"image": image, "label": label, "name": " ".join([name, *_titles(features)])}


def _titles(features: Any) -> list[str]:
    """What a record says of its origin: ImageNet and Places tell files, CIFAR-10 ids, frames their video."""
    titles = [
        features[key].bytes_list.value[0].decode() for key in ("file_name", "id") if key in features
    ]
    if "video" in features:
        title, frame = (
            features["video"].bytes_list.value[0].decode(),
            features["frame"].int64_list.value[0],
        )
        titles.append(f"{title} frame {frame} at {features['seconds'].float_list.value[0]:.2f} s")
    return titles
