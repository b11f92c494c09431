"""The suite `shortcut`: how much a representation makes of each planted shortcut."""

import dataclasses
from typing import ClassVar

import numpy as np

from lens_jax.errors import UserError, check_choice
from lens_jax.eval import linear, logistic
from lens_jax.eval.factors import mean_distance
from lens_jax.eval.features import extract, make_features
from lens_jax.eval.frozen import pretext_accuracy
from lens_jax.eval.suites.base import (
    Numbers,
    Subject,
    Suite,
    describe_split,
    format_number,
    has_labels,
)
from lens_jax.ops.shortcuts import SHORTCUTS
from lens_jax.pages import page

PLANTED = tuple(name for name in SHORTCUTS if name != "none")
# What rounding may leave of the distance of features that are alike.
_LEAST_DISTANCE = 1e-9
# The names of the pretext accuracy of both kinds of inputs.
_PRETEXT = {"raw": "pretext_accuracy", "lensed": "pretext_accuracy_lensed"}
_COLUMNS = {
    "distance": "distance",
    "accuracy": "accuracy",
    "pretext_accuracy": "pretext accuracy",
    "pretext_accuracy_lensed": "pretext accuracy, lensed",
}


@dataclasses.dataclass(frozen=True)
class Shortcut(Suite):
    """What changes when a shortcut is planted into the test images, and nothing else.

    It is planted on the device, after an image was cut and resized, as in training: in a file it
    would be resized too.

    Attributes:
      shortcuts: which ones.
      c: inverse L2 strength of the linear classifier.

    """

    name: ClassVar[str] = "shortcut"
    shortcuts: tuple[str, ...] = PLANTED
    c: float = linear.INVERSE_L2

    def check(self, subject: Subject) -> None:
        """Raises `UserError` for an unknown shortcut, and for a single image."""
        for name in self.shortcuts:
            check_choice("shortcut of suite 'shortcut'", name, PLANTED)
        if not self.shortcuts:
            raise UserError(f"suite 'shortcut' has no shortcuts: give some of {', '.join(PLANTED)}")
        if len(subject.test) < 2:
            raise UserError("suite 'shortcut' compares images: give at least two to evaluate on")

    def measure(self, subject: Subject) -> Numbers:
        """For each shortcut, by its name, and for the images as they are, by "none".

        "distance/" how far it moves features, see `relative_distance`; with labels "accuracy/", of
        a linear classifier that learned from images without any; and for tasks with such labels
        "pretext_accuracy/", of lensed images by "pretext_accuracy_lensed/".
        """
        (tap,) = subject.taps[-1:]
        test = subject.rows(subject.test)
        classifier = None
        if has_labels(subject.train):
            train = subject.rows(subject.train)
            classifier = logistic.fit(train.taps[tap], train.labels, self.c)

        distances = {}
        accuracies = {}
        pretext_accuracies = {}
        for name in ("none", *self.shortcuts):
            rows = test
            if name != "none":
                compute = make_features(subject.frozen, subject.representation, (tap,), name)
                rows = extract(subject.frozen, subject.test, compute)
                distances[f"distance/{name}"] = relative_distance(test.taps[tap], rows.taps[tap])
            if classifier is not None:
                predictions = logistic.predict(classifier, rows.taps[tap])
                accuracies[f"accuracy/{name}"] = float(np.mean(predictions == test.labels))
            found = pretext_accuracy(subject.frozen, subject.test, name)
            for kind, value in found.items():
                pretext_accuracies[f"{_PRETEXT[kind]}/{name}"] = value
        return distances | accuracies | pretext_accuracies

    def protocol(self, subject: Subject) -> str:
        """What is compared, the classifier, and the splits."""
        distance = (
            "cosine distance of an image and itself with the shortcut, over that of two images"
        )
        classifier = f"logistic regression (C={self.c:g}), learned without shortcuts"
        learned = describe_split("learned on", subject.train)
        tested = describe_split("evaluated on", subject.test)
        return f"{distance}; {classifier}; tap {subject.taps[-1]}; {learned}; {tested}"

    def tell(self, numbers: Numbers) -> list[page.Part]:
        """A row for each shortcut."""
        kinds = {name.partition("/")[0] for name in numbers}
        columns = [kind for kind in _COLUMNS if kind in kinds]
        rows = []
        for name in ("none", *self.shortcuts):
            cells = [name]
            for kind in columns:
                key = f"{kind}/{name}"
                value = numbers.get(key)
                # Images without a shortcut are at no distance from themselves.
                cells.append("" if value is None else format_number(key, value))
            rows.append(cells)
        titles = [_COLUMNS[kind] for kind in columns]
        return [page.table(("shortcut", *titles), rows)]


def relative_distance(features: np.ndarray, changed: np.ndarray) -> float:
    """How far a change moves features [n, d], compared with the distance of two images.

    The mean of 1 - cos over images and their changed selves, over that over all pairs of different
    images: 0 where nothing moves, 1 where the change makes another image of each. 0 also where the
    features of all images have the same direction.
    """
    if np.array_equal(features, changed):
        return 0.0
    both = np.stack([features, changed], axis=1)
    # Each image is a set with itself, and all images are one.
    count, _, width = both.shape
    pairs = np.repeat(np.arange(count), 2)
    moved = mean_distance(both.reshape(2 * count, width), pairs)
    apart = mean_distance(features, np.zeros(count, int))
    if apart <= _LEAST_DISTANCE:
        return 0.0
    return moved / apart
