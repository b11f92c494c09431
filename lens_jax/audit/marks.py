"""Looks for marks of known kinds, and measures which an audit of these very images can find."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np

from lens_jax.audit import known, plants
from lens_jax.audit.copies import Copy, look_at, plant_all, read_copies
from lens_jax.audit.fixed import (
    compare_details,
    describe_fixed,
    find_critical,
    find_details,
    find_marked,
)
from lens_jax.audit.levels import LEAST_RATE, find_changed
from lens_jax.audit.probes import Sample
from lens_jax.audit.state import LEAST_IMAGES, Audit, Result, choose_halves, choose_sample

# Of the images of a class, into which marks are planted.
FRACTIONS = (0.9, 0.5, 0.1, 0.02)
# So many copies of a class's images at most.
MOST_PLANTED = 60
_EXAMPLES = 6
FEWER_COPIES = 120


class Mark(NamedTuple):
    """A mark that is planted to see whether it is found.

    Attributes:
      title: what it is, in words.
      kind: which of `known.KINDS` it is.
      draw: draws it.

    """

    title: str
    kind: str
    draw: Callable[[np.ndarray, np.random.Generator], np.ndarray]


def _patch(percent: int) -> Mark:
    title = f"square, {percent} % of a side"
    return Mark(title, "patch", partial(plants.fixed_patch, size=percent / 100))


def _noise(levels: int) -> Mark:
    title = f"noise of {levels} gray levels"
    return Mark(title, "noise", partial(plants.noise, deviation=levels))


def _moving(percent: int) -> Mark:
    title = f"moving square, {percent} %"
    return Mark(title, "patch", partial(plants.moving_patch, size=percent / 100))


class Measured(NamedTuple):
    """What marks are found by.

    Attributes:
      sample: the images.
      scores: see `known.score`.
      details: see `fixed.find_details`.
      critical: see `fixed.find_critical`.

    """

    sample: Sample
    scores: np.ndarray
    details: np.ndarray
    critical: float


MARKS = (
    _patch(3),
    _patch(6),
    _patch(12),
    _moving(6),
    _moving(12),
    Mark("text across the image", "text", plants.text),
    Mark("color fringe of 1 px", "fringe", plants.color_fringe),
    Mark(f"JPEG quality {plants.LOW_QUALITY} in the pixels", "quality", plants.low_quality),
    _noise(2),
    _noise(6),
    Mark(f"blur of {plants.BLUR} px", "blur", plants.blur),
)


def look_for_marks(audit: Audit) -> Result:
    """Fits detectors on copies of the images, asks them of all, and of planted marks.

    Without classes, nothing is looked for: but what could be found, were there two halves.

    Returns:
      "kinds": see `known.compare_classes`, with "class" by its name, "box" and "scores", those of
      the flagged images by their paths. "fixed": see `fixed.describe_fixed`, likewise. "limits":
      see `measure_limits`. All are empty where there are too few images. "changed": see
      `look_at_levels`.

    """
    changed = look_at_levels(choose_halves(audit), audit.seed)
    sample = choose_sample(audit)
    is_labeled = len(sample.names) >= 2
    if not is_labeled:
        sample = choose_halves(audit)
    if len(sample.labels) < 2 * LEAST_IMAGES:
        return {"images": 0, "kinds": [], "fixed": [], "limits": [], "changed": changed}
    rng = np.random.default_rng([audit.seed, 4])
    rows = rng.permutation(len(sample.labels))[: known.MAX_COPIES]
    copies = read_copies(audit.folder.root, [sample.paths[row] for row in rows])
    detectors, measured = measure(sample, copies, rows, rng)
    found = describe_marks(measured) if is_labeled else {"kinds": [], "fixed": []}
    limits = measure_limits(detectors, measured, copies, rows, rng)
    return {"images": len(sample.labels), "limits": limits, "changed": changed} | found


def look_at_levels(sample: Sample, seed: int) -> Result | None:
    """Images whose colors were changed alike, whatever their label: see `levels.find_changed`.

    With their "scores" by path, and a few "examples" of them and of others, uint8 [2, n, SIDE,
    SIDE, 3]. None where they are too few.
    """
    if len(sample.labels) < 2 * LEAST_IMAGES:
        return None
    found = find_changed(sample.statistics["levels"], seed)
    if found["rate"] < LEAST_RATE:
        return None
    rows = found.pop("rows")
    scores = {}
    for row, score in zip(rows, found["scores"], strict=True):
        scores[sample.paths[row]] = score
    # The likeliest ones, beside as many of the others.
    likeliest = sorted(range(len(rows)), key=lambda place: -found["scores"][place])
    flagged = [rows[place] for place in likeliest[:_EXAMPLES]]
    others = np.setdiff1d(np.arange(len(sample.labels)), rows)
    rng = np.random.default_rng([seed, 7])
    some = rng.permutation(others)[: len(flagged)]
    examples = [sample.small[flagged].tolist(), sample.small[some].tolist()]
    return found | {"scores": scores, "examples": examples}


def find_marks(sample: Sample, copies: list[Copy], rng: np.random.Generator) -> Result:
    """The "kinds" and "fixed" of `look_for_marks` in a sample of which there are all copies.

    Marks are planted into fewer of them: this is asked of one treatment after the other.
    """
    rows = rng.permutation(len(copies))[:FEWER_COPIES]
    _, measured = measure(sample, [copies[row] for row in rows], rows, rng)
    return describe_marks(measured)


def measure(
    sample: Sample, copies: list[Copy], rows: np.ndarray, rng: np.random.Generator
) -> tuple[known.Detectors, Measured]:
    """Fits the detectors with `copies` of some `rows` of a sample, and asks them of all."""
    detectors = known.fit(sample, copies, rows, rng)
    features = known.features(sample.small, sample.statistics)
    scores = known.score(detectors, features, sample.labels)
    details = find_details(sample.small)
    seed = int(rng.integers(2**31))
    critical = find_critical(details, sample.labels, seed)
    return detectors, Measured(sample, scores, details, critical)


def describe_marks(measured: Measured) -> Result:
    """What is found of marks, with names for classes and images."""
    sample = measured.sample
    fixed = []
    for each in describe_fixed(measured.details, sample.labels, measured.critical):
        flagged = {sample.paths[row]: value for row, value in each["scores"].items()}
        fixed.append(each | {"class": sample.names[each["class"]], "scores": flagged})
    return {"kinds": describe_kinds(sample, measured.scores), "fixed": fixed}


def describe_kinds(sample: Sample, scores: np.ndarray) -> list[Result]:
    """What `known.compare_classes` finds, with the name of the class, place and flagged images."""
    found = []
    for number, each in enumerate(known.compare_classes(scores, sample.labels)):
        members = np.flatnonzero(sample.labels == each["class"])
        of_members = scores[members, number]
        is_flagged = of_members >= each["reached"]
        box = None
        flagged = {}
        if known.is_found(each):
            if each["kind"] in known.LOCAL:
                box = known.locate(sample.small[members], is_flagged)
            for place in np.flatnonzero(is_flagged):
                flagged[sample.paths[members[place]]] = round(float(of_members[place]), 4)
        name = sample.names[each["class"]]
        found.append(each | {"class": name, "box": box, "scores": flagged})
    return found


def measure_limits(
    detectors: known.Detectors,
    measured: Measured,
    copies: list[Copy],
    rows: np.ndarray,
    rng: np.random.Generator,
) -> list[Result]:
    """Plants each of `MARKS` into images of one class, and looks for it.

    The class is the one of which there are most copies.

    Returns:
      Of each mark "title", "class" and "found": for each of `FRACTIONS` of the images of the class,
      whether it is found.

    """
    sample = measured.sample
    of_copies = sample.labels[rows]
    number = int(np.bincount(of_copies).argmax())
    chosen = np.flatnonzero(of_copies == number)[:MOST_PLANTED]
    members = np.flatnonzero(sample.labels == number)
    labels = np.full(len(chosen), number)
    limits = []
    for mark in MARKS:
        is_local = mark.kind in known.LOCAL
        planted = plant_all([copies[place] for place in chosen], mark.draw, is_local, rng)
        small, statistics = look_at(planted)
        reached = known.score(detectors, known.features(small, statistics), labels)
        details = find_details(small)
        found = []
        for fraction in FRACTIONS:
            count = max(1, round(fraction * len(members)))
            drawn = rng.integers(len(planted), size=count)
            marked = measured._replace(
                scores=_exchange(measured.scores, members[:count], reached[drawn]),
                details=_exchange(measured.details, members[:count], details[drawn]),
            )
            found.append(_is_found(marked, mark.kind, number))
        limits.append({"title": mark.title, "class": sample.names[number], "found": found})
    return limits


def _exchange(values: np.ndarray, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
    exchanged = values.copy()
    exchanged[rows] = others
    return exchanged


def _is_found(measured: Measured, kind: str, number: int) -> bool:
    """Whether a kind of mark is found in a class, by its detector or at its place."""
    labels = measured.sample.labels
    for each in known.compare_classes(measured.scores, labels):
        if each["kind"] == kind and each["class"] == number and known.is_found(each):
            return True
    if kind not in known.LOCAL:
        return False
    return number in find_marked(compare_details(measured.details, labels, measured.critical))
