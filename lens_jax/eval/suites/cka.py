"""The suite `cka`: how similar the taps of two networks are."""

import dataclasses
from typing import Any, ClassVar

import numpy as np

from lens_jax.data.records import Source
from lens_jax.errors import UserError
from lens_jax.eval.cka import LEAST_IMAGES, cka_matrix
from lens_jax.eval.features import check_representation
from lens_jax.eval.frozen import Frozen, choose_network, load
from lens_jax.eval.suites.base import Numbers, Subject, Suite, describe_split
from lens_jax.pages import matrix, page


@dataclasses.dataclass(frozen=True)
class CKA(Suite):
    """Linear CKA of each tap with each tap of another checkpoint, see `eval.cka`.

    Attributes:
      other: folder of the other run, of which the newest checkpoint is taken; by default the taps
        are compared with each other.

    """

    name: ClassVar[str] = "cka"
    other: str = ""

    def check(self, subject: Subject) -> None:
        """Raises `UserError` for another run without a checkpoint, network or lens of that kind."""
        check_representation(self._open(subject).frozen, subject.representation)
        if len(subject.test) < LEAST_IMAGES:
            raise UserError(
                f"suite 'cka' has {len(subject.test)} images to evaluate on: give at least "
                f"{LEAST_IMAGES}"
            )

    def sources(self, subject: Subject) -> dict[str, Source]:
        """The test images alone."""
        return {"test": subject.test}

    def measured_on(self, subject: Subject) -> dict[str, dict[str, Any]]:
        """The test images, and which checkpoint of the other run was compared."""
        data = super().measured_on(subject)
        if self.other:
            data["other"] = {"step": self._open(subject).frozen.step}
        return data

    def measure(self, subject: Subject) -> Numbers:
        """The similarity by "cka/", the tap, and that of the other checkpoint; the last pair first.

        Raises `UserError` where the two have read different images.
        """
        other = self._open(subject)
        own_rows = subject.rows(subject.test, *subject.taps)
        other_rows = other.rows(subject.test, *other.taps)
        if not np.array_equal(own_rows.positions, other_rows.positions):
            raise UserError("the two runs of suite 'cka' do not decode the same images")

        numbers = {}
        similarities = cka_matrix(own_rows.taps, other_rows.taps)
        for (tap, other_tap), value in reversed(similarities.items()):
            numbers[f"cka/{tap}/{other_tap}"] = value
        return numbers

    def protocol(self, subject: Subject) -> str:
        """The estimator, the other checkpoint, and the images."""
        other = (
            f"step {self._open(subject).frozen.step} of {self.other}" if self.other else "itself"
        )
        images = describe_split("images of", subject.test)
        return f"linear CKA with the unbiased HSIC; compared with {other}; {images}"

    def tell(self, numbers: Numbers) -> list[page.Part]:
        """A map of the similarities: a row for each tap, a column for each of the other's."""
        by_tap: dict[str, dict[str, float]] = {}
        for name, value in reversed(numbers.items()):
            _, tap, other_tap = name.split("/")
            by_tap.setdefault(tap, {})[other_tap] = value
        rows = list(by_tap)
        columns = list(by_tap[rows[0]])
        values = np.array([list(row.values()) for row in by_tap.values()])

        picture = page.Picture(
            file="cka.png",
            png=matrix.draw_matrix(values, rows, columns),
            alt=f"linear CKA of {len(rows)} taps with {len(columns)} taps",
            caption="Linear CKA: rows are taps of this run, columns those of "
            f"{self.other or 'the same run'}. 1 is the same up to rotation and scale.",
        )
        return [[picture]]

    def _open(self, subject: Subject) -> Subject:
        """The other checkpoint as a subject, with the same network, images and representation."""
        other: Frozen = subject.frozen
        if self.other:
            other = choose_network(load(self.other), subject.network)
        return subject._replace(frozen=other)
