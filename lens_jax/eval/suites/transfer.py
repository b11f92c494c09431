"""The suite `transfer`: what a representation is worth on other data sets."""

import dataclasses
from typing import ClassVar

from lens_jax.data.records import Source
from lens_jax.errors import UserError, check_range
from lens_jax.eval import geometry, linear
from lens_jax.eval.options import Options, open_splits
from lens_jax.eval.suites.base import (
    Numbers,
    Subject,
    Suite,
    check_labels,
    describe_split,
    format_number,
)
from lens_jax.losses.neighbors import NEIGHBORS
from lens_jax.pages import page


@dataclasses.dataclass(frozen=True)
class Transfer(Suite):
    """The linear and the neighbors' accuracy on each of several data sets.

    Attributes:
      datasets: their names, see `data.source.names`; each is found in the folder of data sets.
      examples: labeled images to learn from of each, evenly spaced; 0 is all.
      c: inverse L2 strengths of logistic regression, see the suite `linear`.
      k: how many neighbors vote.

    """

    name: ClassVar[str] = "transfer"
    datasets: tuple[str, ...] = ()
    examples: int = 0
    c: tuple[float, ...] = (linear.INVERSE_L2,)
    k: int = NEIGHBORS

    def check(self, subject: Subject) -> None:
        """Raises `UserError` for no data sets, and for one that is not there or has no labels."""
        if not self.datasets:
            raise UserError(
                "suite 'transfer' has no data sets: give some, such as "
                "transfer(datasets=[places205,cifar10])"
            )
        check_range("examples of suite 'transfer'", self.examples, 0)
        check_range("k of suite 'transfer'", self.k, 1)
        for strength in self.c:
            check_range("c of suite 'transfer'", strength, 1e-12)
        for train, _ in self._open(subject).values():
            check_labels(train, self.name)

    def sources(self, subject: Subject) -> dict[str, Source]:
        """Two splits of each data set."""
        sources = {}
        for name, (train, test) in self._open(subject).items():
            sources[f"{name} train"] = train
            sources[f"{name} test"] = test
        return sources

    def measure(self, subject: Subject) -> Numbers:
        """By data set, "accuracy/" of logistic regression and "knn_accuracy/" of the neighbors."""
        (tap,) = subject.taps[-1:]
        linear_accuracies = {}
        neighbors_accuracies = {}
        for name, (train_source, test_source) in self._open(subject).items():
            train = subject.rows(train_source)
            test = subject.rows(test_source)
            classes = test_source.num_classes
            scores = linear.logistic_regression(train, test, classes, self.c)
            linear_accuracies[f"accuracy/{name}"] = scores[tap].accuracy
            neighbors_accuracies[f"knn_accuracy/{name}"] = geometry.neighbors_accuracy(
                train.taps[tap],
                train.labels,
                test.taps[tap],
                test.labels,
                neighbors=self.k,
            )
        return linear_accuracies | neighbors_accuracies

    def protocol(self, subject: Subject) -> str:
        """The classifiers, and the splits of each data set."""
        strengths = " or ".join(f"{strength:g}" for strength in self.c)
        classifiers = f"logistic regression (C={strengths}) and the {self.k} nearest neighbors"
        splits = []
        for train, test in self._open(subject).values():
            splits.append(describe_split("learned on", train))
            splits.append(describe_split("evaluated on", test))
        return f"{classifiers}; tap {subject.taps[-1]}; {'; '.join(splits)}"

    def tell(self, numbers: Numbers) -> list[page.Part]:
        """A row for each data set."""
        rows = []
        for name in self.datasets:
            accuracy = format_number("accuracy", numbers[f"accuracy/{name}"])
            neighbors = format_number("accuracy", numbers[f"knn_accuracy/{name}"])
            rows.append((name, accuracy, neighbors))
        header = ("data set", "linear accuracy", f"accuracy of {self.k} neighbors")
        return [page.table(header, rows)]

    def _open(self, subject: Subject) -> dict[str, tuple[Source, Source]]:
        """Of each data set, the split "train" and the one to evaluate on."""
        opened = {}
        for name in self.datasets:
            options = Options(
                dataset=name,
                data_dir=subject.data_dir,
                train_split="train",
                examples=self.examples or None,
            )
            opened[name] = open_splits(subject.frozen.config, options)
        return opened
