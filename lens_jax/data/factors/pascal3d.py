"""PASCAL3D+, photographs with the pose of objects (Xiang et al., 2014): instance and viewpoint.

Release 1.1, its parts of ImageNet and of PASCAL VOC. Boxes are cut out. The sets of "instance" are
of one category seen from one direction, those of "instance_viewpoint" have one image of a category
from each of six directions. As in the code of Purushwalkam and Gupta (2020), but for images with
several boxes: there, all of them have the features of the last one.
"""

import glob
import os
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
from scipy import io

from lens_jax.data.factors.sets import (
    FactorSets,
    Photo,
    check_name,
    find_root,
    open_photos,
    read_lines,
)
from lens_jax.errors import UserError, one_line

LAYOUT = (
    "the folder of PASCAL3D+ release 1.1 with Image_sets, Images and Annotations, where Image_sets "
    "has a file such as car_imagenet_train.txt, car_imagenet_val.txt and car_pascal.txt for each "
    "category"
)
# Directions are divided into parts of so many degrees; opposite ones are the same.
BIN = 30
AZIMUTHS = 180
ELEVATIONS = 90
# Whose photographs they are, and the endings of these.
_PARTS = {"imagenet_train": ".JPEG", "imagenet_val": ".JPEG", "pascal": ".jpg"}


class Pose(NamedTuple):
    """A box (see `Photo`), and from where the object in it is seen, as numbers of parts."""

    box: tuple[float, float, float, float]
    azimuth: int
    elevation: int


def open_pascal3d(folder: str) -> dict[str, FactorSets]:
    """The sets of both factors, of the same images; raises `UserError` for no such folder."""
    root = find_root(folder, LAYOUT)
    lists = glob.glob("*_imagenet_train.txt", root_dir=os.path.join(root, "Image_sets"))
    if not lists:
        raise UserError(f"no category in {root}: expected {LAYOUT}")
    categories = sorted(name.partition("_")[0] for name in lists)

    photos = []
    poses = []
    for category in categories:
        for part, ending in _PARTS.items():
            for path, number in _list_objects(root, category, part):
                pose = read_pose(root, path, number)
                photos.append(Photo(f"Images/{path}{ending}", category, pose.box))
                poses.append(pose)

    source = open_photos("pascal3d", root, photos)
    return {
        "instance": FactorSets(source, sets_of_one_view(photos, poses)),
        "instance_viewpoint": FactorSets(source, sets_of_all_views(photos, poses)),
    }


def sets_of_one_view(photos: list[Photo], poses: list[Pose]) -> np.ndarray:
    """One set for each category and direction."""
    names = []
    for photo, pose in zip(photos, poses, strict=True):
        names.append(f"{photo.class_name} {pose.azimuth} {pose.elevation}")
    _, sets = np.unique(names, return_inverse=True)
    return sets


def sets_of_all_views(photos: list[Photo], poses: list[Pose]) -> np.ndarray:
    """The i-th image of a category from each azimuth makes its i-th set."""
    counts: Counter[tuple[str, int]] = Counter()
    names = []
    for photo, pose in zip(photos, poses, strict=True):
        view = (photo.class_name, pose.azimuth)
        names.append(f"{photo.class_name} {counts[view]}")
        counts[view] += 1
    _, sets = np.unique(names, return_inverse=True)
    return sets


def _list_objects(root: str, category: str, part: str) -> list[tuple[str, int]]:
    """Paths below Images and Annotations, without their endings, and which object is meant."""
    file = f"Image_sets/{category}_{part}.txt"
    source, _, _ = part.partition("_")
    objects = []
    for line in read_lines(root, file, LAYOUT):
        # Of PASCAL VOC, the number of the object stands behind the name.
        name, _, number = line.strip().partition(" ")
        check_name(name, f"{file} in {root}")
        if number and not number.isdecimal():
            raise UserError(f"{file} in {root} has the line {line!r}: expected NAME NUMBER")
        objects.append((f"{category}_{source}/{name}", int(number or 0)))
    return objects


def read_pose(root: str, path: str, number: int) -> Pose:
    """The pose of one object in an annotation, a file of MATLAB."""
    file = os.path.join(root, "Annotations", f"{path}.mat")
    try:
        content = io.loadmat(file, struct_as_record=False, variable_names=["record"])
        annotated = content["record"][0, 0].objects[0, number]
        viewpoint = annotated.viewpoint[0, 0]
        left, top, right, bottom = annotated.bbox[0].astype(float).tolist()
        azimuth = _bin(viewpoint.azimuth_coarse, AZIMUTHS)
        elevation = _bin(viewpoint.elevation_coarse, ELEVATIONS)
    except Exception as error:
        # Of a broken file, SciPy raises errors of a dozen kinds.
        raise UserError(
            f"cannot read object {number} of {file}: {one_line(error)}; expected {LAYOUT}"
        ) from error
    return Pose((left, top, right - left, bottom - top), azimuth, elevation)


def _bin(angle: Any, period: int) -> int:
    return int(float(angle[0, 0]) % period // BIN)
