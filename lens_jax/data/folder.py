"""Reads a folder of images: their splits and their classes.

The folder is read here rather than by `tfds.folder_dataset.ImageFolder`, which offers no random
access (its `as_data_source` looks for records that were never written) and needs classes.
"""

import os
from collections import Counter, defaultdict
from collections.abc import Callable
from typing import NamedTuple

from lens_jax.data.listing import ENDINGS, File, Listing, list_images
from lens_jax.data.records import (
    EVAL_SPLITS,
    HELD_OUT,
    UNLABELED,
    Record,
    Source,
    choose_split,
    fingerprint,
)
from lens_jax.errors import UserError, check_choice

# A folder that has one of these has a folder for each split.
SPLITS = ("train", "test", "validation", "val")
# One image of so many is held out.
HELD_OUT_EVERY = 10

# (path below the split, parts parted by "/") -> name of the class.
ClassOf = Callable[[str], str]


class Split(NamedTuple):
    """A split's images, sorted, and the part of their paths that is the split's folder."""

    prefix: str
    images: list[File]


def first_folder(path: str) -> str:
    """The class that is the first folder of a path below the split."""
    first, separator, _ = path.partition("/")
    return first if separator else UNLABELED


def whole_path(path: str) -> str:
    """The class that is all folders of a path below the split."""
    folders, _, _ = path.rpartition("/")
    return folders or UNLABELED


CLASSES: dict[str, ClassOf] = {"folder": first_folder, "path": whole_path}


def open_folder(folder: str, split: str, classes: str = "folder") -> Source:
    """Opens the images in `folder/split/class/` at any depth, or in `folder/class/`.

    A folder with one of `SPLITS` right in it has a split for each of its folders; any other is one
    split, "train". Where there is no other split to evaluate on, about a tenth of each class of
    "train" is no part of it but of the split "held_out", see `hold_out`. The classes are those of
    all splits, sorted, so that labels mean the same in each; files outside of a class make up one
    of their own, "unlabeled".

    Args:
      folder: the folder.
      split: which split; "" is the one to evaluate on, see `records.choose_split`.
      classes: a key of `CLASSES`: the class of a file is the first folder below its split, or
        "path", all of its folders.

    Raises:
      UserError: there is no such folder or split, or no image in it, or it may not be read.

    """
    check_choice("classes", classes, CLASSES)
    class_of = CLASSES[classes]
    root = os.path.expanduser(folder)
    endings = ", ".join(ENDINGS)
    layout = f"expected train/CLASS/IMAGE or CLASS/IMAGE in it, ending in {endings}"
    if not folder or not os.path.isdir(root):
        raise UserError(
            f"no image folder at {folder!r}: {layout}; set data.dir, in evaluations --data_dir"
        )
    listing = list_images(root)
    if not listing.images:
        raise UserError(f"no images in image folder {root}{_left_out(listing)}: {layout}")

    splits = find_splits(listing, class_of)
    title = f"image folder {root}"
    split = choose_split(title, split, splits)
    chosen = splits[split]
    if not chosen.images:
        raise UserError(f"no images in split {split!r} of {title}: {layout}")

    return _make_source(root, listing, splits, split, classes)


def open_classes(folder: str) -> Source:
    """Opens the images in `folder/class/`, at any depth, as one split that is called "all".

    Raises:
      UserError: there is no such folder, or no image in it, or it may not be read.

    """
    root = os.path.expanduser(folder)
    listing = list_images(root) if os.path.isdir(root) else None
    if listing is None or not listing.images:
        raise UserError(f"no images in {folder!r}: expected CLASS/IMAGE in it")
    splits = {"all": Split("", listing.images)}
    return _make_source(root, listing, splits, "all", "folder")


