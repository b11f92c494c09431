"""What was found, in one sentence for whoever asked."""

from typing import Any

from lens_jax.audit.findings import CHANGED, MARK, TRACE, Finding, describe_changed, find_all
from lens_jax.audit.marks import FRACTIONS
from lens_jax.audit.outcome import Answer, answers, find_marks
from lens_jax.audit.probes import BESIDE
from lens_jax.audit.separation import SHUFFLES
from lens_jax.audit.state import LEAST_IMAGES, Audit


def headline(audit: Audit) -> str:
    """The sentences that answer what the user came for, with their numbers and their null."""
    changed = _tell_changed(audit)
    return f"{changed} {_tell_labels(audit)}".strip()


def _tell_changed(audit: Audit) -> str:
    """What was done to some images, whatever their label."""
    changed = audit.results.get("marks", {}).get("changed")
    if not changed:
        return ""
    return (
        f"Whatever their label, {100 * changed['rate']:.0f} of 100 images have "
        f"{describe_changed(changed)}: they lack, or have doubled, the same levels."
    )


def _tell_labels(audit: Audit) -> str:
    """What tells the label, if anything does."""
    if "probes" not in audit.results:
        return "Not finished: the images are still being read, and nothing can be said yet."
    found = answers(audit)
    if not found:
        return f"Nothing can be said about labels: {why_not_asked(audit)}."
    by_name = {answer.name: answer for answer in found}
    findings = find_all(audit)
    for finding in findings:
        if finding.kind == BESIDE:
            answer = by_name[finding.name]
            return (
                f"The label can be told without looking at the picture: a small program that knows "
                f"nothing but {answer.title} {_success(answer)}."
            )
    marks = find_marks(audit)
    if marks:
        return _tell_mark(max(marks, key=lambda mark: mark["strongest"]))
    for finding in findings:
        if finding.kind == MARK and finding.name != CHANGED:
            return _tell_kind(audit, finding)
    for finding in findings:
        if finding.kind == TRACE:
            return (
                f"The label can be told from something finer than what the picture shows: a small "
                f"program that sees nothing but {finding.title} {_success(by_name[finding.name])}. "
                "Coarse looks tell that class less well."
            )
    told = [answer for answer in found if answer.is_told]
    best = max(told or found, key=lambda answer: answer.best["value"])
    if told:
        return (
            "No sign of a shortcut beside the picture, no mark, and no trace that tells more than "
            f"coarse looks do. {_tell_limit(audit)} Of what lies in the picture, {best.title} "
            f"tells most: a small program that sees nothing else {_success(best)}, as most objects "
            "allow."
        )
    return (
        f"No label was told better than shuffled ones: the best program, which sees {best.title}, "
        f"is right in {pairs_of_100(best.best['value'])} of 100 pairs, where guessing gets 50 and "
        f"shuffled labels reach {pairs_of_100(best.best['null_highest'])}. {_tell_limit(audit)}"
    )


def _tell_kind(audit: Audit, finding: Finding) -> str:
    place = f" {describe_place(finding.box)}" if finding.box else ""
    for each in audit.results["marks"]["kinds"]:
        if each["kind"] == finding.name:
            return (
                f'Images of "{finding.label}" have a mark that those of other classes lack: '
                f"{100 * each['rate']:.0f} of 100 look as if {finding.title} had been added"
                f"{place}, and of no other class more than {100 * each['next']:.0f} of 100. "
                "A network can tell the class by it, whether it was added or the objects look so. "
                "The files are in flagged.csv."
            )
    return (
        f'Images of "{finding.label}" have {finding.title} that those of other classes lack'
        f"{place}: details there do not average out, which luck explains in fewer than 5 of 100 "
        f"such pages ({finding.score:.0f} points above it). Look for a logo, a date or a label."
    )


def _tell_limit(audit: Audit) -> str:
    """Which planted marks were found: what "nothing found" is worth."""
    limits = audit.results.get("marks", {}).get("limits", [])
    if not limits:
        return "Whether a mark would have been found was not measured: see below."
    place = FRACTIONS.index(0.5)
    found = sum(each["found"][place] for each in limits)
    return (
        f"But of {len(limits)} marks that were planted into half of a class of copies of these "
        f"images, only {found} were found: see below what this page cannot see."
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
