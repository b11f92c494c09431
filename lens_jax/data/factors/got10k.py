"""GOT-10K, videos of moving objects (Huang et al., 2019): occlusion.

A set is one frame of a video for each degree to which its object is hidden, cut out by its box. Of
the training part, videos with few such degrees are left out. The frames are those that the code of
Purushwalkam and Gupta (2020) draws, which begins with the same seed.
"""

import os

import numpy as np

from lens_jax.data.factors.sets import (
    FactorSets,
    Photo,
    check_name,
    find_root,
    open_photos,
    read_lines,
)
from lens_jax.errors import UserError

LAYOUT = (
    "the training part of GOT-10K: list.txt and, for each line of it, a folder such as "
    "GOT-10k_Train_000001 with 00000001.jpg, groundtruth.txt, cover.label and meta_info.ini"
)
# The degrees go from 0, hidden, to 8, visible. A video needs two that are so far apart.
MIN_RANGE = 4
SEED = 1992


def open_got10k(folder: str) -> dict[str, FactorSets]:
    """The sets of the factor occlusion; raises `UserError` for what is no such folder."""
    root = find_root(folder, LAYOUT)
    # The older generator of NumPy, as in the authors' code.
    rng = np.random.RandomState(SEED)
    photos = []
    sets = []
    for number, video in enumerate(read_lines(root, "list.txt", LAYOUT)):
        check_name(video, f"list.txt in {root}")
        cover = _read_cover(root, video)
        levels = np.unique(cover)
        if len(levels) == 0 or levels[-1] - levels[0] < MIN_RANGE:
            continue
        class_name = _read_class(root, video)
        boxes = read_lines(root, f"{video}/groundtruth.txt", LAYOUT)
        if len(boxes) != len(cover):
            raise UserError(
                f"{video} in {root} has {len(boxes)} boxes and {len(cover)} lines in cover.label: "
                "unpack it again"
            )
        for level in levels:
            frame = rng.choice(np.flatnonzero(cover == level))
            # Frames are numbered from 1 on.
            path = f"{video}/{frame + 1:08}.jpg"
            photos.append(Photo(path, class_name, _read_box(boxes[frame], root, video)))
            sets.append(number)
    if not photos:
        raise UserError(f"no video in {root} hides its object to {MIN_RANGE} degrees: {LAYOUT}")
    source = open_photos("got10k", root, photos)
    return {"occlusion": FactorSets(source, np.array(sets))}


def _read_cover(root: str, video: str) -> np.ndarray:
    """How much is visible of the object in each frame; empty where a video does not say."""
    path = f"{video}/cover.label"
    if not os.path.exists(os.path.join(root, path)):
        return np.zeros(0, int)
    lines = read_lines(root, path, LAYOUT)
    try:
        return np.array(lines, int)
    except ValueError as error:
        raise UserError(f"{path} in {root} is no list of whole numbers: {error}") from error


def _read_class(root: str, video: str) -> str:
    path = f"{video}/meta_info.ini"
    for line in read_lines(root, path, LAYOUT):
        key, _, value = line.partition(":")
        if key.strip() == "object_class":
            return value.strip()
    raise UserError(f"{path} in {root} has no line object_class: expected {LAYOUT}")


def _read_box(line: str, root: str, video: str) -> tuple[float, ...]:
    try:
        left, top, width, height = map(float, line.split(","))
    except ValueError as error:
        raise UserError(
            f"groundtruth.txt of {video} in {root} has the line {line!r}: expected four numbers"
        ) from error
    return left, top, width, height
