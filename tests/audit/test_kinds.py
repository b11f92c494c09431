"""Kinds of changes, where it is known what was changed."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from lens_jax.audit.kind_looks import MARK_LIKENESS
from lens_jax.audit.kinds import (
    find_spots,
    likeness,
    sort_into_kinds,
    union_masks,
)

IMAGES = 200
MARKED = 40


@pytest.fixture(scope="module")
def smooth() -> np.ndarray:
    """Smooth changes that have nothing in common, [IMAGES, 32, 32, 3]."""
    noise = np.random.default_rng(0).normal(size=(IMAGES, 32, 32, 3))
    return 0.25 * gaussian_filter(noise, (0, 2, 2, 0)) / 0.14


@pytest.fixture(scope="module")
def marked(smooth) -> np.ndarray:
    """The same, with a dark square of three pixels a side somewhere in the first MARKED images."""
    change = smooth.copy()
    rng = np.random.default_rng(1)
    for image in range(MARKED):
        y, x = rng.integers(0, 30, 2)
        change[image, y : y + 3, x : x + 3] -= 1.5
    return change


def test_a_mark_that_moves_is_one_kind_and_alike_wherever_it_is(marked):
    spots = find_spots(marked)
    kinds = sort_into_kinds(spots, IMAGES)
    fractions = [np.mean(spots.images[members] < MARKED) for members in kinds]
    best = kinds[int(np.argmax(fractions))]
    assert max(fractions) > 0.9
    assert len(set(spots.images[best]) & set(range(MARKED))) > 0.9 * MARKED
    assert likeness(spots.crops[best]) > MARK_LIKENESS
    masks = union_masks(spots, best, IMAGES)
    having = masks.any(axis=(1, 2))
    assert (marked[having] * masks[having][..., None]).mean() < 0


def test_changes_that_have_nothing_in_common_are_not_alike(smooth):
    spots = find_spots(smooth)
    for members in sort_into_kinds(spots, IMAGES):
        assert likeness(spots.crops[members]) < MARK_LIKENESS


def test_no_change_has_no_kinds():
    spots = find_spots(np.zeros((30, 16, 16, 3)))
    assert len(spots.images) == 0
    assert sort_into_kinds(spots, 30) == []


def test_likeness_by_hand():
    one = np.array([[[[1.0, 0, 0]]]])
    other = np.array([[[[0.0, 1, 0]]]])
    assert likeness(np.concatenate([one, one])) == pytest.approx(1)
    assert likeness(np.concatenate([one, other])) == pytest.approx(0)
    assert likeness(np.concatenate([one, -one])) == pytest.approx(-1)
    # Each with the mean of the other two: (1 + 0) / sqrt(2), twice, and 0 of the third.
    assert likeness(np.concatenate([one, one, other])) == pytest.approx(2 / 3 / np.sqrt(2))
