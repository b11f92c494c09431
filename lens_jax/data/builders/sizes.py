"""Rendered data sets come in several sizes, each a builder config of its own."""

import dataclasses
from collections.abc import Sequence

import tensorflow_datasets as tfds


@dataclasses.dataclass(eq=False)
class SizeConfig(tfds.core.BuilderConfig):
    """One size of a rendered data set.

    Attributes:
      size: side of the images in pixels.

    """

    size: int = 0


def size_configs(sizes: Sequence[int], what: str) -> list[SizeConfig]:
    """A builder config for each size, of which the first is the default; `what` is rendered."""
    configs = []
    for size in sizes:
        description = f"{what} of {size}x{size} pixels."
        configs.append(SizeConfig(name=str(size), description=description, size=size))
    return configs
