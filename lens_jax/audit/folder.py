"""What is audited: the images of a folder, the label of each, and the split that it is in."""

import csv
import os
from collections import Counter
from typing import NamedTuple

import numpy as np

from lens_jax.data.folder import SPLITS, whole_path
from lens_jax.data.listing import list_images
from lens_jax.data.records import UNLABELED, fingerprint
from lens_jax.errors import UserError, one_line, reason

LABELS_HEADER = ["file", "label"]
# What the probes look at: so many images at most, of so many classes, the largest ones.
MAX_IMAGES = 5000
MAX_CLASSES = 20
NO_LABEL = ""


class Folder(NamedTuple):
    """The images of a folder, sorted by their paths.

    Attributes:
      root: the folder.
      paths: their paths below it, parts parted by "/".
      sizes: bytes of each file.
      times: when each file was last changed, in ns.
      splits: the split folder of each, such as "train"; "" where there are none.
      labels: the label of each; "" where it has none.
      labeled_by: what the labels are, in words; "" where there are none.
      notes: what else there was in the folder or in the file of labels, in sentences.

    """

    root: str
    paths: list[str]
    sizes: list[int]
    times: list[int]
    splits: list[str]
    labels: list[str]
    labeled_by: str
    notes: list[str]

    @property
    def fingerprint(self) -> str:
        """Of the names, sizes, times and labels of all files: others have another one."""
        words = []
        for row in zip(self.paths, self.sizes, self.times, self.labels, strict=True):
            words += map(str, row)
        return fingerprint(words)


def open_folder(folder: str, labels_file: str = "") -> Folder:
    """Lists the images of a folder, with their labels.

    Labels are, of these, the first that has at least two different ones: those of `labels_file`;
    the folder right below the split, or below `folder` without splits; all folders of the path; the
    splits themselves.

    Args:
      folder: the folder.
      labels_file: a CSV file with the columns file (the path below `folder`) and label; "" for
        none.

    Raises:
      UserError: there is no such folder, no image in it, or `labels_file` is no such file or names
        none of the images.

    """
    root = os.path.expanduser(folder)
    if not os.path.isdir(root):
        raise UserError(f"no folder at {folder!r}: give the folder of your images by --images")
    listing = list_images(root)
    if not listing.images:
        raise UserError(f"no images in {folder!r}: expected .jpg, .png, .webp, .bmp, .tif or .gif")

    paths = []
    sizes = []
    times = []
    splits = []
    has_splits = not set(SPLITS).isdisjoint(listing.folders)
    for file in listing.images:
        paths.append(file.path)
        sizes.append(file.size)
        status = os.stat(os.path.join(root, file.path))
        times.append(status.st_mtime_ns)
        splits.append(_first_part(file.path) if has_splits else "")

    notes = []
    for why, count in sorted(listing.left_out.items()):
        notes.append(f"{count:,} left out: {why}.")
    if labels_file:
        labels, more_notes = _read_labels(labels_file, paths)
        labeled_by = f"the labels in {os.path.basename(labels_file)}"
        notes += more_notes
    else:
        labels, labeled_by = _find_labels(paths, splits)
    return Folder(root, paths, sizes, times, splits, labels, labeled_by, notes)


def choose_images(folder: Folder, seed: int) -> np.ndarray:
    """Indices of the images that probes look at, sorted: evenly many of each class, at random.

    They are at most `MAX_IMAGES`, of the `MAX_CLASSES` largest classes; without labels, of all.
    """
    counts = Counter(label for label in folder.labels if label != NO_LABEL)
    largest = counts.most_common(MAX_CLASSES)
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(folder.paths))
    if not largest:
        return np.sort(shuffled[:MAX_IMAGES])

    # The place of each image among those of its class, in a random order: the first ones are kept.
    places = {name: 0 for name, _ in largest}
    ranked = []
    for index in shuffled:
        label = folder.labels[index]
        if label in places:
            ranked.append((places[label], int(index)))
            places[label] += 1
    ranked.sort()
    return np.array(sorted(index for _, index in ranked[:MAX_IMAGES]))


def _find_labels(paths: list[str], splits: list[str]) -> tuple[list[str], str]:
    """The label of each image by its folders, and what the labels are."""
    below = [path.removeprefix(f"{split}/") for path, split in zip(paths, splits, strict=True)]
    first = [_first_part(path) for path in below]
    if _differ(first):
        return first, "the class folders"
    whole = []
    for path in below:
        label = whole_path(path)
        whole.append(NO_LABEL if label == UNLABELED else label)
    if _differ(whole):
        return whole, "the folders"
    if _differ(splits):
        return splits, "the folders of the splits"
    return [NO_LABEL] * len(paths), ""


def _first_part(path: str) -> str:
    """The first folder of a path; "" of a file without one."""
    first, separator, _ = path.partition("/")
    return first if separator else NO_LABEL


def _differ(labels: list[str]) -> bool:
    return len(set(labels) - {NO_LABEL}) > 1


def _read_labels(labels_file: str, paths: list[str]) -> tuple[list[str], list[str]]:
    """The label of each path by a file, and sentences on where the two do not fit."""
    by_path = _read_csv(labels_file)
    labels = [by_path.get(path, NO_LABEL) for path in paths]
    unlabeled = labels.count(NO_LABEL)
    missing = sorted(set(by_path) - set(paths))
    if unlabeled == len(paths):
        example = f"{missing[0]!r}" if missing else "nothing"
        raise UserError(
            f"{labels_file} names none of the images: it names {example}, where the paths are like "
            f"{paths[0]!r}"
        )
    name = os.path.basename(labels_file)
    notes = []
    if missing:
        named = ", ".join(missing[:3])
        notes.append(f"{name} names {len(missing):,} files that are not there, such as {named}.")
    if unlabeled:
        notes.append(f"{unlabeled:,} images have no label in {name}; no probe looks at them.")
    return labels, notes


def _read_csv(labels_file: str) -> dict[str, str]:
    form = f"expected CSV whose first line is {','.join(LABELS_HEADER)}"
    by_path = {}
    try:
        with open(labels_file, encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, strict=True)
            header = next(rows, [])
            if header != LABELS_HEADER:
                raise UserError(f"{labels_file} begins with {','.join(header)[:80]!r}: {form}")
            for row in rows:
                if row and len(row) != len(LABELS_HEADER):
                    raise UserError(f"line {rows.line_num} of {labels_file} is not two fields")
                if row:
                    path, label = row
                    by_path[path.removeprefix("./")] = label
    except OSError as error:
        raise UserError(f"cannot read {labels_file}: {reason(error)}; {form}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{labels_file} is no CSV: {one_line(error)}; {form}") from error
    return by_path
