"""The suite `shift`: the accuracy on images of the same classes from elsewhere."""

import dataclasses
import os
from typing import ClassVar

import numpy as np

from lens_jax.data import folder
from lens_jax.data.records import Source
from lens_jax.data.source import open_source
from lens_jax.errors import UserError, check_range
from lens_jax.eval import linear, logistic
from lens_jax.eval.classes import match_classes
from lens_jax.eval.logistic import Classifier
from lens_jax.eval.suites.base import Numbers, Subject, Suite, check_labels, describe_split


@dataclasses.dataclass(frozen=True)
class Shift(Suite):
    """The accuracy of one linear classifier on several sets, against that on the test images.

    Classes are matched by their names, which of ImageNet and its variants are WordNet ids. Of a set
    that has images of some classes only, such as the 200 of ImageNet-A and ImageNet-R, no other
    class can be chosen, as its authors evaluate; nor can it on the test images of those classes,
    with which the set is compared.

    Attributes:
      sets: data sets, such as tfds:imagenet_a, or folders with CLASS/IMAGE.
      c: the inverse L2 strength of logistic regression.

    """

    name: ClassVar[str] = "shift"
    sets: tuple[str, ...] = ()
    c: float = linear.INVERSE_L2

    def check(self, subject: Subject) -> None:
        """Raises `UserError` for data without labels, and for no set or one with other classes."""
        check_labels(subject.train, self.name)
        check_range("c of suite 'shift'", self.c, 1e-12)
        if not self.sets:
            raise UserError(
                "suite 'shift' needs sets, such as shift(sets=[tfds:imagenet_a,FOLDER])"
            )
        for name in self.sets:
            match_classes(_open(name, subject), subject.train)

    def sources(self, subject: Subject) -> dict[str, Source]:
        """The images to learn from, those of the test, and the sets."""
        others = {name: _open(name, subject) for name in self.sets}
        return {"train": subject.train, "test": subject.test} | others

    def measure(self, subject: Subject) -> Numbers:
        """The mean accuracy on the sets, that on the test images, and those of each set."""
        (tap,) = subject.taps[-1:]
        train = subject.rows(subject.train)
        classifier = logistic.fit(train.taps[tap], train.labels, self.c)
        test = subject.rows(subject.test)
        every = np.arange(subject.train.num_classes)
        clean = restricted_accuracy(classifier, test.taps[tap], test.labels, every)

        accuracies = {}
        gaps = {}
        for name in self.sets:
            source = _open(name, subject)
            rows = subject.rows(source)
            labels = match_classes(source, subject.train)[rows.labels]
            present = np.unique(labels)
            accuracy = restricted_accuracy(classifier, rows.taps[tap], labels, present)
            same = np.isin(test.labels, present)
            before = restricted_accuracy(
                classifier, test.taps[tap][same], test.labels[same], present
            )
            accuracies[f"accuracy/{name}"] = accuracy
            gaps[f"accuracy_gap/{name}"] = accuracy - before
        mean = float(np.mean([*accuracies.values()]))
        return {"accuracy": mean, "accuracy/test": clean} | accuracies | gaps

    def protocol(self, subject: Subject) -> str:
        """The solver, the splits, and the rule on classes."""
        solver = f"multinomial logistic regression (L-BFGS, C={self.c:g}), standardized features"
        learned = describe_split("learned on", subject.train)
        tested = describe_split("compared with", subject.test)
        rule = "among the classes of which a set has images"
        return f"{solver}; tap {subject.taps[-1]}; {rule}; {learned}; {tested}"


def restricted_accuracy(
    classifier: Classifier, features: np.ndarray, labels: np.ndarray, allowed: np.ndarray
) -> float:
    """The accuracy of a classifier that can choose among some classes only, in [0, 1].

    Args:
      classifier: of k classes.
      features: [n, d].
      labels: int [n].
      allowed: the labels of the classes that it can choose.

    """
    is_allowed = np.isin(classifier.classes, allowed)
    probabilities = logistic.probabilities(classifier, features)
    best = np.argmax(probabilities[:, is_allowed], axis=1)
    predictions = classifier.classes[is_allowed][best]
    return float(np.mean(predictions == labels))


def _open(name: str, subject: Subject) -> Source:
    """A folder, where there is one of that name, and else a data set."""
    if os.path.isdir(os.path.expanduser(name)):
        return folder.open_classes(name)
    return open_source(name, "", subject.data_dir)
