"""ALOI, photographs of 1,000 objects (Geusebroek et al., 2005): viewpoint and illumination.

The archives aloi_red2_view.tar (72 images of each object), aloi_red2_ill.tar (24) and
aloi_red2_col.tar (12) unpack to folders 1 to 1000 in one and the same folder, png2. The name of a
file says which factor it belongs to. A set is an object, and a class of its own.
"""

import os
import re

import numpy as np

from lens_jax.data.factors.sets import FactorSets, Photo, find_root, open_photos
from lens_jax.errors import UserError

LAYOUT = (
    "the folder png2 that aloi_red2_view.tar, aloi_red2_ill.tar or aloi_red2_col.tar unpacks to, "
    "with files such as 1/1_r0.png, 1/1_l1c1.png or 1/1_i110.png in it"
)
# What the name of a file has behind the number of its object.
_NAMES = {
    "viewpoint": re.compile(r"\d+_r\d+\.png"),
    "illumination_direction": re.compile(r"\d+_l\d+c\d+\.png"),
    "illumination_color": re.compile(r"\d+_i\d+\.png"),
}


def open_aloi(folder: str) -> dict[str, FactorSets]:
    """Those of the three factors of which there are images.

    Raises `UserError` where there are none, or no such folder.
    """
    root = find_root(folder, LAYOUT)
    objects = sorted(filter(str.isdecimal, os.listdir(root)), key=int)
    files = {number: sorted(os.listdir(os.path.join(root, number))) for number in objects}

    found = {}
    for factor, pattern in _NAMES.items():
        photos = []
        for number, names in files.items():
            paths = [f"{number}/{name}" for name in names if pattern.fullmatch(name)]
            photos += [Photo(path, class_name=number) for path in paths]
        if photos:
            source = open_photos("aloi", root, photos, split=factor)
            sets = np.array([int(photo.class_name) for photo in photos])
            found[factor] = FactorSets(source, sets)
    if not found:
        raise UserError(f"no images of ALOI in {root}: expected {LAYOUT}")
    return found
