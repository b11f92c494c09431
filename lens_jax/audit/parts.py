"""The parts of the audit in their order: what each computes, as plain JSON values.

A part sees the results of those before it. What it returns is kept, and told by its section of the
page, see `sections`.
"""

import os
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from lens_jax.audit import duplicates, maps
from lens_jax.audit.folder import NO_LABEL, Folder, choose_images
from lens_jax.audit.kept import load_reading, write_reading
from lens_jax.audit.probes import PROBES, Sample
from lens_jax.audit.reading import Reading, read_folder
from lens_jax.audit.separation import Separation, separate

Result = dict[str, Any]
# A class of fewer different images is not asked about: a shuffle would do as well by luck.
LEAST_IMAGES = 20
# Unlabeled images all belong to this one, whose mean is shown.
ALL = "all images"


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


def read(audit: Audit) -> Result:
    """Reads every file once."""
    chosen = choose_images(audit.folder, audit.seed)
    reading = read_folder(audit.folder, chosen)
    return write_reading(audit.output, reading)


def compare(audit: Audit) -> Result:
    """Finds duplicates."""
    pairs = duplicates.find_duplicates(_reading(audit))
    return {"pairs": [list(pair) for pair in pairs]}


def probe(audit: Audit) -> Result:
    """Asks every blind probe that is not the same for all images."""
    sample = choose_sample(audit)
    result: Result = {
        "images": len(sample.labels),
        "classes": sample.names,
        "left_out": _left_out(audit, sample),
        "probes": {},
        "constant": [],
    }
    if len(sample.names) < 2:
        return result

    asked = {}
    for name, each in PROBES.items():
        features = each.features(sample)
        if np.any(features != features[0]):
            asked[name] = features
        else:
            result["constant"].append(name)

    # A thread a probe is faster than a product in many threads.
    def ask(features: np.ndarray) -> Separation:
        return separate(features, sample.labels, audit.seed)

    with threadpool_limits(1), ThreadPoolExecutor(os.cpu_count()) as pool:
        answers = list(pool.map(ask, asked.values()))
    for name, answer in zip(asked, answers, strict=True):
        result["probes"][name] = {
            "macro": answer.macro._asdict(),
            "classes": [each._asdict() for each in answer.classes],
            "p": answer.p,
        }
    return result


def locate(audit: Audit) -> Result:
    """Makes the mean image and the information map of each class."""
    sample = choose_sample(audit)
    small = sample.small
    labels = sample.labels
    names = sample.names
    if len(names) < 2:
        # Nothing can be told apart: one mean image of all.
        small = _reading(audit).small
        if not len(small):
            return {"classes": [], "means": []}
        means = maps.mean_images(small, np.zeros(len(small), int))
        return {"classes": [ALL], "means": means.tolist()}

    found = maps.measure_information(small, labels, audit.seed)
    return {
        "classes": names,
        "means": maps.mean_images(small, labels).tolist(),
        "maps": np.round(found.maps, 4).tolist(),
        "null_highest": found.null_highest,
        "fractions": found.fractions,
        "spots": [spot._asdict() for spot in found.spots],
        "p": found.p,
    }


PARTS = (
    Part("reading", "reading the images", read),
    Part("duplicates", "looking for duplicates", compare),
    Part("probes", "asking the blind probes", probe),
    Part("maps", "mapping what single pixels tell", locate),
)


def choose_sample(audit: Audit) -> Sample:
    """The images that probes look at: labeled, whole, each but once, of classes that are enough."""
    folder = audit.folder
    reading = _reading(audit)
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
    chosen = reading.kept[places].tolist()
    columns = {}
    for name, values in reading.columns.items():
        columns[name] = [values[index] for index in chosen]
    statistics = {name: values[places] for name, values in reading.statistics.items()}
    labels = [numbers[folder.labels[index]] for index in chosen]
    return Sample(
        paths=[folder.paths[index] for index in chosen],
        sizes=[folder.sizes[index] for index in chosen],
        columns=columns,
        small=reading.small[places],
        statistics=statistics,
        labels=np.array(labels, int),
        names=names,
    )


def _reading(audit: Audit) -> Reading:
    return load_reading(audit.output, audit.results["reading"])


def _first_images(audit: Audit, reading: Reading) -> np.ndarray:
    pairs = [duplicates.Pair(*pair) for pair in audit.results["duplicates"]["pairs"]]
    return duplicates.first_of_each(len(reading.columns["error"]), pairs)


def _left_out(audit: Audit, sample: Sample) -> Result:
    """What the probes did not look at: numbers of classes and of images."""
    classes = set(audit.folder.labels) - {NO_LABEL}
    return {
        "classes": len(classes) - len(sample.names),
        "images": len(audit.folder.paths) - len(sample.labels),
    }
