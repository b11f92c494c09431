from itertools import combinations

import numpy as np
import pytest

from benchmarks.factors import measure
from lens_jax.data.builders.glyph_videos import sweep
from lens_jax.eval import factors
from lens_jax.eval.factors import Spread, mean_distance, measure_spread
from lens_jax.eval.features import make_features


def distance_by_loops(features: np.ndarray, sets: np.ndarray) -> float:
    """The mean over the sets of the mean distance of two of their rows."""
    means = []
    for number in set(sets.tolist()):
        distances = []
        for one, other in combinations(features[sets == number], 2):
            cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
            distances.append(1 - cosine)
        if distances:
            means.append(np.mean(distances))
    return float(np.mean(means))


@pytest.mark.parametrize("rows", [4096, 7])
def test_the_distance_is_that_of_loops(monkeypatch, rows: int):
    monkeypatch.setattr(factors, "ROWS", rows)
    features = np.random.default_rng(0).normal(size=(20, 3)) + 0.5
    equal = np.repeat(np.arange(5), 4)
    assert mean_distance(features, equal) == pytest.approx(distance_by_loops(features, equal))
    # Of 1, 2, 4 and 13 rows, in no order.
    other = np.random.default_rng(1).permutation(np.repeat([9, 2, 0, 5], [1, 2, 4, 13]))
    assert mean_distance(features, other) == pytest.approx(distance_by_loops(features, other))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[1.0, 0], [2, 0]], 0),
        ([[1.0, 0], [0, 3]], 1),
        ([[1.0, 0], [-1, 0]], 2),
        ([[0.0, 0], [0, 1]], 1),
    ],
)
def test_distances_by_hand(rows: list, expected: float):
    found = mean_distance(np.array(rows), np.array([3, 3]))
    assert found == pytest.approx(expected, abs=1e-12)


def test_invariant_features_have_no_spread_and_unrelated_ones_that_of_the_floor():
    rng = np.random.default_rng(0)
    sets = np.repeat(np.arange(200), 6)
    one_each = rng.normal(size=(200, 16))[sets]
    spread = measure_spread(one_each, sets)
    assert spread.within == pytest.approx(0, abs=1e-12)
    assert spread.shuffled == pytest.approx(1, abs=0.05)
    assert spread.ratio == pytest.approx(0, abs=1e-12)
    unrelated = measure_spread(rng.normal(size=(1200, 16)), sets)
    assert unrelated.ratio == pytest.approx(1, abs=0.05)


def test_half_of_the_variance_within_sets_is_half_of_the_floor():
    rng = np.random.default_rng(0)
    sets = np.repeat(np.arange(400), 5)
    features = rng.normal(size=(400, 64))[sets] + rng.normal(size=(2000, 64))
    assert measure_spread(features, sets).ratio == pytest.approx(0.5, abs=0.03)


def test_features_that_are_all_the_same_have_no_ratio():
    assert np.isnan(measure_spread(np.ones((6, 4)), np.repeat(np.arange(3), 2)).ratio)
    assert Spread(0.1, 0.4).ratio == pytest.approx(0.25)


def test_a_checkpoint_is_measured_along_every_factor(make_frozen):
    frozen = make_frozen({"data.image_size": 32})
    spreads = measure(frozen, letters=3, images=2)
    assert set(spreads) == {"viewpoint", "light", "occlusion"}

    tap = frozen.system.network.extractor.tap_names[-1]
    features = make_features(frozen, "raw", (tap,))
    images = np.concatenate([sweep("light", letter, 2, 32) for letter in range(3)])
    rows = np.asarray(features(frozen.state, images)[tap])
    expected = distance_by_loops(rows, np.repeat(np.arange(3), 2))
    assert spreads["light"].within == pytest.approx(expected, rel=1e-3)
