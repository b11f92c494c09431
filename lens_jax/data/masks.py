"""Images with a class for each pixel: folders laid out as ADE20K's, and rendered letters."""

import io
import pathlib
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from PIL.PngImagePlugin import PngImageFile

from lens_jax.data import headers
from lens_jax.data.decode import CENTRAL_FRACTION, central_box
from lens_jax.data.records import Record, Source, fingerprint
from lens_jax.errors import UserError, check_choice

# The value of pixels without a class; the classes follow from 1 on.
UNKNOWN = 0
SPLITS = ("training", "validation")
IMAGES, ANNOTATIONS = "images", "annotations"
# Pillow's names of one channel: values, or indices of a palette.
_ONE_CHANNEL = ("L", "P")


class Masked(NamedTuple):
    """Images, and which class each of their pixels has.

    Attributes:
      images: the source; its classes are those of pixels, and its labels mean nothing.
      read_mask: the index of an image in the whole split -> its mask, uint8 [h, w]: `UNKNOWN`, or
        1 + the index of a class.

    """

    images: Source
    read_mask: Callable[[int], np.ndarray]


def open_folder(folder: str, split: str, classes: int) -> Masked:
    """Opens images/SPLIT/NAME.jpg and their masks annotations/SPLIT/NAME.png, as ADE20K has them.

    Args:
      folder: the folder.
      split: one of `SPLITS`.
      classes: how many classes there are; 150 in the scene parsing benchmark of ADE20K.

    Raises:
      UserError: there are no such images, or one has no mask.

    """
    check_choice("split", split, SPLITS)
    root = pathlib.Path(folder).expanduser()
    paths = sorted((root / IMAGES / split).glob("*.jpg"))
    if not paths:
        raise UserError(
            f"no images with masks in {folder!r}: expected {IMAGES}/{split}/NAME.jpg and "
            f"{ANNOTATIONS}/{split}/NAME.png in it"
        )
    masks = [root / ANNOTATIONS / split / f"{path.stem}.png" for path in paths]
    for path in masks:
        if not path.exists():
            raise UserError(f"an image has no mask: {path} is missing")

    def read(index: int) -> Record:
        path = paths[index]
        return {"image": path.read_bytes(), "label": 0, "name": str(path)}

    def read_mask(index: int) -> np.ndarray:
        return decode_mask(masks[index].read_bytes(), classes, str(masks[index]))

    words = [str(classes)]
    for path in (*paths, *masks):
        words += (path.name, str(path.stat().st_size))
    images = Source(
        class_names=tuple(str(number) for number in range(1, classes + 1)),
        size=len(paths),
        read=read,
        dataset=f"masks of {classes} classes",
        folder=str(root),
        split=split,
        fingerprint=fingerprint(words),
    )
    return Masked(images, read_mask)


def open_scenes(split: str) -> Masked:
    """Scenes of letters, see `builders.glyph_scenes`, that are rendered with their masks.

    The first class is the background, and the others are the letters. Raises `UserError` for
    another split than "train" and "test".
    """
    # Imported only now: it loads TFDS.
    from lens_jax.data.builders import glyph_scenes, png

    check_choice("split", split, tuple(glyph_scenes.SPLITS))

    def read(index: int) -> Record:
        image, _ = glyph_scenes.make(split, index)
        return {"image": png.encode(image), "label": 0, "name": f"scene {index} of {split}"}

    def read_mask(index: int) -> np.ndarray:
        image, factors = glyph_scenes.make(split, index)
        return glyph_scenes.mask(factors, len(image))

    side = glyph_scenes.SIZES[0]
    images = Source(
        class_names=glyph_scenes.MASK_CLASSES,
        size=glyph_scenes.SPLITS[split],
        read=read,
        dataset="rendered glyph scenes",
        split=split,
        fingerprint=fingerprint(["convex hulls", split, str(side), str(glyph_scenes.SEED)]),
    )
    return Masked(images, read_mask)


def decode_mask(data: bytes, classes: int, name: str) -> np.ndarray:
    """A mask, uint8 [h, w], from a PNG file of one channel.

    Raises `UserError` for another file, or for a value above `classes`.
    """
    try:
        # Refuses what is too large before it is decoded.
        headers.read_header(data)
        image = PngImageFile(io.BytesIO(data))
        mask = np.asarray(image)
    except (ValueError, OSError, SyntaxError) as error:
        raise UserError(f"a mask is no PNG file that decodes: {name}") from error
    if image.mode not in _ONE_CHANNEL:
        raise UserError(f"mask {name} has the colors {image.mode!r}: give one channel of 8 bits")
    if mask.max() > classes:
        raise UserError(
            f"mask {name} has the class {mask.max()}: give an option classes of at least that"
        )
    return mask


def resize_mask(mask: np.ndarray, crop: str, size: int) -> np.ndarray:
    """A mask cut and resized as its image is, [size, size]; each pixel is that of the nearest.

    `crop` is one of `crops.EVAL_CROPS`.
    """
    if crop == "central":
        box = central_box(*mask.shape, CENTRAL_FRACTION)
        mask = mask[box.top : box.bottom, box.left : box.right]
    return cv2.resize(mask, (size, size), interpolation=cv2.INTER_NEAREST_EXACT)
