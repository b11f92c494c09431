"""The rows of the benchmark: each looks at a set in its own way and answers alike."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from benchmarks.audit.sets import Set
from lens_jax.audit import known, maps, marks
from lens_jax.audit.copies import Copy, make_copy, sample_of
from lens_jax.audit.findings import FIXED, find_all
from lens_jax.audit.fixed import compare_details
from lens_jax.audit.folder import Folder
from lens_jax.audit.measure import ask_probes, map_pixels
from lens_jax.audit.probes import PROBES, Sample
from lens_jax.audit.separation import LEVEL, separate
from lens_jax.audit.state import Audit


class Answer(NamedTuple):
    """What a row says of a set.

    Attributes:
      score: how much it finds, of any class; higher is more.
      alarm: whether it says that there is something.
      label: in which class.
      kind: what, by a key of `NAMES`; "" where it does not say.
      images: how likely each image is to have it, [n]; None where it does not say.
      place: how likely each pixel is to have it, [h, w] of any size; None where it does not say.

    """

    score: float
    alarm: bool
    label: int
    kind: str
    images: np.ndarray | None
    place: np.ndarray | None


class Seen(NamedTuple):
    """A set, and what the audit reads of it."""

    set: Set
    copies: list[Copy]
    sample: Sample
    seed: int


# What the kinds of findings are called that name an artefact rightly.
NAMES = {
    "fixed_patch": ("patch", FIXED, "information_map"),
    "moving_patch": ("patch",),
    "text": ("text", FIXED, "information_map"),
    "color_fringe": ("fringe", "color_fringe"),
    "jpeg": ("quality", "jpeg_grid", "file_size"),
    "noise": ("noise",),
    "blur": ("blur", "sharpness"),
}


def look(data: Set, seed: int) -> Seen:
    """Reads a set as the audit reads files."""
    copies = [make_copy(image) for image in data.images]
    names = [f"class {number}" for number in range(data.labels.max() + 1)]
    sample = sample_of(copies, data.labels, names, data.sizes)
    paths = [str(index) for index in range(len(copies))]
    return Seen(data, copies, sample._replace(paths=paths), seed)


def property_checks(seen: Seen) -> Answer:
    """Brightness, contrast, sharpness, noise and color of an image, one number each."""
    statistics = seen.sample.statistics
    small = seen.sample.small.astype(np.float32)
    mean = small.mean(axis=(1, 2))
    columns = [
        statistics["light"][:, 0],
        statistics["light"][:, 1],
        statistics["sharpness"][:, -1],
        statistics["noise"][:, 0],
        mean[:, 0] - mean[:, 1],
        mean[:, 2] - mean[:, 1],
        np.array(seen.sample.sizes, float),
    ]
    best = None
    for values in columns:
        answer = _from_features(seen, values[:, None])
        if best is None or answer.score > best.score:
            best = answer
    return best


def _from_features(seen: Seen, features: np.ndarray) -> Answer:
    """The class that features tell best, beyond shuffled labels."""
    if np.all(features == features[0]):
        return Answer(0.0, False, 0, "", None, None)
    found = separate(features, seen.sample.labels, seen.seed)
    margins = [each.value - each.null_highest for each in found.classes]
    label = int(np.argmax(margins))
    return Answer(margins[label], found.p <= LEVEL, label, "", None, None)


def thumbnail(seen: Seen) -> Answer:
    """The image at 8 x 8 pixels."""
    return _from_features(seen, PROBES["thumbnail"].features(seen.sample))


def border(seen: Seen) -> Answer:
    """The border alone."""
    return _from_features(seen, PROBES["border"].features(seen.sample))


def information_map(seen: Seen) -> Answer:
    """What single pixels tell."""
    sample = seen.sample
    found = maps.measure_information(sample.small, sample.labels, seen.seed)
    strengths = found.maps.max(axis=(1, 2)) - found.null_highest
    label = int(strengths.argmax())
    alarm = found.p <= LEVEL
    return Answer(float(strengths[label]), alarm, label, "", None, found.maps[label])


def whole_page(seen: Seen) -> Answer:
    """All findings of the page: that with the highest score answers."""
    sample = seen.sample
    rng = np.random.default_rng([seen.seed, 4])
    rows = rng.permutation(len(sample.labels))[: known.MAX_COPIES]
    _, measured = marks.measure(sample, [seen.copies[row] for row in rows], rows, rng)
    scores = measured.scores
    results = {
        "probes": ask_probes(sample, seen.seed),
        "maps": map_pixels(sample, seen.seed),
        "marks": marks.describe_marks(measured)
        | {"changed": marks.look_at_levels(sample, seen.seed)},
    }
    nothing = Folder("", [], [], [], [], [], "", [])
    findings = find_all(Audit(nothing, "", seen.seed, results))
    if not findings:
        return _undecided(seen, scores, measured)
    first = findings[0]
    if first.label not in sample.names:
        return Answer(1 + first.score, True, -1, first.name, None, None)
    label = sample.names.index(first.label)
    images, place = _evidence(seen, first.name, label, results, scores, measured)
    return Answer(1 + first.score, True, label, first.name, images, place)


def _undecided(seen: Seen, scores: np.ndarray, measured: marks.Measured) -> Answer:
    """What comes nearest to a finding, below 1: by how much a class differs from the next."""
    best = max(
        known.compare_classes(scores, seen.sample.labels),
        key=lambda each: (each["rate"] - each["next"]) / each["least"] * (1 - each["p"]),
    )
    score = (best["rate"] - best["next"]) * (1 - best["p"])
    images = np.where(
        seen.sample.labels == best["class"], scores[:, known.KINDS.index(best["kind"])], 0
    )
    return Answer(min(score, 0.99), False, best["class"], best["kind"], images, None)


def _evidence(
    seen: Seen,
    name: str,
    label: int,
    results: dict,
    scores: np.ndarray,
    measured: marks.Measured,
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Which images have a finding, and where it is."""
    labels = seen.sample.labels
    is_class = labels == label
    if name in known.KINDS:
        images = np.where(is_class, scores[:, known.KINDS.index(name)], 0)
        flagged = images[is_class] >= _reached(results, name)
        place = None
        if name in known.LOCAL and 1 < flagged.sum() < len(flagged) - 1:
            place = known.contrast_map(seen.sample.small[is_class], flagged)
        return images, place
    if name == FIXED:
        images = np.zeros(len(labels))
        for each in results["marks"]["fixed"]:
            if each["class"] == seen.sample.names[label]:
                for path, value in each["scores"].items():
                    images[int(path)] = value
        return images, np.abs(compare_details(measured.details, labels, measured.critical).z[label])
    if name == "information_map":
        return is_class.astype(float), np.array(results["maps"]["maps"][label])
    return is_class.astype(float), None


def _reached(results: dict, name: str) -> float:
    """The score from which on images are flagged for a kind of mark."""
    kinds = {each["kind"]: each for each in results["marks"]["kinds"]}
    return kinds[name]["reached"]


ROWS: dict[str, Callable[[Seen], Answer]] = {
    "property checks": property_checks,
    "thumbnail": thumbnail,
    "border": border,
    "information map": information_map,
    "whole page": whole_page,
}
