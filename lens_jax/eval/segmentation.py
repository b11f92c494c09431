"""Semantic segmentation by a linear classifier of the cells of a feature map."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from lens_jax.data.masks import UNKNOWN, Masked, resize_mask
from lens_jax.eval import logistic
from lens_jax.eval.features import Features
from lens_jax.eval.frozen import Frozen
from lens_jax.eval.logistic import Classifier
from lens_jax.eval.passes import linear_size, run_pass
from lens_jax.tasks.base import Batch
from lens_jax.train.state import TrainState

# Cells of an image to learn from, drawn, so that memory does not grow with the size of maps.
CELLS = 64

_PRECISION = jax.lax.Precision.HIGHEST


def segment(
    frozen: Frozen,
    train: Masked,
    test: Masked,
    maps: Features,
    *,
    size: int,
    inverse_l2: float,
) -> np.ndarray:
    """Learns the classes of cells, and counts those of pixels: int [classes, classes].

    Row i and column j: the pixels of class i that are taken for class j. Pixels without a class
    are left out.

    Args:
      frozen: the network.
      train: what to learn from.
      test: what to count.
      maps: as of `features.make_maps`.
      size: side of the images that the network sees, in pixels; 0 is that of linear evaluation.
      inverse_l2: C of the logistic regression.

    """
    data = ConfigDict(frozen.config.data.to_dict())
    data.linear_size = size or linear_size(data)
    classifier = _learn(frozen, data, train, maps, inverse_l2)

    classes = test.images.num_classes
    confusion = np.zeros((classes, classes), np.int64)
    predict = make_predict(classifier, maps, data.linear_size)
    for predicted, mask in _masked_pass(frozen, data, test, predict):
        confusion += count_pixels(mask, predicted, classes)
    return confusion


def _learn(
    frozen: Frozen, data: ConfigDict, train: Masked, maps: Features, inverse_l2: float
) -> Classifier:
    """Logistic regression of the class that most pixels of a cell have."""

    def compute(state: TrainState, batch: Batch) -> jax.Array:
        (found,) = maps(state, batch["image"]).values()
        return found

    rng = np.random.default_rng(frozen.config.seed)
    features = []
    labels = []
    for found, mask in _masked_pass(frozen, data, train, compute):
        height, width, channels = found.shape
        classes = majority(mask, height, width, train.images.num_classes)
        has_class = classes != UNKNOWN
        (labeled,) = np.nonzero(has_class)
        shuffled = rng.permutation(labeled)
        chosen = shuffled[:CELLS]

        cells = found.reshape(-1, channels)
        features.append(cells[chosen])
        labels.append(classes[chosen])

    all_features = np.concatenate(features)
    all_labels = np.concatenate(labels)
    return logistic.fit(all_features, all_labels, inverse_l2)


def make_predict(
    classifier: Classifier, maps: Features, size: int
) -> Callable[[TrainState, Batch], jax.Array]:
    """Makes the function (state, batch) -> the class of each pixel, [N, size, size], from 1 on.

    The logits of cells are interpolated bilinearly to the size of the images.
    """
    kernel, bias = logistic.fold(classifier)
    classes = jnp.asarray(classifier.classes)
    known = len(classes)

    def predict(state: TrainState, batch: Batch) -> jax.Array:
        (found,) = maps(state, batch["image"]).values()
        logits = jnp.matmul(found, kernel, precision=_PRECISION) + bias

        shape = (len(found), size, size, known)
        of_pixels = jax.image.resize(logits, shape, "bilinear")
        best = jnp.argmax(of_pixels, axis=-1)
        return classes[best]

    return predict


def _masked_pass(
    frozen: Frozen, data: ConfigDict, masked: Masked, compute: Callable[[TrainState, Batch], Any]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What is computed of each image that decodes, and its mask in the size of the images."""

    def with_mask(state: TrainState, batch: Batch) -> tuple[Any, jax.Array, jax.Array]:
        return compute(state, batch), batch["index"], batch["mask"]

    crop = data.linear_crop or data.eval_crop
    images = run_pass(data, masked.images, with_mask, frozen.state, linear=True)
    for found, indices, decodes in images:
        for row in np.flatnonzero(decodes):
            mask = masked.read_mask(int(indices[row]))
            yield found[row], resize_mask(mask, crop, data.linear_size)


def majority(mask: np.ndarray, height: int, width: int, classes: int) -> np.ndarray:
    """The most frequent class of each cell of a mask [s, s], int [height * width].

    `UNKNOWN` where no pixel of a cell has a class; of equally frequent ones the first.
    """
    # Which cell each row and each column of pixels is in.
    side, _ = mask.shape
    pixels = np.arange(side)
    rows = pixels * height // side
    columns = pixels * width // side
    cells = rows[:, None] * width + columns

    counts = np.zeros((height * width, classes + 1), np.int64)
    np.add.at(counts, (cells, mask), 1)
    counts[:, UNKNOWN] = 0

    most_frequent = np.argmax(counts, axis=1)
    has_class = np.any(counts, axis=1)
    return np.where(has_class, most_frequent, UNKNOWN)


def count_pixels(mask: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """The confusion of a mask with what is predicted, [s, s] both: int [classes, classes]."""
    known = mask != UNKNOWN
    rows = mask[known].astype(np.int64) - 1
    columns = predicted[known] - 1

    # One number for each pair of a row and a column.
    pairs = rows * classes + columns
    counts = np.bincount(pairs, minlength=classes**2)
    return counts.reshape(classes, classes)


def intersection_over_union(confusion: np.ndarray) -> np.ndarray:
    """By class, the pixels that are right over those that have it or are taken for it; or NaN.

    NaN for a class that no pixel has and none is taken for.
    """
    right = np.diagonal(confusion).astype(np.float64)
    having_it = np.sum(confusion, axis=1)
    taken_for_it = np.sum(confusion, axis=0)
    union = having_it + taken_for_it - right

    nothing = np.full(len(right), np.nan)
    return np.divide(right, union, out=nothing, where=union > 0)
