"""The suite `few_shot`: what a linear classifier learns from a few labeled images of each class."""

import dataclasses
from typing import ClassVar

import numpy as np

from lens_jax.errors import UserError, check_range
from lens_jax.eval import logistic
from lens_jax.eval.suites.base import (
    Numbers,
    Subject,
    Suite,
    check_labels,
    describe_split,
    format_number,
)
from lens_jax.pages import page


@dataclasses.dataclass(frozen=True)
class FewShot(Suite):
    """The accuracy of logistic regression on 1, 5, 10 images a class, the mean of several draws.

    Features have the mean of the drawn images subtracted and are scaled to length 1, as in the
    low-shot protocol of MSN (Assran et al., 2022, arXiv 2204.07141). Their deviations over ten
    images say little, so that these do not scale them. Nearest class centroids by cosine
    (SimpleShot, Wang et al., 2019, arXiv 1911.04623) need no C; they do as well with one image a
    class and worse with more.

    Attributes:
      shots: numbers of labeled images of each class.
      draws: how often the images are drawn anew; each draw of 5 images holds that of 1.
      c: inverse L2 strength.

    """

    name: ClassVar[str] = "few_shot"
    shots: tuple[int, ...] = (1, 5, 10)
    draws: int = 5
    c: float = 10.0

    def check(self, subject: Subject) -> None:
        """Raises `UserError` for data without labels, and for fewer images than are to be drawn."""
        check_labels(subject.train, self.name)
        check_range("draws of suite 'few_shot'", self.draws, 1)
        check_range("c of suite 'few_shot'", self.c, 1e-12)
        if not self.shots:
            raise UserError("suite 'few_shot' has no shots: give some, such as shots=[1,5,10]")
        most = len(subject.train) // subject.train.num_classes
        for shots in self.shots:
            check_range("shots of suite 'few_shot', of the images of a class,", shots, 1, most)

    def measure(self, subject: Subject) -> Numbers:
        """The mean accuracy and its standard error for each number of images."""
        (tap,) = subject.taps[-1:]
        train = subject.rows(subject.train)
        test = subject.rows(subject.test)

        accuracies = {}
        for shots in self.shots:
            of_draws = []
            for draw in range(self.draws):
                chosen = draw_shots(train.labels, shots, draw)
                self._check_drawn(subject, train.labels[chosen])
                predictions = classify(
                    train.taps[tap][chosen],
                    train.labels[chosen],
                    test.taps[tap],
                    self.c,
                )
                of_draws.append(np.mean(predictions == test.labels))
            accuracies[shots] = of_draws

        numbers = {}
        for shots, of_draws in accuracies.items():
            numbers[f"accuracy/{shots}"] = float(np.mean(of_draws))
        for shots, of_draws in accuracies.items():
            numbers[f"standard_error/{shots}"] = standard_error(of_draws)
        return numbers

    def _check_drawn(self, subject: Subject, labels: np.ndarray) -> None:
        """Raises `UserError` for the first class that has fewer images than the others."""
        drawn = np.bincount(labels, minlength=subject.train.num_classes)
        fewest = int(np.argmin(drawn))
        if drawn[fewest] < drawn.max():
            raise UserError(
                f"class {subject.train.class_names[fewest]!r} has {drawn[fewest]} labeled images: "
                "give suite 'few_shot' no more shots than that, or more --examples"
            )

    def protocol(self, subject: Subject) -> str:
        """The classifier, the draws, and the splits."""
        classifier = (
            f"logistic regression (C={self.c:g}) on centered features of length 1; mean and "
            f"standard error of {self.draws} draws"
        )
        drawn = describe_split("drawn from", subject.train)
        tested = describe_split("evaluated on", subject.test)
        return f"{classifier}; tap {subject.taps[-1]}; {drawn}; {tested}"

    def tell(self, numbers: Numbers) -> list[page.Part]:
        """A row for each number of images."""
        rows = []
        for shots in self.shots:
            cells = [str(shots)]
            for kind in ("accuracy", "standard_error"):
                name = f"{kind}/{shots}"
                cells.append(format_number(name, numbers[name]))
            rows.append(cells)
        return [page.table(("images a class", "accuracy", "standard error"), rows)]


def draw_shots(labels: np.ndarray, shots: int, draw: int) -> np.ndarray:
    """The indices of the first `shots` examples of each class in a random order, int [m].

    The order is that of the number `draw`; a class with fewer examples gives all that it has.
    """
    rng = np.random.default_rng(draw)
    order = rng.permutation(len(labels))
    # Stable, so that the examples of a class stay in their random order.
    by_class = order[np.argsort(labels[order], kind="stable")]
    ordered = labels[by_class]
    first_of_class = np.searchsorted(ordered, ordered)
    rank = np.arange(len(labels)) - first_of_class
    return by_class[rank < shots]


def classify(features: np.ndarray, labels: np.ndarray, test: np.ndarray, c: float) -> np.ndarray:
    """The labels that logistic regression on features [m, d] gives other ones [n, d], int [n]."""
    mean = np.mean(features, axis=0)
    learned = _units(features - mean)
    classifier = logistic.fit(learned, labels, c, standardize=False)
    return logistic.predict(classifier, _units(test - mean))


def standard_error(values: list[float]) -> float:
    """That of the mean: the standard deviation over the root of their number; 0 of one value."""
    if len(values) < 2:
        return 0.0
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


def _units(rows: np.ndarray) -> np.ndarray:
    """Rows scaled to length 1; a row of zeros stays what it is."""
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1)
