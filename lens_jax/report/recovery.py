"""What a shortcut costs a run, and how much of that a lens wins back."""

import math
from typing import Any, NamedTuple

from lens_jax.report.runs import Numbers, TrainedRun
from lens_jax.workdir.results import DATA_KEYS

# Two accuracies are only compared where these settings of the evaluation are the same.
EVALUATED_AS = ("solver", *DATA_KEYS)
# The features of a run with a lens that are compared with the raw ones of a run without.
COMPARED = ("raw", "concat")
PRETEXT = "pretext"


class References(NamedTuple):
    """The two runs on unaltered inputs that a run with altered inputs is compared with.

    Attributes:
      shortcut: trained with its shortcut.
      clean: trained without a shortcut.

    """

    shortcut: TrainedRun
    clean: TrainedRun


class Recovery(NamedTuple):
    """What a shortcut costs in one kind of accuracy, 0 to 1, without a lens and with it.

    Attributes:
      measure: "raw" or "concat" for linear accuracy on these features, "pretext" for pretext
        accuracy on clean images.
      cost: how much the accuracy is lower than without the shortcut.
      left: how much it still is with the lens (or an attack); below 0, the lens gives more than
        that.
      noise: two standard errors of the cost, as the accuracies are measured on few images.

    """

    measure: str
    cost: float
    left: float
    noise: float

    @property
    def fraction(self) -> float | None:
        """The fraction of the cost that is won back, (cost - left) / cost.

        1 is all of it; below 0, the lens loses even more. None where the cost is within the noise:
        a fraction of it would say nothing.
        """
        if self.cost <= self.noise:
            return None
        return (self.cost - self.left) / self.cost


def find_recoveries(run: TrainedRun, runs: list[TrainedRun]) -> list[Recovery]:
    """What a run with altered inputs wins back, in each measure that it and its references have.

    Empty where there is no reference, see `find_references`.
    """
    references = find_references(run, runs)
    if references is None:
        return []
    images = run.evaluation.get("test_examples", 1)
    shortcut, clean = references

    # Linear accuracies: the references have raw features alone.
    recoveries = []
    for representation in COMPARED:
        if representation in run.linear:
            accuracies = shortcut.linear["raw"], clean.linear["raw"], run.linear[representation]
            recoveries.append(_compare(representation, *accuracies, images))

    # Pretext accuracies, which a task without classes has not.
    key = "pretext_accuracy_clean"
    evaluations = [each.evaluation for each in (shortcut, clean, run)]
    if all(key in evaluation for evaluation in evaluations):
        accuracies = [evaluation[key] for evaluation in evaluations]
        recoveries.append(_compare(PRETEXT, *accuracies, images))
    return recoveries


def fractions(recoveries: list[Recovery]) -> Numbers:
    """The fractions that are more than noise, by names such as "recovered_raw"."""
    numbers = {}
    for recovery in recoveries:
        if recovery.fraction is not None:
            numbers[f"recovered_{recovery.measure}"] = recovery.fraction
    return numbers


def _compare(measure: str, shortcut: float, clean: float, lens: float, images: int) -> Recovery:
    cost = clean - shortcut
    left = clean - lens
    # The cost is a difference of two measured fractions, whose variances add up.
    variance = _variance(clean, images) + _variance(shortcut, images)
    noise = 2 * math.sqrt(variance)
    return Recovery(measure, cost, left, noise)


def _variance(accuracy: float, images: int) -> float:
    """Of an accuracy that was measured on so many images."""
    return accuracy * (1 - accuracy) / images


def find_references(run: TrainedRun, runs: list[TrainedRun]) -> References | None:
    """The references of a run with altered inputs; None where one of the two is missing.

    They have its data set, task and seed, and were evaluated as it was. Of several that fit, the
    first one in `runs` counts.
    """
    shortcut = run.config["shortcut"]
    if run.kind == "none" or shortcut == "none":
        return None

    # The comparable runs on unaltered inputs, by the shortcut that was drawn into them.
    by_shortcut = {}
    for other in runs:
        if other.kind == "none" and _comparable(run, other):
            by_shortcut.setdefault(other.config["shortcut"], other)
    if shortcut in by_shortcut and "none" in by_shortcut:
        return References(by_shortcut[shortcut], by_shortcut["none"])
    return None


def _comparable(run: TrainedRun, reference: TrainedRun) -> bool:
    """Whether accuracies of a run can be compared with those of another on raw features."""
    if not run.linear or "raw" not in reference.linear:
        return False
    return _setup(run) == _setup(reference)


def _setup(run: TrainedRun) -> list[Any]:
    """What must be the same in two runs that are compared."""
    config = run.config
    return [
        config["data"]["name"],
        config["task"]["name"],
        config["seed"],
        *(run.evaluation.get(key) for key in EVALUATED_AS),
    ]
