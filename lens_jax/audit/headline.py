"""What was found, in one sentence for whoever asked."""

from typing import Any

from lens_jax.audit.outcome import Answer, answers, find_marks
from lens_jax.audit.probes import BESIDE
from lens_jax.audit.separation import SHUFFLES
from lens_jax.audit.state import LEAST_IMAGES, Audit


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
