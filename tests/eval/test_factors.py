from itertools import combinations

import numpy as np
import pytest

from benchmarks.factors import measure
from lens_jax.data.builders.glyph_videos import sweep
from lens_jax.eval.factors import Spread, mean_distance, measure_spread
from lens_jax.eval.features import make_features


def distance_by_loops(features: np.ndarray) -> float:
    distances = []
    for rows in features:
        for one, other in combinations(rows, 2):
            cosine = one @ other / np.linalg.norm(one) / np.linalg.norm(other)
            distances.append(1 - cosine)
    return float(np.mean(distances))


def test_the_distance_is_that_of_loops():
    features = np.random.default_rng(0).normal(size=(5, 4, 3)) + 0.5
    assert mean_distance(features) == pytest.approx(distance_by_loops(features))


def test_distances_by_hand():
    same = np.array([[[1.0, 0], [2, 0]]])
    apart = np.array([[[1.0, 0], [0, 3]]])
    opposite = np.array([[[1.0, 0], [-1, 0]]])
    nothing = np.array([[[0.0, 0], [0, 1]]])
    found = [mean_distance(features) for features in (same, apart, opposite, nothing)]
    np.testing.assert_allclose(found, [0, 1, 2, 1], atol=1e-12)


def test_invariant_features_have_no_spread_and_unrelated_ones_that_of_the_floor():
    rng = np.random.default_rng(0)
    one_each = np.repeat(rng.normal(size=(200, 1, 16)), 6, axis=1)
    spread = measure_spread(one_each)
    assert spread.within == pytest.approx(0, abs=1e-12)
    assert spread.shuffled == pytest.approx(1, abs=0.05)
    assert spread.ratio == pytest.approx(0, abs=1e-12)
    unrelated = measure_spread(rng.normal(size=(200, 6, 16)))
    assert unrelated.ratio == pytest.approx(1, abs=0.05)


def test_half_of_the_variance_within_sets_is_half_of_the_floor():
    rng = np.random.default_rng(0)
    sets = rng.normal(size=(400, 1, 64))
    features = sets + rng.normal(size=(400, 5, 64))
    assert measure_spread(features).ratio == pytest.approx(0.5, abs=0.03)


def test_features_that_are_all_the_same_have_no_ratio():
    assert np.isnan(measure_spread(np.ones((3, 2, 4))).ratio)
    assert Spread(0.1, 0.4).ratio == pytest.approx(0.25)


def test_a_checkpoint_is_measured_along_every_factor(make_frozen):
    frozen = make_frozen({"data.image_size": 32})
    spreads = measure(frozen, letters=3, images=2)
    assert set(spreads) == {"viewpoint", "light", "occlusion"}

    tap = frozen.system.network.extractor.tap_names[-1]
    features = make_features(frozen, "raw", (tap,))
    images = np.concatenate([sweep("light", letter, 2, 32) for letter in range(3)])
    rows = np.asarray(features(frozen.state, images)[tap]).reshape(3, 2, -1)
    assert spreads["light"].within == pytest.approx(distance_by_loops(rows), rel=1e-3)
