"""How good the rows' answers are, and the tables of it."""

from collections.abc import Iterable

import cv2
import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from benchmarks.audit.rows import Answer
from benchmarks.audit.sets import CLEAN, SHUFFLED, Set

_HEADER = (
    "row",
    "detection",
    "false alarms, clean",
    "shuffled",
    "retrieval",
    "place",
    "share",
    "kind",
    "s",
)
LOCAL = ("fixed_patch", "moving_patch", "text")


def average_precision(data: Set, answer: Answer) -> float | None:
    """Of the images that an answer names, in the order of its scores; None where it names none."""
    if answer.images is None:
        return None
    return float(average_precision_score(data.masks.any(axis=(1, 2)), answer.images))


def localize(data: Set, answer: Answer) -> tuple[float | None, float | None]:
    """The AUROC of the changed pixels by a map, and how much of the map lies on them.

    Both are the means over the planted images, of artefacts that have a place.
    """
    if answer.place is None or data.artefact not in LOCAL or answer.label != data.planted:
        return None, None
    height, width = data.masks.shape[1:]
    place = cv2.resize(np.float32(answer.place), (width, height), interpolation=cv2.INTER_AREA)
    aucs = []
    shares = []
    for mask in data.masks[data.masks.any(axis=(1, 2))]:
        aucs.append(roc_auc_score(mask.ravel(), place.ravel()))
        shares.append(place[mask].sum() / max(place.sum(), 1e-12))
    return float(np.mean(aucs)), float(np.mean(shares))


def detection(planted: list[dict], clean: list[dict]) -> float:
    """The AUROC of scores, within each data set, over the planted sets and the clean ones."""
    wins = []
    for one in planted:
        for other in clean:
            if one["data"] == other["data"]:
                wins.append(
                    0.5 * (one["score"] == other["score"]) + (one["score"] > other["score"])
                )
    return float(np.mean(wins))


def tables(records: list[dict], rows: Iterable[str]) -> list[str]:
    """A table of all rows, and one of each artefact and fraction, as Markdown."""
    lines = [
        "",
        f"| {' | '.join(_HEADER)} |",
        "| --- " * len(_HEADER) + "|",
    ]
    for row in rows:
        own = [each for each in records if each["row"] == row]
        clean = [each for each in own if each["artefact"] == CLEAN]
        shuffled = [each for each in own if each["artefact"] == SHUFFLED]
        planted = [each for each in own if each["artefact"] not in (CLEAN, SHUFFLED)]
        found = [each for each in planted if each["alarm"]]
        cells = [
            row,
            f"{detection(planted, clean):.2f}",
            f"{sum(each['alarm'] for each in clean)} of {len(clean)}",
            f"{sum(each['alarm'] for each in shuffled)} of {len(shuffled)}",
            _mean(planted, "retrieval"),
            _mean(found, "place"),
            _mean(found, "share"),
            _mean(found, "named"),
            _mean(own, "seconds"),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines + _by_artefact(records, list(rows))


def _by_artefact(records: list[dict], rows: list[str]) -> list[str]:
    lines = ["", f"| artefact | in | {' | '.join(rows)} | found by the page |"]
    lines.append("| --- | --- |" + " --- |" * (len(rows) + 1))
    kinds = sorted(
        {(each["artefact"], each["fraction"]) for each in records} - {(CLEAN, 0.0), (SHUFFLED, 0.0)}
    )
    for artefact, fraction in kinds:
        cells = [artefact, f"{fraction:.0%}"]
        for row in rows:
            own = [each for each in records if each["row"] == row]
            clean = [each for each in own if each["artefact"] == CLEAN]
            planted = _select(own, artefact, fraction)
            cells.append(f"{detection(planted, clean):.2f}")
        found = [each["alarm"] and each["right class"] for each in planted]
        cells.append(f"{sum(found)} of {len(found)}")
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _select(records: list[dict], artefact: str, fraction: float) -> list[dict]:
    chosen = []
    for each in records:
        if each["artefact"] == artefact and each["fraction"] == fraction:
            chosen.append(each)
    return chosen


def _mean(records: list[dict], name: str) -> str:
    values = [each[name] for each in records if each.get(name) is not None]
    return f"{np.mean(values):.2f}" if values else "-"
