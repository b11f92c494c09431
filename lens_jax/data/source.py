"""Opens data sets by name as random access sources of encoded images with labels.

Nothing is ever downloaded. The project's own data sets are made on the spot. The others have to be
prepared beforehand, and the error message says how.
"""

import dataclasses
import operator
import pathlib
from collections.abc import Callable

from etils import epath

from lens_jax.data import preparation, tfds_records, video
from lens_jax.data.tfds_records import Record
from lens_jax.errors import UserError

# The configurations of each data set that this project makes: the first is the default, and "" the
# only one of a data set without.
_OWN = {"glyphs": ("32", "48", "64", "96", "128"), "digits": ("",)}
_PREPARED = ("cifar10", "imagenet2012", "imagenet100", "places205", preparation.FRAMES)
# Those of the data sets that `lens_jax.prepare` makes of files that users bring; likewise.
_BROUGHT = {
    "fashion_mnist": ("32",),
    "photo_crops": ("64", "32", "96", "64-gray", "32-gray", "96-gray"),
}
_SUFFIXES = (".jpg", ".jpeg", ".png")


@dataclasses.dataclass(frozen=True)
class Source:
    """One split of a data set, or a subsample of it.

    `len(source)` is its size, and `source[i]` is a `Record` that any thread may read.

    Attributes:
      class_names: what the labels stand for, in order.
      size: number of records.
      read: returns the record at an index in [0, size).
      locate: returns the index that the record at an index in [0, size) has in the whole split.
        That is the same index, except in a subsample.
      upright: whether its images are turned as EXIF says, unless a config decides otherwise. The
        files of users are; prepared data sets are taken as all others take them.

    """

    class_names: tuple[str, ...]
    size: int
    read: Callable[[int], Record]
    locate: Callable[[int], int] = operator.index
    upright: bool = False

    @property
    def num_classes(self) -> int:
        """Number of classes; labels are in [0, num_classes)."""
        return len(self.class_names)

    def subsample(self, size: int) -> "Source":
        """A source of `size` evenly spaced records, or of all where there are no more."""
        kept = min(size, self.size)

        def original(index: int) -> int:
            return index * self.size // kept

        def read(index: int) -> Record:
            return self.read(original(index))

        def locate(index: int) -> int:
            return self.locate(original(index))

        return dataclasses.replace(self, size=kept, read=read, locate=locate)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Record:
        if not 0 <= index < self.size:
            raise IndexError(f"record {index} of {self.size}")
        return self.read(index)


def names() -> tuple[str, ...]:
    """The names that `open_source` knows."""
    configured = []
    for name, configs in (_OWN | _BROUGHT).items():
        for config in configs[1:]:
            configured.append(f"{name}/{config}")
    any_other = f"{tfds_records.PREFIX}NAME"
    return (*_OWN, *_BROUGHT, *configured, *_PREPARED, any_other, "image_folder")


def open_source(name: str, split: str, data_dir: str = "") -> Source:
    """Opens a split of a data set.

    "glyphs" and "digits" are prepared in `data_dir` where they are not yet; other processes that
    want the same wait. "cifar10" and "imagenet2012" are read from where TFDS prepared them,
    "places205" and "youtube8m_frames" from where `lens_jax.prepare` did. Of several preparations of
    the latter, one is named like "youtube8m_frames/1fps-256". "tfds:NAME" is any data set that TFDS
    prepared as ArrayRecord, see `tfds_records.parse` for what else such a name may say.
    "image_folder" is any folder of image files, see `open_folder`.

    Args:
      name: one of `names()`.
      split: one of the data set's splits, such as "train".
      data_dir: TFDS' directory, where "" stands for its default; or the image folder.

    Raises:
      UserError: an unknown name or split, or data that is not there or not readable at random.

    """
    if name == "image_folder":
        return open_folder(data_dir, split)

    path = find_prepared(name, data_dir)
    image, label = "", ""
    if name.startswith(tfds_records.PREFIX):
        _, _, image, label = tfds_records.parse(name)
    return _open_tfds(path, split, image, label)


