"""The images that lenses are trained on: small copies in a folder, a third of them held out."""

import pathlib
from typing import NamedTuple

import cv2
import numpy as np

from lens_jax.audit import duplicates
from lens_jax.audit.kept import load_reading
from lens_jax.audit.parts import ALL
from lens_jax.audit.reading import SIDE
from lens_jax.audit.state import Audit, choose_sample
from lens_jax.data.builders import png
from lens_jax.workdir.files import writing_to

# With fewer different images, a network learns each by heart before it learns anything else.
LEAST_IMAGES = 100
# Images with shorter sides are not enlarged to SIDE: they cost four times as much then.
_SMALL_SIDE = 40
_HELD_OUT_EVERY = 3
# So many are looked at through a lens, as in the paper's figure; those held out come first.
MEASURED = 1280


class Chosen(NamedTuple):
    """The different, whole images of the classes that are large enough; else of all.

    Attributes:
      paths: K paths below the folder.
      pixels: uint8 [K, side, side, 3].
      labels: integers [K] from 0 on; all 0 without labels.
      names: what they stand for.
      held_out: bool [K], which no network was trained on.

    """

    paths: list[str]
    pixels: np.ndarray
    labels: np.ndarray
    names: list[str]
    held_out: np.ndarray

    @property
    def has_labels(self) -> bool:
        """Whether there is a class to be told from another."""
        return len(self.names) > 1


def choose(audit: Audit) -> Chosen:
    """The images of an audit whose duplicates are known."""
    sample = choose_sample(audit)
    if len(sample.names) > 1:
        pixels = _resize(sample.small, sample.columns)
        held_out = _hold_out(sample.labels, audit.seed)
        return Chosen(sample.paths, pixels, sample.labels, sample.names, held_out)

    # Without classes to tell apart, all whole images, each but once.
    reading = load_reading(audit.output, audit.results["reading"])
    pairs = [duplicates.Pair(*pair) for pair in audit.results["duplicates"]["pairs"]]
    is_first = duplicates.first_of_each(len(audit.folder.paths), pairs)
    kept = reading.kept[is_first[reading.kept]]
    labels = np.zeros(len(kept), int)
    paths = [audit.folder.paths[index] for index in kept]
    columns = {}
    for name in ("height", "width"):
        columns[name] = [reading.columns[name][index] for index in kept]
    pixels = _resize(reading.small[is_first[reading.kept]], columns)
    return Chosen(paths, pixels, labels, [ALL], _hold_out(labels, audit.seed))


def _resize(pixels: np.ndarray, columns: dict[str, list]) -> np.ndarray:
    """Small copies [K, SIDE, SIDE, 3] at the side at which a lens sees them."""
    side = choose_side(columns)
    if side == SIDE:
        return pixels
    resized = [cv2.resize(each, (side, side), interpolation=cv2.INTER_AREA) for each in pixels]
    return np.array(resized, np.uint8).reshape(-1, side, side, 3)


def choose_side(columns: dict[str, list]) -> int:
    """The side at which a lens sees images: `SIDE`, or half of it where most are smaller."""
    shorter = np.minimum(columns["height"], columns["width"])
    is_small = len(shorter) > 0 and np.median(shorter) < _SMALL_SIDE
    return SIDE // 2 if is_small else SIDE


def _hold_out(labels: np.ndarray, seed: int) -> np.ndarray:
    """A third of each class, at random."""
    held_out = np.zeros(len(labels), bool)
    rng = np.random.default_rng([seed, 3])
    for label in np.unique(labels):
        members = rng.permutation(np.nonzero(labels == label)[0])
        held_out[members[::_HELD_OUT_EVERY]] = True
    return held_out


def choose_measured(chosen: Chosen, seed: int) -> np.ndarray:
    """Indices of the images to look at through a lens, sorted; those held out come first."""
    shuffled = np.random.default_rng([seed, 4]).permutation(len(chosen.labels))
    first = np.argsort(~chosen.held_out[shuffled], kind="stable")
    return np.sort(shuffled[first[:MEASURED]])


def write(chosen: Chosen, folder: str) -> None:
    """Writes the images as a data set, train/CLASS/NUMBER.png and test/CLASS/NUMBER.png.

    Classes are numbers too: names may be anything. Raises `UserError` where it cannot be written.
    """
    root = pathlib.Path(folder)
    with writing_to(folder):
        for number, image in enumerate(chosen.pixels):
            split = "test" if chosen.held_out[number] else "train"
            path = root / split / f"{chosen.labels[number]:03d}" / f"{number:06d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(png.encode(image))
