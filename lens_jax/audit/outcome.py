"""What was found: in one sentence, as findings for programs, and as files to look at."""

from typing import Any, NamedTuple

import numpy as np

from lens_jax.audit.duplicates import Pair
from lens_jax.audit.probes import LOOKS, MEANINGS, PROBES, TRACE
from lens_jax.audit.separation import LEVEL, holm
from lens_jax.audit.state import Audit
from lens_jax.pages.page import printable

MAP = "information_map"
# Where no more of the pixels tell a class, they are taken for a mark.
MARK_FRACTION = 0.1


class Answer(NamedTuple):
    """What a probe answered.

    Attributes:
      name: the key of the probe.
      title: what it sees, in words.
      meaning: what its success can mean, see `probes`.
      macro: the AUC over all classes, see `separation.Auc`, as a dictionary.
      best: likewise of the class that it tells best.
      label: that class.
      p: the p-value, adjusted for all that was asked.
      beyond_looks: of traces, whether they tell the class better than all coarse looks do: its
        interval lies above theirs.

    """

    name: str
    title: str
    meaning: str
    macro: dict[str, float]
    best: dict[str, float]
    label: str
    p: float
    beyond_looks: bool

    @property
    def is_told(self) -> bool:
        """Whether the label is told better than shuffled ones."""
        return self.p <= LEVEL


def answers(audit: Audit) -> list[Answer]:
    """The answers of all probes, by meaning and then by how well they tell; none if not asked."""
    result = audit.results.get("probes", {})
    probes = result.get("probes", {})
    adjusted = adjusted_p(audit)
    found = []
    for name, each in probes.items():
        probe = PROBES[name]
        values = [of_class["value"] for of_class in each["classes"]]
        number = values.index(max(values))
        best = each["classes"][number]
        is_trace = probe.meaning == TRACE and adjusted[name] <= LEVEL
        answer = Answer(
            name=name,
            title=probe.title,
            meaning=probe.meaning,
            macro=each["macro"],
            best=best,
            label=printable(result["classes"][number]),
            p=adjusted[name],
            beyond_looks=is_trace and best["low"] > _best_looks(probes, number),
        )
        found.append(answer)
    order = list(MEANINGS)
    return sorted(found, key=lambda answer: (order.index(answer.meaning), -answer.best["value"]))


def _best_looks(probes: dict[str, Any], number: int) -> float:
    """The highest end of an interval that coarse looks reach of a class."""
    highest = 0.0
    for name, each in probes.items():
        if PROBES[name].meaning == LOOKS:
            highest = max(highest, each["classes"][number]["high"])
    return highest


def adjusted_p(audit: Audit) -> dict[str, float]:
    """The p-values of all probes and of the map, adjusted for their number (Holm).

    The map has a place among them before it is finished too: an answer can only become surer.
    """
    probes = audit.results.get("probes", {}).get("probes", {})
    values = {name: each["p"] for name, each in probes.items()}
    if values:
        values[MAP] = audit.results.get("maps", {}).get("p", 1.0)
    return dict(zip(values, holm(list(values.values())), strict=True))


def find_pairs(audit: Audit) -> list[Pair]:
    """The duplicates that were found."""
    return [Pair(*pair) for pair in audit.results.get("duplicates", {}).get("pairs", [])]


def find_spots(audit: Audit) -> list[dict[str, Any]]:
    """Of each class that single pixels tell: its name, what the best one reaches, and where.

    What it reaches, and its null, are in [0, 1], see `maps.Information`. A spot `is_mark` where so
    few pixels tell the class, beyond luck or half as well as the best one, that it is hardly an
    object.
    """
    result = audit.results.get("maps", {})
    if adjusted_p(audit).get(MAP, 1.0) > LEVEL:
        return []
    found = []
    for number, name in enumerate(result["classes"]):
        fraction = result["fractions"][number]
        if fraction:
            information = np.array(result["maps"][number])
            spot = {
                "class": printable(name),
                "strongest": float(information.max()),
                "null_highest": result["null_highest"],
                "fraction": fraction,
                "spot": result["spots"][number],
                "is_mark": max(fraction, _half_as_strong(information)) <= MARK_FRACTION,
            }
            found.append(spot)
    return found


def _half_as_strong(information: np.ndarray) -> float:
    """The fraction of the pixels that tell at least half as much as the best one."""
    return float(np.mean(information >= information.max() / 2))


def find_marks(audit: Audit) -> list[dict[str, Any]]:
    """The spots that are hardly an object."""
    return [spot for spot in find_spots(audit) if spot["is_mark"]]


def describe_pair(audit: Audit, pair: Pair) -> str:
    """The kind of a pair, and what makes it harmful."""
    splits = {audit.folder.splits[pair.file], audit.folder.splits[pair.like]}
    labels = {audit.folder.labels[pair.file], audit.folder.labels[pair.like]}
    words = pair.kind
    if len(splits) > 1:
        words += ", across splits"
    if len(labels) > 1:
        words += ", two labels"
    return words
