"""Images that are changed after they are cropped, so that nothing else differs."""

import dataclasses
from collections.abc import Callable, Iterable

import cv2
import numpy as np
from ml_collections import ConfigDict

from lens_jax.data import decode
from lens_jax.data.builders import png
from lens_jax.data.crops import EVAL_CROPS, choose_crop
from lens_jax.data.decode import CENTRAL_FRACTION, read_decoding
from lens_jax.data.records import Record, Source, fingerprint
from lens_jax.data.regions import WHOLE
from lens_jax.eval.passes import linear_crop, linear_size

# (image, uint8 [side, side, 3], its index in the whole split) -> the changed image, likewise.
Change = Callable[[np.ndarray, int], np.ndarray]


def alter(source: Source, data: ConfigDict, change: Change, words: Iterable[str]) -> Source:
    """A source of the same examples, whose images are changed as an evaluation crops them.

    Args:
      source: the examples.
      data: the config's section on data, which says how images are cropped.
      change: from one image to another; any thread may call it.
      words: what tells this change from others.

    Returns:
      The source. An evaluation's crop of its images is the changed image, pixel by pixel.

    """
    size = linear_size(data)
    crop = linear_crop(data)
    cut = choose_crop(crop, EVAL_CROPS)
    decoding = decode.resolve(read_decoding(data), source.upright)
    side = round(size / CENTRAL_FRACTION) if crop == "central" else size

    def read(index: int) -> Record:
        record = source.read(index)
        try:
            image = cut(record["image"], record.get("region", WHOLE), size, None, decoding)
        except ValueError:
            # Left as it is, so that the evaluation skips it too.
            return record
        changed = change(image, source.locate(index))
        content = png.encode(_surround(changed, side))
        return {"image": content, "label": record["label"], "name": record["name"]}

    return dataclasses.replace(
        source,
        read=read,
        read_partner=None,
        fingerprint=fingerprint([source.fingerprint, str(size), crop, *words]),
    )


def _surround(image: np.ndarray, side: int) -> np.ndarray:
    """Repeats the border of a square, so that it becomes the center of one of another side."""
    before = (side - len(image)) // 2
    after = side - len(image) - before
    return cv2.copyMakeBorder(image, before, after, before, after, cv2.BORDER_REPLICATE)
