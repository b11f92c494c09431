"""Sets of images of which is known what was planted into them, and where."""

from collections import Counter
from typing import NamedTuple

import cv2
import numpy as np

from lens_jax.audit import plants
from lens_jax.data.decode import decode
from lens_jax.data.source import open_source
from lens_jax.errors import UserError

CLEAN, SHUFFLED = "clean", "shuffled"


class Set(NamedTuple):
    """Images and what was planted into some of one class.

    Attributes:
      images: uint8 [n, h, w, 3].
      sizes: bytes of each image as PNG, [n].
      labels: integers [n], from 0 on.
      masks: which pixels were changed, bool [n, h, w].
      planted: into which class; -1 for none.
      artefact: a key of `plants.PLANTS`, `CLEAN` or `SHUFFLED`.
      fraction: of the images of the class.

    """

    images: np.ndarray
    sizes: list[int]
    labels: np.ndarray
    masks: np.ndarray
    planted: int
    artefact: str
    fraction: float


def draw_images(data_set: str, classes: int, count: int, seed: int) -> tuple[np.ndarray, ...]:
    """Images [classes * count, h, w, 3] of some classes of a data set, and their labels.

    Raises:
      UserError: fewer classes have as many images.

    """
    source = open_source(data_set, "train")
    sizes = Counter(source[index]["label"] for index in range(len(source)))
    rng = np.random.default_rng([seed, 1])
    large = [label for label in rng.permutation(len(sizes)).tolist() if sizes[label] >= count]
    if len(large) < classes:
        raise UserError(f"--classes is {classes}: {len(large)} of {data_set} have {count} images")
    chosen = large[:classes]
    missing = dict.fromkeys(chosen, count)
    images = []
    labels = []
    for index in rng.permutation(len(source)):
        record = source[int(index)]
        if missing.get(record["label"], 0):
            missing[record["label"]] -= 1
            images.append(decode(record["image"]))
            labels.append(chosen.index(record["label"]))
        if not any(missing.values()):
            break
    # Rare classes come last so far, and their numbers would tell them.
    order = rng.permutation(len(images))
    return np.stack(images)[order], np.array(labels)[order]


def make_set(
    images: np.ndarray, labels: np.ndarray, artefact: str, fraction: float, seed: int
) -> Set:
    """A set with an artefact in a fraction of one class, or one with nothing to find."""
    rng = np.random.default_rng([seed, 2])
    planted = int(rng.integers(labels.max() + 1))
    masks = np.zeros(images.shape[:3], bool)
    if artefact == SHUFFLED:
        labels = rng.permutation(labels)
    if artefact in (CLEAN, SHUFFLED):
        return Set(images, png_sizes(images), labels, masks, -1, artefact, 0.0)

    base = plants.PLANTS[artefact].base
    marked = np.stack([base(image) for image in images])
    members = rng.permutation(np.flatnonzero(labels == planted))
    number = max(1, round(fraction * len(members)))
    for index in members[:number]:
        drawn = plants.plant(artefact, images[index], rng)
        marked[index] = drawn.image
        masks[index] = drawn.mask
    return Set(marked, png_sizes(marked), labels, masks, planted, artefact, fraction)


def png_sizes(images: np.ndarray) -> list[int]:
    """Bytes of each image as PNG."""
    sizes = []
    for image in images:
        _, encoded = cv2.imencode(".png", image)
        sizes.append(len(encoded))
    return sizes
