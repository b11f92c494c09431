"""Places205: photographs of 205 kinds of scenes.

Zhou et al., 2014, Learning Deep Features for Scene Recognition using Places Database.

The source is the folder into which the two official archives were unpacked, one with the images
resized to 256x256 and one with the lists:

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
# The largest fraction of a list's images that may be missing.
MAX_MISSING = 0.01
# How many files or labels a message names.
_NAMED = 10

# Keys and examples of a split.
Examples = Iterator[tuple[str, dict[str, Any]]]


class Entry(NamedTuple):
    """A line of a list: an image's path below `IMAGES`, and the index of its class."""

    path: str
    label: int


def prepare(source: str, data_dir: str) -> None:
    """Prepares the release in the folder `source`, and prints what was skipped and prepared.

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

    # Both lists are checked before any image is looked for, which takes long.
    names = class_names(entries["train"] + entries["validation"])
    for split, path in lists.items():
        entries[split] = _present(images, path, entries[split])

    builder = Places205(
        images=images,
        entries=entries,
        class_names=names,
        data_dir=preparation.data_folder(data_dir),
        file_format="array_record",
    )
    print(preparation.prepare(builder))


def read_list(path: pathlib.Path) -> list[Entry]:
    """Reads a list, in its order.

    Raises:
      UserError: a malformed line, or a path that is not of the form letter/class/file or is there
        twice; the text names the line.

    """
    labels: dict[str, int] = {}
    lines = path.read_text(encoding="utf-8").splitlines()
    for number, line in enumerate(lines, 1):
        name, _, label = line.rpartition(" ")
        is_number = label.isascii() and label.isdigit()
        if not (is_number and _is_inside(name)):
            raise UserError(
                f"{path}:{number}: expected a line like 'a/abbey/x.jpg 0', not {line!r}"
            )
        if name in labels:
            raise UserError(f"{path}:{number}: {name} is there twice: keep one of the lines")
        labels[name] = int(label)
    if not labels:
        raise UserError(f"{path} is empty: expected lines like 'a/abbey/x.jpg 0'")
    return [Entry(name, label) for name, label in labels.items()]


def class_names(entries: list[Entry]) -> list[str]:
    """The classes' names in the order of their labels.

    Raises:
      UserError: a label has two names or none, or two labels have one name.

    """
    names: dict[int, str] = {}
    for path, label in entries:
        # Without the letter and the file.
        folders = path.split("/")[1:-1]
        name = "/".join(folders)
        if names.setdefault(label, name) != name:
            raise UserError(f"the lists give label {label} to both {names[label]!r} and {name!r}")

    wrong = ""
    different = set(names.values())
    missing = set(range(max(names))) - names.keys()
    if missing:
        first = sorted(missing)[:_NAMED]
        gaps = ", ".join(map(str, first))
        wrong = f"no image for label {gaps}"
    elif len(different) < len(names):
        wrong = "two labels for one class"
    if wrong:
        raise UserError(
            f"the lists have {wrong}: use the official ones, with labels from 0 upwards"
        )
    return [names[label] for label in sorted(names)]


class Places205(tfds.core.GeneratorBasedBuilder, skip_registration=True):
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
        self._images = images
        self._entries = entries
        self._class_names = class_names
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

    def _split_generators(self, dl_manager: Any) -> dict[str, Examples]:
        generators = {}
        for split, entries in self._entries.items():
            generators[split] = self._generate_examples(entries)
        return generators

    def _generate_examples(self, entries: list[Entry]) -> Examples:
        for path, label in entries:
            file = self._images / path
            example = {
                "image": file.read_bytes(),
                "label": label,
                "file_name": path,
            }
            yield path, example


def _find_list(folder: pathlib.Path, name: str) -> pathlib.Path:
    for path in (folder / LISTS_FOLDER / name, folder / name):
        if path.is_file():
            return path
    raise UserError(
        f"no {name} in {folder / LISTS_FOLDER} or {folder}: unpack the official lists there"
    )


def _is_inside(name: str) -> bool:
    """Whether a path has the form letter/class/file, or more folders, and leaves none of them."""
    parts = name.split("/")
    leaves = {"", ".", ".."}.intersection(parts)
    return len(parts) >= 3 and not leaves


def _present(images: pathlib.Path, path: pathlib.Path, entries: list[Entry]) -> list[Entry]:
    """The entries of the list at `path` whose images are there; prints the others in one line."""
    present = []
    missing = []
    for entry in entries:
        if os.path.isfile(images / entry.path):
            present.append(entry)
        else:
            missing.append(entry.path)
    if not missing:
        return present

    named = ", ".join(missing[:_NAMED])
    if len(missing) > _NAMED:
        named += " and others"
    listed = len(entries)
    count = f"{len(missing):,} of the {listed:,} images that {path.name} names"
    # A few may be missing; many point to an archive that was not unpacked to its end.
    if len(missing) > MAX_MISSING * listed:
        raise UserError(
            f"{images} lacks {count}, more than {MAX_MISSING:.0%}: unpack it anew ({named})"
        )
    print(f"skipped {count}, which are not in {images}: {named}")
    return present