def _make_source(
    root: str, listing: Listing, splits: dict[str, Split], split: str, classes: str
) -> Source:
    class_of = CLASSES[classes]
    chosen = splits[split]
    # Labels have to mean the same in all splits.
    names = {split_name: _class_names(each, class_of) for split_name, each in splits.items()}
    class_names = sorted(set().union(*names.values()))
    indices = {name: index for index, name in enumerate(class_names)}
    labels = [indices[name] for name in names[split]]

    def read(index: int) -> Record:
        path = os.path.join(root, chosen.images[index].path)
        return file_record(path, labels[index])

    return Source(
        tuple(class_names),
        len(chosen.images),
        read,
        dataset="image_folder",
        folder=root,
        split=split,
        fingerprint=_fingerprint(chosen, class_names, classes),
        notes=_notes(root, listing, splits, class_names),
        upright=True,
    )


def find_splits(listing: Listing, class_of: ClassOf) -> dict[str, Split]:
    """The splits of a folder by name, see `open_folder`; images beside them are in none."""
    if set(SPLITS).isdisjoint(listing.folders):
        splits = {"train": Split("", listing.images)}
    else:
        splits = {name: Split(f"{name}/", []) for name in listing.folders}
        for file in listing.images:
            name, _, _ = file.path.partition("/")
            if name in splits:
                splits[name].images.append(file)

    has_eval_split = not set(EVAL_SPLITS).isdisjoint(splits)
    if "train" in splits and not has_eval_split:
        kept, held_out = hold_out(splits["train"], class_of)
        splits |= {"train": kept, HELD_OUT: held_out}
    return splits


def hold_out(split: Split, class_of: ClassOf) -> tuple[Split, Split]:
    """Parts a split in what stays and what is held out: a tenth of each class, evenly spaced.

    Of a class of two images or more it is at least one, of a class of one image none. Which images
    follows from their sorted paths alone.
    """
    by_class = defaultdict(list)
    for file, name in zip(split.images, _class_names(split, class_of), strict=True):
        by_class[name].append(file)

    chosen = set()
    for files in by_class.values():
        total = len(files)
        if total < 2:
            continue
        count = max(1, total // HELD_OUT_EVERY)
        for number in range(count):
            # The middle of each of `count` equal parts.
            middle = (2 * number + 1) * total // (2 * count)
            chosen.add(files[middle])

    kept = [file for file in split.images if file not in chosen]
    held_out = [file for file in split.images if file in chosen]
    return Split(split.prefix, kept), Split(split.prefix, held_out)


def _class_names(split: Split, class_of: ClassOf) -> list[str]:
    """The class of each image of a split."""
    start = len(split.prefix)
    return [class_of(file.path[start:]) for file in split.images]


def _fingerprint(split: Split, class_names: list[str], classes: str) -> str:
    words = [classes, *class_names]
    for file in split.images:
        words += (file.path, str(file.size))
    return fingerprint(words)


def file_record(path: str, label: int) -> Record:
    """The content of a file; one that cannot be read counts as an image that does not decode."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError:
        content = b""
    return {"image": content, "label": label, "name": path}


def _notes(
    root: str, listing: Listing, splits: dict[str, Split], class_names: list[str]
) -> tuple[str, ...]:
    """What was read and left out, and what the splits are, in two lines."""
    endings: Counter[str] = Counter()
    for file in listing.images:
        _, ending = os.path.splitext(file.path)
        endings[ending.lower()] += 1
    read = f"image folder {root}: {_counts(endings)}{_left_out(listing)}"

    sizes = []
    for name, split in splits.items():
        sizes.append(f"{len(split.images):,} images in {name}")
    parts = f"classes: {len(class_names):,}; {', '.join(sizes)}"
    outside = len(listing.images) - sum(len(split.images) for split in splits.values())
    if outside:
        parts += f", {outside:,} in no split"
    if HELD_OUT in splits and HELD_OUT not in listing.folders:
        parts += ", which training never sees, as there is no test, validation or val folder"
    return read, parts


def _left_out(listing: Listing) -> str:
    if not listing.left_out:
        return ""
    return f"; left out: {_counts(listing.left_out)}"


def _counts(counts: Counter[str]) -> str:
    """Numbers and names, the most frequent first: "90 .webp, 4 .jpg"."""
    parts = [f"{count:,} {name}" for name, count in counts.most_common()]
    return ", ".join(parts)
