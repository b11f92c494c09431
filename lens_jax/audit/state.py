"""What a part of the audit computes with: the folder, earlier results, images chosen from it."""

from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from lens_jax.audit import duplicates
from lens_jax.audit.folder import NO_LABEL, Folder
from lens_jax.audit.kept import load_reading
from lens_jax.audit.probes import Sample
from lens_jax.audit.reading import Reading

Result = dict[str, Any]
# A class of fewer different images is not asked about: a shuffle would do as well by luck.
LEAST_IMAGES = 20
HALVES = ("one half", "the other half")


class Audit(NamedTuple):
    """What a part computes with.

    Attributes:
      folder: the images.
      output: the folder of the results.
      seed: of all random choices.
      results: those of the parts before it, by name.
      parts: all parts of this audit, in their order.

    """

    folder: Folder
    output: str
    seed: int
    results: dict[str, Result]
    parts: tuple["Part", ...] = ()

    @property
    def missing(self) -> list["Part"]:
        """The parts that are not finished."""
        return [part for part in self.parts if part.name not in self.results]


class Part(NamedTuple):
    """A part of the audit.

    Attributes:
      name: of its result.
      doing: what it is doing, in words.
      compute: returns its result, plain JSON values.
      settings: what its result depends on beside images and seed.

    """

    name: str
    doing: str
    compute: Callable[[Audit], Result]
    settings: tuple[str, ...] = ()


def choose_sample(audit: Audit) -> Sample:
    """The images that probes look at: labeled, whole, each but once, of classes that are enough."""
    folder = audit.folder
    reading = read_again(audit)
    is_first = _first_images(audit, reading)
    counts = Counter(folder.labels[index] for index in reading.kept if is_first[index])
    names = sorted(
        name for name, count in counts.items() if count >= LEAST_IMAGES and name != NO_LABEL
    )
    numbers = {name: number for number, name in enumerate(names)}

    places = []
    for place, index in enumerate(reading.kept):
        if is_first[index] and folder.labels[index] in numbers:
            places.append(place)
    labels = [numbers[folder.labels[reading.kept[place]]] for place in places]
    return _sample_at(audit, reading, places, np.array(labels, int), names)


def choose_halves(audit: Audit) -> Sample:
    """All whole images, each but once, in two halves drawn at random."""
    reading = read_again(audit)
    is_first = _first_images(audit, reading)
    places = [place for place, index in enumerate(reading.kept) if is_first[index]]
    labels = np.random.default_rng([audit.seed, 3]).permutation(len(places)) % 2
    return _sample_at(audit, reading, places, labels, list(HALVES))


def _sample_at(
    audit: Audit, reading: Reading, places: list[int], labels: np.ndarray, names: list[str]
) -> Sample:
    chosen = reading.kept[places].tolist()
    columns = {}
    for name, values in reading.columns.items():
        columns[name] = [values[index] for index in chosen]
    return Sample(
        paths=[audit.folder.paths[index] for index in chosen],
        sizes=[audit.folder.sizes[index] for index in chosen],
        columns=columns,
        small=reading.small[places],
        statistics={name: values[places] for name, values in reading.statistics.items()},
        labels=labels,
        names=names,
    )


def read_again(audit: Audit) -> Reading:
    """What was read of the images."""
    return load_reading(audit.output, audit.results["reading"])


def _first_images(audit: Audit, reading: Reading) -> np.ndarray:
    pairs = [duplicates.Pair(*pair) for pair in audit.results["duplicates"]["pairs"]]
    return duplicates.first_of_each(len(reading.columns["error"]), pairs)
