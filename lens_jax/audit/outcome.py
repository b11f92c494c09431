"""What was found: in one sentence, as findings for programs, and as files to look at."""

import csv
import io
import json
from collections import Counter
from typing import Any, NamedTuple

from lens_jax.audit.duplicates import Pair
from lens_jax.audit.parts import LEAST_IMAGES, PARTS, Audit
from lens_jax.audit.probes import BESIDE, LOOKS, MEANINGS, PROBES, TRACE
from lens_jax.audit.separation import LEVEL, SHUFFLES, holm
from lens_jax.pages.page import printable

MAP = "information_map"
# Where no more of the pixels tell a class, they are taken for a mark.
MARK_FRACTION = 0.1
# A cell that begins with one of these is a formula for spreadsheets.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


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


def headline(audit: Audit) -> str:
    """The sentence that answers what the user came for, with its number and its null."""
    if "probes" not in audit.results:
        return "Not finished: the images are still being read, and nothing can be said yet."
    found = answers(audit)
    if not found:
        return f"Nothing can be said about labels: {why_not_asked(audit)}."
    told = sorted(
        (answer for answer in found if answer.is_told), key=lambda answer: -answer.best["value"]
    )
    for answer in told:
        if answer.meaning == BESIDE:
            return (
                f"The label can be told without looking at the picture: a small program that knows "
                f"nothing but {answer.title} {_success(answer)}."
            )
    marks = find_marks(audit)
    if marks:
        return _tell_mark(max(marks, key=lambda mark: mark["strongest"]))
    for answer in told:
        if answer.beyond_looks:
            return (
                f"The label can be told from something finer than what the picture shows: a small "
                f"program that sees nothing but {answer.title} {_success(answer)}. Coarse looks "
                "tell that class less well."
            )
    if told:
        best = told[0]
        return (
            "No sign of a shortcut beside the picture, and no trace that tells more than coarse "
            f"looks do. Of what lies in the picture, {best.title} tells most: a small program that "
            f"sees nothing else {_success(best)}. That is what most objects allow, and what "
            "follows helps to judge it."
        )
    best = max(found, key=lambda answer: answer.best["value"])
    return (
        f"No label was told better than shuffled ones: the best program, which sees {best.title}, "
        f"is right in {pairs_of_100(best.best['value'])} of 100 pairs, where guessing gets 50 and "
        f"shuffled labels reach {pairs_of_100(best.best['null_highest'])}. What these programs "
        "cannot see is named below."
    )


def why_not_asked(audit: Audit) -> str:
    """Why no probe could be asked."""
    if not audit.folder.labeled_by:
        return "all images are in one folder, and there is no file of labels"
    classes = len(set(audit.folder.labels) - {""})
    return (
        f"of the {classes:,} classes, fewer than two have {LEAST_IMAGES} different images that "
        "can be read, which is too few to tell luck from a trace"
    )


def pairs_of_100(auc: float) -> str:
    """How many of 100 pairs an AUC gets right; 100 only where it is all of them."""
    return f"{100 * auc:.0f}" if auc == 1 or auc < 0.995 else "more than 99"


def _success(answer: Answer) -> str:
    return (
        f'picks the image of "{answer.label}" out of two, one of that class and one of another, in '
        f"{pairs_of_100(answer.best['value'])} of 100 pairs, where guessing gets 50 and shuffled "
        f"labels never got more than {pairs_of_100(answer.best['null_highest'])} ({SHUFFLES} tries)"
    )


def find_pairs(audit: Audit) -> list[Pair]:
    """The duplicates that were found."""
    return [Pair(*pair) for pair in audit.results.get("duplicates", {}).get("pairs", [])]


def findings_json(audit: Audit) -> str:
    """All numbers but the maps, as JSON."""
    finished = list(audit.results)
    kinds = Counter(pair.kind for pair in find_pairs(audit))
    content = {
        "headline": headline(audit),
        "finished": finished,
        "missing": [part.name for part in PARTS if part.name not in finished],
        "images": len(audit.folder.paths),
        "labeled_by": audit.folder.labeled_by,
        "duplicates": dict(kinds),
        "probes": [answer._asdict() | {"is_told": answer.is_told} for answer in answers(audit)],
        "map": find_spots(audit),
    }
    return json.dumps(content, indent=2) + "\n"


def find_spots(audit: Audit) -> list[dict[str, Any]]:
    """Of each class that single pixels tell: its name, what the best one reaches, and where.

    What it reaches, and its null, are in [0, 1], see `maps.Information`. A spot `is_mark` where so
    few pixels tell the class that it is hardly an object.
    """
    result = audit.results.get("maps", {})
    if adjusted_p(audit).get(MAP, 1.0) > LEVEL:
        return []
    found = []
    for number, name in enumerate(result["classes"]):
        fraction = result["fractions"][number]
        if fraction:
            spot = {
                "class": printable(name),
                "strongest": max(map(max, result["maps"][number])),
                "null_highest": result["null_highest"],
                "fraction": fraction,
                "spot": result["spots"][number],
                "is_mark": fraction <= MARK_FRACTION,
            }
            found.append(spot)
    return found


def find_marks(audit: Audit) -> list[dict[str, Any]]:
    """The spots that are hardly an object."""
    return [spot for spot in find_spots(audit) if spot["is_mark"]]


def _tell_mark(mark: dict[str, Any]) -> str:
    right = pairs_of_100((1 + mark["strongest"]) / 2)
    reached = pairs_of_100((1 + mark["null_highest"]) / 2)
    return (
        f"The label can be told from a small spot {describe_place(mark['spot'])}: the brightness "
        f'of a single pixel there picks the image of "{mark["class"]}" out of two, one of that '
        f"class and one of another, in {right} of 100 pairs, where guessing gets 50 and the best "
        f"pixel for shuffled labels never got more than {reached} ({SHUFFLES} tries). Nearly all "
        "other pixels tell nothing: look for a logo, a date or a label there."
    )


def describe_place(spot: dict[str, float]) -> str:
    """Where a spot is, in words, such as "at the top right, on 2 % of the image"."""
    vertical = _third((spot["top"] + spot["bottom"]) / 2, ("top", "", "bottom"))
    horizontal = _third((spot["left"] + spot["right"]) / 2, ("left", "", "right"))
    place = f"{vertical} {horizontal}".strip()
    area = (spot["bottom"] - spot["top"]) * (spot["right"] - spot["left"])
    percent = 100 * area
    where = f"at the {place}" if place else "in the middle"
    return f"{where}, on {percent:.2g} % of the image"


def _third(position: float, words: tuple[str, str, str]) -> str:
    return words[min(2, int(3 * position))]


def flagged_csv(audit: Audit) -> str:
    """Files that are broken or duplicates, as CSV: file, kind, score, like.

    A path that a spreadsheet would take for a formula begins with "./".
    """
    folder = audit.folder
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["file", "kind", "score", "like"])
    errors = audit.results.get("reading", {}).get("columns", {}).get("error", [])
    for path, error in zip(folder.paths, errors, strict=False):
        if error:
            rows.writerow([_cell(path), "broken", 1, ""])
    for pair in find_pairs(audit):
        paths = [_cell(folder.paths[index]) for index in (pair.file, pair.like)]
        rows.writerow([paths[0], describe_pair(audit, pair), f"{pair.score:.4f}", paths[1]])
    return text.getvalue().encode(errors="backslashreplace").decode()


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


def _cell(path: str) -> str:
    return f"./{path}" if path.startswith(_FORMULAS) else path
