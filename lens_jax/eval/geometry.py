"""What frozen features tell without a classifier that learns: neighbors, and effective rank."""

import jax
import jax.numpy as jnp
import numpy as np

from lens_jax.losses.embeddings import rankme
from lens_jax.losses.neighbors import weighted_neighbors

# Test images that look for their neighbors at a time, for the sake of memory.
QUERIES = 1024
# RankMe is published of so many images, and hardly changes beyond.
RANKME_IMAGES = 25_600


def neighbors_accuracy(
    train: np.ndarray, labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray
) -> float:
    """The fraction of test images whose nearest training images vote for their class.

    The k = 20 nearest by cosine, weighted by exp(cosine / 0.07), see `weighted_neighbors`.

    Args:
      train: features [N, f] whose classes are known.
      labels: these classes, int [N].
      test: features [M, f].
      test_labels: their classes, int [M].

    """
    classes = 1 + int(max(labels.max(), test_labels.max()))
    vote = jax.jit(weighted_neighbors, static_argnames="classes")
    hits = 0
    for start in range(0, len(test), QUERIES):
        part = slice(start, start + QUERIES)
        votes = vote(train, labels, test[part], classes=classes)
        predictions = jnp.argmax(votes, axis=-1)
        hits += int(jnp.sum(predictions == test_labels[part]))
    return hits / len(test)


def effective_rank(features: np.ndarray) -> float:
    """RankMe of features [N, f], see `losses.embeddings.rankme`; in [1, min(N, f)].

    Of at most `RANKME_IMAGES` rows, evenly spaced.
    """
    count = min(len(features), RANKME_IMAGES)
    rows = np.linspace(0, len(features) - 1, count).round().astype(int)
    return float(rankme(features[rows]))
