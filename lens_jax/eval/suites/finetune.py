"""The suite `finetune`: where all of the extractor gets to, from its pre-trained parameters."""

import dataclasses
from typing import ClassVar

from lens_jax.errors import UserError, check_range
from lens_jax.eval.finetune import BATCH_SIZE, fine_tune
from lens_jax.eval.frozen import pretext_accuracy
from lens_jax.eval.suites.base import Numbers, Subject, Suite, check_labels, describe_split


@dataclasses.dataclass(frozen=True)
class Finetune(Suite):
    """The test accuracy after supervised training of the extractor and a linear head.

    Attributes:
      epochs: of training; 30 are SimCLR's with a tenth of ImageNet's labels.
      learning_rate: for 256 images a step; SimCLR's, and less than a few thousand images need.

    """

    name: ClassVar[str] = "finetune"
    epochs: int = 30
    learning_rate: float = 0.05

    def check(self, subject: Subject) -> None:
        """Raises `UserError` for data without labels, and for lensed images."""
        check_labels(subject.train, self.name)
        check_range("epochs of suite 'finetune'", self.epochs, 1)
        check_range("learning_rate of suite 'finetune'", self.learning_rate, 0)
        if subject.representation != "raw":
            raise UserError(
                "suite 'finetune' trains the extractor on raw images, and cannot have "
                f"representation {subject.representation!r}: choose raw"
            )

    def measure(self, subject: Subject) -> Numbers:
        """The accuracy on the test images."""
        tuned = fine_tune(
            subject.frozen,
            subject.train,
            epochs=self.epochs,
            learning_rate=self.learning_rate,
        )
        # The task is the labels now, and nothing is injected.
        accuracies = pretext_accuracy(tuned, subject.test, "none")
        return {"accuracy": accuracies["raw"]}

    def protocol(self, subject: Subject) -> str:
        """The optimizer, the augmentation, and the splits."""
        training = (
            f"SGD for {self.epochs} epochs, learning rate {self.learning_rate:g} x batch / 256 "
            f"with a cosine to 0, at most {BATCH_SIZE} images a batch, the run's crops and flips"
        )
        learned = describe_split("learned on", subject.train)
        tested = describe_split("evaluated on", subject.test)
        return f"{training}; {learned}; {tested}"
