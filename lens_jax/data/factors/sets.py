"""Sets of images, and those of them that are files."""

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lens_jax.data import headers
from lens_jax.data.folder import file_record
from lens_jax.data.records import Record, Source, fingerprint
from lens_jax.data.regions import WHOLE, Region
from lens_jax.errors import UserError, reason


class FactorSets(NamedTuple):
    """Images in sets, where the images of a set differ in one factor.

    Attributes:
      source: the images, and the class of each.
      sets: which set each is in, int [n]; all of a set are of one class.

    """

    source: Source
    sets: np.ndarray


class Photo(NamedTuple):
    """An image file, or a box in one.

    Attributes:
      path: where it is below the folder, parts parted by "/".
      class_name: what it shows.
      box: the left edge, the top edge, the width and the height in pixels; None is all of it.

    """

    path: str
    class_name: str
    box: tuple[float, float, float, float] | None = None


def open_photos(dataset: str, root: str, photos: Sequence[Photo], split: str = "") -> Source:
    """Files and boxes as a source, with the classes that they have.

    Raises `UserError` where a file is missing.
    """
    class_names = sorted({photo.class_name for photo in photos})
    indices = {name: index for index, name in enumerate(class_names)}

    words = []
    for photo in photos:
        size = _file_size(root, photo.path)
        words += (photo.path, str(size), photo.class_name, str(photo.box))

    def read(index: int) -> Record:
        photo = photos[index]
        label = indices[photo.class_name]
        record = file_record(os.path.join(root, photo.path), label)
        if photo.box is not None:
            record["region"] = find_region(record["image"], photo.box)
        return record

    return Source(
        tuple(class_names),
        len(photos),
        read,
        boxes="none" if all(photo.box is None for photo in photos) else "each",
        dataset=dataset,
        folder=root,
        split=split,
        fingerprint=fingerprint(words),
    )


def find_region(image: bytes, box: tuple[float, float, float, float]) -> Region:
    """The part of an encoded image that a box is, see `Photo`; what lies outside is cut off.

    All of an image that does not decode: whoever decodes it will say so.
    """
    try:
        header = headers.read_header(image)
    except ValueError:
        return WHOLE
    left, top, width, height = box
    edges = (
        top / header.height,
        left / header.width,
        (top + height) / header.height,
        (left + width) / header.width,
    )
    return Region(*np.clip(edges, 0.0, 1.0).tolist())


def find_root(folder: str, layout: str) -> str:
    """The path of a folder; raises `UserError` that names the expected layout if it is none."""
    root = os.path.expanduser(folder)
    if not os.path.isdir(root):
        raise UserError(f"no folder at {folder!r}: expected {layout}")
    return root


def read_lines(root: str, path: str, layout: str) -> list[str]:
    """The lines of a text file in a folder; raises `UserError` that names the expected layout."""
    try:
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError as error:
        raise UserError(
            f"cannot read {path} in {root}: {reason(error)}; expected {layout}"
        ) from error


def check_name(name: str, where: str) -> None:
    """Raises `UserError` for what is no name in a folder, but may lead out of it."""
    if os.path.basename(name) != name or name in ("", ".", ".."):
        raise UserError(f"{where} names {name!r}, which is no name of a file: repair that line")


def _file_size(root: str, path: str) -> int:
    try:
        return os.path.getsize(os.path.join(root, path))
    except OSError as error:
        raise UserError(
            f"cannot read {path} in {root}: {reason(error)}; unpack the data set again"
        ) from error
