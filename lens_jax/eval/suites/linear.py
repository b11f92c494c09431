"""The suite `linear`: linear classifiers on frozen features."""

import dataclasses
from typing import ClassVar

from lens_jax.errors import UserError, check_choice, check_range
from lens_jax.eval import linear
from lens_jax.eval.features import make_features
from lens_jax.eval.suites.base import Numbers, Subject, Suite, check_labels, describe_split

SOLVERS = ("lbfgs", "sgd")


@dataclasses.dataclass(frozen=True)
class Linear(Suite):
    """The accuracy of a linear classifier on each tap.

    Attributes:
      solver: "lbfgs", logistic regression on stored features, or "sgd", heads that are trained on
        augmented images as in the paper, see `linear.train_heads`.
      taps: by default all.
      c: inverse L2 strengths of logistic regression; of several, the one that is best on a tenth
        of the labeled images is taken, and learned anew on all.
      epochs: of the solver "sgd".

    """

    name: ClassVar[str] = "linear"
    solver: str = "lbfgs"
    taps: tuple[str, ...] = ()
    c: tuple[float, ...] = (linear.INVERSE_L2,)
    epochs: int = 70

    def check(self, subject: Subject) -> None:
        """Raises `UserError` for an unknown solver or tap, and for data without labels."""
        check_labels(subject.train, self.name)
        check_choice("solver", self.solver, SOLVERS)
        for tap in self.taps:
            check_choice("tap", tap, subject.taps)
        for strength in self.c:
            check_range("c of suite 'linear'", strength, 1e-12)
        check_range("epochs of suite 'linear'", self.epochs, 1)

    def measure(self, subject: Subject) -> Numbers:
        """The accuracy of the last tap, of each tap, and of the last one on each class."""
        taps = self.taps or subject.taps
        scores = self._scores(subject, taps)
        last = scores[taps[-1]]
        numbers = {"accuracy": last.accuracy}
        for tap in taps:
            numbers[f"accuracy/{tap}"] = scores[tap].accuracy
        return numbers | linear.class_accuracies(last, subject.test.class_names)

    def _scores(self, subject: Subject, taps: tuple[str, ...]) -> dict[str, linear.Scores]:
        train, test = subject.train, subject.test
        if self.solver == "sgd":
            compute = make_features(subject.frozen, subject.representation, taps)
            return linear.sgd_heads(subject.frozen, train, test, compute, epochs=self.epochs)
        learned = subject.rows(train, *taps)
        if len(set(learned.labels)) < 2:
            raise UserError(
                f"all images to learn the classifiers on, {len(learned.labels)} of split "
                f"{train.split!r}, are of one class: give more --examples, or a --train_split with "
                "images of two classes"
            )
        tested = subject.rows(test, *taps)
        return linear.logistic_regression(learned, tested, test.num_classes, self.c)

    def protocol(self, subject: Subject) -> str:
        """The solver, its settings, and the splits."""
        strengths = " or ".join(f"{strength:g}" for strength in self.c)
        solvers = {
            "lbfgs": f"multinomial logistic regression (L-BFGS, C={strengths}), standardized "
            "features of central crops",
            "sgd": f"heads trained by SGD for {self.epochs} epochs on augmented crops",
        }
        taps = ", ".join(self.taps or subject.taps)
        learned = describe_split("learned on", subject.train)
        tested = describe_split("evaluated on", subject.test)
        return f"{solvers[self.solver]}; taps {taps}; {learned}; {tested}"
