import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lens_jax.losses import triplet
from tests.losses import references

find_triplets = jax.jit(triplet.semi_hard_triplets, static_argnums=2)


def points_on_a_line(*points: float) -> jax.Array:
    return jnp.array(points, jnp.float32)[:, None]


def test_distances_are_those_of_the_definition(x64):
    rows = np.random.default_rng(0).normal(size=(6, 3))
    found = triplet.squared_distances(jnp.asarray(rows))
    for (i, j), distance in np.ndenumerate(found):
        expected = references.squared_distance(rows[i], rows[j])
        np.testing.assert_allclose(distance, expected, atol=1e-13)


@pytest.mark.parametrize("seed", range(4))
def test_negatives_are_those_of_the_definition_among_many_ties(seed: int):
    """On a grid most distances are shared by several points, and small integers are exact."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(-2, 3, (15, 2))
    labels = rng.permutation(np.repeat(np.arange(5), 3))
    embeddings = jnp.asarray(rows, jnp.float32)
    distances = triplet.squared_distances(embeddings)
    triplets = find_triplets(distances, jnp.asarray(labels), 3)

    found = set()
    for a, k in np.argwhere(triplets.valid):
        positive = int(triplets.positives[a, k])
        negative = int(triplets.negatives[a, k])
        found.add((int(a), positive, negative))
    assert found == set(references.semi_hard_triplets(rows, labels))

    hinges = triplet.triplet_hinges(embeddings, triplets, 1.5)
    expected = sum(references.triplet_losses(rows, labels, 1.5))
    np.testing.assert_allclose(jnp.sum(hinges), expected, rtol=1e-6)
    assert not np.asarray(hinges)[~np.asarray(triplets.valid)].any()


def test_pairs_may_lack_a_semi_hard_negative_or_have_one():
    """Points on a line: 0 and 3 are of one label, 1 and -2 of the other.

    From 0, the positive is 9 off and the negatives 1 and 4: the farthest, 4. From 3: 9, and 4 and
    25: 25. From 1: 9, and 1 and 4: 4. From -2: 9, and 4 and 25: 25.
    """
    rows = points_on_a_line(0, 3, 1, -2)
    labels = jnp.array([0, 0, 1, 1])
    triplets = find_triplets(triplet.squared_distances(rows), labels, 2)
    narrow = triplet.triplet_hinges(rows, triplets, 0.5)
    wide = triplet.triplet_hinges(rows, triplets, 20)
    np.testing.assert_allclose(jnp.sum(narrow, axis=1), [5.5, 0, 5.5, 0])
    np.testing.assert_allclose(jnp.sum(wide, axis=1), [25, 4, 25, 4])


def test_rows_of_the_same_label_are_found_in_any_order():
    labels = [7, 5, 7, 9, 5, 7, 3]
    found, counts = jax.jit(triplet.same_label, static_argnums=1)(jnp.array(labels), 3)
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
    distances = triplet.squared_distances(points_on_a_line(0, 10, 15, 50, 52, 90))
    hits = jax.jit(triplet.nearest_neighbor_hits)(distances, jnp.array(labels))
    assert hits.tolist() == expected
