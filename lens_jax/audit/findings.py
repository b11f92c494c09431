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
CHANGED = "levels"
ALL = "all classes"
# What the detectors of known marks are called, see `known`.
TITLES = {
    "patch": "a small square",
    "text": "a half-transparent text",
    "fringe": "a color fringe",
    "quality": "a low JPEG quality",
    "noise": "noise",
    "blur": "a blur",
    FIXED: "something at one place",
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
    changed = audit.results.get("marks", {}).get("changed")
    if changed:
        # As if a fraction of one side were flagged, and nothing of the other.
        points = 50 * changed["rate"]
        found.append(Finding(MARK, CHANGED, describe_changed(changed), ALL, points, None))
    above = [each for each in found if each.score > 0]
    return sorted(above, key=lambda each: -each.score)


def highest_score(audit: Audit) -> float:
    """The highest score of all findings; 0 without one."""
    return max([each.score for each in find_all(audit)], default=0.0)


class Marked(NamedTuple):
    """An image with a mark that was found: its path, how likely it has it, what, and where."""

    path: str
    score: float
    title: str
    box: dict[str, float] | None


def find_marked(audit: Audit) -> list[Marked]:
    """The images with a mark that was found, the likeliest of each mark first."""
    result = audit.results.get("marks", {})
    kinds = [each for each in result.get("kinds", []) if is_found(each)]
    marked = []
    for each in kinds + result.get("fixed", []):
        title = TITLES[each.get("kind", FIXED)]
        ordered = sorted(each["scores"].items(), key=lambda item: (-item[1], item[0]))
        marked += [Marked(path, score, title, each["box"]) for path, score in ordered]
    changed = result.get("changed")
    if changed:
        title = describe_changed(changed)
        for path, score in sorted(changed["scores"].items(), key=lambda item: -item[1]):
            marked.append(Marked(path, score, title, None))
    return marked


def describe_changed(changed: Result) -> str:
    """What was done to images whose levels have teeth, in words."""
    if len(changed["colors"]) in (1, 2):
        return f"a color cast ({', '.join(changed['colors'])})"
    return "changed brightness or contrast"


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
    return Finding(MARK, kind["kind"], TITLES[kind["kind"]], label, points, kind["box"])


def _of_fixed(each: Result) -> Finding:
    # Luck alone reaches this fraction of it.
    by_luck = each["critical"] / each["z"]
    points = 100 * (each["auc"] - 0.5) * (1 - by_luck)
    return Finding(MARK, FIXED, TITLES[FIXED], printable(each["class"]), points, each["box"])
