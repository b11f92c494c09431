"""Classes that two data sets have in common, by their names."""

import re

import numpy as np

from lens_jax.data.records import Source
from lens_jax.errors import UserError

_WORDNET_ID = re.compile(r"n\d{8}")
_NAMED = 3


def match_classes(source: Source, train: Source) -> np.ndarray:
    """The label among the classes of `train` that each class of `source` has, int [classes].

    Raises:
      UserError: a class of `source` is none of `train`.

    """
    indices = {name: index for index, name in enumerate(train.class_names)}
    unknown = [name for name in source.class_names if name not in indices]
    if unknown:
        raise UserError(
            f"{len(unknown)} classes of {source.folder or source.dataset}, such as "
            f"{', '.join(unknown[:_NAMED])}, are none of {train.dataset}: its classes have to have "
            "the same names, as ImageNet's have by their WordNet ids"
        )
    return np.array([indices[name] for name in source.class_names])


def is_imagenet(source: Source) -> bool:
    """Whether the classes are the 1,000 of ImageNet's challenge, by their WordNet ids."""
    is_wordnet = all(_WORDNET_ID.fullmatch(name) for name in source.class_names)
    return is_wordnet and source.num_classes == 1000
