import doctest
import itertools
import math

import numpy as np
import pytest

from lens_jax.errors import UserError
from lens_jax.tasks import permutations as module
from lens_jax.tasks.permutations import hamming_distances, spread_permutations

Permutation = tuple[int, ...]


def distance(one: Permutation, other: Permutation) -> int:
    return sum(a != b for a, b in zip(one, other, strict=True))


def greedy(count: int, seed: int, items: int) -> list[list[int]]:
    """The documented choice, one candidate after the other."""
    every = list(itertools.permutations(range(items)))
    order = np.random.RandomState(seed).permutation(len(every))
    left = [every[i] for i in order]
    taken = [left.pop(0)]
    while len(taken) < count:
        scores = []
        for candidate in left:
            distances = [distance(candidate, other) for other in taken]
            scores.append((min(distances), sum(distances)))
        best = scores.index(max(scores))  # the first of equals
        taken.append(left.pop(best))
    return [list(permutation) for permutation in taken]


@pytest.mark.parametrize(
    ("count", "seed", "items"), [(1, 0, 3), (6, 1, 3), (9, 0, 4), (24, 3, 4), (20, 5, 5)]
)
def test_the_choice_is_the_documented_greedy_one(count: int, seed: int, items: int):
    assert spread_permutations(count, seed, items).tolist() == greedy(count, seed, items)


def test_a_hundred_orders_of_nine_patches_are_permutations_and_distinct():
    chosen = spread_permutations(100)
    assert chosen.shape == (100, 9)
    np.testing.assert_array_equal(np.sort(chosen, axis=1), np.tile(np.arange(9), (100, 1)))
    assert len({tuple(row) for row in chosen.tolist()}) == 100


def test_the_distances_in_the_documentation_are_those_that_are_found():
    assert doctest.testmod(module) == (0, 1)


def test_no_hundred_orders_have_a_larger_mean_distance():
    # In each place 9 patches share 100 orders: at best one has 12 of them, the others 11 each.
    agreeing = math.comb(12, 2) + 8 * math.comb(11, 2)
    largest = 9 * (1 - agreeing / math.comb(100, 2))
    assert hamming_distances(spread_permutations(100)).mean == pytest.approx(largest)


def test_the_labels_never_change():
    chosen = spread_permutations(100)
    assert chosen[0].tolist() == [5, 7, 0, 4, 2, 3, 6, 1, 8]
    assert chosen[99].tolist() == [3, 0, 1, 5, 7, 6, 2, 8, 4]
    with pytest.raises(ValueError, match="read-only"):
        chosen[0, 0] = 1


def test_fewer_orders_are_the_first_of_more_and_another_seed_gives_others():
    np.testing.assert_array_equal(spread_permutations(8), spread_permutations(100)[:8])
    assert (spread_permutations(8, seed=1) != spread_permutations(8)).any()


def test_distances_by_hand():
    found = hamming_distances(np.array([[0, 1, 2, 3], [1, 0, 2, 3], [1, 2, 3, 0]]))
    assert found == (2, pytest.approx((2 + 4 + 3) / 3))


@pytest.mark.parametrize("count", [0, 7])
def test_more_permutations_than_there_are_are_refused(count: int):
    with pytest.raises(UserError, match=f"3 items have 6 permutations, not {count}"):
        spread_permutations(count, items=3)
