import jax
import numpy as np
import pytest

from lens_jax.losses import triplet
from tests.losses import references

squared_distances = jax.jit(triplet.squared_distances)
semi_hard_triplets = jax.jit(triplet.semi_hard_triplets, static_argnames="copies")
triplet_hinges = jax.jit(triplet.triplet_hinges)
nearest_neighbor_hits = jax.jit(triplet.nearest_neighbor_hits)


def points_on_a_line(*points: float) -> np.ndarray:
    return np.array(points, np.float32)[:, None]


def test_distances_are_those_of_the_definition(x64):
    rows = np.random.default_rng(0).normal(size=(6, 3))
    found = squared_distances(rows)
    for (i, j), distance in np.ndenumerate(found):
        expected = references.squared_distance(rows[i], rows[j])
        np.testing.assert_allclose(distance, expected, atol=1e-13)


@pytest.mark.parametrize("seed", range(4))
def test_negatives_are_those_of_the_definition_among_many_ties(seed: int):
    """On a grid most distances are shared by several points, and small integers are exact."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(-2, 3, (15, 2))
    labels = rng.permutation(np.repeat(np.arange(5), 3))
    embeddings = rows.astype(np.float32)
    triplets = jax.device_get(semi_hard_triplets(squared_distances(embeddings), labels, copies=3))

    found = set()
    for a, k in np.argwhere(triplets.valid):
        found.add((a, triplets.positives[a, k], triplets.negatives[a, k]))
    assert found == set(references.semi_hard_triplets(rows, labels))

    hinges = np.asarray(triplet_hinges(embeddings, triplets, 1.5))
    expected = sum(references.triplet_losses(rows, labels, 1.5))
    np.testing.assert_allclose(np.sum(hinges), expected, rtol=1e-6)
    assert not hinges[~triplets.valid].any()


def test_pairs_may_lack_a_semi_hard_negative_or_have_one():
    """Points on a line: 0 and 3 are of one label, 1 and -2 of the other.

    From 0, the positive is 9 off and the negatives 1 and 4: the farthest, 4. From 3: 9, and 4 and
    25: 25. From 1: 9, and 1 and 4: 4. From -2: 9, and 4 and 25: 25.
    """
    rows = points_on_a_line(0, 3, 1, -2)
    labels = np.array([0, 0, 1, 1])
    triplets = semi_hard_triplets(squared_distances(rows), labels, copies=2)
    narrow = np.asarray(triplet_hinges(rows, triplets, 0.5))
    wide = np.asarray(triplet_hinges(rows, triplets, 20.0))
    np.testing.assert_allclose(np.sum(narrow, axis=1), [5.5, 0, 5.5, 0])
    np.testing.assert_allclose(np.sum(wide, axis=1), [25, 4, 25, 4])


def test_rows_of_the_same_label_are_found_in_any_order():
    labels = np.array([7, 5, 7, 9, 5, 7, 3])
    same_label = jax.jit(triplet.same_label, static_argnames="copies")
    found, counts = jax.device_get(same_label(labels, copies=3))
    assert found.shape == counts.shape == (7, 3)
    for i, label in enumerate(labels):
        others = {j for j in range(7) if labels[j] == label and j != i}
        assert set(found[i][counts[i]].tolist()) == others
        assert np.sum(counts[i]) == len(others)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([0, 0, 0, 1, 1, 2], [True, True, True, True, True, False]),
        ([0, 1, 0, 1, 0, 1], [False] * 6),
        ([0, 1, 1, 0, 1, 0], [False, True, True, False, False, False]),
    ],
)
def test_hits_are_rows_whose_nearest_other_one_has_their_label(labels: list, expected: list):
    """The nearest others of 0, 10, 15, 50, 52 and 90 are 10, 15, 10, 52, 50 and 52."""
    distances = squared_distances(points_on_a_line(0, 10, 15, 50, 52, 90))
    hits = nearest_neighbor_hits(distances, np.array(labels))
    assert hits.tolist() == expected