def find_prepared(name: str, data_dir: str = "") -> epath.Path:
    """The folder of a data set's version, where the project's own are prepared if they are not yet.

    Args:
      name: one of `names()`, but not "image_folder".
      data_dir: TFDS' directory, where "" stands for its default.

    Raises:
      UserError: an unknown name, or data that is not there or not readable at random.

    """
    # Prepared beforehand, by TFDS or by `lens_jax.prepare`.
    if name.startswith(tfds_records.PREFIX):
        wanted = tfds_records.parse(name)
        folder = preparation.data_folder(data_dir)
        return preparation.find(wanted.name, folder, wanted.version)
    if name in _PREPARED or _is_sampling(name):
        folder = preparation.data_folder(data_dir)
        return preparation.find(name, folder)

    # In several configurations, of which the first is the default.
    base, _, config = name.partition("/")
    configs = (_OWN | _BROUGHT).get(base, ())
    if configs and not config:
        config = configs[0]
    if config in configs:
        folder = preparation.data_folder(data_dir)
        if base in _BROUGHT:
            return preparation.find(f"{base}/{config}", folder)
        # Made here where it is not there yet.
        return preparation.make(base, config, folder)

    legal = ", ".join(names())
    raise UserError(f"unknown data set {name!r}: use one of {legal}")


def _is_sampling(name: str) -> bool:
    """Whether it is one way of preparing frames, such as "youtube8m_frames/1fps-256"."""
    base, _, config = name.partition("/")
    return base == preparation.FRAMES and video.parse_name(config) is not None


def open_folder(folder: str, split: str) -> Source:
    """Opens the JPEG and PNG files of `folder/split/class/` or of `folder/split/`, sorted by path.

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

    splits = sorted(_subfolders(root))
    files = {name: _images(root / name) for name in splits}
    if split not in files:
        legal = ", ".join(files) or "none"
        raise UserError(
            f"unknown split {split!r} of image folder {root}, which has {legal}: {layout}"
        )
    paths = files[split]
    if not paths:
        raise UserError(f"no images in {root / split} of image folder {root}: {layout}")

    # Labels have to mean the same in all splits.
    classes = {}
    different: set[str] = set()
    for name in splits:
        classes[name] = _classes_of(files[name], root / name)
        different.update(classes[name])
    class_names = sorted(different)
    labels = [class_names.index(name) for name in classes[split]]

    def read(index: int) -> Record:
        path = paths[index]
        label = labels[index]
        return _file_record(path, label)

    return Source(tuple(class_names), len(paths), read, upright=True)


def _subfolders(folder: pathlib.Path) -> list[str]:
    names = []
    for path in folder.iterdir():
        is_hidden = path.name.startswith(".")
        if path.is_dir() and not is_hidden:
            names.append(path.name)
    return names


def _images(folder: pathlib.Path) -> list[pathlib.Path]:
    """The image files in a split's folder and in the folders of its classes, sorted."""
    paths = list(folder.iterdir())
    for name in _subfolders(folder):
        subfolder = folder / name
        paths += subfolder.iterdir()
    images = filter(_is_image, paths)
    return sorted(images)


def _is_image(path: pathlib.Path) -> bool:
    is_hidden = path.name.startswith(".")
    suffix = path.suffix.lower()
    return suffix in _SUFFIXES and not is_hidden and path.is_file()


def _classes_of(paths: list[pathlib.Path], split: pathlib.Path) -> list[str]:
    """The class of each file of the split in the folder `split`."""
    classes = []
    for path in paths:
        folder = path.parent
        name = "unlabeled" if folder == split else folder.name
        classes.append(name)
    return classes


def _file_record(path: pathlib.Path, label: int) -> Record:
    """The content of a file; one that cannot be read counts as an image that does not decode."""
    try:
        content = path.read_bytes()
    except OSError:
        content = b""
    return {"image": content, "label": label, "name": str(path)}


def _open_tfds(path: epath.Path, split: str, image: str = "", label: str = "") -> Source:
    records = tfds_records.open_records(path, split, image, label)
    return Source(**records._asdict())
