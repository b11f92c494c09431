"""The suite `watermark`: what a transparent watermark does to a classifier, as on ImageNet-W."""

import dataclasses
from typing import ClassVar

import numpy as np

from lens_jax.data import watermark
from lens_jax.data.records import Source
from lens_jax.errors import check_choice, check_range
from lens_jax.eval import linear, logistic
from lens_jax.eval.altered import alter
from lens_jax.eval.logistic import Classifier
from lens_jax.eval.passes import linear_size
from lens_jax.eval.suites.base import Numbers, Subject, Suite, check_labels, describe_split

# The class that gains most is looked for on so many labeled images.
LABELED = 5000


@dataclasses.dataclass(frozen=True)
class Watermark(Suite):
    """The accuracy on test images with a watermark, see `data.watermark`, against that without.

    Attributes:
      target: the class whose probability is measured, such as ImageNet's carton, "n02971356". By
        default it is the one that gains most by the watermark on labeled images.
      font: the file of a font with the characters; by default they are drawn.
      c: the inverse L2 strength of logistic regression.

    """

    name: ClassVar[str] = "watermark"
    target: str = ""
    font: str = ""
    c: float = linear.INVERSE_L2

    def check(self, subject: Subject) -> None:
        """Raises `UserError` for data without labels, an unknown class, or a file of no font."""
        check_labels(subject.train, self.name)
        check_range("c of suite 'watermark'", self.c, 1e-12)
        if self.target:
            check_choice("target of suite 'watermark'", self.target, subject.train.class_names)
        watermark.draw_mark(linear_size(subject.frozen.config.data), self.font)

    def measure(self, subject: Subject) -> Numbers:
        """How accuracy falls, and how the probability and the accuracy of one class change."""
        (tap,) = subject.taps[-1:]
        train = subject.rows(subject.train)
        classifier = logistic.fit(train.taps[tap], train.labels, self.c)
        target = self._choose_target(subject, classifier)

        clean = subject.rows(subject.test)
        marked = subject.rows(self._mark(subject, subject.test))
        return compare(
            logistic.probabilities(classifier, clean.taps[tap]),
            logistic.probabilities(classifier, marked.taps[tap]),
            classifier.classes,
            clean.labels,
            target,
            subject.train.class_names[target],
        )

    def _choose_target(self, subject: Subject, classifier: Classifier) -> int:
        """The label of the class whose probability is measured."""
        if self.target:
            return subject.train.class_names.index(self.target)
        (tap,) = subject.taps[-1:]
        images = subject.train.subsample(LABELED)
        means = []
        for source in (images, self._mark(subject, images)):
            features = subject.rows(source).taps[tap]
            means.append(logistic.probabilities(classifier, features).mean(axis=0))
        clean, marked = means
        return int(classifier.classes[np.argmax(marked - clean)])

    def _mark(self, subject: Subject, source: Source) -> Source:
        data = subject.frozen.config.data
        mark = watermark.draw_mark(linear_size(data), self.font)

        def change(image: np.ndarray, _: int) -> np.ndarray:
            return watermark.add_mark(image, mark)

        return alter(source, data, change, ("watermark", self.font))

    def protocol(self, subject: Subject) -> str:
        """The solver, the mark, how the class was chosen, and the splits."""
        solver = f"multinomial logistic regression (L-BFGS, C={self.c:g}), standardized features"
        mark = f"{watermark.TEXT} in {self.font}" if self.font else f"{watermark.TEXT}, drawn"
        chosen = f"that gains most on up to {LABELED:,} of the labeled images"
        target = f"class {self.target or chosen}"
        learned = describe_split("learned on", subject.train)
        tested = describe_split("evaluated on", subject.test)
        return f"{solver}; tap {subject.taps[-1]}; {mark}; {target}; {learned}; {tested}"


def compare(
    clean: np.ndarray,
    marked: np.ndarray,
    classes: np.ndarray,
    labels: np.ndarray,
    target: int,
    name: str,
) -> Numbers:
    """What the watermark does to the probabilities of the same images.

    Args:
      clean: of the images without it, [n, k].
      marked: of the images with it, [n, k].
      classes: the labels of the k classes, int [k].
      labels: those of the images, int [n].
      target: the label of the class that is looked at.
      name: its name.

    Returns:
      "accuracy_gap", the accuracy with the watermark minus that without (ImageNet-W gap); both of
      them; "probability_gap/NAME", likewise of the mean probability of the target; and
      "class_accuracy_gap/NAME", of the accuracy on its images (carton gap), where it has any.

    """
    right = [classes[np.argmax(each, axis=1)] == labels for each in (clean, marked)]
    before, after = (float(np.mean(each)) for each in right)
    is_target = classes == target
    gain = marked[:, is_target].mean() - clean[:, is_target].mean()
    numbers = {
        "accuracy_gap": after - before,
        "accuracy/clean": before,
        "accuracy/watermark": after,
        f"probability_gap/{name}": float(gain),
    }
    of_target = labels == target
    if of_target.any():
        before, after = (float(np.mean(each[of_target])) for each in right)
        numbers[f"class_accuracy_gap/{name}"] = after - before
    return numbers
