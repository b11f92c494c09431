"""Sets of images that differ in one factor each, such as the viewpoint of one object."""

import functools

import numpy as np

from lens_jax.data.factors.aloi import open_aloi
from lens_jax.data.factors.glyphs import open_glyph_factors
from lens_jax.data.factors.got10k import open_got10k
from lens_jax.data.factors.pascal3d import open_pascal3d
from lens_jax.data.factors.sets import FactorSets
from lens_jax.errors import UserError, check_choice

RENDERED = "glyph_factors"
# Those that are read from folders, as their sites ship them.
_FOLDERS = {"aloi": open_aloi, "got10k": open_got10k, "pascal3d": open_pascal3d}
NAMES = (RENDERED, *_FOLDERS)
# A set of fewer images tells nothing.
MIN_IMAGES = 3


# Thousands of annotations are read, and asked for several times in an evaluation.
@functools.lru_cache(maxsize=1)
def open_factors(name: str, folder: str, size: int) -> dict[str, FactorSets]:
    """The sets of images of each factor.

    Args:
      name: one of `NAMES`.
      folder: where the data set is; "" for rendered images.
      size: side of rendered images in pixels, at most.

    Raises:
      UserError: an unknown name, or a folder that is missing or holds something else.

    """
    check_choice("data", name, NAMES)
    if name == RENDERED:
        if folder:
            raise UserError(f"{RENDERED} is rendered and has no folder {folder!r}: leave it out")
        return open_glyph_factors(size)
    if not folder:
        raise UserError(f"no folder for {name}: give one such as folder=/data/{name}")

    found = _FOLDERS[name](folder)
    for factor, images in found.items():
        _, sizes = np.unique(images.sets, return_counts=True)
        if sizes.max() < MIN_IMAGES:
            raise UserError(
                f"no set of {MIN_IMAGES} images for {factor} in {folder}: unpack all of {name}"
            )
    return found
