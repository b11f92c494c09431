"""The suite `collapse`: how features are spread, without labels."""

import dataclasses
from typing import ClassVar

from lens_jax.eval import geometry
from lens_jax.eval.suites.base import Numbers, Subject, Suite, describe_split


@dataclasses.dataclass(frozen=True)
class Collapse(Suite):
    """Whether features have collapsed to a point or to few directions, and the color they hold."""

    name: ClassVar[str] = "collapse"

    def measure(self, subject: Subject) -> Numbers:
        """`geometry.describe_spread` of the test images, and the R2 of their mean colors."""
        (tap,) = subject.taps[-1:]
        train = subject.rows(subject.train)
        test = subject.rows(subject.test)
        color_r2 = geometry.regression_r2(
            train.taps[tap],
            train.colors,
            test.taps[tap],
            test.colors,
        )
        return geometry.describe_spread(test.taps[tap]) | {"color_r2": color_r2}

    def protocol(self, subject: Subject) -> str:
        """How many images each number is of, and where the colors are learned."""
        images = describe_split("measured on", subject.test)
        colors = describe_split("mean colors by ridge regression learned on", subject.train)
        limits = (
            f"at most {geometry.RANKME_IMAGES:,} of them, "
            f"{geometry.UNIFORMITY_IMAGES:,} for uniformity"
        )
        return f"tap {subject.taps[-1]}; {images}, {limits}; {colors}"
