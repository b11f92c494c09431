"""Places205 (Zhou et al., 2014, Learning Deep Features for Scene Recognition using Places
Database).

The source is the folder into which the two official archives were unpacked, the one of the images
resized to 256x256 and the one of the lists:

    data/vision/torralba/deeplearning/images256/a/abbey/gsun_0003586c3eedd97457b2d729ebfe18b5.jpg
    trainvalsplit_places205/train_places205.csv
    trainvalsplit_places205/val_places205.csv

The lists may also lie in the folder itself. Their lines name an image below `images256` and its
label, as in `a/abbey/gsun_0003586c3eedd97457b2d729ebfe18b5.jpg 0`; the images of both lists are in
the same folders. A class is named by the folders between the first letter and the file, such as
`abbey` or `field/wild`.
"""

import os
import pathlib
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import tensorflow_datasets as tfds

from lens_jax.data import preparation
from lens_jax.errors import UserError

IMAGES = "data/vision/torralba/deeplearning/images256"
LISTS = {"train": "train_places205.csv", "validation": "val_places205.csv"}
LISTS_FOLDER = "trainvalsplit_places205"
# The largest share of a list's images that may be missing.
MAX_MISSING = 0.01
_NAMED = 10


class Entry(NamedTuple):
    """A line of a list: an image's path below `IMAGES`, and the index of its class."""

    path: str
    label: int


def prepare(source: str, data_dir: str) -> None:
    """Prepares the release in the folder `source`, and prints what was skipped and what is there
    now.

    Raises:
      UserError: the folder or a list is missing or malformed, images are missing, or the data is
        there already.

    """
    folder = pathlib.Path(source).expanduser()
    images = folder / IMAGES
    if not source or not images.is_dir():
        raise UserError(
            f"no {IMAGES} in {source!r}: set --source to the folder of the unpacked archives"
        )
    lists = {split: _find_list(folder, name) for split, name in LISTS.items()}
    entries = {split: read_list(path) for split, path in lists.items()}
    names = class_names([entry for split in entries.values() for entry in split])
    present = {split: _present(images, lists[split], rows) for split, rows in entries.items()}
    builder = Places205(
        images=images,
        entries=present,
        class_names=names,
        data_dir=preparation.data_folder(data_dir),
        file_format="array_record",
    )
    print(preparation.prepare(builder))


def read_list(path: pathlib.Path) -> list[Entry]:
    """Reads a list.

    Raises:
      UserError: a malformed line, a path that is not of the form letter/class/file or is there
        twice; the text names the line.

    """
    entries: dict[str, int] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        name, _, label = line.rpartition(" ")
        if not (label.isascii() and label.isdigit() and _is_inside(name)):
            raise UserError(
                f"{path}:{number}: expected a line like 'a/abbey/x.jpg 0', not {line!r}"
            )
        if name in entries:
            raise UserError(f"{path}:{number}: {name} is there twice: keep one of the lines")
        entries[name] = int(label)
    if not entries:
        raise UserError(f"{path} is empty: expected lines like 'a/abbey/x.jpg 0'")
    return [Entry(*item) for item in entries.items()]


def class_names(entries: list[Entry]) -> list[str]:
    """The classes' names in the order of their labels.

    Raises:
      UserError: a label has two names or none, or two labels have one name.

    """
    names: dict[int, str] = {}
    for path, label in entries:
        name = "/".join(path.split("/")[1:-1])
        if names.setdefault(label, name) != name:
            raise UserError(f"the lists give label {label} to both {names[label]!r} and {name!r}")
    missing = sorted(set(range(max(names))) - names.keys())
    if missing or len(set(names.values())) < len(names):
        gaps = ", ".join(map(str, missing[:_NAMED]))
        wrong = f"no image for label {gaps}" if missing else "two labels for one class"
        raise UserError(
            f"the lists have {wrong}: use the official ones, with labels from 0 upwards"
        )
    return [names[label] for label in sorted(names)]


class Places205(tfds.core.GeneratorBasedBuilder):
    """Scenes of 205 classes; the images are stored as they are."""

    VERSION = tfds.core.Version("1.0.0")
    RELEASE_NOTES: ClassVar = {"1.0.0": "First release."}

    def __init__(
        self,
        *,
        images: pathlib.Path,
        entries: dict[str, list[Entry]],
        class_names: list[str],
        **kwargs: Any,
    ):
        """The images of `entries`, by split, in the folder `images`."""
        self._images, self._entries, self._class_names = images, entries, class_names
        super().__init__(**kwargs)

    def _info(self) -> tfds.core.DatasetInfo:
        features = {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "label": tfds.features.ClassLabel(names=self._class_names),
            "file_name": tfds.features.Text(),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=__doc__,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label"),
            homepage="http://places.csail.mit.edu/",
        )

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator[tuple[str, dict[str, Any]]]]:
        return {split: self._generate_examples(entries) for split, entries in self._entries.items()}

    def _generate_examples(self, entries: list[Entry]) -> Iterator[tuple[str, dict[str, Any]]]:
        for path, label in entries:
            yield (
                path,
                {"image": (self._images / path).read_bytes(), "label": label, "file_name": path},
            )


def _find_list(folder: pathlib.Path, name: str) -> pathlib.Path:
    for path in (folder / LISTS_FOLDER / name, folder / name):
        if path.is_file():
            return path
    raise UserError(
        f"no {name} in {folder / LISTS_FOLDER} or {folder}: unpack the official lists there"
    )


def _is_inside(name: str) -> bool:
    """Whether a path has the form letter/class/file, with any number of folders, and stays inside."""
    parts = name.split("/")
    return len(parts) >= 3 and not {"", ".", ".."} & set(parts)


def _present(images: pathlib.Path, path: pathlib.Path, entries: list[Entry]) -> list[Entry]:
    """The entries whose images are there; the others are named in one printed line."""
    there = [os.path.isfile(images / entry.path) for entry in entries]
    missing = [entry.path for entry, found in zip(entries, there, strict=True) if not found]
    named = ", ".join(missing[:_NAMED]) + (" and others" if len(missing) > _NAMED else "")
    count = f"{len(missing):,} of the {len(entries):,} images that {path.name} names"
    if len(missing) > MAX_MISSING * len(entries):
        raise UserError(
            f"{images} lacks {count}, more than {MAX_MISSING:.0%}: unpack it anew ({named})"
        )
    if missing:
        print(f"skipped {count}, which are not in {images}: {named}")
    return [entry for entry, found in zip(entries, there, strict=True) if found]
