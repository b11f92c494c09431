import numpy as np
import pytest
from sklearn.linear_model import Ridge

from lens_jax.audit import separation


def test_scores_are_those_of_ridge_regression_without_the_fold():
    rng = np.random.default_rng(1)
    rows = rng.normal(size=(50, 4)).astype(np.float32)
    labels = np.arange(50) % 3
    arrangements = np.stack([labels, rng.permutation(labels)])
    folds = separation.assign_folds(labels, seed=0)
    prepared = separation.prepare_folds(rows, folds)
    found = separation.cross_validate(rows, arrangements, prepared)
    for scores, each in zip(found, arrangements, strict=True):
        for fold in range(separation.FOLDS):
            held_out = folds == fold
            peer = Ridge(alpha=0.1).fit(rows[~held_out], np.eye(3)[each[~held_out]])
            predicted = peer.predict(rows[held_out])
            expected = (predicted - predicted.mean(axis=0)).T
            np.testing.assert_allclose(scores[:, held_out], expected, atol=1e-4)


def test_shuffles_keep_the_classes_of_each_fold():
    labels = np.arange(60) % 3
    folds = separation.assign_folds(labels, seed=0)
    arrangements = separation.shuffle_within(labels, folds, seed=0)
    assert len(np.unique(arrangements, axis=0)) == len(arrangements)
    np.testing.assert_array_equal(arrangements[0], labels)
    for fold in range(separation.FOLDS):
        within = np.sort(arrangements[:, folds == fold], axis=1)
        assert (within == within[0]).all()


def test_p_values_without_a_relation_are_as_often_small_as_they_say():
    rng = np.random.default_rng(3)
    p_values = [separation.permutation_p(rng.normal(size=(100, 4))) for _ in range(1000)]
    for level in (0.05, 0.2):
        fraction = np.mean(np.array(p_values) <= level)
        assert fraction == pytest.approx(level, abs=4 * np.sqrt(level / 1000))


def test_a_single_class_that_is_told_gives_the_least_p_value():
    statistics = np.zeros((100, 3))
    statistics[:, 0] = np.arange(100) % 7
    statistics[0, 2] = 5
    assert separation.permutation_p(statistics) == 0.01
    assert separation.permutation_p(np.ones((100, 3))) == 1


def test_holm_worked_by_hand():
    adjusted = separation.holm([0.01, 0.04, 0.03, 0.005])
    np.testing.assert_allclose(adjusted, [0.03, 0.06, 0.06, 0.02])
    assert separation.holm([0.6, 0.9]) == [1, 1]
    assert separation.holm([]) == []


def test_features_that_tell_are_told_from_features_that_do_not():
    rng = np.random.default_rng(4)
    labels = np.arange(80) % 2
    noise = rng.normal(size=(80, 3))
    told = noise.copy()
    # No line parts them: one class is near zero, the other away from it on either side.
    told[:, 1] = 0.3 * noise[:, 1] + np.where(labels, 0, 2 * np.sign(noise[:, 2]))
    found = separation.separate(told, labels, seed=0)
    assert found.macro.low <= found.macro.value <= found.macro.high <= 1
    assert found.macro.value > 0.9 > found.macro.null_highest >= found.macro.null
    assert found.p == pytest.approx(1 / (1 + separation.SHUFFLES))

    same = separation.separate(noise, labels, seed=0)
    assert same.p > 0.01
    assert same.macro.null_highest > 0.55


def test_features_without_any_variation_tell_nothing():
    found = separation.separate(np.ones((40, 2)), np.arange(40) % 2, seed=0)
    assert found.macro.value == 0.5
    assert found.p == 1
