"""What helps against what was found: treatments, and their measured effect.

Copies of the images are treated, and everything is measured again. All copies are taken as saved
anew, in one format and without what cameras and programs wrote into the files.
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import cv2
import numpy as np

from lens_jax.audit import plants
from lens_jax.audit.copies import Copy, read_copies, sample_of
from lens_jax.audit.findings import CHANGED, FIXED, TRACE, Finding, find_all
from lens_jax.audit.known import KINDS
from lens_jax.audit.marks import find_marks, look_at_levels
from lens_jax.audit.measure import ask_probes, map_pixels
from lens_jax.audit.outcome import MAP
from lens_jax.audit.probes import LOOKS, PROBES, Sample
from lens_jax.audit.state import Audit, Result, choose_halves, choose_sample

# Of the findings with the highest scores, on so many images, evenly of each class.
MOST_FINDINGS = 6
LEAST_IMAGES, MOST_IMAGES, OF_CLASS = 300, 600, 60
QUALITY = 75
# What is cropped of each side where nothing says how much is needed, and at most.
_MARGIN = 1 / 8
_MOST_MARGIN = 1 / 4
_CELL = 1 / 32  # of the maps, by which places are known

Treat = Callable[[np.ndarray], np.ndarray]


class Treatment(NamedTuple):
    """What is done to all images: in words, and the function of an image."""

    title: str
    treat: Treat


def advise(audit: Audit) -> Result:
    """Treats copies of the images, and measures what is left of each finding.

    Returns:
      "images": of how many; "findings": of each its "title", "label", and the score "before", as
      found in these images; "treatments": of each its "title", the scores "after", by how many
      gray levels it "changes" a pixel on average, the fraction of the pixels that it "removes", and
      "looks", how well 8 x 8 pixels tell the class that they tell best. Empty without a finding.

    """
    findings = find_all(audit)[:MOST_FINDINGS]
    if not findings:
        return {"images": 0, "findings": [], "treatments": []}
    sample = choose_sample(audit)
    if len(sample.names) < 2:
        sample = choose_halves(audit)
    shuffled = np.random.default_rng([audit.seed, 5]).permutation(len(sample.labels))
    rows = _evenly(sample.labels, shuffled)
    some = _subsample(sample, rows)
    copies = read_copies(audit.folder.root, some.paths)

    before = _measure(audit, some, copies, findings)
    described = []
    for finding, score in zip(findings, before.scores, strict=True):
        described.append({"title": finding.title, "label": finding.label, "before": score})
    treatments = []
    for each in choose_treatments(findings):
        treated = [_treat(copy, each.treat) for copy in copies]
        anew = sample_of(treated, some.labels, some.names, [1] * len(rows))
        after = _measure(audit, anew._replace(paths=some.paths), treated, findings)
        effect = {"title": each.title, "after": after.scores, "looks": after.looks}
        treatments.append(effect | _compare(copies, treated))
    return {
        "images": len(rows),
        "looks": before.looks,
        "findings": described,
        "treatments": treatments,
    }


def choose_treatments(findings: list[Finding]) -> list[Treatment]:
    """The treatments that are tried: a place that was found is cropped off, or covered."""
    boxes = [each.box for each in findings if each.box]
    margin = max([_needed(box) for box in boxes], default=_MARGIN)
    treatments = [
        Treatment("gray", to_gray),
        Treatment(f"JPEG at quality {QUALITY}", partial(plants.reencode, quality=QUALITY)),
        Treatment("half the size", halve),
    ]
    if margin <= _MOST_MARGIN:
        title = f"{100 * margin:.0f} % cropped of each side"
        treatments.insert(0, Treatment(title, partial(crop, margin=margin)))
    if boxes:
        title = "the place covered with the mean around it"
        treatments.insert(0, Treatment(title, partial(cover, boxes=boxes)))
    return treatments


def _needed(box: dict[str, float]) -> float:
    """How much has to be cropped of each side until a box is gone."""
    reaches = (box["bottom"], box["right"], 1 - box["top"], 1 - box["left"])
    return min(reaches) + _CELL


def to_gray(image: np.ndarray) -> np.ndarray:
    """The luminance in all three channels."""
    return cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)


def halve(image: np.ndarray) -> np.ndarray:
    """An image at half its size, by averaging 2 x 2 pixels."""
    height, width = image.shape[:2]
    size = (max(1, width // 2), max(1, height // 2))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def crop(image: np.ndarray, margin: float) -> np.ndarray:
    """An image without a fraction of each side."""
    height, width = image.shape[:2]
    rows, columns = round(margin * height), round(margin * width)
    return np.ascontiguousarray(image[rows : height - rows, columns : width - columns])


def cover(image: np.ndarray, boxes: list[dict[str, float]]) -> np.ndarray:
    """An image whose boxes, and a cell of the maps around them, are filled by what lies around."""
    height, width = image.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    for box in boxes:
        top = max(0, round((box["top"] - _CELL) * height))
        left = max(0, round((box["left"] - _CELL) * width))
        bottom = round((box["bottom"] + _CELL) * height)
        right = round((box["right"] + _CELL) * width)
        mask[top:bottom, left:right] = 1
    return cv2.inpaint(image, mask, 3, cv2.INPAINT_TELEA)


class _Measured(NamedTuple):
    """The score of each finding, and how well coarse looks tell the class they tell best."""

    scores: list[float]
    looks: float


def _measure(
    audit: Audit, sample: Sample, copies: list[Copy], findings: list[Finding]
) -> _Measured:
    """What is left of findings in copies.

    Of all that is asked of the images, only what these findings are made of is asked again.
    """
    names = {each.name for each in findings}
    asked = {"thumbnail"} | (names & set(PROBES))
    if any(each.kind == TRACE for each in findings):
        asked |= {name for name, probe in PROBES.items() if probe.meaning == LOOKS}
    probes = ask_probes(sample, audit.seed, asked)
    results = {"probes": probes}
    if MAP in names:
        results["maps"] = map_pixels(sample, audit.seed)
    if names & {*KINDS, FIXED, CHANGED}:
        rng = np.random.default_rng([audit.seed, 4])
        results["marks"] = find_marks(sample, copies, rng)
        results["marks"]["changed"] = look_at_levels(sample, audit.seed)
    thumbnail = probes["probes"].get("thumbnail", {"classes": [{"value": 0.5}]})
    looks = max(each["value"] for each in thumbnail["classes"])
    found = find_all(audit._replace(results=results))
    return _Measured(_scores(findings, found), looks)


def _scores(findings: list[Finding], found: list[Finding]) -> list[float]:
    """The score of each finding among those that were found; 0 where it is not."""
    by_name = {}
    for each in found:
        by_name[each.name, each.label] = each.score
    return [by_name.get((each.name, each.label), 0.0) for each in findings]


def _treat(copy: Copy, treat: Treat) -> Copy:
    whole = treat(copy.whole)
    middle = whole if copy.whole is copy.middle else treat(copy.middle)
    return Copy(whole, middle)


def _compare(copies: list[Copy], treated: list[Copy]) -> Result:
    """The mean change of a pixel that is left, in gray levels, and how many pixels are gone."""
    changes = []
    removed = []
    for copy, other in zip(copies, treated, strict=True):
        removed.append(1 - other.whole[..., 0].size / copy.whole[..., 0].size)
        if other.whole.shape == copy.whole.shape:
            changes.append(np.abs(copy.whole.astype(float) - other.whole).mean())
    return {
        "changes": float(np.mean(changes)) if changes else 0.0,
        "removes": float(np.mean(removed)),
    }


def _evenly(labels: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """`OF_CLASS` rows of each class, but `LEAST_IMAGES` to `MOST_IMAGES` in all."""
    classes = 1 + int(labels.max())
    most = np.clip(OF_CLASS * classes, LEAST_IMAGES, MOST_IMAGES) // classes
    chosen = []
    for number in range(classes):
        chosen += rows[labels[rows] == number][:most].tolist()
    return np.array(chosen)


def _subsample(sample: Sample, rows: np.ndarray) -> Sample:
    return Sample(
        paths=[sample.paths[row] for row in rows],
        sizes=[sample.sizes[row] for row in rows],
        columns={name: [values[row] for row in rows] for name, values in sample.columns.items()},
        small=sample.small[rows],
        statistics={name: values[rows] for name, values in sample.statistics.items()},
        labels=sample.labels[rows],
        names=sample.names,
    )
