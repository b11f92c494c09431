"""What counts as a finding: a relation that an object hardly explains, with its score.

The score of a finding is in points of 100 pairs: how many more of 100 pairs are told right, one
image of the class and one of another, than the best of all shuffled labels reached; for marks of
known kinds, than if the class were flagged as often as the next. It is from 0, what luck reaches,
to 50, at which every pair is right.
"""

from typing import NamedTuple

from lens_jax.audit.known import is_found
from lens_jax.audit.outcome import MAP, Answer, answers, find_marks
from lens_jax.audit.probes import BESIDE
from lens_jax.audit.state import Audit, Result
from lens_jax.pages.page import printable

MARK = "mark"
TRACE = "trace"
FIXED = "fixed"
# What the detectors of known marks are called, see `known`.
_TITLES = {
    "patch": "a small square",
    "text": "a half-transparent text",
    "fringe": "a color fringe",
    "quality": "a low JPEG quality",
    "noise": "noise",
    "blur": "a blur",
}


class Finding(NamedTuple):
    """A relation that deserves a look.

    Attributes:
      kind: `BESIDE`, `MARK` or `TRACE`.
      name: the key of the probe, or `MAP`.
      title: what was seen, in words.
      label: the class that it tells best.
      score: points of 100 pairs above what shuffled labels reached, in [0, 50].
      box: where it is, edges as fractions of the sides; None where it is not at one place.

    """

    kind: str
    name: str
    title: str
    label: str
    score: float
    box: dict[str, float] | None


def find_all(audit: Audit) -> list[Finding]:
    """All findings, the highest score first."""
    found = []
    for answer in answers(audit):
        if answer.is_told and answer.meaning == BESIDE:
            found.append(_of_answer(BESIDE, answer))
        elif answer.is_told and answer.beyond_looks:
            found.append(_of_answer(TRACE, answer))
    for mark in find_marks(audit):
        # A strength of 1 is an AUC of 1, which is 50 points above guessing.
        points = 50 * (mark["strongest"] - mark["null_highest"])
        title = "a small spot"
        found.append(Finding(MARK, MAP, title, mark["class"], points, mark["spot"]))
    for kind in audit.results.get("marks", {}).get("kinds", []):
        if is_found(kind):
            found.append(_of_kind(kind))
    for each in audit.results.get("marks", {}).get("fixed", []):
        found.append(_of_fixed(each))
    above = [each for each in found if each.score > 0]
    return sorted(above, key=lambda each: -each.score)


def _of_answer(kind: str, answer: Answer) -> Finding:
    """A finding that a probe has: of its best class, or of all classes where that is more."""
    best = answer.best["value"] - answer.best["null_highest"]
    mean = answer.macro["value"] - answer.macro["null_highest"]
    score = 100 * max(best, mean)
    return Finding(kind, answer.name, answer.title, answer.label, score, None)


def _of_kind(kind: Result) -> Finding:
    # Flagging a fraction of one side and another of the other tells half their difference more.
    points = 50 * (kind["rate"] - kind["next"])
    label = printable(kind["class"])
    return Finding(MARK, kind["kind"], _TITLES[kind["kind"]], label, points, kind["box"])


def _of_fixed(each: Result) -> Finding:
    # Luck alone reaches this fraction of it.
    by_luck = each["critical"] / each["z"]
    points = 100 * (each["auc"] - 0.5) * (1 - by_luck)
    title = "something at one place"
    return Finding(MARK, FIXED, title, printable(each["class"]), points, each["box"])
