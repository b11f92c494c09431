"""The suite `knn`: classification by the nearest neighbors among labeled features."""

import dataclasses
from typing import ClassVar

from lens_jax.errors import UserError, check_range
from lens_jax.eval import geometry
from lens_jax.eval.suites.base import Numbers, Subject, Suite, check_labels, describe_split
from lens_jax.losses.neighbors import NEIGHBORS, TEMPERATURE


@dataclasses.dataclass(frozen=True)
class KNN(Suite):
    """The accuracy of a vote of the k nearest by cosine, see `losses.neighbors`.

    Attributes:
      k: how many neighbors vote; 200 of Wu et al. (2018), 20 of DINO.
      temperature: a neighbor's weight is exp(cosine / temperature).

    """

    name: ClassVar[str] = "knn"
    k: int = NEIGHBORS
    temperature: float = TEMPERATURE

    def check(self, subject: Subject) -> None:
        """Raises `UserError` for data without labels, and for fewer images than k."""
        check_labels(subject.train, self.name)
        check_range("temperature of suite 'knn'", self.temperature, 1e-6)
        images = len(subject.train)
        if not 1 <= self.k <= images:
            raise UserError(
                f"suite 'knn' has k={self.k}, and there are {images} labeled images: choose a k "
                f"from 1 to {images}"
            )

    def measure(self, subject: Subject) -> Numbers:
        """The accuracy on the test images."""
        (tap,) = subject.taps[-1:]
        train = subject.rows(subject.train)
        test = subject.rows(subject.test)
        accuracy = geometry.neighbors_accuracy(
            train.taps[tap],
            train.labels,
            test.taps[tap],
            test.labels,
            neighbors=self.k,
            temperature=self.temperature,
        )
        return {"accuracy": accuracy}

    def protocol(self, subject: Subject) -> str:
        """How the neighbors vote, and who they are."""
        neighbors = describe_split("neighbors from", subject.train)
        images = describe_split("evaluated on", subject.test)
        vote = f"k={self.k} by cosine, weighted by exp(cosine / {self.temperature})"
        return f"{vote}; tap {subject.taps[-1]}; {neighbors}; {images}"
