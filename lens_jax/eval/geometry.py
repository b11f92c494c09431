"""What frozen features tell beside the linear accuracy: neighbors, effective rank, and color."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from lens_jax.losses import embeddings
from lens_jax.losses.neighbors import (
    NEIGHBORS,
    TEMPERATURE,
    Nearest,
    count_votes,
    find_nearest,
)

# Test images that look for their neighbors at a time, and training images that they look through,
# for the sake of memory.
QUERIES = 1024
BANK = 65_536
# RankMe is published of so many images, and hardly changes beyond.
RANKME_IMAGES = 25_600
# Uniformity compares all pairs of rows: 64 MiB of cosines.
UNIFORMITY_IMAGES = 4096
# Of ridge regression, of which the best is found by leaving one training image out.
PENALTIES = np.logspace(-2, 5, 8)


def neighbors_accuracy(
    train: np.ndarray,
    labels: np.ndarray,
    test: np.ndarray,
    test_labels: np.ndarray,
    *,
    neighbors: int = NEIGHBORS,
    temperature: float = TEMPERATURE,
) -> float:
    """The fraction of test images whose nearest training images vote for their class.

    The k nearest by cosine, weighted by exp(cosine / t), see `losses.neighbors`. Training images
    are looked through a chunk at a time, so that memory does not grow with their number.

    Args:
      train: features [N, f] whose classes are known.
      labels: these classes, int [N].
      test: features [M, f].
      test_labels: their classes, int [M].
      neighbors: k.
      temperature: t, above 0.

    """
    classes = 1 + int(max(labels.max(), test_labels.max()))
    hits = 0
    for start in range(0, len(test), QUERIES):
        part = slice(start, start + QUERIES)
        nearest = None
        for first in range(0, len(train), BANK):
            chunk = slice(first, first + BANK)
            nearest = _merge_nearest(nearest, train[chunk], labels[chunk], test[part], neighbors)
        votes = count_votes(*nearest, classes=classes, temperature=temperature)
        predictions = jnp.argmax(votes, axis=-1)
        hits += int(jnp.sum(predictions == test_labels[part]))
    return hits / len(test)


@partial(jax.jit, static_argnames="neighbors")
def _merge_nearest(
    found: Nearest | None,
    bank: jax.Array,
    bank_labels: jax.Array,
    queries: jax.Array,
    neighbors: int,
) -> Nearest:
    """The nearest among those found so far and the rows of a chunk of the bank."""
    nearest = find_nearest(bank, bank_labels, queries, neighbors)
    if found is None:
        return nearest
    similarities = jnp.concatenate([found.similarities, nearest.similarities], axis=1)
    labels = jnp.concatenate([found.labels, nearest.labels], axis=1)
    kept = min(neighbors, similarities.shape[1])
    similarities, columns = jax.lax.top_k(similarities, kept)
    return Nearest(similarities, jnp.take_along_axis(labels, columns, axis=1))


def effective_rank(features: np.ndarray) -> float:
    """RankMe of features [N, f], see `losses.embeddings.rankme`; in [1, min(N, f)].

    Of at most `RANKME_IMAGES` rows, evenly spaced.
    """
    rows = evenly_spaced(features, RANKME_IMAGES)
    return float(embeddings.rankme(rows))


def describe_spread(features: np.ndarray) -> dict[str, float]:
    """How features [N, f] are spread, without labels: see `losses.embeddings` for each number.

    "rankme", "alpha_req" and "standard_deviation" are of at most `RANKME_IMAGES` rows, and
    "uniformity" of at most `UNIFORMITY_IMAGES`, evenly spaced; "size" is f.
    """
    rows = evenly_spaced(features, RANKME_IMAGES)
    fewer_rows = evenly_spaced(features, UNIFORMITY_IMAGES)
    return {
        "rankme": float(embeddings.rankme(rows)),
        "alpha_req": float(embeddings.alpha_req(rows)),
        "standard_deviation": float(embeddings.standard_deviation(rows)),
        "uniformity": float(embeddings.uniformity(fewer_rows)),
        "size": float(features.shape[1]),
    }


def evenly_spaced(features: np.ndarray, most: int) -> np.ndarray:
    """Features [N, f] -> at most `most` of the rows, in memory."""
    count = min(len(features), most)
    rows = np.linspace(0, len(features) - 1, count).round().astype(int)
    return features[rows]


def regression_r2(
    train: np.ndarray, values: np.ndarray, test: np.ndarray, test_values: np.ndarray
) -> float:
    """How much of some values of test images a ridge regression on their features explains.

    R2 is 1 for all of it, and 0 for no more than the mean explains; the mean over the values.

    Args:
      train: features [N, f].
      values: of the same images, [N, v].
      test: features [M, f].
      test_values: [M, v].

    """
    # Imported only now, as training does without it.
    from sklearn.linear_model import RidgeCV
    from sklearn.metrics import r2_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), RidgeCV(PENALTIES))
    model.fit(train, values)
    return float(r2_score(test_values, model.predict(test)))
